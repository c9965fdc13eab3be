// Package replica makes the members that hold a group agree on one log of
// commands, and applies it to a state machine on each of them. It is the only
// package that knows hashicorp/raft; nothing of raft shows in what it exports.
//
// A reader meets:
//
//   - [Group]: one replica of one group on this member. Submit and Propose ask
//     for commands to be agreed on and applied, Confirm makes reads linearizable,
//     and the leader changes who belongs to the group. A new group is founded on
//     one member; the others are added, first as learners.
//   - [Observer]: how the owner learns who leads.
//   - [StateMachine]: what the group agrees on, implemented by the owner.
//   - [GroupStorage]: where a replica rests. [DiskStorage] uses the member's
//     [LogStorage], one Pebble for the logs, terms and votes of all its groups;
//     [MemoryStorage] a [Ring], where memory is durable enough.
//   - [Transport]: all groups of a member over one listener, one control and one
//     bulk connection for each pair of members.
//
// # Promises
//
// A command answered without an error has been applied and is kept by a majority
// of the group's voters, on disk before the answer where the group's durability
// is disk. An error says what is known: [ErrNotLeader] and [ErrOverloaded] mean
// that the command was not taken up, [ErrIndeterminate] that it may or may not
// take effect.
//
// Commands that wait together go into one log entry; the order in which a
// submitter called Submit is kept.
//
// A read that was made on a leader's state and whose Confirm then succeeded saw
// every command that had been answered before the read began. Nothing in this
// rests on clocks. Whoever reads notes the term of Leading before the read and
// gives it to Confirm after it.
//
// A leader whose process dies is replaced in some milliseconds, one that is cut
// off or paused after one and a half heartbeat timeouts: as soon as a majority of
// the voters have lost it, the one of them with the longest log stands. Until then
// nobody does, however often connections of a living leader break.
//
// A replica is known by its [ServerID], member and incarnation. One that has lost
// what it had is refused under its old id, and returns under the next one like a
// new member.
//
// # What it does not do
//
// It does not decide who should be a replica (grid/cluster), does not repeat
// commands (grid does, with sessions that grid/space keeps), and does not look
// inside them.
package replica
