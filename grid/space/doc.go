// Package space is the noun of Spacegrid: the state of one partition as a pure
// state machine. It starts no goroutine, reads no clock, does no I/O and takes
// no lock; time, identities and definitions arrive inside commands.
//
// A reader meets five things:
//
//   - [Partition]: all that one partition holds. [Partition.Apply] is the only
//     way to change it; [Partition.Get] reads one entry beside a running Apply.
//   - [Command] and [Op]: what is asked. A command is a list of operations on
//     one partition that take effect together or not at all.
//   - [Reply] and [Result]: what came of it, one result for each operation.
//   - [Change]: what happened, numbered by [Seq] without gaps, kept in the
//     [Changelog] until everybody who must have it has it.
//   - [Image]: the whole partition as one exportable value, cut without
//     stopping the writer.
//
// # Promises
//
// Pure: the result of Apply and the state after it depend on the state before
// it and on the command alone. Two partitions that applied the same commands
// have equal digests, also when one of them went through an export on the way.
//
// Numbered: every change of visible content gets the next Seq, over all spaces
// of the partition. An entry's version is the Seq that made it.
//
// Once: a command carries its session, its sequence number and a deadline on
// the partition's clock. A repeated command gets its first answer again. A
// command past its deadline, or made for another history, is refused.
//
// Together: the operations of a command are validated first and installed
// afterwards; nobody who reads under [Partition.View] sees half of them.
//
// Found by order: what matches a template and a predicate is found in the order in
// which the entries were first written, whichever index serves the search, and is
// refused rather than looked for among all entries of a large space. An index that
// is added later is built in small steps by the commands that follow, and used
// when it is done. [Partition.Explain] tells which index serves what.
//
// Claimed by one: a claim hides an entry until its holder acknowledges it, gives
// it back, or lets the claim end; it belongs to nobody's connection and is part of
// the state. Tokens of claims only grow. An entry keeps its place, and its
// attempts are counted; the last one moves it to the dead-letter space in the same
// command. Where that space cannot take it, for it is missing, has another shape or
// has an entry under that key, the entry stays where it is and is handed out
// again: nothing is lost. Reads, and checks of what was read, take a claimed entry
// for absent; whatever would change it by key is refused with [CodeClaimed].
//
// In order, in a space with groups: takes and claims by template get only the
// oldest entry of a group, and nothing while a claim on one of the group lasts.
//
// In line: a take or claim that finds nothing may wait. Whatever becomes available
// goes to the oldest waiter that it fits, before any other command can have it.
//
// Leases end by being applied: an entry is gone once a command stamped at or
// past its deadline has been applied, and not before.
//
// All or nothing over partitions: what a command prepares for a transaction is
// locked and kept until the transaction's home partition has decided, once, and is
// then installed as one command, or given up. Readers see what was there before,
// others who would change it get [CodeLocked]. The argument why this is
// serializable, and what may be forgotten when, stands in txn.go. It does not
// outlive the grid: a cold start from stores knows nothing of what was prepared,
// and finds each partition as far as its own store has come.
//
// # What it does not do
//
// It does not agree with anybody (grid/replica), does not know who holds which
// partition (grid/cluster), and does not write to a store (datapump, writer).
package space
