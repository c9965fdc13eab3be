// Package bench measures Spacegrid, beside the systems it is compared with, and
// says what it measured on.
//
// A reader meets [Workload] (which operations), [Load] (how they are offered),
// [Run] (offers them to clients and takes the time) and [Report] (what came
// out, for people and as JSON). On top of these stand the runs that the command
// line offers: [KV] drives any server that speaks RESP, [Embedded] a member
// inside this process, [Replicated] a cluster of three, [Takes] consumers of a
// space that grows, and [Compare] puts the figures of Spacegrid and of a peer side
// by side, measured in turns in the same run on the same machine.
//
// # Promises
//
// Under an open load an operation's latency counts from the moment at which it
// was due, not from the moment at which a stalled client got round to it; one
// that was never answered counts with the age it had reached. Every report has
// the seed, the length of the warm-up and the machine's state. A comparison that
// Spacegrid loses is printed like one that it wins. Everything is bounded in
// time, and whatever was started is ended, also after a failure.
//
// # What it does not do
//
// Client and servers share one machine, so the figures tell how systems compare
// there, and not what one of them can do alone. It reads no flags and no
// environment: a command binds those to the Config types.
package bench
