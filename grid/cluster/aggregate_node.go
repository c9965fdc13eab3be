package cluster

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
)

const (
	// aggregateTurn is how long one answer to an Aggregate may be worked on, but
	// for the partitions begun by then: a lost one costs no more than that.
	aggregateTurn = 500 * time.Millisecond
	// aggregateLook is how many entries are taken in between two looks at the
	// context and at whether the partition is still the same.
	aggregateLook = 512
	// viewTries is how often a partition is read beside its commands before its
	// content is cut between two of them.
	viewTries = 2
)

// Aggregate implements Service.
func (n *Node) Aggregate(ctx context.Context, g GroupID, level Level, q Aggregate) (Aggregated, error) {
	h := n.held(g)
	if h == nil {
		return Aggregated{}, &NotLeaderError{Group: g}
	}
	l := h.serving()
	if level == Linearizable && l == nil {
		return Aggregated{}, h.notLeader()
	}
	if len(q.Partitions) == 0 {
		return Aggregated{}, &space.Error{Code: space.CodeInvalid, Detail: "an aggregate of no partition"}
	}
	for _, id := range q.Partitions {
		p := h.host.partition(id)
		if p == nil {
			return Aggregated{}, &NotLeaderError{Group: g}
		}
		if l != nil {
			if err := h.acquaint(ctx, l, p, q.Space); err != nil {
				return Aggregated{}, err
			}
		}
		if _, code := p.Get(q.Space, nil); code == space.CodeNoSpace {
			return Aggregated{Code: code}, nil
		}
	}
	if level == Local {
		l = nil // what is applied here, whatever the leader's clock says
	}
	total, done, err := h.aggregate(ctx, l, &q)
	if err == nil && level == Linearizable {
		err = h.confirm(ctx, l)
	}
	if err != nil {
		return Aggregated{}, err
	}
	return Aggregated{Done: done, Partial: total.Append(nil)}, nil
}

// aggregate answers for the first partitions of q, as many as one turn takes.
func (h *held) aggregate(ctx context.Context, l *leadership, q *Aggregate) (total *aggregate.Partial, done int, err error) {
	pass, err := space.NewFilter(q.Template, q.Predicate)
	if err != nil {
		return nil, 0, err
	}
	if total, err = aggregate.New(q.Spec); err != nil {
		return nil, 0, err
	}
	if q.Spec.CountsOnly() && pass.All() {
		n, err := h.count(ctx, l, q)
		if err == nil {
			total.AddCount(n)
		}
		return total, len(q.Partitions), err
	}
	turn := aggregateTurns{begun: time.Now(), of: q.Partitions, pass: &pass}
	turn.scan.Store(pass.All())
	// One core is left for the commands.
	workers := min(max(1, runtime.GOMAXPROCS(0)-1), len(q.Partitions))
	parts := make([]*aggregate.Partial, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			mine, err := aggregate.New(q.Spec)
			for err == nil {
				id, ok := turn.next()
				if !ok {
					break
				}
				var part *aggregate.Partial
				if part, err = h.aggregatePartition(ctx, l, q, &turn, id); err == nil {
					err = mine.Merge(part)
				}
			}
			parts[w] = mine
			turn.end(err)
		})
	}
	wg.Wait()
	if turn.mu.err != nil {
		return nil, 0, turn.mu.err
	}
	for _, part := range parts {
		if err := total.Merge(part); err != nil {
			return nil, 0, err
		}
	}
	return total, turn.mu.given, nil
}

// aggregateTurns gives the partitions of one answer out to those who work on it.
type aggregateTurns struct {
	begun time.Time
	of    []space.PartitionID
	pass  *space.Filter
	scan  atomic.Bool // no index leads to what passes: it is not asked for any more

	mu struct {
		sync.Mutex
		given int // partitions, from the first on
		err   error
	}
}

// next returns a partition to work on, false if none is left or time is up.
func (t *aggregateTurns) next() (space.PartitionID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.err != nil || t.mu.given == len(t.of) || t.mu.given > 0 && time.Since(t.begun) > aggregateTurn {
		return 0, false
	}
	t.mu.given++
	return t.of[t.mu.given-1], true
}

// end notes how one of the workers ended: after a failure the others stop.
func (t *aggregateTurns) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.err == nil {
		t.mu.err = err
	}
}

// aggregatePartition answers for one partition as it is at one moment. What an
// index leads to it gathers between two commands. Otherwise it reads beside the
// commands; where these do not let it finish, what the space holds is cut between
// two of them and read from there. An entry whose lease has ended by the clock of
// leadership l, if there is one, is removed first, as in read.
func (h *held) aggregatePartition(ctx context.Context, l *leadership, q *Aggregate, turn *aggregateTurns, id space.PartitionID) (*aggregate.Partial, error) {
	p := h.host.partition(id)
	if p == nil {
		return nil, &NotLeaderError{Group: h.id}
	}
	now := space.Never
	if l != nil {
		now = l.now(id)
	}
	for tries := 0; ; tries++ {
		w := walk{ctx: ctx, pass: turn.pass, now: now}
		var err error
		if w.part, err = aggregate.New(q.Spec); err != nil {
			return nil, err
		}
		done := false
		if !turn.scan.Load() {
			done, err = h.walkGathered(ctx, &w, turn, id, q.Space)
		}
		if err == nil && !done && tries >= viewTries {
			done, err = true, h.walkCut(ctx, &w, id, q.Space)
		}
		if err != nil {
			return nil, err
		}
		if !done && !p.ViewLong(func(steady func() bool) {
			w.steady = steady
			w.code = p.Scan(q.Space, 0, w.entry)
		}) {
			continue
		}
		switch {
		case w.err != nil:
			return nil, w.err
		case w.code != space.OK:
			return nil, w.code.Err()
		case !w.ended:
			return w.part, nil
		}
		if err := h.tick(ctx, l, id); err != nil {
			return nil, err
		}
		if now, err = h.ended(ctx, id, now); err != nil {
			return nil, err
		}
	}
}

// ended returns space.Never if all leases of a partition that had to end by a
// moment have ended, and the moment otherwise. An entry past its lease that is
// still there then waits for the outcome of a transaction, and counts until it.
func (h *held) ended(ctx context.Context, id space.PartitionID, by space.Time) (space.Time, error) {
	err := h.group.Inspect(ctx, func() {
		if p := h.host.partition(id); p == nil || p.NextDeadline() > by || p.NextDeadline() == space.Never {
			by = space.Never
		}
	})
	if err != nil {
		return by, h.closing(err)
	}
	return by, nil
}

// walkGathered walks through what an index leads to, if it does so in one step.
func (h *held) walkGathered(ctx context.Context, w *walk, turn *aggregateTurns, id space.PartitionID, of space.ID) (bool, error) {
	var found []space.Entry
	reach := space.Unindexed
	err := h.group.Inspect(ctx, func() {
		if p := h.host.partition(id); p != nil {
			found, reach = p.Gather(nil, of, turn.pass)
		}
	})
	if err != nil {
		return false, h.closing(err)
	}
	if reach == space.Unindexed {
		turn.scan.Store(true) // all partitions have the same indexes
	}
	for _, e := range found {
		if !w.entry(e) {
			break
		}
	}
	return reach == space.Indexed, nil
}

// closing is the error of a look between two commands that did not happen.
func (h *held) closing(err error) error {
	return fmt.Errorf("%w: the replica of group %d is closing, or the request's time is up: %w", ErrUnavailable, h.id, withoutDoubt(err))
}

// walkCut walks through what a space holds between two commands.
func (h *held) walkCut(ctx context.Context, w *walk, id space.PartitionID, of space.ID) error {
	var content *space.Content
	err := h.group.Inspect(ctx, func() {
		if p := h.host.partition(id); p != nil {
			content, w.code = p.Content(of)
		}
	})
	switch {
	case err != nil:
		return h.closing(err)
	case content != nil:
		content.Scan(w.entry)
	case w.code == space.OK:
		return &NotLeaderError{Group: h.id}
	}
	return nil
}

// walk takes in the entries of one partition.
type walk struct {
	ctx    context.Context
	pass   *space.Filter
	part   *aggregate.Partial
	steady func() bool // nil: what is walked through does not change
	now    space.Time  // leases that end by then have ended; Never: whatever is there counts

	seen  int
	code  space.Code
	ended bool // an entry's lease has ended
	err   error
}

// entry takes in one entry; false when there is no sense in going on.
func (w *walk) entry(e space.Entry) bool {
	if w.seen++; w.seen%aggregateLook == 0 {
		if w.err = w.ctx.Err(); w.err != nil {
			w.err = fmt.Errorf("%w: %w", ErrUnavailable, w.err)
			return false
		}
		if w.steady != nil && !w.steady() {
			return false
		}
	}
	if e.Claimed {
		return true
	}
	if w.now != space.Never && past(&e, w.now) {
		w.ended = true
		return false
	}
	if !w.pass.Matches(e.Kind, e.Value) {
		return true
	}
	fields := e.Value
	if e.Kind != space.KindFields {
		fields = nil
	}
	w.err = w.part.Add(e.Key, fields)
	return w.err == nil
}

// count returns the number of entries of q's partitions without reading them.
// Leases and claims that have ended by the clock of leadership l, if there is
// one, are ended first.
func (h *held) count(ctx context.Context, l *leadership, q *Aggregate) (int, error) {
	for {
		n, gone := 0, false
		var due []systemCommand
		look := func() {
			for _, id := range q.Partitions {
				p := h.host.partition(id)
				if p == nil {
					gone = true
					return
				}
				if l != nil {
					if d := p.NextDeadline(); d != space.Never && d <= l.now(id) {
						due = append(due, systemCommand{id, space.TickCommand()})
					}
				}
				n += p.Count(q.Space)
			}
		}
		if l == nil {
			look()
		} else if err := h.group.Inspect(ctx, look); err != nil {
			return 0, h.closing(err)
		}
		switch {
		case gone:
			return 0, &NotLeaderError{Group: h.id}
		case len(due) == 0:
			return n, nil
		}
		if err := h.order(ctx, l, due); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
		}
	}
}
