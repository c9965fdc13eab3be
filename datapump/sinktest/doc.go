// Package sinktest helps to test sinks of the data pump, of this project and of
// its users: [Source] is a real partition under a random load, with a record of
// every change it ever made, and [Content] is what a sink must hold after any
// prefix of them. [Run] checks a sink against the contract of datapump.Sink.
package sinktest
