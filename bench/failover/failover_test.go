package failover

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// outage is a target that answers at once, except for a time after each injury.
type outage struct {
	lasts []time.Duration // of the injuries, in turn

	mu    sync.Mutex
	until time.Time
	down  bool // for ever
	n     int
}

func (o *outage) Name() string                { return "outage" }
func (o *outage) Ready(context.Context) error { return nil }
func (o *outage) Close() error                { return nil }

func (o *outage) Missing(k Kind) string {
	if k == Cut {
		return "it has no network"
	}
	return ""
}

func (o *outage) Writer(context.Context, string) (Writer, error) { return (*outageWriter)(o), nil }

func (o *outage) Injure(context.Context, Kind, string) (func(context.Context) error, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lasts := o.lasts[o.n%len(o.lasts)]
	o.until, o.down = time.Now().Add(lasts), lasts < 0
	o.n++
	return func(context.Context) error { return nil }, nil
}

type outageWriter outage

func (w *outageWriter) Close() error { return nil }

func (w *outageWriter) Write(ctx context.Context, _ []byte) error {
	w.mu.Lock()
	left, down := time.Until(w.until), w.down
	w.mu.Unlock()
	if left <= 0 && !down {
		return nil
	}
	<-ctx.Done() // as one that waits for an answer
	return ctx.Err()
}

// The gap is as long as nobody could write, to within an attempt and the pace.
func TestGapIsTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lasts := []time.Duration{40 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second}
		attempt := 20 * time.Millisecond
		var gaps []time.Duration
		r, err := Run(t.Context(), &outage{lasts: lasts}, Config{
			Kind: Kill, Times: len(lasts), Keys: 4, Attempt: attempt,
			Told: func(_ int, gap time.Duration) { gaps = append(gaps, gap) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, gap := range gaps {
			if gap < lasts[i]-attempt || gap > lasts[i]+attempt+4*pace {
				t.Errorf("nobody could write for %s, and the gap is %s", lasts[i], gap)
			}
		}
		if r.Times() != len(lasts) || r.Quantile(0.5) != gaps[1] || r.Quantile(1) != gaps[2] || r.Quantile(0.01) != gaps[0] {
			t.Errorf("%d gaps, median %s, longest %s of %v", r.Times(), r.Quantile(0.5), r.Quantile(1), gaps)
		}
	})
}

// Writes that never come back end the run; what was measured before stays.
func TestWritesThatNeverComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), &outage{lasts: []time.Duration{time.Millisecond, -1}}, Config{Kind: Pause, Times: 5})
		if !errors.Is(err, ErrGone) || r.Times() != 1 {
			t.Errorf("error %v after %d gaps", err, r.Times())
		}
	})
}

// What cannot be done to a target is said, not measured as nothing.
func TestSkippedByName(t *testing.T) {
	r, err := Run(t.Context(), &outage{}, Config{Kind: Cut})
	if err != nil || r.Times() != 0 {
		t.Fatalf("%d gaps, error %v", r.Times(), err)
	}
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Skipped string `json:"skipped"`
		Times   int    `json:"times"`
	}
	if err := json.Unmarshal(b, &line); err != nil || line.Skipped == "" || line.Times != 0 {
		t.Errorf("%s: %v", b, err)
	}
}
