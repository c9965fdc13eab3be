// Package datapump carries committed changes outward: from the changelogs of
// partitions to a sink, in order, each exactly once in effect.
//
// A reader meets four things:
//
//   - [Source]: a partition as the pump sees it: its changelog, and an image of
//     it for sinks that have to start over.
//   - [Sink]: what takes batches of changes and keeps, in the same transaction,
//     how far it has come; [Resyncer] is a sink that can be replaced whole.
//   - [Pump]: one goroutine that feeds one sink with all partitions of a member.
//   - [Status]: backlog, lag and trouble, for people and for hold-back.
//
// # How it works
//
// There is no queue: the changelog is the queue, and the pump keeps one number
// for each partition, the sink's watermark. [Pump.Notify] marks a partition as
// having something; the loop gathers what the marked partitions have above their
// watermarks into one batch, folds repeated changes of one key, hands the batch
// to the sink and moves the watermarks. While the sink works, the next batch
// grows: a slow sink gets large batches, a fast one gets small ones.
//
// Before anything else each partition is fenced: the sink binds the partition's
// history and epoch, refuses every older epoch from then on, and says how far it
// has come. If what follows has been trimmed from the changelog, or if the sink
// stands in another history, the sink is brought up again from an image of the
// partition, in steps between the batches of the others.
//
// A change that a sink refuses for good becomes a dead letter: a row of the
// sink's side table, written with the data and the watermark. Later changes of its
// key are parked behind it, a command whole; everything else flows. [DeadLetters]
// shows and settles them.
//
// # Promises
//
// In order: a partition's changes reach the sink in the order of Seq, and a
// batch never ends inside a command. Exactly once in effect: the watermark is
// asked for again after every failure, never assumed. A sink that fails is tried
// again with growing pauses, for as long as it takes; nothing is dropped. A sink
// that refuses too much is not drained into its side table: the partition waits.
// [Pump.Notify] never blocks: a stuck sink does not hold up the partition.
//
// # What it does not do
//
// It keeps nothing: what is not durable in the sink is in the changelog, and the
// changelog's owner decides what happens when that grows too long. It has no
// opinion on what a sink does with a change (writer).
package datapump
