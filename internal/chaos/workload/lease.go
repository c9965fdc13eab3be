package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	leaseSpace = "chaos-leases"
	// leaseMin and leaseMax bound the leases: some end while their entry is looked
	// at, some during a fault.
	leaseMin, leaseMax = 300 * time.Millisecond, 4 * time.Second
	// leaseBound is how much earlier than it should an entry may be gone: clocks
	// of different machines do not go equally fast.
	leaseBound = 100 * time.Millisecond
	// leaseLive is how many entries are looked at, the last ones.
	leaseLive = 24
	// leaseGrace is how long after the last lease everything has to be gone.
	leaseGrace = 10 * time.Second
)

// Lease is entries with short leases, some of which are renewed. None is gone before
// its lease has ended, none comes back, and in the end all are gone.
type Lease struct {
	mu   sync.Mutex
	keys []string
}

type lent struct {
	ID    string        `grid:"id,key"`
	Lease time.Duration `grid:"-,lease"`
}

// Name implements Workload.
func (l *Lease) Name() string { return "lease" }

// Prepare implements Workload.
func (l *Lease) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[lent](ctx, g, leaseSpace)
		return err
	})
}

// Run implements Workload.
func (l *Lease) Run(ctx context.Context, p Place, h *History, o Options) error {
	return newCrew(p, h, o).run(ctx, func(ctx context.Context, c *client) {
		op := l.choose(c)
		switch {
		case op.Kind == "look" && c.rand.IntN(4) == 0:
			c.do(ctx, op, lookByQuery)
		default:
			c.do(ctx, op, leaseOp)
		}
	})
}

// choose chooses an operation, and a new entry or one of the last.
func (l *Lease) choose(c *client) Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	dice := c.rand.IntN(100)
	length := leaseMin + time.Duration(c.rand.Int64N(int64(leaseMax-leaseMin)))
	if dice < 15 || len(l.keys) == 0 {
		key := fmt.Sprintf("lease-%s-%d", c.history.Mark(), len(l.keys)+1)
		l.keys = append(l.keys, key)
		return Op{Kind: "lend", Key: key, Number: length.Nanoseconds()}
	}
	recent := l.keys[max(0, len(l.keys)-leaseLive):]
	key := recent[c.rand.IntN(len(recent))]
	if dice < 25 {
		return Op{Kind: "renew", Key: key, Number: length.Nanoseconds()}
	}
	return Op{Kind: "look", Key: key}
}

// leaseOp carries out one operation. A look is done with a row if the entry is
// there.
func leaseOp(ctx context.Context, g *grid.Grid, op *Op) error {
	s, err := grid.OpenSpace[lent](ctx, g, leaseSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	length := time.Duration(op.Number)
	var version grid.Version
	switch op.Kind {
	case "lend":
		version, err = s.Write(ctx, lent{ID: op.Key, Lease: length}, grid.IfAbsent())
	case "renew":
		version, err = s.Renew(ctx, op.Key, length)
	default:
		_, version, err = s.ReadVersion(ctx, op.Key)
		switch {
		case errors.Is(err, grid.ErrNotFound):
			return nil
		case err != nil:
			return refusedf("read: %w", err)
		}
		op.Rows = []Row{{Key: op.Key, Version: uint64(version)}}
	}
	op.Version = uint64(version)
	return err
}

// lookByQuery looks for an entry by what is in it.
func lookByQuery(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	for e, err := range g.Query(ctx, leaseSpace, grid.Template{"id": op.Key}, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		op.Rows = append(op.Rows, Row{Key: string(e.Key), Version: uint64(e.Version)})
	}
	return nil
}

// Finish implements Workload: when every lease must have ended, nothing is left.
func (l *Lease) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		if !pause(ctx, leaseMax+leaseGrace) {
			return
		}
		c.insist(ctx, Op{Kind: "left"}, func(ctx context.Context, g *grid.Grid, op *Op) error {
			op.Rows = nil
			for e, err := range g.Query(ctx, leaseSpace, nil, grid.QueryOptions{AllowScan: true}) {
				if err != nil {
					return refusedf("query: %w", err)
				}
				op.Rows = append(op.Rows, Row{Key: string(e.Key), Version: uint64(e.Version)})
			}
			return nil
		})
	})
}

// Judge implements Workload.
func (l *Lease) Judge(h *History) *Verdict {
	v := tally(h)
	verbs := map[string]check.LeaseVerb{"lend": check.Lend, "renew": check.Renew, "look": check.Look}
	var all []check.LeaseOp
	lent := map[string]bool{}
	for op := range h.of("lend", "renew", "look", "left") {
		x := check.LeaseOp{Line: op.N, Key: op.Key, Call: op.Call, Return: op.Return, Outcome: op.Outcome}
		if op.Kind != "left" {
			x.Verb, x.Lease, x.There = verbs[op.Kind], op.Number, len(op.Rows) > 0
			lent[op.Key] = lent[op.Key] || op.Kind == "lend"
			all = append(all, x)
			continue
		}
		// One look at everything stands for a look at each.
		there := map[string]bool{}
		for _, r := range op.Rows {
			there[r.Key] = true
		}
		for key := range lent {
			x.Key, x.Verb, x.There, x.Final = key, check.Look, there[key], true
			all = append(all, x)
			delete(there, key)
		}
		if op.Outcome == check.Done {
			v.Phantom += len(there)
		}
	}
	found := check.Leases(all, leaseBound.Nanoseconds())
	v.AckedLost, v.Stale = found.Early, found.Returned
	v.Phantom += found.Phantom
	v.Wrong += found.Immortal
	v.Unknown = found.Unread
	v.complain(found.Complaints...)
	return v
}
