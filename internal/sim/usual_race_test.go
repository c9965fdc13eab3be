//go:build race

package sim_test

import "time"

// Under the race detector everything takes ten times as long: one short run has to do.
var usualSeeds = []uint64{15}

const usualLength = 4 * time.Second
