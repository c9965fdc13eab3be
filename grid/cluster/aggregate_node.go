package cluster

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
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
	pass, err := newSieve(q.Template, q.Predicate)
	if err != nil {
		return nil, 0, err
	}
	if total, err = aggregate.New(q.Spec); err != nil {
		return nil, 0, err
	}
	if q.Spec.CountsOnly() && pass.all() {
		n, err := h.count(ctx, l, q)
		if err == nil {
			total.AddCount(n)
		}
		return total, len(q.Partitions), err
	}
	turn := aggregateTurns{begun: time.Now(), of: q.Partitions}
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
				if part, err = h.aggregatePartition(ctx, l, q, pass, id); err == nil {
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

// aggregatePartition answers for one partition as it is at one moment. It reads
// beside the commands; where these do not let it finish, what the space holds is
// cut between two of them and read from there. An entry whose lease has ended by
// the clock of leadership l, if there is one, is removed first, as in read.
func (h *held) aggregatePartition(ctx context.Context, l *leadership, q *Aggregate, pass *sieve, id space.PartitionID) (*aggregate.Partial, error) {
	p := h.host.partition(id)
	if p == nil {
		return nil, &NotLeaderError{Group: h.id}
	}
	now := space.Never
	if l != nil {
		now = l.now(id)
	}
	for tries := 0; ; {
		w := walk{ctx: ctx, pass: pass, now: now}
		var err error
		if w.part, err = aggregate.New(q.Spec); err != nil {
			return nil, err
		}
		if tries < viewTries {
			tries++
			same := p.ViewLong(func(steady func() bool) {
				w.steady = steady
				w.code = p.Scan(q.Space, 0, w.entry)
			})
			if !same {
				continue
			}
		} else if err := h.walkCut(ctx, &w, id, q.Space); err != nil {
			return nil, err
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
	}
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
		return fmt.Errorf("%w: the replica of group %d is closing, or the request's time is up: %w", ErrUnavailable, h.id, err)
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
	pass   *sieve
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
	fields := e.Value
	if e.Kind != space.KindFields {
		fields = nil
	}
	if !w.pass.passes(fields) {
		return true
	}
	w.err = w.part.Add(e.Key, fields)
	return w.err == nil
}

// count returns the number of entries of q's partitions without reading them.
// Leases and claims that have ended by the clock of leadership l, if there is
// one, are ended first.
func (h *held) count(ctx context.Context, l *leadership, q *Aggregate) (int, error) {
	for {
		n := 0
		var due []systemCommand
		look := func() {
			for _, id := range q.Partitions {
				p := h.host.partition(id)
				if p == nil {
					continue // it went a moment ago: the confirmation fails
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
			return n, nil
		}
		if err := h.group.Inspect(ctx, look); err != nil {
			return 0, fmt.Errorf("%w: the replica of group %d is closing, or the request's time is up: %w", ErrUnavailable, h.id, err)
		}
		if len(due) == 0 {
			return n, nil
		}
		if err := h.order(ctx, l, due); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
		}
	}
}

// sieve lets the entries pass that match a template and a predicate.
type sieve struct {
	fields    []sieveField
	predicate *predicate.Predicate // nil: everything
}

type sieveField struct {
	name  string
	value []byte
}

func newSieve(template, condition []byte) (*sieve, error) {
	// What a search by this filter would be refused for is refused here.
	search := space.Command{Ops: []space.Op{{Code: space.OpReadMatch, Template: template, Predicate: condition}}}
	if err := search.Validate(); err != nil {
		return nil, err
	}
	s := &sieve{}
	for name, value := range msgp.EachField(template) {
		s.fields = append(s.fields, sieveField{string(name), value})
	}
	if len(condition) > 0 {
		p, err := predicate.Decode(condition)
		if err != nil {
			return nil, &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
		}
		s.predicate = p
	}
	return s, nil
}

// all reports whether every entry passes.
func (s *sieve) all() bool { return len(s.fields) == 0 && s.predicate == nil }

// passes reports whether an entry with these fields, nil for opaque bytes,
// passes.
func (s *sieve) passes(fields []byte) bool {
	for i := range s.fields {
		if v, ok := msgp.Field(fields, s.fields[i].name); !ok || !bytes.Equal(v, s.fields[i].value) {
			return false
		}
	}
	return s.predicate == nil || fields != nil && s.predicate.Match(fields)
}
