package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	setSpace = "chaos-set"
	// liveSets is how many sets are in use at once, and setSize how many elements
	// one gets: what a read returns stays small.
	liveSets = 2
	setSize  = 60
	// setReadPercent is how many of a hundred operations read a set; of the others
	// one in setAgain reads a set that is not in use any more.
	setReadPercent = 12
	setAgain       = 30
)

// Set is the addition of elements that nobody has added before, and reads of all
// elements of a set by a query. What was acknowledged, or seen, is there from then
// on, whatever happens to the cluster, a start from its stores included.
type Set struct {
	mu   sync.Mutex
	sets []liveSet // all, by number; the last ones are in use
}

type liveSet struct{ begun int }

// setElement is an element as it is stored.
type setElement struct {
	ID  string `grid:"id,key"`
	Set string `grid:"set,index"`
}

// Name implements Workload.
func (s *Set) Name() string { return "set" }

// Prepare implements Workload.
func (s *Set) Prepare(ctx context.Context, p Place) error {
	return prepare(ctx, p, func(ctx context.Context, g *grid.Grid) error {
		_, err := grid.OpenSpace[setElement](ctx, g, setSpace)
		return err
	})
}

// Run implements Workload.
func (s *Set) Run(ctx context.Context, p Place, h *History, o Options) error {
	return newCrew(p, h, o).run(ctx, func(ctx context.Context, c *client) {
		set, element := s.choose(c)
		if element == "" {
			c.do(ctx, Op{Kind: "read", Key: set}, readSet)
			return
		}
		c.do(ctx, Op{Kind: "add", Key: set, Value: element}, addToSet)
	})
}

func setName(h *History, n int) string { return fmt.Sprintf("set-%s-%d", h.Mark(), n) }

// choose chooses a set, and an element to add unless the set is to be read.
func (s *Set) choose(c *client) (set, element string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.sets) < liveSets || s.sets[len(s.sets)-liveSets].begun >= setSize {
		s.sets = append(s.sets, liveSet{})
	}
	oldest := len(s.sets) - liveSets
	n := oldest + c.rand.IntN(liveSets)
	if c.rand.IntN(100) < setReadPercent {
		if oldest > 0 && c.rand.IntN(setAgain) == 0 {
			n = c.rand.IntN(oldest)
		}
		return setName(c.history, n), ""
	}
	s.sets[n].begun++
	return setName(c.history, n), fmt.Sprintf("%s-%d-%d", c.history.Mark(), n, s.sets[n].begun)
}

func addToSet(ctx context.Context, g *grid.Grid, op *Op) error {
	s, err := grid.OpenSpace[setElement](ctx, g, setSpace)
	if err != nil {
		return refusedf("open: %w", err)
	}
	v, err := s.Write(ctx, setElement{ID: op.Value, Set: op.Key}, grid.IfAbsent())
	op.Version = uint64(v)
	if errors.Is(err, grid.ErrExists) {
		// Nobody else adds it: the operation itself has, and was then repeated.
		op.Bad = "an element that is added once was there already"
	}
	return err
}

// readSet returns the elements in the order of their names.
func readSet(ctx context.Context, g *grid.Grid, op *Op) error {
	op.Rows = nil
	for e, err := range g.Query(ctx, setSpace, grid.Template{"set": op.Key}, grid.QueryOptions{}) {
		if err != nil {
			return refusedf("query: %w", err)
		}
		op.Rows = append(op.Rows, Row{Key: string(e.Key)})
	}
	slices.SortFunc(op.Rows, func(a, b Row) int { return cmp.Compare(a.Key, b.Key) })
	return nil
}

// Finish implements Workload: every set is read at every member.
func (s *Set) Finish(ctx context.Context, p Place, h *History) error {
	return finish(ctx, p, h, func(ctx context.Context, c *client) {
		for n := range s.sets {
			c.insist(ctx, Op{Kind: "final", Key: setName(h, n)}, readSet)
		}
		for member := range p.Members() {
			for n := max(0, len(s.sets)-liveSets); n < len(s.sets); n++ {
				c.insistAt(ctx, member, Op{Kind: "final", Key: setName(h, n)}, readSet)
			}
		}
	})
}

// Judge implements Workload.
func (s *Set) Judge(h *History) *Verdict {
	v := tally(h)
	var all check.SetHistory
	for op := range h.of("add") {
		all.Additions = append(all.Additions, check.Addition{
			Line: op.N, Set: op.Key, Element: op.Value, Call: op.Call, Return: op.Return, Outcome: op.Outcome,
		})
	}
	for op := range h.of("read", "final") {
		if op.Outcome != check.Done {
			continue
		}
		r := check.SetRead{Line: op.N, Set: op.Key, Call: op.Call, Return: op.Return, Final: op.Kind == "final"}
		for _, row := range op.Rows {
			r.Elements = append(r.Elements, row.Key)
		}
		all.Reads = append(all.Reads, r)
	}
	found := check.Sets(&all)
	v.AckedLost, v.Stale, v.Duplicated, v.Phantom = found.Lost, found.Stale, found.Duplicated, found.Phantom
	v.Unknown = found.Unread
	v.complain(found.Complaints...)
	return v
}
