package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Explained says how some partitions find what matches, and how far the indexes
// of the space have come that are still being built.
type Explained struct {
	Code        space.Code
	Explanation space.Explanation
	Building    []space.IndexProgress
}

// add merges what another partition says: of an index the sums of Next and End.
func (e *Explained) add(other Explained) {
	if e.Code == space.OK {
		e.Code = other.Code
	}
	e.Explanation.Merge(other.Explanation)
	for _, b := range other.Building {
		found := false
		for i := range e.Building {
			if mine := &e.Building[i]; mine.Space == b.Space && mine.Index == b.Index {
				mine.Next, mine.End, found = mine.Next+b.Next, mine.End+b.End, true
			}
		}
		if !found {
			e.Building = append(e.Building, b)
		}
	}
}

// Explain asks every group's leader how it finds what matches, all at once. Of a
// Match, From does not count, and Partitions nil are all.
func (r *Router) Explain(ctx context.Context, q Match) (Explained, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	partitions := q.Partitions
	if partitions == nil {
		for p := range r.State().Table {
			partitions = append(partitions, space.PartitionID(p))
		}
	}
	var mu sync.Mutex // guards all and err
	var all Explained
	var err error
	eachGroup(r, partitions, func(p space.PartitionID) space.PartitionID { return p }, func(g GroupID, of []space.PartitionID) {
		part := q
		part.Partitions = of
		e, failed := ask(ctx, r, g, Linearizable, func(ctx context.Context, svc Service) (Explained, error) { return svc.Explain(ctx, g, part) })
		mu.Lock()
		defer mu.Unlock()
		all.add(e)
		if err == nil {
			err = failed
		}
	})
	if err == nil {
		err = all.Code.Err()
	}
	return all, err
}

// Explain implements Service.
func (n *Node) Explain(ctx context.Context, g GroupID, q Match) (Explained, error) {
	h := n.held(g)
	if h == nil {
		return Explained{}, &NotLeaderError{Group: g}
	}
	l := h.serving()
	if l == nil {
		return Explained{}, h.notLeader()
	}
	var all Explained
	for _, id := range q.Partitions {
		p := h.host.partition(id)
		if p == nil {
			return Explained{}, &NotLeaderError{Group: g}
		}
		if err := h.acquaint(ctx, l, p, q.Space); err != nil {
			return Explained{}, err
		}
		var one Explained
		err := h.group.Inspect(ctx, func() {
			p := h.host.partition(id)
			if p == nil {
				one.Code = space.CodeNoSpace
				return
			}
			one.Explanation, one.Code = p.Explain(q.Space, q.Template, q.Predicate, q.Limit, q.AllowScan)
			for _, b := range p.Status().Building {
				if b.Space == q.Space {
					one.Building = append(one.Building, b)
				}
			}
		})
		if err != nil {
			return Explained{}, h.closing(err)
		}
		if all.add(one); all.Code != space.OK {
			break
		}
	}
	return all, nil
}

// Explain implements Service.
func (r *Remote) Explain(ctx context.Context, g GroupID, q Match) (Explained, error) {
	b, err := r.call(ctx, callExplain, appendMatch(nil, g, Linearizable, &q))
	if err != nil {
		return Explained{}, err
	}
	return parseExplained(b)
}

// An explanation is text for people for the most part, so it travels as JSON.
//
//nolint:musttag // both ends are this package
func appendExplained(e *Explained) ([]byte, error) { return json.Marshal(e) }

func parseExplained(b []byte) (Explained, error) {
	var e Explained
	if err := json.Unmarshal(b, &e); err != nil { //nolint:musttag // see appendExplained
		return Explained{}, fmt.Errorf("cluster: the member's explanation does not read: %w", err)
	}
	return e, nil
}
