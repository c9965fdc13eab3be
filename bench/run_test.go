package bench

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// simulate is Run by the clock of a synctest bubble.
func simulate(ctx context.Context, w Workload, l Load, dial Dial) (Result, error) {
	return runPaced(ctx, w, l, dial, func() (pacer, error) { return timerPacer{}, nil })
}

// stalling answers in service time, and not at all from one moment until
// another, as a server does that collects garbage or changes its leader.
type stalling struct {
	begin    time.Time
	service  time.Duration
	from, to time.Duration
	done     atomic.Int64
}

func (s *stalling) dial(context.Context, int) (Client, error) { return s, nil }

func (s *stalling) Close() error { return nil }

func (s *stalling) Do(ctx context.Context, ops []Op) (Outcome, error) {
	if at := time.Since(s.begin); at >= s.from && at < s.to {
		if !pause(ctx, s.to-at) {
			return Outcome{}, context.Cause(ctx)
		}
	}
	if !pause(ctx, s.service) {
		return Outcome{}, context.Cause(ctx)
	}
	s.done.Add(int64(len(ops)))
	return Outcome{}, nil
}

// A server that stalls for one second of ten is seen by a tenth of the users of
// an open load. A closed load sees one slow answer for each client, and its 99th
// percentile knows nothing of the stall.
func TestOpenLoadSeesStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := Load{Clients: 4, Warmup: time.Second, Duration: 10 * time.Second}
		server := func() *stalling {
			return &stalling{begin: time.Now(), service: time.Millisecond, from: 3 * time.Second, to: 4 * time.Second}
		}
		closed, err := simulate(t.Context(), Workload{}, load, server().dial)
		if err != nil {
			t.Fatal(err)
		}
		if closed.Latency.P99 > 1100 || math.Abs(closed.Latency.Max-1e6) > 2e3 {
			t.Errorf("closed: p99 %v µs, max %v µs", closed.Latency.P99, closed.Latency.Max)
		}

		load.Rate = 1000
		open, err := simulate(t.Context(), Workload{}, load, server().dial)
		if err != nil {
			t.Fatal(err)
		}
		if open.Ops != 10_000 {
			t.Errorf("%d operations measured of the 10,000 that were due", open.Ops)
		}
		// Of the 1000 that were due in the stall the first waited a second and
		// the last hardly at all; a rest waited for its turn behind them. So one
		// in a hundred of all 10,000 waited for about 0.9 s or more.
		if open.Latency.P90 < 10e3 || open.Latency.P99 < 850e3 || open.Latency.P99 > 1e6 {
			t.Errorf("open: p90 %v µs, p99 %v µs", open.Latency.P90, open.Latency.P99)
		}
		if open.Latency.P50 > 1100 {
			t.Errorf("open: p50 %v µs", open.Latency.P50)
		}
	})
}

// Operations that are due while nobody answers any more are counted with the age
// that they reached, and as unanswered; the run ends with its grace.
func TestUnansweredCount(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			server := &stalling{begin: time.Now(), service: time.Millisecond, from: 2 * time.Second, to: time.Hour}
			load := Load{Clients: 2, Warmup: -1, Duration: 4 * time.Second, Grace: 3 * time.Second, Rate: rate}
			begin := time.Now()
			r, err := simulate(t.Context(), Workload{}, load, server.dial)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took != 7*time.Second {
				t.Errorf("rate %v: the run took %v", rate, took)
			}
			want := int64(2) // the one that each client has asked for
			if rate > 0 {
				want = 200 // all that were due in the last two seconds
			}
			if r.Unanswered != want || r.Ops == 0 {
				t.Errorf("rate %v: %d unanswered, want %d; %d answered", rate, r.Unanswered, want, r.Ops)
			}
			if math.Abs(r.Latency.Max-5e6) > 10e3 {
				t.Errorf("rate %v: the longest has waited %v µs, want 5 s", rate, r.Latency.Max)
			}
		})
	}
}

// A load that is more than the server can do takes longer than asked for, and
// the throughput reported is what the server did.
func TestOpenLoadBeyondCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &stalling{begin: time.Now(), service: 10 * time.Millisecond}
		load := Load{Clients: 1, Warmup: -1, Duration: 2 * time.Second, Grace: time.Minute, Rate: 200}
		r, err := simulate(t.Context(), Workload{}, load, server.dial)
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops != 400 || math.Abs(r.PerSecond-100) > 1 || math.Abs(r.Seconds-4) > 0.05 {
			t.Errorf("%d operations at %v a second in %v s", r.Ops, r.PerSecond, r.Seconds)
		}
		if math.Abs(r.Latency.Max-2e6) > 20e3 {
			t.Errorf("the last one waited %v µs, want about 2 s", r.Latency.Max)
		}
	})
}

// Under an open load a client that is late sends what is due at once, as far as
// its pipeline goes.
func TestOpenLoadPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &stalling{begin: time.Now(), service: 10 * time.Millisecond}
		load := Load{Clients: 1, Pipeline: 4, Warmup: -1, Duration: 2 * time.Second, Rate: 200}
		r, err := simulate(t.Context(), Workload{}, load, server.dial)
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops != 400 || r.Seconds > 2.05 || r.Latency.Max > 30e3 {
			t.Errorf("%d operations in %v s, at most %v µs each", r.Ops, r.Seconds, r.Latency.Max)
		}
	})
}

// What completes during the warm-up is not counted.
func TestWarmupIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &stalling{begin: time.Now(), service: time.Millisecond, from: 0, to: time.Second}
		r, err := simulate(t.Context(), Workload{}, Load{Clients: 1, Warmup: 2 * time.Second, Duration: time.Second}, server.dial)
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops != 1000 || r.Latency.Max > 1100 {
			t.Errorf("%d operations, the longest %v µs; want 1000 of 1 ms", r.Ops, r.Latency.Max)
		}
	})
}

// Before a run that reads, every key is written exactly once.
func TestPreload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := newKeyCounter()
		w := Workload{Keys: 1000, Reads: 1}
		r, err := simulate(t.Context(), w, Load{Clients: 3, Warmup: -1, Duration: time.Second}, seen.dial)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen.written) != 1000 || seen.twice > 0 || r.Missed != 0 || r.Ops == 0 {
			t.Errorf("%d keys written, %d twice, %d of %d reads missed", len(seen.written), seen.twice, r.Missed, r.Ops)
		}
	})
}

// A client that breaks ends the run with its error, and so does the caller.
func TestRunEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		dial := func(_ context.Context, client int) (Client, error) {
			return clientFunc(func(ctx context.Context, _ []Op) (Outcome, error) {
				pause(ctx, time.Second)
				if client == 1 {
					return Outcome{}, broken
				}
				return Outcome{}, context.Cause(ctx)
			}), nil
		}
		if _, err := simulate(t.Context(), Workload{}, Load{Clients: 3}, dial); !errors.Is(err, broken) {
			t.Errorf("the run ended with %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		server := &stalling{begin: time.Now(), service: time.Millisecond}
		if _, err := simulate(ctx, Workload{}, Load{Clients: 3}, server.dial); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the run ended with %v", err)
		}
	})
}

// Refusals are counted apart, and one of them is told.
func TestFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, int) (Client, error) {
			return clientFunc(func(ctx context.Context, ops []Op) (Outcome, error) {
				pause(ctx, time.Millisecond)
				return Outcome{Failed: 1, Err: errors.New("no room")}, nil
			}), nil
		}
		for _, rate := range []float64{0, 2000} {
			r, err := simulate(t.Context(), Workload{}, Load{Clients: 1, Pipeline: 2, Warmup: -1, Duration: time.Second, Rate: rate}, dial)
			if err != nil {
				t.Fatal(err)
			}
			if r.Failed == 0 || r.Failure != "no room" || rate == 0 && r.Ops != r.Failed {
				t.Errorf("rate %v: %d failed of %d, %q", rate, r.Failed, r.Failed+r.Ops, r.Failure)
			}
		}
	})
}

// clientFunc is a Client without a state of its own.
type clientFunc func(ctx context.Context, ops []Op) (Outcome, error)

func (f clientFunc) Do(ctx context.Context, ops []Op) (Outcome, error) { return f(ctx, ops) }
func (f clientFunc) Close() error                                      { return nil }

// keyCounter remembers which keys were written, before anything was read.
type keyCounter struct {
	turn    chan struct{} // holds one token
	written map[string]bool
	twice   int
}

func newKeyCounter() *keyCounter {
	k := &keyCounter{turn: make(chan struct{}, 1), written: map[string]bool{}}
	k.turn <- struct{}{}
	return k
}

func (k *keyCounter) dial(context.Context, int) (Client, error) {
	return clientFunc(func(ctx context.Context, ops []Op) (Outcome, error) {
		pause(ctx, time.Millisecond)
		<-k.turn
		defer func() { k.turn <- struct{}{} }()
		var out Outcome
		for _, op := range ops {
			switch has := k.written[string(op.Key)]; {
			case op.Read && !has:
				out.Missed++
			case !op.Read && has:
				k.twice++
			case !op.Read:
				k.written[string(op.Key)] = true
			}
		}
		return out, nil
	}), nil
}
