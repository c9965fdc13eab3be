// Package cluster makes members out of processes and a grid out of members: who
// belongs to it, who holds which partition, and how a command finds its way
// there.
//
// A reader meets:
//
//   - [Node]: one member. It holds replicas of groups, leads some of them, and
//     serves what it leads.
//   - [Service]: what a member does for those who use its partitions. The Node
//     implements it; [Remote] is a Node at the other end of a connection.
//   - [Router]: finds the leader of a partition, repeats commands until their
//     outcome is known, and gives them the identity that makes a repeat harmless.
//   - [Control] and [State]: what the members have agreed on: each other, the
//     definitions of spaces, groups and the table of partitions.
//   - [Desired]: where replicas should be. It is a function of the State alone.
//   - [Gossip]: who seems to be alive. It is a hint and never decides.
//   - [Store]: what keeps the record of a member's partitions, from which a
//     cluster starts when all its logs are gone.
//
// # How it works
//
// The control group, of at most five voters, agrees on the State; every member
// learns it. Each member holds the replicas that the table gives it, the leader
// of a group brings the group's members to what the table says, and the leader of
// the control group admits members, lets groups begin and changes the table. All
// of them compare what there is with what there should be, again and again, so
// that a crash at any point is made good by the next look.
//
// A leader stamps commands with its time on the partition's clock, which goes on
// from where the last leader's stood; while there is no leader no lease ends.
//
// # Promises
//
// A command that was answered has been applied by a majority of its group's
// replicas and takes effect once, however often it was sent. A linearizable read
// sees every command that was answered before it began. Errors tell what is
// known: that the request had no effect, or that it may have had one.
//
// A follower gets what a partition holds and then every change in order, once,
// over crashes of the members it follows from.
//
// A group never begins anew while one of its replicas may hold its state. A cold
// start takes each partition from the store that has come furthest, once every
// member has said how far its store has come; only an operator makes it go on
// without one.
//
// Replicas are compared: within [NodeConfig.VerifyEvery] each leader has marked the
// log of each of its partitions once, and every voter has hashed its whole state at
// that mark. A replica against which a majority of the voters agrees is not read any
// more from that moment, leads no more, and another one with a new identity takes its
// place. Where there is no majority nobody is touched, and the status says so. What
// is derived from the state, such as indexes and the table of keys, is not compared.
//
// # What it does not do
//
// It does not look inside entries (grid/space), does not agree by itself
// (grid/replica), does not write stores (datapump, writer), and does not know
// users: whoever reaches its listener may ask.
package cluster
