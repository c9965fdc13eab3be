// Package sim runs whole clusters in memory and tries to break them: real members,
// with their agreement, gossip, routing and stores, on a network whose links are
// cut and slowed, and on disks that lose what was not synced. Time is that of a
// bubble of testing/synctest, so a minute of elections costs a second or two.
//
// [Derive] makes [Options] from a seed and [Run] runs them: clients read, write
// and swap registers, add to a set, hand jobs out, move coins between accounts of
// several partitions and follow changes, while a schedule of faults goes on. What
// they have seen is judged afterwards: registers must be linearizable, nothing that
// was acknowledged may be missing, no job may be handed out twice, no coin appear
// or go, and a follower misses nothing. Replicas that have applied the same log
// entry must have the same state, all the time.
//
// In some runs a minority stays broken when the other faults have ended, and the
// majority must serve all the same. [Reached] counts rare states, so that a test
// can demand that they were seen.
//
// A seed decides the cluster, the schedule and what clients ask for. It does not
// decide in which order goroutines run, which Go does not let anybody do: a seed
// that fails is likely, not certain, to fail again. What is printed of a failure
// has to be enough to look into it.
package sim
