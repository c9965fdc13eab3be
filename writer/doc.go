// Package writer applies batches of changes to a member's store, each exactly
// once in effect.
//
// A reader meets one thing: [Writer], a sink of the data pump over an open
// store. Data, definitions and watermark of a batch are one transaction, which
// begins by reading the watermark: a batch that does not fit is refused and
// leaves nothing behind.
//
// A partition is replaced whole by a resync: its rows are written under a
// generation of their own, step by step, and take the place of the old ones with
// the last transaction, which also removes those. A crash at any moment leaves a
// partition that is exactly one state of one history.
//
// Changes that a pump has dead-lettered rest in a table of their own and are
// replayed or dropped there, with those that wait for them, in one transaction.
//
// It keeps no state of its own: two writers over one store, of two pumps, are
// kept apart by the store's transactions. It does not decide when to write
// (datapump), nor how it is stored (internal/store).
package writer
