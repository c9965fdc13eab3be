package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Options are what a seed stands for.
type Options struct {
	Seed       uint64
	Members    int
	Copies     int
	Partitions int
	// Disk: members keep logs and stores on disks and come back with them.
	// Otherwise everything is in memory and whoever crashes comes back as new.
	Disk bool
	// Unsynced is the percentage of what was not synced that a crash leaves.
	Unsynced int
	// Liveness: at the end of the faults a minority stays broken for a while and
	// the others must serve.
	Liveness bool
	// ColdStart: at the end the logs of all members are taken away, and the
	// cluster starts from its stores. It needs Disk.
	ColdStart bool
	// SnapshotLogBytes is how much log lies between snapshots.
	SnapshotLogBytes int64
	// Retention is how long changes are kept for whoever comes late.
	Retention time.Duration
	// Lease is how long a leader goes on without hearing from a majority. With the
	// longest one it may believe in itself when another one leads.
	Lease time.Duration
	// Slow is the longest delay of a healthy link.
	Slow time.Duration
	// Length is how long faults and clients go on.
	Length time.Duration
}

// Derive returns the options of a seed.
func Derive(seed uint64) Options {
	rng := rand.New(rand.NewPCG(seed, 0))
	o := Options{
		Seed: seed, Members: 3, Copies: 3, Partitions: 6 + rng.IntN(7), Disk: seed%4 != 0,
		Unsynced: []int{0, 50, 100}[rng.IntN(3)], Liveness: rng.IntN(2) == 0,
		SnapshotLogBytes: int64(8<<10) << rng.IntN(4), Slow: time.Duration(rng.IntN(5)) * time.Millisecond,
		Lease:     []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}[rng.IntN(2)],
		Retention: []time.Duration{2 * time.Second, 10 * time.Minute}[rng.IntN(2)], Length: 12 * time.Second,
	}
	if rng.IntN(4) == 0 {
		o.Members = 5
		o.Copies = []int{3, 5}[rng.IntN(2)]
	}
	// The members that stay broken must leave every group its majority.
	o.Liveness = o.Liveness && o.Copies == o.Members
	o.ColdStart = o.Disk && rng.IntN(3) > 0
	return o
}

// String tells the options and how to run them again.
func (o Options) String() string {
	return fmt.Sprintf("%+v\nrepeat with: go test ./internal/sim -count=1 -run 'TestClusters$' -sim.seed=%d", struct {
		Members, Copies, Partitions int
		Disk                        bool
		Unsynced                    int
		Liveness, ColdStart         bool
		SnapshotLogBytes            int64
		Lease                       time.Duration
		Retention, Slow, Length     time.Duration
	}{o.Members, o.Copies, o.Partitions, o.Disk, o.Unsynced, o.Liveness, o.ColdStart, o.SnapshotLogBytes, o.Lease, o.Retention, o.Slow, o.Length}, o.Seed)
}
