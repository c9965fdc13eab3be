// Package primarybackup is the least that a replicated store can do: a primary
// that sends every batch of writes to its backups and acknowledges it once all of
// them have. It is what consensus is measured against.
//
// A [Cluster] is a primary with its backups, each with a listener of its own on
// loopback TCP, in goroutines of this process; a [Client] writes to it over a
// connection that many callers share.
//
// It promises that an acknowledged write is in the memory of the primary and of
// every backup. It batches as the grid does (all writes that wait go into one
// batch, one batch is on its way at a time) and crosses the network by the same
// frames, so that the difference to the grid is what agreement costs.
//
// What it does not do is the reason for consensus: there is no election, no log,
// nothing that tells an old primary from a new one, and when a backup fails,
// writing is over.
package primarybackup
