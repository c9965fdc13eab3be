// Package filter stands between the grid and a sink: it decides which changes a
// sink gets, and what their fields look like there.
//
// A reader meets four things:
//
//   - [Test] lets entries pass or not: [Spaces] by their space, [Where] by a
//     predicate over their fields.
//   - [Transform] changes fields: [Rename], [Drop], [Keep], [Mask], [Compute].
//   - [Pipe] is steps of both, in order; [Parse] reads pipes from YAML, with
//     branches for several sinks.
//   - [Sink] puts a pipe before a sink of the data pump.
//
// # What a sink holds
//
// Exactly the entries that pass, as the pipe leaves them. An entry that changes so
// that it no longer passes is removed from the sink; whatever passes is written. A
// removal always passes, unless the whole space is left out: then nothing of the
// space reaches the sink, not even its definition. A change that is left out
// counts for the watermark like any other: the sink has seen it.
//
// # Promises
//
// The package is pure: same pipe, same change, same outcome, on every machine; no
// goroutine, clock or I/O. Fields are never decoded as a whole and stay in
// canonical form. A change that a transform cannot carry out is refused for good
// and becomes a dead letter, as if the sink had refused it.
//
// Opaque bytes have no fields: entries of bytes pass no predicate and no
// transform, so that a mask hides nothing by accident.
package filter
