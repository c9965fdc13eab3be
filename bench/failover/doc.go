// Package failover measures for how long clients cannot write after a member of a
// replicated store has been killed, frozen or cut off: of Spacegrid, and of the
// systems it is compared with, in the same way.
//
// A reader meets [Target], a cluster whose members can be injured, with one file
// for each system; [Run], which injures it many times; and [Report], the
// distribution of the gaps.
//
// # What is measured
//
// Several writers each write one key again and again, one write at a time, through
// the client of the system that is measured. The gap of a key is the longest time
// between two of its acknowledgements from just before the injury until all keys
// are written again; the gap of an injury is the longest of its keys, so that it
// counts whoever led what. The next injury comes when the cluster is whole again
// and has had some calm. Nothing is left out: an injury after which writes never
// came back ends the run with an error.
//
// What a system may lose meanwhile is not counted here: a short gap is no merit if
// acknowledged writes are gone after it.
package failover
