// Package cluster knows who holds what, and is the member that holds it. It is
// the only package that knows hashicorp/memberlist.
//
// A reader meets:
//
//   - [State]: what the cluster has decided: members, definitions, groups, the
//     partition table. The control group agrees on it by [Command]s; [Control] is
//     its state machine, and placement follows from it by pure functions.
//   - [Gossip]: who seems to be alive. It is a hint and decides nothing.
//   - [Node]: one member. It forms or joins a cluster, holds replicas of groups,
//     leads some of them, and serves others.
//   - [Service]: what a member does for those who use its partitions. A Node is
//     one; [Remote] is one behind a connection.
//   - [Router]: a client's way to the partitions: it finds leaders, gives commands
//     their identity, and repeats them until their outcome is known.
//
// # Promises
//
// A command that a Router reports done was done once. One that it reports
// unavailable was not done. Anything else it reports indeterminate.
//
// A group's state is made once, by one member, on the control group's order; every
// other replica receives it. A group whose majority is gone is never made anew by
// itself.
//
// A read that asks for it is linearizable; a follower of changes sees each change
// of a partition once and in order, over the loss of members, or is told to start
// over.
//
// # What it does not do
//
// It does not look into values (grid/space), does not agree by itself
// (grid/replica) and does not write to stores: a [Store] is handed to it.
package cluster
