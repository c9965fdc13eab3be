package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	parcelSpace = "parcels"
	// parcelKinds is how many kinds there are to ask for.
	parcelKinds = 16
	// aheadMax is how many entries writers may be ahead of the takers, for each
	// writer: enough for takers to find, little enough to be gone soon at the end.
	aheadMax = 16
	// takeWait is how long a taker waits that waits: longer than most failovers.
	takeWait = 2 * time.Second
	// idleTime is how long a client waits that has nothing to do.
	idleTime = 2 * time.Millisecond
)

// parcel is what writers write and takers take.
type parcel struct {
	ID     string `grid:"id,key"`
	Kind   string `grid:"kind,index"`
	Number int64  `grid:"number"`
	Body   string `grid:"body"`
}

func (p *parcel) entry() check.Entry { return check.Entry{Key: p.ID, Kind: p.Kind, Number: p.Number} }

func parcelKind(i int) string { return fmt.Sprintf("kind-%02d", i%parcelKinds) }

type takesClientFlags struct {
	duration        time.Duration
	takers, writers int
	writes, takes   string
}

// takesClientCommand is the client process of a run of takes.
func (a *app) takesClientCommand() *cobra.Command {
	var f takesClientFlags
	c := &cobra.Command{
		Use:    "client",
		Short:  "Write and take for a run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := a.whileWatched(c.Context())
			defer cancel()
			return a.takesClient(ctx, f)
		},
	}
	p := c.Flags()
	p.DurationVar(&f.duration, "duration", 0, "how long to write")
	p.IntVar(&f.takers, "takers", 0, "takers at once")
	p.IntVar(&f.writers, "writers", 0, "writers at once")
	p.StringVar(&f.writes, "writes", "", "file for the history of writes")
	p.StringVar(&f.takes, "takes", "", "file for the history of takes")
	return c
}

// takesClient writes for a while and takes until nothing is left. Takers have a
// connection of their own.
func (a *app) takesClient(ctx context.Context, f takesClientFlags) (err error) {
	c := &takesClient{}
	for _, open := range []struct {
		log  **workLog
		path string
	}{{&c.writes, f.writes}, {&c.takes, f.takes}} {
		if *open.log, err = openWorkLog(open.path); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, (*open.log).close()) }()
	}
	var grids [2]*grid.Grid
	for i := range grids {
		if grids[i], err = a.dial(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, grids[i].Close()) }()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.fail = cancel
	writers, err := grid.OpenSpace[parcel](ctx, grids[0], parcelSpace)
	if err != nil {
		return err
	}
	takers, err := grid.OpenSpace[parcel](ctx, grids[1], parcelSpace)
	if err != nil {
		return err
	}
	c.ahead = int64(f.writers * aheadMax)
	end := time.Now().Add(f.duration)
	var writing, taking sync.WaitGroup
	for i := range f.writers {
		writing.Go(func() { c.write(ctx, writers, i, end) })
	}
	for i := range f.takers {
		taking.Go(func() { c.take(ctx, takers, i) })
	}
	writing.Wait()
	c.written.Store(true)
	taking.Wait()
	return context.Cause(ctx)
}

// takesClient is the state of the client process.
type takesClient struct {
	writes, takes *workLog
	fail          context.CancelCauseFunc
	ahead         int64        // how many entries may be there
	there         atomic.Int64 // about how many are
	written       atomic.Bool  // the writers have ended
}

// write writes entries, each under a key of its own, until the time is over.
func (c *takesClient) write(ctx context.Context, s *grid.Space[parcel], writer int, end time.Time) {
	for n := 1; ctx.Err() == nil && time.Now().Before(end); {
		if c.there.Load() >= c.ahead {
			sleep(ctx, idleTime)
			continue
		}
		p := parcel{
			ID: fmt.Sprintf("w%02d-%06d", writer, n), Kind: parcelKind(rand.IntN(parcelKinds)), Number: int64(n),
			Body: strings.Repeat("x", 64),
		}
		n++
		request, cancel := context.WithTimeout(ctx, requestTime)
		_, err := s.Write(request, p)
		cancel()
		w := check.Write{Entry: p.entry()}
		if w.Outcome, err = outcomeOf(err); err == nil {
			err = c.writes.note(&w)
		}
		if err != nil {
			c.fail(fmt.Errorf("write %s: %w", p.ID, err))
			return
		}
		if w.Outcome != check.Refused {
			c.there.Add(1)
		}
	}
}

// take takes entries of one kind after the other. It ends when the writers have
// and every kind has been found empty after that, one after the other.
func (c *takesClient) take(ctx context.Context, s *grid.Space[parcel], taker int) {
	empty := 0
	for i := taker; ctx.Err() == nil && empty < parcelKinds; i++ {
		over := c.written.Load()
		t := check.Take{Wanted: parcelKind(i)}
		request, cancel := context.WithTimeout(ctx, requestTime)
		p, err := takeParcel(request, s, taker, t.Wanted, over)
		cancel()
		nothing := errors.Is(err, grid.ErrNotFound)
		if t.Outcome, err = outcomeOf(err); err != nil {
			c.fail(fmt.Errorf("take a parcel of %s: %w", t.Wanted, err))
			return
		}
		if nothing && over {
			empty++
			continue
		}
		empty = 0
		if t.Outcome == check.Refused {
			sleep(ctx, idleTime)
			continue
		}
		if t.Outcome == check.Done {
			t.Entry = p.entry()
			c.there.Add(-1)
		}
		if !remembers(taker, &p) {
			continue
		}
		if err := c.takes.note(&t); err != nil {
			c.fail(err)
			return
		}
	}
}
