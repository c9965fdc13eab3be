// Package postgres keeps the content of a grid in PostgreSQL: a sink of the data
// pump whose every batch is one transaction of the database.
//
// A reader meets three things:
//
//   - [Config] says which database, and which space goes into which table.
//   - [Writer] is the sink. It fences, applies, resyncs, keeps what the database
//     refuses for good as dead letters, and loads a partition back.
//   - [Mapping] gives a space a table of its own, with columns made from the
//     fields of its entries. All other spaces share the table entry, where an
//     entry rests whole.
//
// # Tables
//
// They lie in one schema, "spacegrid" unless told otherwise, and are created when
// they are missing, or only checked:
//
//   - sink: the name of each writer, with a short number
//   - watermark: for each sink and partition how far it has come, in which
//     history, and the highest epoch that has fenced
//   - space: the definitions of the spaces, and the table that each rests in
//   - entry: the entries of all spaces that have no table of their own
//   - dead_letter: changes that were refused for good, and those parked behind
//   - stage: partitions that are being replaced
//   - journal: if asked for, every change ever written, for proofs
//
// # Promises
//
// Exactly once in effect: data, dead letters, journal and watermark of a batch are
// one transaction, which first locks the watermarks; what is there already is
// skipped, a gap and an older epoch are refused. It does not matter whether the
// answer to a commit arrives. Writers of two members lock in the same order and
// wait for each other.
//
// A row that the database refuses for good, or that no column can hold, is found
// and named, so that it can be laid aside; everything else flows.
//
// Passwords are in no log and no error.
//
// # What it does not do
//
// It neither retries nor decides when to write (datapump). It makes nothing more
// durable than the server does: with fsync or synchronous_commit off a crash of
// the server loses what was acknowledged, and the writer says so when it connects.
// It does not work through a pooler that gives every transaction another session.
package postgres
