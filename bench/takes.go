package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// takesSpace is where entries are taken from, and takesIndex what serves.
	takesSpace = "bench-takes"
	takesIndex = "section-tier"
	// takesSections and takesTiers make the kinds that consumers ask for: few
	// enough that the smallest space has some of each kind in most partitions.
	takesSections = 4
	takesTiers    = 8
	// loadTimeout bounds how long one size may take to be written.
	loadTimeout = 10 * time.Minute
	loadBatch   = 4096
	loadClients = 4
	// flatAtLeast is the share of the takes a second in the smallest space that
	// is to be reached in the largest.
	flatAtLeast = 0.5
	// takesWanted is how many takes a second are to be reached at every size.
	takesWanted = 50_000
)

// TakesConfig says how takes by template are measured. A zero field means its
// default.
type TakesConfig struct {
	// Start says how the members come to be. Default: in this process.
	Start Start
	// Members is how many there are. Default 3.
	Members int
	// Consumers are how many take at once, through one handle from outside.
	// Default 64.
	Consumers int
	// Sizes are how many entries the space has, each number a cell, ascending.
	// Default 10,000, 100,000 and 1,000,000.
	Sizes    []int
	Load     Load // looked at for Warmup, Duration, Grace and Seed
	Runs     int
	Progress func(string)
}

func (c TakesConfig) withDefaults() TakesConfig {
	orDefault(&c.Members, 3)
	orDefault(&c.Consumers, 64)
	orDefault(&c.Runs, 1)
	if len(c.Sizes) == 0 {
		c.Sizes = []int{10_000, 100_000, 1_000_000}
	}
	c.Load.Clients, c.Load.Pipeline, c.Load.Rate, c.Load.Preload = c.Consumers, 1, 0, PreloadNever
	return c
}

func (c TakesConfig) validate() error {
	switch {
	case !slices.IsSorted(c.Sizes):
		return fmt.Errorf("bench: sizes %v (give them in ascending order: the space only grows)", c.Sizes)
	case c.Sizes[0] < takesSections*takesTiers*c.Consumers/8:
		return fmt.Errorf("bench: %d entries are too few for %d consumers", c.Sizes[0], c.Consumers)
	case c.Sizes[len(c.Sizes)-1] > keysMax:
		return fmt.Errorf("bench: %d entries (give at most %d)", c.Sizes[len(c.Sizes)-1], keysMax)
	}
	return nil
}

// Takes measures takes of one entry each, by a template of two fields with a
// compound index and without a routing value, as the space grows. What is taken is
// written back in batches meanwhile, so that the space keeps its size; the takes
// alone are counted, and they wait when the writing back does not keep up.
//
// In the same run, and in this process, it measures what one replica pays for the
// upkeep of indexes, and for comparing one entry as it rests and after decoding.
func Takes(ctx context.Context, cfg TakesConfig) (report Report, err error) {
	cfg = cfg.withDefaults()
	report = newReport("takes", cfg.Load.withDefaults().Seed)
	if err := cfg.validate(); err != nil {
		return report, err
	}
	p := plan{runs: cfg.Runs, progress: cfg.Progress}
	if err := matchCells(ctx, p, &report, cfg.Load); err != nil {
		return report, err
	}
	p.sayf("start %d members", cfg.Members)
	m, err := startMembers(ctx, cfg.Start, cfg.Members)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	p.pids = m.pids()
	g, err := m.dial(ctx)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	def, err := g.CreateSpace(ctx, space.Definition{
		Name: takesSpace, Shape: space.ShapeFields, Indexes: []space.Index{{Name: takesIndex, Fields: []string{"section", "tier"}}},
	})
	if err != nil {
		return report, err
	}
	report.notef("takes: %s; consumers beside them, over TCP; what is taken is written back in batches meanwhile", m.where())
	err = cfg.takeCells(ctx, p, &report, g, def.ID)
	return report, err
}

// takeCells fills the space to each size and measures it there.
func (c TakesConfig) takeCells(ctx context.Context, p plan, report *Report, g *grid.Grid, id space.ID) error {
	there := 0
	var measured []Cell
	for _, size := range c.Sizes {
		p.sayf("write entries %d to %d", there, size)
		begun := time.Now()
		if err := fillTakes(ctx, g, id, there, size); err != nil {
			return fmt.Errorf("bench: fill the space: %w", err)
		}
		if took := time.Since(begun); took > 0 && size > there {
			p.sayf("%s entries a second", grouped(float64(size-there)/took.Seconds()))
		}
		there = size
		back := newPutBack(ctx, g, id)
		w := Workload{Keys: size, ValueSize: len(takesValue(0))}
		cells, err := p.cell(ctx, fmt.Sprintf("takes-%d", size), w, c.Load, target{name: "spacegrid", dial: dialTakes(g, back)})
		if err = errors.Join(err, back.close()); err != nil {
			return err
		}
		measured = append(measured, cells...)
	}
	report.Cells = append(report.Cells, measured...)
	for i := range measured {
		wanted := Cell{Target: "what is wanted", Result: Result{PerSecond: takesWanted}}
		report.Ratios = append(report.Ratios, newRatio(measured[i], wanted, 1))
	}
	if small, large := measured[0], measured[len(measured)-1]; len(measured) > 1 {
		r := newRatio(large, small, flatAtLeast)
		r.Name = "takes-flat"
		r.Target, r.Peer = grouped(float64(large.Workload.Keys))+" entries", grouped(float64(small.Workload.Keys))+" entries"
		report.Ratios = append(report.Ratios, r)
	}
	return nil
}

// takesKey and takesValue are entry number n of the space.
func takesKey(dst []byte, n int) []byte {
	dst = slices.Grow(dst[:0], 16)[:16]
	putKey(dst, uint64(n))
	return dst
}

func takesFields(n int) map[string]any {
	return map[string]any{
		"section": fmt.Sprintf("section-%02d", n%takesSections), "tier": int64(n / takesSections % takesTiers),
		"row": int64(n % 97), "seat": int64(n % 31), "price": float64(n%10_000) + 0.99, "status": "open", "holder": "nobody in particular",
	}
}

func takesValue(n int) []byte {
	b, err := grid.FieldsOf(takesFields(n))
	if err != nil {
		panic("bench: plain fields are refused: " + err.Error())
	}
	return b
}

// fillTakes writes entries from one number up to another, in batches.
func fillTakes(ctx context.Context, g *grid.Grid, id space.ID, from, to int) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	var next atomic.Int64
	next.Store(int64(from))
	errs := make([]error, loadClients)
	var wg sync.WaitGroup
	for i := range loadClients {
		wg.Go(func() {
			b := g.NewBatch()
			for errs[i] == nil {
				first := int(next.Add(loadBatch)) - loadBatch
				if first >= to {
					return
				}
				b.Reset()
				for n := first; n < min(first+loadBatch, to); n++ {
					b.Do(space.Op{Code: space.OpWrite, Space: id, Key: takesKey(nil, n), Kind: space.KindFields, Value: takesValue(n)})
				}
				errs[i] = runBatch(ctx, g, b)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// runBatch carries out a batch all of whose operations are to succeed.
func runBatch(ctx context.Context, g *grid.Grid, b *grid.Batch) error {
	if err := g.Run(ctx, b); err != nil {
		return err
	}
	for at := range b.Len() {
		if _, err := b.Result(at); err != nil {
			return err
		}
	}
	return nil
}

const (
	// putBackQueue is how many taken entries may wait to be written back, and
	// putBackBatch how many of them are written at once.
	putBackQueue = 1024
	putBackBatch = 256
)

// putBack writes taken entries back.
type putBack struct {
	taken  chan grid.Entry
	failed atomic.Pointer[error]
	wg     sync.WaitGroup
}

func newPutBack(ctx context.Context, g *grid.Grid, id space.ID) *putBack {
	p := &putBack{taken: make(chan grid.Entry, putBackQueue)}
	for range loadClients {
		p.wg.Go(func() { p.run(ctx, g, id) })
	}
	return p
}

// run writes back what is there, as much as there is, until close.
func (p *putBack) run(ctx context.Context, g *grid.Grid, id space.ID) {
	b := g.NewBatch()
	for e, more := <-p.taken; more; e, more = <-p.taken {
		b.Reset()
		for n := 0; more; n++ {
			b.Do(space.Op{Code: space.OpWrite, Space: id, Key: e.Key, Kind: e.Kind, Value: e.Value})
			if n == putBackBatch || len(p.taken) == 0 {
				break
			}
			e, more = <-p.taken
		}
		if err := runBatch(ctx, g, b); err != nil {
			p.failed.CompareAndSwap(nil, &err)
		}
	}
}

// close waits until everything is written back, and returns the first failure.
func (p *putBack) close() error {
	close(p.taken)
	p.wg.Wait()
	if err := p.failed.Load(); err != nil {
		return fmt.Errorf("bench: write back what was taken: %w", *err)
	}
	return nil
}

// takeClient is one consumer.
type takeClient struct {
	g    *grid.Grid
	back *putBack
	n    int // of the next kind to ask for
}

func dialTakes(g *grid.Grid, back *putBack) Dial {
	return func(_ context.Context, client int) (Client, error) {
		return &takeClient{g: g, back: back, n: client * 7}, nil
	}
}

// Do takes one entry for each operation, of one kind after the other.
func (c *takeClient) Do(ctx context.Context, ops []Op) (Outcome, error) {
	var out Outcome
	for range ops {
		c.n++
		kind := takesFields(c.n)
		es, err := c.g.TakeMatch(ctx, takesSpace, grid.Template{"section": kind["section"], "tier": kind["tier"]}, grid.TakeOptions{})
		switch {
		case errors.Is(err, grid.ErrNotFound):
			out.Missed++
		case err != nil && ctx.Err() != nil:
			return out, context.Cause(ctx)
		case err != nil:
			out.Failed++
			out.Err = err
		default:
			c.back.taken <- es[0]
		}
	}
	return out, nil
}

// Close leaves the handle to its owner.
func (c *takeClient) Close() error { return nil }
