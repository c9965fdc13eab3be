package sim_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/internal/sim"
)

var (
	onlySeed = flag.Uint64("sim.seed", 0, "run the simulation with this seed alone; 0 runs the usual ones")
	runTime  = flag.Duration("sim.time", 0, "run one seed after the other, from -sim.seed on, for so long")
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// Whatever links are cut and slow, whoever crashes and returns, with its disk or
// without, or all at once: no client sees anything that it was promised not to
// see, and all replicas agree. The usual seeds go through every rare state there
// is a name for.
func TestClusters(t *testing.T) {
	if *runTime > 0 {
		t.Skip("make sim runs TestClustersForLong")
	}
	if *onlySeed != 0 {
		t.Logf("reached\n%s", sim.Run(t, sim.Derive(*onlySeed)))
		return
	}
	var all sim.Reached
	for _, seed := range usualSeeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			o := sim.Derive(seed)
			o.Length = min(o.Length, usualLength)
			all.Merge(sim.Run(t, o))
		})
	}
	t.Logf("reached\n%s", &all)
	if usualLength < 10*time.Second {
		return // too short to reach everything
	}
	for _, state := range all.Missing() {
		t.Errorf("no run went through this: %s", state)
	}
}

// TestClustersForLong does the same for many seeds.
func TestClustersForLong(t *testing.T) {
	if *runTime == 0 {
		t.Skip("run it with make sim")
	}
	first := max(*onlySeed, 1)
	var all sim.Reached
	start, runs := time.Now(), 0
	for seed := first; time.Since(start) < *runTime && !t.Failed(); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { all.Merge(sim.Run(t, sim.Derive(seed))) })
		runs++
	}
	t.Logf("%d runs in %v, reached\n%s", runs, time.Since(start).Round(time.Second), &all)
}
