package bench

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The same seed draws the same operations, another seed or client others.
func TestSourceIsDrawnFromSeed(t *testing.T) {
	draw := func(seed uint64, client int) string {
		w := Workload{Reads: 0.5, Zipf: 1.2}.withDefaults()
		var b strings.Builder
		for _, op := range newSource(w, seed, client, 100, newPool(w, seed)).next(100) {
			fmt.Fprintf(&b, "%v %s %x\n", op.Read, op.Key, op.Value)
		}
		return b.String()
	}
	if first, again := draw(7, 1), draw(7, 1); first != again {
		t.Error("the same seed draws other operations")
	}
	if draw(7, 1) == draw(8, 1) || draw(7, 1) == draw(7, 2) {
		t.Error("seed and client number do not matter")
	}
}

// Keys have their length, lie within their number, differ, and are read as often
// as asked for; a Zipf choice prefers few of them.
func TestSourceKeepsToWorkload(t *testing.T) {
	for _, zipf := range []float64{0, 1.1} {
		w := Workload{Keys: 500, KeySize: 20, ValueSize: 7, Reads: 0.25, Zipf: zipf}
		s := newSource(w, 1, 0, 1, newPool(w, 1))
		seen := map[string]int{}
		reads := 0
		const draws = 20_000
		for range draws {
			op := s.next(1)[0]
			if len(op.Key) != 20 || len(op.Value) != 7 || op.Key[0] != 'k' {
				t.Fatalf("key %q, value of %d bytes", op.Key, len(op.Value))
			}
			seen[string(op.Key)]++
			if op.Read {
				reads++
			}
		}
		most := 0
		for key, n := range seen {
			most = max(most, n)
			if key >= fmt.Sprintf("k%019d", 500) {
				t.Errorf("key %s is none of 500", key)
			}
		}
		if share := float64(reads) / draws; math.Abs(share-0.25) > 0.02 {
			t.Errorf("%v of the operations read", share)
		}
		if uniform := most < 3*draws/500; uniform != (zipf == 0) {
			t.Errorf("zipf %v: one key was drawn %d times of %d", zipf, most, draws)
		}
	}
}

// Settings that cannot be are refused with what can be, before anything begins.
func TestValidate(t *testing.T) {
	for _, w := range []Workload{
		{Keys: -1}, {Keys: keysMax + 1}, {KeySize: 3}, {KeySize: 2000}, {Keys: 100_000_000, KeySize: 8},
		{ValueSize: -1}, {ValueSize: 2 << 20}, {Reads: 1.5}, {Reads: math.NaN()}, {Zipf: 0.9}, {Zipf: math.Inf(1)},
	} {
		if w.withDefaults().validate() == nil {
			t.Errorf("taken: %+v", w)
		}
	}
	for _, l := range []Load{
		{Clients: -1}, {Clients: 1 << 20}, {Pipeline: -1}, {Rate: -1}, {Rate: math.Inf(1)}, {Rate: math.NaN()},
		{Duration: -1}, {Duration: time.Hour}, {Warmup: time.Hour}, {Grace: -1}, {Preload: "perhaps"},
	} {
		if l.withDefaults().validate() == nil {
			t.Errorf("taken: %+v", l)
		}
	}
	if err := (Workload{}).withDefaults().validate(); err != nil {
		t.Error(err)
	}
	if err := (Load{}).withDefaults().validate(); err != nil {
		t.Error(err)
	}
}

// An open load is spread evenly over the clients, and every operation is due
// exactly once.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schedule{clients: rapid.IntRange(1, 50).Draw(t, "clients"), rate: rapid.Float64Range(0.5, 5000).Draw(t, "rate")}
		end := time.Duration(rapid.IntRange(1, 3000).Draw(t, "milliseconds")) * time.Millisecond
		total := 0
		for c := range s.clients {
			n := s.before(c, end)
			total += n
			if n > 0 && s.due(c, n-1) >= end || s.due(c, n) < end {
				t.Fatalf("client %d has %d operations, the last due at %v, the next at %v", c, n, s.due(c, n-1), s.due(c, n))
			}
		}
		if want := end.Seconds() * s.rate; math.Abs(float64(total)-want) > 1 {
			t.Fatalf("%d operations are due, want %v", total, want)
		}
	})
}

// Percentiles are those of what was recorded, to a thousandth, over all clients.
func TestPercentiles(t *testing.T) {
	r := newRecorder()
	for i := 1; i <= 100_000; i++ {
		r.record(i, time.Duration(i)*time.Microsecond, 1)
	}
	l := r.latency()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"min", l.Min, 1}, {"mean", l.Mean, 50_000}, {"p50", l.P50, 50_000}, {"p90", l.P90, 90_000},
		{"p99", l.P99, 99_000}, {"p99.9", l.P999, 99_900}, {"p99.99", l.P9999, 99_990}, {"max", l.Max, 100_000},
	} {
		if math.Abs(c.got-c.want) > c.want/1000+0.001 {
			t.Errorf("%s is %v µs, want %v", c.name, c.got, c.want)
		}
	}
	if (newRecorder().latency() != Latency{}) {
		t.Error("nothing recorded, and yet a latency")
	}
	r.record(0, -time.Second, 1) // a clock may stand still, not go back
	r.record(0, time.Hour, 3)
	if l := r.latency(); l.Min > 0.001 || math.Abs(l.Max-600e6) > 600e3 {
		t.Errorf("out of bounds: %v to %v µs", l.Min, l.Max)
	}
}
