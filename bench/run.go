package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout bounds how long all clients of a run may take to connect.
	dialTimeout = 30 * time.Second
	// preloadTimeout bounds how long the first write of all keys may take.
	preloadTimeout = 2 * time.Minute
	// preloadBatch is how many keys a client writes at once beforehand.
	preloadBatch = 128
	// preloadClients is how many clients write them: few, so that a server is
	// not overrun before it is measured.
	preloadClients = 16
)

// Client carries out operations at a target. It is used by one goroutine.
type Client interface {
	// Do carries out the operations, in order, and blocks until each has its
	// answer, or ctx ends. It must not keep what ops refers to. Answers that are
	// refusals are counted in the Outcome; an error says that the client can go
	// on no more.
	Do(ctx context.Context, ops []Op) (Outcome, error)
	Close() error
}

// Dial makes a client of a run, numbered from 0. The run closes it.
type Dial func(ctx context.Context, client int) (Client, error)

// Outcome counts the operations of one Do that did not go as wanted.
type Outcome struct {
	Failed int   // refused, or answered with something else than was written
	Missed int   // reads that found nothing
	Err    error // why one of them failed
}

// Result is what came out of a run.
type Result struct {
	// Ops is how many measured operations succeeded; Failed those that were
	// refused, Missed those among Ops that read a key that was not there.
	Ops    int64 `json:"ops"`
	Failed int64 `json:"failed"`
	Missed int64 `json:"missed"`
	// Unanswered is how many had no answer when the grace ended. Latency has
	// them with the age that they had reached.
	Unanswered int64 `json:"unanswered"`
	// Failure is the text of one failure.
	Failure string `json:"failure,omitempty"`
	// Seconds is how long the measured operations took: the duration asked for,
	// or longer under an open load that was not kept up with.
	Seconds float64 `json:"seconds"`
	// PerSecond is Ops by Seconds.
	PerSecond float64 `json:"ops_per_second"`
	Latency   Latency `json:"latency_us"`
	// Slip is how late the generator itself began operations of an open load
	// for which a client was free. It is part of Latency, as the time at which
	// operations are due never moves.
	Slip *Latency `json:"slip_us,omitempty"`
}

// errGrace is why the context of a run ends when answers stay out.
var errGrace = errors.New("bench: no answer within the grace after the end of the run")

// Run offers a workload to clients that dial makes, and measures. It blocks
// for the warm-up, the duration and at most the grace, besides connecting and
// preloading, which are bounded by 30 s and 2 min. A client that can go on no
// more ends the run with its error.
func Run(ctx context.Context, w Workload, l Load, dial Dial) (Result, error) {
	return runPaced(ctx, w, l, dial, newPacer)
}

func runPaced(ctx context.Context, w Workload, l Load, dial Dial, newPacer func() (pacer, error)) (Result, error) {
	w, l = w.withDefaults(), l.withDefaults()
	if err := errors.Join(w.validate(), l.validate()); err != nil {
		return Result{}, err
	}
	clients, err := dialAll(ctx, l.Clients, dial)
	defer func() {
		for _, c := range clients {
			_ = c.Close() // it has nothing to say about what was measured
		}
	}()
	if err != nil {
		return Result{}, err
	}
	pool := newPool(w, l.Seed)
	if l.Preload == PreloadAlways || l.Preload == PreloadIfReading && w.Reads > 0 {
		if err := preload(ctx, w, l, clients, pool); err != nil {
			return Result{}, fmt.Errorf("bench: write all keys beforehand: %w", err)
		}
	}
	r := &run{
		w: w, l: l, pool: pool, newPacer: newPacer, from: l.Warmup, to: l.Warmup + l.Duration,
		latencies: newRecorder(), slips: newRecorder(),
	}
	return r.measure(ctx, clients)
}

func dialAll(ctx context.Context, n int, dial Dial) ([]Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	clients := make([]Client, 0, n)
	for i := range n {
		c, err := dial(ctx, i)
		if err != nil {
			return clients, fmt.Errorf("bench: connect client %d of %d: %w", i+1, n, err)
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// preload writes every key once. A refusal ends it: what is measured afterwards
// would not be what was asked for.
func preload(ctx context.Context, w Workload, l Load, clients []Client, pool []byte) error {
	ctx, cancel := context.WithTimeout(ctx, preloadTimeout)
	defer cancel()
	var next atomic.Int64
	return each(ctx, clients[:min(len(clients), preloadClients)], func(ctx context.Context, i int, c Client) error {
		src := newSource(w, l.Seed, -1-i, preloadBatch, pool)
		for {
			first := int(next.Add(preloadBatch)) - preloadBatch
			if first >= w.Keys {
				return nil
			}
			out, err := c.Do(ctx, src.fill(first, min(preloadBatch, w.Keys-first)))
			if err == nil && out.Failed > 0 {
				err = out.Err
			}
			if err != nil {
				return err
			}
		}
	})
}

// each runs fn for every client on a goroutine of its own, waits for all and
// returns the first error, which also ends the others' context.
func each(ctx context.Context, clients []Client, fn func(ctx context.Context, i int, c Client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for i, c := range clients {
		wg.Go(func() {
			if err := fn(ctx, i, c); err != nil && failed.CompareAndSwap(nil, &err) {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// run is one measurement in progress. Times in it count from begin.
type run struct {
	w        Workload
	l        Load
	pool     []byte
	newPacer func() (pacer, error)
	begin    time.Time
	// What completes (closed load) or is due (open load) from here, and before
	// there, is measured.
	from, to time.Duration

	latencies *recorder
	slips     *recorder
	ops       atomic.Int64
	failed    atomic.Int64
	missed    atomic.Int64
	left      atomic.Int64 // unanswered
	last      atomic.Int64 // the last completion, in ns since begin
	failure   atomic.Pointer[string]
}

func (r *run) now() time.Duration { return time.Since(r.begin) }

// measure runs the clients until everything is answered or the grace has ended.
func (r *run) measure(ctx context.Context, clients []Client) (Result, error) {
	r.begin = time.Now()
	runCtx, cancel := context.WithTimeoutCause(ctx, r.to+r.l.Grace, errGrace)
	defer cancel()
	loop := r.closed
	if r.l.Rate > 0 {
		loop = r.open
	}
	err := each(runCtx, clients, loop)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Result{}, fmt.Errorf("bench: measure: %w", err)
	}
	return r.result(), nil
}

// closed asks again and again until the end, but once at least: a client that
// does not get to it in time has waited too.
func (r *run) closed(ctx context.Context, i int, c Client) error {
	src := newSource(r.w, r.l.Seed, i, r.l.Pipeline, r.pool)
	n := r.l.Pipeline
	for start := min(r.now(), r.to-1); start < r.to; {
		out, err := c.Do(ctx, src.next(n))
		now := r.now()
		if err != nil {
			if !errors.Is(context.Cause(ctx), errGrace) {
				return err
			}
			r.latencies.record(i, now-start, n)
			r.left.Add(int64(n))
			return nil
		}
		if now >= r.from {
			// What began within the run is part of the distribution, also when
			// it ends after it: a stall at the end is not lost.
			r.latencies.record(i, now-start, n)
			if now < r.to {
				r.count(n, out)
			}
		}
		start = now
	}
	return nil
}

// open carries out what is due, in order, and counts from when it was due.
func (r *run) open(ctx context.Context, i int, c Client) error {
	src := newSource(r.w, r.l.Seed, i, r.l.Pipeline, r.pool)
	pace, err := r.newPacer()
	if err != nil {
		return err
	}
	defer pace.close()
	plan := schedule{clients: r.l.Clients, rate: r.l.Rate}
	total := plan.before(i, r.to)
	for k := 0; k < total; {
		due := plan.due(i, k)
		now := r.now()
		if now < due {
			if !pace.pause(ctx, due-now) {
				return r.giveUp(ctx, i, k, total, plan)
			}
			now = r.now()
			if due >= r.from {
				r.slips.record(i, now-due, 1)
			}
		}
		n := 1
		for n < r.l.Pipeline && k+n < total && plan.due(i, k+n) <= now {
			n++
		}
		out, err := c.Do(ctx, src.next(n))
		now = r.now()
		if err != nil {
			if !errors.Is(context.Cause(ctx), errGrace) {
				return err
			}
			return r.giveUp(ctx, i, k, total, plan)
		}
		measured := 0
		for j := k; j < k+n; j++ {
			if due := plan.due(i, j); due >= r.from {
				r.latencies.record(i, now-due, 1)
				measured++
			}
		}
		if measured > 0 {
			out.Failed, out.Missed = min(out.Failed, measured), min(out.Missed, measured)
			r.count(measured, out)
			r.finished(now)
		}
		k += n
	}
	return nil
}

// giveUp counts what a client has not had answers to when the grace has ended.
func (r *run) giveUp(ctx context.Context, i, k, total int, plan schedule) error {
	if !errors.Is(context.Cause(ctx), errGrace) {
		return context.Cause(ctx)
	}
	now := r.now()
	for ; k < total; k++ {
		if due := plan.due(i, k); due >= r.from {
			r.latencies.record(i, now-due, 1)
			r.left.Add(1)
		}
	}
	r.finished(now)
	return nil
}

func (r *run) count(n int, out Outcome) {
	r.ops.Add(int64(n - out.Failed))
	if out.Missed > 0 {
		r.missed.Add(int64(out.Missed))
	}
	if out.Failed > 0 {
		r.failed.Add(int64(out.Failed))
		if out.Err != nil {
			text := out.Err.Error()
			r.failure.CompareAndSwap(nil, &text)
		}
	}
}

// finished moves the time of the last completion on.
func (r *run) finished(now time.Duration) {
	for {
		last := r.last.Load()
		if int64(now) <= last || r.last.CompareAndSwap(last, int64(now)) {
			return
		}
	}
}

func (r *run) result() Result {
	took := r.l.Duration
	res := Result{
		Ops: r.ops.Load(), Failed: r.failed.Load(), Missed: r.missed.Load(), Unanswered: r.left.Load(),
		Latency: r.latencies.latency(),
	}
	if r.l.Rate > 0 {
		took = max(took, time.Duration(r.last.Load())-r.from)
		slip := r.slips.latency()
		res.Slip = &slip
	}
	if text := r.failure.Load(); text != nil {
		res.Failure = *text
	}
	res.Seconds = took.Seconds()
	res.PerSecond = float64(res.Ops) / res.Seconds
	return res
}
