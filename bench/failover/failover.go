package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Kind is what is done to a member.
type Kind string

// What can be done to a member.
const (
	Kill  Kind = "kill"  // SIGKILL; started again afterwards
	Pause Kind = "pause" // SIGSTOP; SIGCONT afterwards
	Cut   Kind = "cut"   // nothing passes between it and the other members
)

// Kinds are all of them, in the order in which they are measured.
var Kinds = []Kind{Kill, Pause, Cut}

// Target is a cluster that is injured. Its methods are called by one goroutine,
// those of its writers by one each.
type Target interface {
	// Name says what it is, with its version and the settings that matter.
	Name() string
	// Missing says why a kind of injury cannot be done to it here, "" if it can.
	Missing(k Kind) string
	// Ready returns nil when all members are there and replicate everything.
	Ready(ctx context.Context) error
	// Writer returns what writes one key and returns when that is acknowledged. It
	// repeats what the system's client repeats by itself.
	Writer(ctx context.Context, key string) (Writer, error)
	// Injure picks the member that takes the writes of key, if there is one that
	// does so alone, and injures it. heal undoes it.
	Injure(ctx context.Context, k Kind, key string) (heal func(ctx context.Context) error, err error)
	// Close ends everything.
	Close() error
}

// Writer writes one key.
type Writer interface {
	Write(ctx context.Context, value []byte) error
	Close() error
}

// Config describes a run. Zero fields take their defaults.
type Config struct {
	Kind  Kind
	Times int // default 100
	Keys  int // default 16
	// Attempt bounds one write: a client that has no answer by then tries again.
	// Default 500 ms.
	Attempt time.Duration
	// Hold is for how long an injury lasts at least; it lasts until all keys are
	// written again. Default 1 s.
	Hold time.Duration
	// Told gets each gap as it comes.
	Told func(n int, gap time.Duration)
}

const (
	pace      = 2 * time.Millisecond // between two writes of a key
	calmTime  = 500 * time.Millisecond
	backTime  = 60 * time.Second // until all keys are written again
	readyTime = 120 * time.Second
	readyPoll = 100 * time.Millisecond
)

func (c Config) withDefaults() Config {
	if c.Times == 0 {
		c.Times = 100
	}
	if c.Keys == 0 {
		c.Keys = 16
	}
	if c.Attempt == 0 {
		c.Attempt = 500 * time.Millisecond
	}
	if c.Hold == 0 {
		c.Hold = time.Second
	}
	return c
}

// ErrGone is returned when keys cannot be written any more after an injury.
var ErrGone = errors.New("failover: writes did not come back")

// Run injures a target many times and returns the distribution of the gaps. With
// an error it returns those that were measured before.
func Run(ctx context.Context, t Target, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	r := Report{Target: t.Name(), Kind: cfg.Kind, Keys: cfg.Keys}
	if why := t.Missing(cfg.Kind); why != "" {
		r.Skipped = why
		return r, nil
	}
	var writers []*writer
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer func() {
		cancel()
		working.Wait()
		for _, w := range writers {
			_ = w.Close() // everything that counts has been acknowledged
		}
	}()
	for i := range cfg.Keys {
		key := fmt.Sprintf("gap-%d", i)
		w, err := t.Writer(ctx, key)
		if err != nil {
			return r, err
		}
		writers = append(writers, &writer{Writer: w, key: key, attempt: cfg.Attempt})
	}
	for _, w := range writers {
		working.Go(func() { w.run(ctx) })
	}
	for n := range cfg.Times {
		gap, err := injure(ctx, t, &cfg, writers, writers[n%len(writers)].key)
		if err != nil {
			return r, fmt.Errorf("failover: %s, %s number %d: %w", t.Name(), cfg.Kind, n+1, err)
		}
		r.add(gap)
		if cfg.Told != nil {
			cfg.Told(n+1, gap)
		}
	}
	return r, nil
}

// injure injures once and returns the gap.
func injure(ctx context.Context, t Target, cfg *Config, writers []*writer, key string) (time.Duration, error) {
	if err := awaitReady(ctx, t); err != nil {
		return 0, err
	}
	if err := sleep(ctx, calmTime); err != nil {
		return 0, err
	}
	at := time.Now()
	for _, w := range writers {
		w.reset(at)
	}
	heal, err := t.Injure(ctx, cfg.Kind, key)
	if err != nil {
		return 0, err
	}
	err = back(ctx, at, cfg.Hold, writers)
	// What was injured is healed, whatever came of it.
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
	defer cancel()
	if err := errors.Join(err, heal(healing)); err != nil {
		return 0, err
	}
	gap := time.Duration(0)
	for _, w := range writers {
		gap = max(gap, w.longest())
	}
	return gap, nil
}

// back waits until the hold is over and every key has been acknowledged after it
// was last silent.
func back(ctx context.Context, at time.Time, hold time.Duration, writers []*writer) error {
	if err := sleep(ctx, hold); err != nil {
		return err
	}
	for {
		silent := slices.ContainsFunc(writers, func(w *writer) bool { return !w.since(at.Add(hold)) })
		if !silent {
			return nil
		}
		if time.Since(at) > backTime {
			return ErrGone
		}
		if err := sleep(ctx, pace); err != nil {
			return err
		}
	}
}

func awaitReady(ctx context.Context, t Target) error {
	for end := time.Now().Add(readyTime); ; {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := t.Ready(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the cluster is not whole again: %w", err)
		}
		if err := sleep(ctx, readyPoll); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// writer writes one key again and again and notes when it was acknowledged.
type writer struct {
	Writer
	key     string
	attempt time.Duration

	mu   sync.Mutex
	last time.Time // of the last acknowledgement
	gap  time.Duration
}

func (w *writer) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		attempt, cancel := context.WithTimeout(ctx, w.attempt)
		err := w.Write(attempt, fmt.Appendf(nil, "%s=%d", w.key, n))
		cancel()
		if err == nil {
			w.acknowledged(time.Now())
		}
		// An error is what a gap is made of; the next attempt tells how long it is.
		if sleep(ctx, pace) != nil {
			return
		}
	}
}

func (w *writer) acknowledged(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() {
		w.gap = max(w.gap, now.Sub(w.last))
	}
	w.last = now
}

// reset begins to measure anew.
func (w *writer) reset(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gap, w.last = 0, now
}

// since reports whether a write was acknowledged after a time.
func (w *writer) since(at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.After(at)
}

func (w *writer) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap
}
