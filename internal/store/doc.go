// Package store is the system of record of one member: what the data pump wrote
// of every partition, in one Pebble, in a format of its own.
//
// A reader meets four things:
//
//   - [Store]: the open folder. [Open] locks it, checks its format and refuses
//     what it does not know.
//   - [Tx]: one atomic, durable write. [Store.Update] runs one at a time, so what
//     a Tx read is still true when it commits.
//   - [Snapshot]: everything as it was at one moment, for readers.
//   - [Mark]: how far a partition has come: history, epoch, seq and clock. It is
//     written together with the data, so the two never disagree.
//
// # Promises
//
// What Update acknowledged survives a crash of the process and of the machine.
// A crash at any moment leaves, of every transaction, all or nothing.
//
// Rows live under a generation number of their partition, and the mark names the
// one that counts. A partition is replaced whole by writing the next generation
// beside it and moving the mark; until then readers see the old one.
//
// The first failure of the disk ends the store: [Config].OnFatal is called once
// and every later operation fails with [ErrFailed]. Nobody can say what a disk
// holds after a failed sync, so there is no second try. A disk that is merely
// nearly full is noticed before that, and transactions are refused with
// [ErrDiskFull] while the rest of the member goes on.
//
// # What it does not do
//
// It knows nothing of fences, gaps and batches (writer) nor of loading
// partitions (reader). The format is described in docs/format/store.md.
package store
