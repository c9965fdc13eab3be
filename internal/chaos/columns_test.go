package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Every fault is in exactly one family, so that a matrix leaves none out and counts
// none twice; and every workload and family is in the smoke test, but for peace.
func TestNothingIsLeftOut(t *testing.T) {
	in := map[string]int{}
	for _, c := range Columns() {
		for _, f := range c.Faults {
			in[f.Name()]++
		}
	}
	for _, f := range fault.All() {
		if in[f.Name()] != 1 {
			t.Errorf("%s is in %d families", f.Name(), in[f.Name()])
		}
	}
	tried := map[string]bool{}
	for _, p := range Smoke() {
		tried[p.Workload.Name()] = true
		for _, f := range p.Column.Faults {
			tried[f.Name()] = true
		}
	}
	for _, w := range workload.All() {
		if !tried[w.Name()] {
			t.Errorf("the smoke test lacks the workload %s", w.Name())
		}
	}
	for _, c := range Columns() {
		some := len(c.Faults) == 0
		for _, f := range c.Faults {
			some = some || tried[f.Name()]
		}
		if !some {
			t.Errorf("the smoke test lacks the family %s", c.Name)
		}
	}
}

// The same seed draws the same schedule, another one another, and every time is
// within its bounds.
func TestScheduleFollowsTheSeed(t *testing.T) {
	draw := func(seed uint64) (all []step) {
		s := newSchedule(seed, fault.All())
		for range 50 {
			n := s.next()
			if n.hold < shortestHold || n.hold > longestHold || n.pause < shortestPause || n.pause > longestPause {
				t.Fatalf("hold %s, pause %s", n.hold, n.pause)
			}
			all = append(all, n)
		}
		return all
	}
	first, same, other := draw(7), draw(7), draw(8)
	differs := false
	for i := range first {
		if first[i].fault.Name() != same[i].fault.Name() || first[i].hold != same[i].hold || first[i].rand.Uint64() != same[i].rand.Uint64() {
			t.Fatalf("step %d is not the same", i)
		}
		differs = differs || first[i].fault.Name() != other[i].fault.Name()
	}
	if !differs {
		t.Error("another seed draws the same faults")
	}
}

// Short times and long ones both come often.
func TestBetweenCoversTheRange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	short, long := 0, 0
	for range 1000 {
		switch d := between(r, shortestHold, longestHold); {
		case d < time.Second/2:
			short++
		case d > 2*time.Second:
			long++
		}
	}
	if short < 100 || long < 100 {
		t.Errorf("%d short and %d long of 1000", short, long)
	}
}
