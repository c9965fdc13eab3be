package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	listSpace = "chaos-lists"
	// liveLists is how many lists are in use at once, and listSize how many
	// elements one gets: reads return all of them.
	liveLists = 6
	listSize  = 40
	// listOps is how many lists a transaction is about.
	listOps = 3
)

// List is transactions that read and append to a few lists, which lie in different
// partitions. They are strictly serializable.
type List struct {
	mu    sync.Mutex
	slots [liveLists]struct {
		name  string
		begun int
	}
	made     int
	elements int64
}

type listEntry struct {
	Name     string  `grid:"name,key"`
	Elements []int64 `grid:"elements"`
}

// Name implements Workload.
func (l *List) Name() string { return "list" }

// Prepare implements Workload.
func (l *List) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[listEntry](ctx, g, listSpace)
		return err
	})
}

// Run implements Workload.
func (l *List) Run(ctx context.Context, p Place, h *History, o Options) error {
	return newCrew(p, h, o).run(ctx, func(ctx context.Context, c *client) {
		c.do(ctx, Op{Kind: "txn", Lists: l.choose(c)}, transactLists)
	})
}

// choose chooses what a transaction does with some of the lists.
func (l *List) choose(c *client) []ListPart {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []ListPart
	for _, at := range c.rand.Perm(liveLists)[:1+c.rand.IntN(listOps)] {
		s := &l.slots[at]
		if s.name == "" || s.begun >= listSize {
			l.made++
			s.name, s.begun = fmt.Sprintf("list-%s-%d", c.history.Mark(), l.made), 0
		}
		part := ListPart{Key: s.name}
		if c.rand.IntN(2) == 0 {
			s.begun++
			l.elements++
			part.Append = l.elements
		}
		parts = append(parts, part)
	}
	return parts
}

// transactLists reads every list of the operation and appends to some of them.
func transactLists(ctx context.Context, g *grid.Grid, op *Op) error {
	s, err := grid.OpenSpace[listEntry](ctx, g, listSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	// The parts are those of the operation as it was asked for, too.
	asked := op.Lists
	var parts []ListPart
	err = g.Transact(ctx, func(tx *grid.Tx) error {
		parts = parts[:0]
		for _, part := range asked {
			e, err := s.In(tx).Read(part.Key)
			if err != nil && !errors.Is(err, grid.ErrNotFound) {
				return err
			}
			part.Read = e.Elements
			parts = append(parts, part)
			if part.Append == 0 {
				continue
			}
			e.Name, e.Elements = part.Key, append(e.Elements[:len(e.Elements):len(e.Elements)], part.Append)
			if err := s.In(tx).Write(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		op.Lists = parts
	}
	return err
}

// Finish implements Workload: every list is read once more.
func (l *List) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for n := range l.made {
			c.insist(ctx, Op{Kind: "txn", Lists: []ListPart{{Key: fmt.Sprintf("list-%s-%d", h.Mark(), n+1)}}}, transactLists)
		}
	})
}

// Judge implements Workload.
func (l *List) Judge(h *History) *Verdict {
	v := tally(h)
	var txns []check.ListTxn
	for op := range h.of("txn") {
		t := check.ListTxn{Line: op.N, Call: op.Call, Return: op.Return, Outcome: op.Outcome}
		for _, part := range op.Lists {
			if op.Outcome == check.Done {
				t.Ops = append(t.Ops, check.ListOp{Key: part.Key, Read: part.Read})
			}
			if part.Append != 0 {
				t.Ops = append(t.Ops, check.ListOp{Key: part.Key, Append: true, Element: part.Append})
			}
		}
		txns = append(txns, t)
	}
	found := check.Lists(txns)
	v.AckedLost, v.DoubleApplies, v.Phantom = found.Lost, found.Duplicated, found.Phantom
	v.Wrong += found.Torn + found.Cycles
	v.Unknown = found.Unread
	v.complain(found.Complaints...)
	return v
}
