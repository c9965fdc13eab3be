package datapump

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// DefaultBatchChanges bounds a batch: beyond it a larger one gains a sink
	// nothing and makes the next one wait.
	DefaultBatchChanges = 4096
	// DefaultBatchBytes bounds the same by size.
	DefaultBatchBytes = 512 << 10
	// DefaultCallTimeout bounds one call of a sink. A sink that hangs is then
	// tried again like one that fails.
	DefaultCallTimeout = 30 * time.Second
)

// Config says what a pump feeds and how.
type Config struct {
	// Name of the sink, for logs and status.
	Name string
	Sink Sink
	// Takeover lets the pump replace a partition that the sink holds in another
	// history, also if the one that feeds it does not go on from there. Otherwise such a partition is stopped, and what the sink holds
	// stays as it is. Every taking over is logged.
	Takeover bool
	// Wants reports whether the sink gets the changes of a space; nil: of all. The
	// pump asks from its own goroutine; the answer for a space must stay the same.
	Wants func(space.ID) bool
	// EveryChange hands every single change to the sink, instead of folding those
	// of one key within a batch.
	EveryChange bool
	// BatchChanges and BatchBytes bound a batch; defaults DefaultBatchChanges and
	// DefaultBatchBytes. A single command beyond them is a batch of its own.
	BatchChanges int
	BatchBytes   int
	// MaxHeld bounds the keys of one partition that are held back because of dead
	// letters; default DefaultMaxHeld.
	MaxHeld int
	// CallTimeout bounds one call of the sink; default DefaultCallTimeout.
	CallTimeout time.Duration
	// Backoff says how a failing sink is tried again.
	Backoff Backoff
	// OnDurable is called after a watermark has moved, from the pump's goroutine;
	// it must be quick and must not call the pump. Nil is no call.
	OnDurable func(Watermark)
	// Logger gets one line for each change of state; nil discards them.
	Logger *slog.Logger
	// Now and Chance are the clock and a draw from [0, 1); defaults time.Now and
	// rand.Float64.
	Now    func() time.Time
	Chance func() float64
}

func (c Config) withDefaults() (Config, error) {
	if c.Sink == nil {
		return c, errors.New("datapump: Config.Sink is missing")
	}
	if c.BatchChanges < 0 || c.BatchBytes < 0 || c.CallTimeout < 0 || c.MaxHeld < 0 {
		return c, errors.New("datapump: Config has a negative limit")
	}
	c.BatchChanges = cmp.Or(c.BatchChanges, DefaultBatchChanges)
	c.BatchBytes = cmp.Or(c.BatchBytes, DefaultBatchBytes)
	c.MaxHeld = cmp.Or(c.MaxHeld, DefaultMaxHeld)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.Backoff = c.Backoff.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Chance == nil {
		c.Chance = rand.Float64
	}
	return c, nil
}

// Watermark is how far a sink has come in a partition.
type Watermark struct {
	Partition space.PartitionID
	History   space.History
	Seq       space.Seq
}

// Pump feeds one sink with all partitions that were added to it. Its goroutine
// starts with Open and ends with Close. All methods may be called concurrently.
type Pump struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{} // closed when the loop has ended
	wake   chan struct{} // one slot: there is something to look at
	index  sync.Map      // space.PartitionID → *feed, for Notify

	// mu is never held during a call of a source or a sink, Describe aside.
	mu struct {
		sync.Mutex
		feeds  map[space.PartitionID]*feed
		ready  []*feed            // to be looked at, in the order in which they asked
		asleep map[*feed]struct{} // to be looked at again when their retry is due
		sink   breaker
		err    error // the sink's last trouble, nil once it is over
		paused bool
		busy   bool // a round is under way
		closed bool
		stats  Stats
		// meanBytes is the recent mean size of a change.
		meanBytes int
		// progress is closed and replaced whenever something has moved.
		progress chan struct{}
	}

	// What follows belongs to the loop.
	folder  *folder
	batch   Batch
	changes []space.Change // behind the sections of batch
	reached []Watermark    // moved in this round, to be reported
}

// Open starts a pump without partitions.
func Open(cfg Config) (*Pump, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pump{
		cfg: cfg, cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		folder: newFolder(),
	}
	p.mu.meanBytes = firstMeanBytes
	p.mu.feeds = map[space.PartitionID]*feed{}
	p.mu.asleep = map[*feed]struct{}{}
	p.mu.sink.policy = cfg.Backoff
	p.mu.progress = make(chan struct{})
	go p.run(ctx)
	return p, nil
}

// Add makes the pump feed a partition from src: the sink is fenced, then gets
// what it lacks. A partition that is there already begins anew, which is how a
// higher epoch or another history reaches the sink. Add does not block.
func (p *Pump) Add(id space.PartitionID, src Source) error {
	d := src.Describe()
	f := &feed{id: id, src: src, cursor: cursor{history: d.History, last: d.Last}}
	f.retry.policy = p.cfg.Backoff
	f.lag.came(d.Last, p.cfg.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return ErrClosed
	}
	p.dismissLocked(id)
	p.mu.feeds[id] = f
	p.index.Store(id, f)
	p.enqueueLocked(f)
	p.movedLocked()
	return nil
}

// Remove makes the pump forget a partition. A batch that is already with the
// sink may still arrive there; that is harmless, because whoever feeds the sink
// next fences it first. Remove does not block.
func (p *Pump) Remove(id space.PartitionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dismissLocked(id)
	p.movedLocked()
}

func (p *Pump) dismissLocked(id space.PartitionID) {
	f := p.mu.feeds[id]
	if f == nil {
		return
	}
	delete(p.mu.feeds, id)
	delete(p.mu.asleep, f)
	p.index.Delete(id)
	f.removed = true
	p.enqueueLocked(f) // the loop gives up its resync
}

// Notify says that a partition has new changes. It is called after every
// applied command, from any goroutine, and costs a few loads unless it is the
// first call since the pump last looked. It never waits for the sink.
func (p *Pump) Notify(id space.PartitionID) {
	v, ok := p.index.Load(id)
	if !ok {
		return
	}
	f := v.(*feed)
	if f.notified.Load() != 0 || !f.notified.CompareAndSwap(0, max(1, p.cfg.Now().UnixNano())) {
		return
	}
	p.mu.Lock()
	p.enqueueLocked(f)
	p.mu.Unlock()
}

// enqueueLocked puts a feed into the ready list and wakes the loop.
func (p *Pump) enqueueLocked(f *feed) {
	if f.queued {
		return
	}
	f.queued = true
	p.mu.ready = append(p.mu.ready, f)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// movedLocked wakes those who wait for progress.
func (p *Pump) movedLocked() {
	close(p.mu.progress)
	p.mu.progress = make(chan struct{})
}

// Watermarks returns how far the sink has come, ascending by partition. A
// partition whose fence is still under way is not among them.
func (p *Pump) Watermarks() []Watermark {
	p.mu.Lock()
	defer p.mu.Unlock()
	marks := make([]Watermark, 0, len(p.mu.feeds))
	for _, f := range p.mu.feeds {
		if f.state == Following || f.state == Ahead {
			marks = append(marks, Watermark{f.id, f.history, f.watermark})
		}
	}
	slices.SortFunc(marks, func(a, b Watermark) int { return cmp.Compare(a.Partition, b.Partition) })
	return marks
}

// Flush waits until everything that the partitions had when it was called is
// durable in the sink. It fails with ErrRemoved if a partition leaves the pump
// or changes its history meanwhile, with ErrClosed, and at the end of ctx. A
// paused pump, or a stopped partition with a backlog, keeps it waiting.
func (p *Pump) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var targets []Watermark
	for _, f := range p.mu.feeds {
		targets = append(targets, Watermark{f.id, f.history, f.src.Describe().Last})
		p.enqueueLocked(f)
	}
	return p.awaitLocked(ctx, func() (bool, error) {
		for len(targets) > 0 {
			t := targets[len(targets)-1]
			f := p.mu.feeds[t.Partition]
			switch {
			case f == nil || f.history != t.History:
				return false, ErrRemoved
			case f.state != Following && f.state != Ahead || f.watermark < t.Seq:
				return false, nil
			}
			targets = targets[:len(targets)-1]
		}
		return true, nil
	})
}

// Pause stops the pump after the call that is under way and waits for it. What
// comes meanwhile stays in the changelogs. If ctx ends first, the pump is paused
// all the same.
func (p *Pump) Pause(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.paused = true
	return p.awaitLocked(ctx, func() (bool, error) { return !p.mu.busy, nil })
}

// Resume ends a pause.
func (p *Pump) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.paused = false
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// awaitLocked waits until met. The mutex is held on entry, on return and during
// met, and free while waiting.
func (p *Pump) awaitLocked(ctx context.Context, met func() (bool, error)) error {
	for {
		if ok, err := met(); ok || err != nil {
			return err
		}
		if p.mu.closed {
			return ErrClosed
		}
		progress := p.mu.progress
		p.mu.Unlock()
		select {
		case <-progress:
			p.mu.Lock()
		case <-ctx.Done():
			p.mu.Lock()
			return ctx.Err()
		}
	}
}

// Close stops the pump and waits for it: the call that is under way is
// cancelled, a resync is given up. What is not durable stays in the changelogs;
// call Flush first to leave nothing behind. It is safe to call twice.
func (p *Pump) Close() error {
	p.mu.Lock()
	p.mu.closed = true
	p.movedLocked()
	p.mu.Unlock()
	p.cancel()
	<-p.done
	return nil
}
