//go:build !race

package sim_test

import "time"

// The usual runs: with disks of which half or nothing of what was not synced
// remains, and in memory.
var usualSeeds = []uint64{5, 15, 4}

const usualLength = time.Minute // as long as they are
