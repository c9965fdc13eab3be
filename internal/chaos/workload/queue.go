package workload

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// In the first space all entries of a kind lie in one partition, in the second
	// they lie anywhere, so that a take asks many partitions.
	routedQueue = "chaos-queue"
	spreadQueue = "chaos-queue-spread"

	queueKinds = 4
	// takeWait is how long a take waits, well below the time of an operation.
	takeWait = time.Second
	// wakeTime is how long before the end of a wait an entry has to be there for
	// the wait to be in the wrong: no clock is exact.
	wakeTime = 250 * time.Millisecond
)

// Queue is writes of entries that are taken by their kind, at once or by a take that
// waits. Every entry is handed out once; no take goes away from an entry that is
// there.
type Queue struct{ names atomic.Int64 }

// routedParcel and spreadParcel are the entries.
type routedParcel struct {
	ID     string `grid:"id,key"`
	Kind   string `grid:"kind,routing,index"`
	Number int64  `grid:"number"`
}

type spreadParcel struct {
	ID     string `grid:"id,key"`
	Kind   string `grid:"kind,index"`
	Number int64  `grid:"number"`
}

// Name implements Workload.
func (q *Queue) Name() string { return "queue" }

// Prepare implements Workload.
func (q *Queue) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[routedParcel](ctx, g, routedQueue)
		_, err2 := grid.OpenSpace[spreadParcel](ctx, g, spreadQueue)
		return errors.Join(err, err2)
	})
}

// Run implements Workload.
func (q *Queue) Run(ctx context.Context, p Place, h *History, o Options) error {
	return newCrew(p, h, o).run(ctx, func(ctx context.Context, c *client) {
		op := Op{Key: routedQueue, Expect: queueKind(h, c.rand.IntN(queueKinds))}
		if c.rand.IntN(3) == 0 {
			op.Key = spreadQueue
		}
		// Half of the clients write more than they take. All together would take a
		// little more than they write, so that takes wait.
		writes := 25
		if c.id%2 == 0 {
			writes = 70
		}
		switch dice := c.rand.IntN(100); {
		case dice < writes:
			op.Kind, op.Number = "put", q.names.Add(1)
			op.Value = fmt.Sprintf("%s-%d", h.Mark(), op.Number)
			c.do(ctx, op, putParcel)
		case dice%2 == 0:
			op.Kind = "take"
			c.do(ctx, op, takeParcel)
		default:
			op.Kind, op.Number = "wait", takeWait.Nanoseconds()
			c.do(ctx, op, takeParcel)
		}
	})
}

func queueKind(h *History, n int) string { return fmt.Sprintf("kind-%s-%d", h.Mark(), n) }

// putParcel writes the entry Value, of the kind Expect, with its number.
func putParcel(ctx context.Context, g *grid.Grid, op *Op) error {
	p := routedParcel{ID: op.Value, Kind: op.Expect, Number: op.Number}
	var version grid.Version
	var err error
	if op.Key == routedQueue {
		version, err = writeTo(ctx, g, op.Key, p)
	} else {
		version, err = writeTo(ctx, g, op.Key, spreadParcel(p))
	}
	op.Version = uint64(version)
	return err
}

func writeTo[T any](ctx context.Context, g *grid.Grid, name string, v T) (grid.Version, error) {
	s, err := grid.OpenSpace[T](ctx, g, name)
	if err != nil {
		return 0, refusedf("open: %w", err)
	}
	return s.Write(ctx, v)
}

// takeParcel takes an entry of the kind Expect. It is done without a row if there
// was none.
func takeParcel(ctx context.Context, g *grid.Grid, op *Op) error {
	o := grid.TakeOptions{}
	if op.Kind == "wait" {
		o.Wait = time.Duration(op.Number)
	}
	es, err := g.TakeMatch(ctx, op.Key, grid.Template{"kind": op.Expect}, o)
	if errors.Is(err, grid.ErrNotFound) {
		return nil
	}
	for _, e := range es {
		op.Rows = append(op.Rows, parcelRow(&e))
	}
	if err == nil && len(es) != 1 {
		op.Bad = fmt.Sprintf("a take of one entry returned %d", len(es))
	}
	return err
}

// parcelRow is an entry as histories have it: its key, kind and number.
func parcelRow(e *grid.Entry) Row {
	var p spreadParcel
	if err := grid.Unmarshal(e.Value, &p); err != nil {
		return Row{Key: string(e.Key), Value: "not an entry of this space: " + err.Error()}
	}
	return Row{Key: p.ID, Value: p.Kind, Number: p.Number, Version: uint64(e.Version)}
}

// Finish implements Workload: everything is taken, and then nothing is left.
func (q *Queue) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for _, name := range []string{routedQueue, spreadQueue} {
			for i := range queueKinds {
				for ctx.Err() == nil {
					done := c.insist(ctx, Op{Kind: "take", Key: name, Expect: queueKind(h, i)}, takeParcel)
					if done == nil || len(done.Rows) == 0 {
						break
					}
				}
			}
			for i := range queueKinds {
				c.insist(ctx, Op{Kind: "left", Key: name, Expect: queueKind(h, i)}, leftParcels)
			}
		}
	})
}

// leftParcels reads all entries of a kind.
func leftParcels(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	for e, err := range g.Query(ctx, op.Key, grid.Template{"kind": op.Expect}, grid.QueryOptions{}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		op.Rows = append(op.Rows, parcelRow(&e))
	}
	return nil
}

// Judge implements Workload.
func (q *Queue) Judge(h *History) *Verdict {
	v := tally(h)
	for _, name := range []string{routedQueue, spreadQueue} {
		all, left := takesOf(h, name, v)
		found := check.Takes(all)
		v.AckedLost += found.Lost
		v.Duplicated += found.Duplicated
		v.Phantom += found.Phantom
		v.Wrong += found.Altered
		v.complain(found.Complaints...)
		v.Unknown += max(0, queueKinds-left)
		if name == routedQueue {
			waits := waitsOf(h)
			v.Stale += waits.Missed
			v.complain(waits.Complaints...)
		}
	}
	return v
}

// takesOf returns what was asked for in one of the spaces, and how many kinds were
// looked through at the end.
func takesOf(h *History, name string, v *Verdict) (all *check.TakeHistory, left int) {
	all = &check.TakeHistory{}
	written := map[string]bool{}
	for op := range h.of("put", "take", "wait", "left") {
		if op.Key != name {
			continue
		}
		switch op.Kind {
		case "put":
			if written[op.Value] {
				v.malformed(op, "its entry was written before")
				continue
			}
			written[op.Value] = true
			all.Writes = append(all.Writes, check.Write{
				Entry: check.Entry{Key: op.Value, Kind: op.Expect, Number: op.Number}, Outcome: op.Outcome,
			})
		case "left":
			if op.Outcome != check.Done {
				break
			}
			left++
			for _, r := range op.Rows {
				all.Left = append(all.Left, check.Entry{Key: r.Key, Kind: r.Value, Number: r.Number})
			}
		default:
			if op.Outcome == check.Unknown {
				all.Takes = append(all.Takes, check.Take{Wanted: op.Expect})
			}
			for _, r := range op.Rows {
				all.Takes = append(all.Takes, check.Take{
					Wanted: op.Expect, Outcome: check.Done, Entry: check.Entry{Key: r.Key, Kind: r.Value, Number: r.Number},
				})
			}
		}
	}
	return all, left
}

// waitsOf judges the takes that found nothing in the space whose kinds have a
// partition each. In the other one a take that waits holds entries of several
// partitions for a moment, and another take may then find nothing.
func waitsOf(h *History) check.WaitVerdict {
	stays := map[string]*check.Stay{}
	var misses []check.Miss
	var all []check.Stay
	for op := range h.of("put") {
		if op.Key == routedQueue && op.Outcome == check.Done {
			stays[op.Value] = &check.Stay{Key: op.Value, Kind: op.Expect, From: op.Return, Until: math.MinInt64}
		}
	}
	for op := range h.of("take", "wait", "left") {
		if op.Key != routedQueue || op.Outcome != check.Done {
			continue
		}
		for _, r := range op.Rows {
			if s := stays[r.Key]; s != nil {
				s.Until = op.Call
			}
		}
		if len(op.Rows) == 0 && op.Kind != "left" {
			misses = append(misses, check.Miss{Line: op.N, Kind: op.Expect, Call: op.Call, Return: op.Return, Wait: op.Number})
		}
	}
	for _, s := range stays {
		all = append(all, *s)
	}
	return check.Waits(all, misses, wakeTime.Nanoseconds())
}
