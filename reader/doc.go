// Package reader fills a grid from a store: partitions at a cold start, single
// entries that are asked for meanwhile, and streams of a partition for another
// member.
//
// A reader of this package meets one type, [Reader], over an open store.
// [Reader.Positions] says what the store holds; [Reader.Load] makes a partition
// of it that begins a new history where the stored one ended, and
// [Reader.LoadAll] does so for many at once. [Reader.Export] writes a stored
// partition as a checksummed stream that [Import] makes a partition of,
// elsewhere.
//
// What is read is one moment of the store, also while a pump writes to it. It
// does not decide which store wins when several hold a partition, and starts
// nothing in the grid.
package reader
