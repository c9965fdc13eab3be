package datapump

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Pauses double from Base to Max, lose at most half to chance, open the breaker
// after Threshold failures, and are forgotten after one success.
func TestBreaker(t *testing.T) {
	b := breaker{policy: Backoff{Base: 100 * time.Millisecond, Max: time.Second, Threshold: 3}}
	now := time.Unix(1000, 0)
	if b.wait(now) != 0 || b.state(now) != BreakerClosed {
		t.Fatalf("a new breaker waits %v and is %v", b.wait(now), b.state(now))
	}
	for i, x := range []struct {
		chance float64
		wait   time.Duration
		state  BreakerState
	}{
		{0, 100 * time.Millisecond, BreakerClosed},
		{0, 200 * time.Millisecond, BreakerClosed},
		{0.5, 300 * time.Millisecond, BreakerOpen},
		{0, 800 * time.Millisecond, BreakerOpen},
		{0, time.Second, BreakerOpen},
		{1, 500 * time.Millisecond, BreakerOpen},
	} {
		b.fail(now, x.chance)
		if b.wait(now) != x.wait || b.state(now) != x.state {
			t.Errorf("failure %d: waits %v and is %v, want %v and %v", i+1, b.wait(now), b.state(now), x.wait, x.state)
		}
	}
	now = now.Add(time.Second)
	if b.wait(now) != 0 || b.state(now) != BreakerHalfOpen {
		t.Errorf("when the pause is over it waits %v and is %v", b.wait(now), b.state(now))
	}
	if b.succeed(); b.state(now) != BreakerClosed || b.failures != 0 {
		t.Errorf("after a success it is %v", b.state(now))
	}
}

// The age of the oldest change is never reported too small, is exact while few
// points are kept, and memory is bounded.
func TestLag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lag
		var came []time.Time // of change i+1
		now := time.Unix(1000, 0)
		watermark := space.Seq(0)
		joined := false
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 5).Draw(t, "durable") == 0 {
				watermark += space.Seq(rapid.IntRange(0, len(came)-int(watermark)).Draw(t, "by"))
				l.durable(watermark)
			} else {
				joined = joined || len(l.points) == lagPoints
				came = append(came, now)
				l.came(space.Seq(len(came)), now)
			}
			want := time.Duration(0)
			if int(watermark) < len(came) {
				want = now.Sub(came[watermark])
			}
			if got := l.age(now); got < want || !joined && got != want {
				t.Fatalf("the oldest of %d changes above %d is %v old, reported as %v", len(came), watermark, want, got)
			}
			if len(l.points) > lagPoints {
				t.Fatalf("%d points are kept", len(l.points))
			}
		}
	})
}
