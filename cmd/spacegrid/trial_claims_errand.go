package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	errandSpace = "errands"
	deadSpace   = "errands-dead"
	// errandLanes is how many lanes there are to claim from.
	errandLanes = 16
	// claimLease is how long a claim lasts: short, so that what a dead holder had
	// comes back soon.
	claimLease = 2 * time.Second
	// errandAttempts is how many claims of an errand may end without an ack. A
	// holder that is killed uses one up.
	errandAttempts = 8
	// poisonEvery is how many errands there are for one that nobody can do.
	poisonEvery = 200
	// errandWriters is how many write at once, each its own groups.
	errandWriters = 16
)

// errand is an entry of the queue. Errands of a group are done in their order.
type errand struct {
	Place  int64  `grid:"place,key"`
	Group  string `grid:"group,routing,group"`
	Lane   string `grid:"lane,index"`
	Poison bool   `grid:"poison"`
}

func (e *errand) job() check.Job { return check.Job{Group: e.Group, Place: int(e.Place)} }

func errandLane(i int) string { return fmt.Sprintf("lane-%02d", i%errandLanes) }

// makeErrands makes the queue and the space for what nobody can do.
func (w *work) makeErrands(ctx context.Context) (err error) {
	g, err := grid.Dial(ctx, w.cluster.Addrs()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	dead, err := g.CreateSpace(ctx, space.Definition{Name: deadSpace, Shape: space.ShapeFields})
	if err != nil {
		return err
	}
	_, err = g.CreateSpace(ctx, space.Definition{
		Name: errandSpace, Shape: space.ShapeFields, Key: "place", Group: "group", Routing: "group",
		Indexes:    []space.Index{{Name: "lane", Fields: []string{"lane"}}},
		ClaimLease: claimLease, MaxAttempts: errandAttempts, DeadLetter: dead.ID,
	})
	return err
}

type claimsWriterFlags struct {
	duration     time.Duration
	rate, groups int
	writes       string
}

func (a *app) claimsWriterCommand() *cobra.Command {
	var f claimsWriterFlags
	c := &cobra.Command{
		Use:    "writer",
		Short:  "Write errands for a run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := a.whileWatched(c.Context())
			defer cancel()
			return a.writeErrands(ctx, f)
		},
	}
	p := c.Flags()
	p.DurationVar(&f.duration, "duration", 0, "how long to write")
	p.IntVar(&f.rate, "rate", 0, "entries a second")
	p.IntVar(&f.groups, "groups", 0, "groups")
	p.StringVar(&f.writes, "writes", "", "file for the history")
	return c
}

// writeErrands writes at a steady rate, group by group. An outage is made up for.
func (a *app) writeErrands(ctx context.Context, f claimsWriterFlags) (err error) {
	log, err := openWorkLog(f.writes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	s, err := grid.OpenSpace[errand](ctx, g, errandSpace)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	begun := time.Now()
	pause := time.Second * errandWriters / time.Duration(max(f.rate, 1))
	for i := range errandWriters {
		all.Go(func() {
			left := map[int]bool{} // groups that an unknown outcome keeps from being written on
			for n := 0; ctx.Err() == nil && time.Since(begun) < f.duration; n++ {
				sleep(ctx, time.Until(begun.Add(time.Duration(n)*pause)))
				own := (f.groups - i + errandWriters - 1) / errandWriters // groups i, i+16, …
				if own == 0 {
					return
				}
				group, place := i+n%own*errandWriters, n/own+1
				if left[group] {
					continue
				}
				outcome, err := writeErrand(ctx, s, log, group, place)
				if err != nil {
					fail(err)
				}
				left[group] = outcome != check.Done
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// writeErrand writes one errand and notes what became of it.
func writeErrand(ctx context.Context, s *grid.Space[errand], log *workLog, group, place int) (check.Outcome, error) {
	e := errand{
		Place: int64(place), Group: fmt.Sprintf("g%04d", group), Lane: errandLane(group), Poison: (group*7+place)%poisonEvery == 0,
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := s.Write(ctx, e)
	w := check.JobWrite{Job: e.job()}
	if w.Outcome, err = outcomeOf(err); err != nil {
		return w.Outcome, fmt.Errorf("write %+v: %w", w.Job, err)
	}
	return w.Outcome, log.note(&w)
}
