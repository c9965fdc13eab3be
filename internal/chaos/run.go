package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Defaults of a run.
const (
	DefaultMembers = 3
	DefaultClients = 8
	DefaultRate    = 400.0           // operations a second, all clients together
	DefaultMinRate = 20.0            // less makes a run invalid
	DefaultWarm    = 2 * time.Second // load before the first fault
	DefaultUnder   = 20 * time.Second
	DefaultCalm    = 3 * time.Second // load after the last one
	// MaxStall is for how long the harness may be held up without making a run
	// invalid: more would look like a grid that does not answer.
	MaxStall = 2 * time.Second
)

const (
	// healTime is how long it may take until a healed cluster is ready.
	healTime = 60 * time.Second
	// finishTime bounds final reads, settling and the look into the stores.
	finishTime = 2 * time.Minute
	// strikeTime bounds one injection or healing.
	strikeTime = 90 * time.Second
	// strikesTime bounds a run that goes by the number of its faults, for each.
	strikesTime = 20 * time.Second
)

// Config describes a run.
type Config struct {
	Workload workload.Workload
	// Column has the faults, which are drawn from with the same chance each; none is a
	// run in peace.
	Column Column
	Seed   uint64
	// Folder takes the history, the members' data and their logs. It is removed
	// after a run that passed, unless Keep.
	Folder string
	Keep   bool
	// Binary is the program whose members are put to the test.
	Binary  string
	Members int
	Clients int
	Rate    float64
	MinRate float64
	// Warm, Under and Calm are how long the load lasts before, under and after the
	// faults.
	Warm, Under, Calm time.Duration
	// Strikes, if not 0, is how many faults are injected, however long that takes;
	// Under does not count then.
	Strikes int
	// Logger gets what the harness does; nil discards it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	setDefault(&c.Members, DefaultMembers)
	setDefault(&c.Clients, DefaultClients)
	setDefault(&c.Rate, DefaultRate)
	setDefault(&c.MinRate, DefaultMinRate)
	setDefault(&c.Warm, DefaultWarm)
	setDefault(&c.Under, DefaultUnder)
	setDefault(&c.Calm, DefaultCalm)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// historyName is the file of a run's folder that the clients record into.
const historyName = "history.jsonl"

// Run carries out one run. It fails only if the run could not be begun or if ctx
// ended; whatever the run shows, also that it shows nothing, is in the Result.
func Run(ctx context.Context, cfg Config) (Result, error) {
	cfg = cfg.withDefaults()
	r := &run{Config: cfg, began: time.Now(), schedule: newSchedule(cfg.Seed, cfg.Column.Faults)}
	r.result = Result{Workload: cfg.Workload.Name(), Fault: cfg.Column.Name, Seed: cfg.Seed}
	if err := os.MkdirAll(cfg.Folder, 0o755); err != nil {
		return r.result, fmt.Errorf("chaos: %w", err)
	}
	err := r.do(ctx)
	r.result.Took = time.Since(r.began)
	if ctx.Err() != nil {
		return r.result, errors.Join(ctx.Err(), err)
	}
	r.conclude(err)
	if r.result.Outcome == Passed && !cfg.Keep {
		return r.result, os.RemoveAll(cfg.Folder)
	}
	r.result.Folder = cfg.Folder
	return r.result, nil
}

// run is one run under way.
type run struct {
	Config
	began    time.Time
	schedule *schedule
	lab      *lab.Lab
	history  *workload.History
	load     time.Duration // how long the clients worked
	result   Result
}

// invalidError is why a run proves nothing.
type invalidError struct{ err error }

func (e *invalidError) Error() string { return e.err.Error() }

func (e *invalidError) Unwrap() error { return e.err }

// brokenError is a promise that was broken in a way that no history shows: members
// that did not recover.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }

func (e *brokenError) Unwrap() error { return e.err }

func (r *run) do(ctx context.Context) (err error) {
	r.lab, err = openLab(ctx, &r.Config)
	if err != nil {
		return &invalidError{fmt.Errorf("make the cluster: %w", err)}
	}
	defer func() { err = errors.Join(err, r.lab.End()) }()
	h, file, err := workload.CreateHistory(filepath.Join(r.Folder, historyName))
	if err != nil {
		return &invalidError{err}
	}
	r.history = h
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := r.Workload.Prepare(ctx, r.lab); err != nil {
		return &invalidError{fmt.Errorf("prepare: %w", err)}
	}
	if err := r.underLoad(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// openLab starts the members that a run needs, and waits until they are ready.
func openLab(ctx context.Context, c *Config) (*lab.Lab, error) {
	folder := filepath.Join(c.Folder, "members")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	l, err := lab.Open(ctx, lab.Config{
		Folder: folder, Binary: c.Binary, Members: c.Members, Doors: true, Logger: c.Logger,
		Flags: []string{"--durability", "disk", "--log-level", "warn"},
	})
	if err != nil {
		return nil, err
	}
	if err := l.StartAll(); err != nil {
		return nil, errors.Join(err, l.End())
	}
	if err := l.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, l.End())
	}
	return l, nil
}

// underLoad has the clients work while faults come and go.
func (r *run) underLoad(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	stalls := watchStalls()
	began := time.Now()
	clients := make(chan error, 1)
	go func() {
		clients <- r.Workload.Run(loading, r.lab, r.history, workload.Options{Seed: r.Seed, Clients: r.Clients, Rate: r.Rate})
	}()
	err := r.faults(ctx, began)
	stop()
	err = errors.Join(err, wrapInvalid("the clients", <-clients))
	r.load = time.Since(began)
	r.result.Stall = stalls.end()
	return err
}

func wrapInvalid(what string, err error) error {
	if err == nil {
		return nil
	}
	return &invalidError{fmt.Errorf("%s: %w", what, err)}
}

// faults injects what the schedule says, for Under, and leaves a healed cluster
// under load for Calm.
func (r *run) faults(ctx context.Context, began time.Time) error {
	if err := rest(ctx, r.Warm); err != nil {
		return err
	}
	for end := time.Now().Add(r.Under); len(r.Column.Faults) > 0 && r.more(end); {
		s := r.schedule.next()
		if err := r.strike(ctx, s, began); err != nil {
			return err
		}
		pause := s.pause
		if r.Strikes == 0 {
			pause = min(pause, max(0, time.Until(end)))
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
	if len(r.Column.Faults) == 0 {
		if err := rest(ctx, r.Under); err != nil {
			return err
		}
	}
	if err := r.recovered(ctx); err != nil {
		return err
	}
	return rest(ctx, r.Calm)
}

// more reports whether the schedule goes on.
func (r *run) more(end time.Time) bool {
	if r.Strikes > 0 {
		return len(r.result.Injuries) < r.Strikes && time.Since(r.began) < r.strikesTime()
	}
	return time.Now().Before(end)
}

func (r *run) strikesTime() time.Duration { return time.Duration(r.Strikes) * strikesTime }

// strike injects one fault, holds it and heals it.
func (r *run) strike(ctx context.Context, s step, began time.Time) error {
	striking, cancel := context.WithTimeout(ctx, strikeTime)
	defer cancel()
	at := time.Now()
	injury, err := s.fault.Strike(striking, r.lab, s.rand)
	if _, held := errors.AsType[*lab.HeldError](err); held || errors.Is(err, fault.ErrNoFile) {
		return nil // whom or what it needs is not there now: the schedule goes on
	}
	if err != nil {
		return wrapInvalid("fault "+s.fault.Name(), err)
	}
	r.Logger.Info("chaos: fault", "fault", s.fault.Name(), "what", injury.String(), "hold", s.hold)
	resting := rest(ctx, s.hold)
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), strikeTime)
	defer cancel()
	err = injury.Heal(healing)
	r.result.Injuries = append(r.result.Injuries, Injury{
		Fault: s.fault.Name(), What: injury.String(), At: at.Sub(began), Held: time.Since(at), Verified: err == nil,
	})
	return errors.Join(resting, wrapInvalid("heal "+s.fault.Name(), err))
}

// recovered waits until the cluster is whole again. That it does not get so is a
// broken promise, not a run that proves nothing.
func (r *run) recovered(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	if err := r.lab.AwaitReady(waiting); err != nil && ctx.Err() == nil {
		return &brokenError{fmt.Errorf("all faults are healed and the cluster is not ready: %w", err)}
	}
	return ctx.Err()
}

// finish makes the final reads, and compares the stores with the grid.
func (r *run) finish(ctx context.Context) error {
	finishing, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	if err := r.Workload.Finish(finishing, r.lab, r.history); err != nil {
		return &brokenError{fmt.Errorf("final reads: %w", err)}
	}
	if err := r.lab.AwaitSettled(finishing); err != nil {
		return &brokenError{err}
	}
	if err := replicasEqual(finishing, r.lab); err != nil {
		return &brokenError{err}
	}
	return r.stores(finishing)
}

// rest waits for d.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// conclude judges the history and says what the run shows.
func (r *run) conclude(err error) {
	res := &r.result
	if v, jerr := judgeFile(r.Workload, filepath.Join(r.Folder, historyName)); jerr == nil {
		res.Verdict = *v
	} else {
		err = errors.Join(err, &invalidError{jerr})
	}
	if r.load > 0 {
		res.Rate = float64(res.Verdict.OK) / r.load.Seconds()
	}
	res.Outcome, res.Reason = r.outcome(err)
}

func (r *run) outcome(err error) (Outcome, string) {
	res := &r.result
	var promise *brokenError
	switch word := broken(&res.Verdict); {
	case word != "":
		return Failed, word
	case errors.As(err, &promise):
		return Failed, promise.Error()
	case res.StoreDiffers > 0:
		return Failed, fmt.Sprintf("the stores differ from the grid in %d rows", res.StoreDiffers)
	case err != nil:
		return Invalid, err.Error()
	case res.Verdict.Unknown > 0:
		return Unknown, fmt.Sprintf("%d checks did not come to their end", res.Verdict.Unknown)
	case len(r.Column.Faults) > 0 && res.verified() < max(1, r.Strikes):
		return Invalid, fmt.Sprintf("%d faults happened, and %d are the least", res.verified(), max(1, r.Strikes))
	case res.Rate < r.MinRate:
		return Invalid, fmt.Sprintf("%.0f operations a second were done, and %.0f are the least", res.Rate, r.MinRate)
	case res.Stall > MaxStall:
		return Invalid, fmt.Sprintf("the harness did not get to run for %s", res.Stall.Round(time.Millisecond))
	}
	return Passed, ""
}
