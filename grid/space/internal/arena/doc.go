// Package arena stores the entries of one space in one partition without
// pointers per entry, so that the garbage collector has next to nothing to mark
// however many entries there are.
//
// A reader of this package meets four types. [Table] is the store: one
// goroutine, the one that applies commands, writes; any number of goroutines
// read beside it without locks. [Meta] is what a writer says about an entry
// besides its key and value. [Record] is a view of a stored entry. [Image] is
// the content of a table at one moment, readable while the table moves on.
//
// Entries are found by key, and by their order: a number that the caller gives
// an entry when it first appears and that the entry keeps through every rewrite.
//
// # How it is built
//
// A record (header, key, value) is appended to a slab and never changed there;
// writing an entry again appends another record. Two directories point into the
// slabs with 44-bit references: the index (by hash of the key) and the pages (by
// order). Both are made of small pieces that grow, split and are copied alone;
// what does grow with the table is only the list of the pieces, some bytes for
// every few hundred entries, which is copied when it doubles or splits. The record
// that its page still points at is the live one; all others are garbage, and
// every write moves a few live records out of the slabs that hold most of it.
//
// A slab that has no live record is removed from the slab directory. Readers
// that came across one of its records keep it alive, as Go's collector sees
// their slices; a reader that holds only a reference finds no slab and looks up
// again. Numbers of slabs are therefore given out in turn and not used again
// while the table has given out fewer than half a billion (128 TiB of writes).
//
// # Promises
//
//   - A reader never waits, never sees half a record, and finds the newest record
//     that was written before the read began, or one written while it ran.
//   - A write moves at most four records, and splits at most a piece or two of
//     each directory. The longest writes, those that split a segment of the index,
//     take some tenths of a millisecond.
//   - In a large table garbage stays near a fifth of the bytes in slabs, so long
//     as the caller keeps writing; nothing happens between writes.
//   - The content does not depend on the seed of the hash, on the placement of
//     records, or on how often the table was compacted.
//
// It has no goroutine, clock or lock and does no I/O. It does not know leases,
// templates or secondary indexes: it keeps a deadline and a kind for its caller
// and never looks at them.
package arena
