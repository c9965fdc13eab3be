package grid

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// longWait is what Forever stands for as the time of a wait.
const longWait = 100 * 365 * 24 * time.Hour

// waitOf returns for how long an operation waits.
func waitOf(d time.Duration) (time.Duration, error) {
	switch {
	case d == Forever:
		return longWait, nil
	case d < 0:
		return 0, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("a wait of %v", d), Hint: "give 0 not to wait, or grid.Forever"}
	}
	return min(d, longWait), nil
}

// scanFlag returns the flag of an operation that may examine any number of entries.
func scanFlag(allow bool) space.OpFlags {
	if allow {
		return space.FlagAllowScan
	}
	return 0
}

// handOut carries out an operation that takes, claims or changes entries by
// filter, in one partition that has some, and returns them. If there are none it
// waits as long as the operation says; then it is ErrNotFound.
func (g *Grid) handOut(ctx context.Context, def *space.Definition, op space.Op) ([]space.Entry, error) {
	wait, err := waitOf(op.Wait)
	if err != nil {
		return nil, err
	}
	op.Wait = wait
	if p, ok := g.routed(def, op.Template, op.Predicate); ok {
		es, err := g.handOutIn(ctx, p, op)
		return es, gaveUp(ctx, wait, err)
	}
	op.Wait = 0
	es, err := g.handOutNow(ctx, op)
	if wait > 0 && errors.Is(err, ErrNotFound) {
		op.Wait = wait
		es, err = g.handOutLater(ctx, op)
	}
	return es, gaveUp(ctx, wait, err)
}

// handOutLater carries out an operation in the first partition that has something
// for it while it waits.
func (g *Grid) handOutLater(ctx context.Context, op space.Op) ([]space.Entry, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	c := &cluster.Call{}
	c.Reply, c.Err = g.router.WaitAny(ctx, op)
	es, err := handed(c)
	if err == nil {
		g.hints.hit(hintKey(&op), space.PartitionOf(es[0].Key, g.Partitions()))
	}
	return es, err
}

// gaveUp returns the reason why a wait was given up in the place of the error that
// came of it, if that proves that nothing has happened.
func gaveUp(ctx context.Context, wait time.Duration, err error) error {
	if wait > 0 && ctx.Err() != nil && (errors.Is(err, space.ErrCancelled) || errors.Is(err, ErrUnavailable)) {
		return fmt.Errorf("grid: the wait was given up: %w", context.Cause(ctx))
	}
	if errors.Is(err, space.ErrCancelled) {
		return ErrNotFound
	}
	return err
}

// handOutIn carries out an operation in one partition and returns the entries,
// after waiting there if the operation says so.
func (g *Grid) handOutIn(ctx context.Context, p space.PartitionID, op space.Op) ([]space.Entry, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	c := &cluster.Call{Partition: p, Ops: []space.Op{op}}
	if op.Wait > 0 {
		g.router.Wait(ctx, c)
	} else {
		g.router.Do(ctx, []*cluster.Call{c})
	}
	return handed(c)
}

// handed returns what a call has brought.
func handed(c *cluster.Call) ([]space.Entry, error) {
	if c.Err != nil {
		return nil, c.Err
	}
	if err := c.Reply.Err(); err != nil {
		return nil, err
	}
	return c.Reply.Results[0].Entries, nil
}

// routed returns the only partition that can have entries that pass a filter, if
// there is one: the filter asks for one value of the space's routing field.
func (g *Grid) routed(def *space.Definition, template, condition []byte) (space.PartitionID, bool) {
	if def.Routing == "" {
		return 0, false
	}
	var values [][]byte
	if v, ok := msgp.Field(template, def.Routing); ok && len(template) > 0 && !strings.Contains(def.Routing, ".") {
		values = [][]byte{v}
	} else if len(condition) > 0 {
		p, err := predicate.Decode(condition)
		if err != nil {
			return 0, false
		}
		b, _ := p.Bound(def.Routing)
		values = b.Equal
	}
	found := -1
	for _, v := range values {
		if k := msgp.KindOf(v); k != msgp.String && k != msgp.Int {
			continue // no entry has it there
		}
		tag, err := KeyOf(v)
		if err != nil || len(tag) == 0 || bytes.ContainsAny(tag, "{}") {
			return 0, false
		}
		p := int(space.PartitionOf(routedKey(tag, nil), g.Partitions()))
		if found >= 0 && p != found {
			return 0, false
		}
		found = p
	}
	return space.PartitionID(max(found, 0)), found >= 0
}

// handOutNow carries out an operation that does not wait: where entries were found
// last, otherwise where some are found now.
func (g *Grid) handOutNow(ctx context.Context, op space.Op) ([]space.Entry, error) {
	key := hintKey(&op)
	for range hintTries {
		p, ok := g.hints.pick(key)
		if !ok {
			break
		}
		es, err := g.handOutIn(ctx, p, op)
		if !errors.Is(err, ErrNotFound) {
			return es, err
		}
		g.hints.miss(key, p)
	}
	s := search{g: g, op: op, key: key}
	return s.run(ctx)
}

// search looks for a partition that an operation can be carried out in: the leader
// of each group is asked where among its partitions there is a match.
type search struct {
	g   *Grid
	op  space.Op
	key string
}

// sighting is where a match was seen in a group, and the partitions that were not
// looked at yet.
type sighting struct {
	at   space.PartitionID
	seen bool
	rest []space.PartitionID
	err  error
}

// run asks one group, chosen at random, and only if it has nothing all others at
// once. A failure counts if nothing is found elsewhere.
func (s *search) run(ctx context.Context) ([]space.Entry, error) {
	groups := slices.DeleteFunc(s.g.router.Groups(), func(ps []space.PartitionID) bool { return len(ps) == 0 })
	rand.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	if len(groups) == 0 {
		return nil, ErrNotFound
	}
	es, failed := s.carryOut(ctx, s.look(ctx, turned(groups[0])))
	if len(es) > 0 {
		return es, nil
	}
	seen := make([]sighting, len(groups)-1)
	var wg sync.WaitGroup
	for i, partitions := range groups[1:] {
		wg.Go(func() { seen[i] = s.look(ctx, turned(partitions)) })
	}
	wg.Wait()
	for _, x := range seen {
		es, err := s.carryOut(ctx, x)
		if len(es) > 0 {
			return es, nil
		}
		if failed == nil {
			failed = err
		}
	}
	if failed == nil {
		failed = ErrNotFound
	}
	return nil, failed
}

// turned returns partitions from any one on, so that none is preferred.
func turned(partitions []space.PartitionID) []space.PartitionID {
	start := rand.IntN(len(partitions))
	return append(slices.Clone(partitions[start:]), partitions[:start]...)
}

// look asks for the first match in partitions of one group.
func (s *search) look(ctx context.Context, partitions []space.PartitionID) sighting {
	if len(partitions) == 0 {
		return sighting{}
	}
	m, err := s.g.router.Match(ctx, cluster.Linearizable, cluster.Match{
		Space: s.op.Space, Template: s.op.Template, Predicate: s.op.Predicate, Partitions: partitions,
		Limit: 1, AllowScan: s.op.Flags&space.FlagAllowScan != 0,
	})
	if err == nil {
		err = m.Code.Err()
	}
	if err != nil || len(m.Entries) == 0 {
		return sighting{err: err}
	}
	x := sighting{at: space.PartitionOf(m.Entries[0].Key, s.g.Partitions()), seen: true}
	if i := slices.Index(partitions, x.at); i >= 0 {
		x.rest = partitions[i+1:]
	}
	return x
}

// carryOut carries the operation out where a match was seen. Somebody else may be
// faster, and an entry that is seen may have to stay where it is, behind another
// one of its group: then it goes on looking.
func (s *search) carryOut(ctx context.Context, x sighting) ([]space.Entry, error) {
	for x.err == nil && x.seen {
		es, err := s.g.handOutIn(ctx, x.at, s.op)
		switch {
		case err == nil:
			s.g.hints.hit(s.key, x.at)
			return es, nil
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
		x = s.look(ctx, x.rest)
	}
	return nil, x.err
}

// doMatch carries out an operation by filter that does not wait.
func (g *Grid) doMatch(ctx context.Context, op space.Op) ([]Entry, error) {
	es, err := g.handOutNow(ctx, op)
	return entriesOf(es), err
}

func entriesOf(es []space.Entry) []Entry {
	if len(es) == 0 {
		return nil
	}
	list := make([]Entry, len(es))
	for i, e := range es {
		list[i] = entryOf(e)
	}
	return list
}
