package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/fault"
)

// Times of a schedule. A fault is held between shortest and longest; between two
// of them the cluster gets a pause, so that some faults meet one that has just
// recovered and others one that is still at it.
const (
	shortestHold  = 200 * time.Millisecond
	longestHold   = 6 * time.Second
	shortestPause = 500 * time.Millisecond
	longestPause  = 4 * time.Second
)

// schedule draws what happens when. The same seed draws the same.
type schedule struct {
	rand   *rand.Rand
	faults []fault.Fault
}

// Streams of a seed: one for each user, so that none disturbs another.
const (
	scheduleStream = 1
	clientStream   = 2
)

func newSchedule(seed uint64, faults []fault.Fault) *schedule {
	return &schedule{rand: rand.New(rand.NewPCG(seed, scheduleStream)), faults: faults}
}

// step is one fault to come.
type step struct {
	fault fault.Fault
	hold  time.Duration
	pause time.Duration // after it has been healed
	rand  *rand.Rand    // for the fault itself
}

// next draws a step. Each has random numbers of its own, so that one that draws
// more than the last time does not change those that follow.
func (s *schedule) next() step {
	return step{
		fault: s.faults[s.rand.IntN(len(s.faults))],
		hold:  between(s.rand, shortestHold, longestHold),
		pause: between(s.rand, shortestPause, longestPause),
		rand:  rand.New(rand.NewPCG(s.rand.Uint64(), s.rand.Uint64())),
	}
}

// between draws a time such that short ones are as frequent as long ones by
// order of magnitude.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	d := least
	for 2*d <= most && r.IntN(3) > 0 {
		d *= 2
	}
	return min(most, d+time.Duration(r.Int64N(int64(d))))
}
