package bench

import (
	"context"
	"testing"
	"time"
)

// A pacer never wakes early, and the one that is used wakes soon after: on a
// busy machine now and then late, but not always.
func TestPacer(t *testing.T) {
	p, err := newPacer()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, d := range []time.Duration{time.Nanosecond, 300 * time.Microsecond, 5 * time.Millisecond} {
		best := time.Hour
		for range 20 {
			begin := time.Now()
			if !p.pause(t.Context(), d) {
				t.Fatal("the context has not ended")
			}
			took := time.Since(begin)
			if took < d {
				t.Fatalf("%v took %v", d, took)
			}
			best = min(best, took)
		}
		if best > d+5*time.Millisecond {
			t.Errorf("%v never took less than %v", d, best)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if p.pause(ctx, time.Hour) {
		t.Error("the context has ended")
	}
}
