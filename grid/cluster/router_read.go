package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Lookup is one read by key, and what it found.
type Lookup struct {
	Get
	// Found is valid if Err is nil.
	Found Found
	Err   error
}

// Read carries out reads and returns when each has an answer or ctx has ended.
func (r *Router) Read(ctx context.Context, level Level, lookups []*Lookup) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	eachGroup(r, lookups, func(l *Lookup) space.PartitionID { return l.Partition }, func(g GroupID, of []*Lookup) {
		gets := make([]Get, len(of))
		for i, l := range of {
			gets[i] = l.Get
		}
		for done := 0; done < len(gets); {
			lot := gets[done:min(len(gets), done+maxSubmissions)]
			found, err := ask(ctx, r, g, level, func(ctx context.Context, svc Service) ([]Found, error) {
				return svc.Read(ctx, g, level, lot)
			})
			if err != nil {
				for _, l := range of[done:] {
					l.Err = err
				}
				return
			}
			for i := range found {
				of[done+i].Found, of[done+i].Err = found[i], nil
			}
			done += len(found)
		}
	})
}

// Match asks the group of the first partition in q for the entries that match;
// partitions of other groups have to be asked for by themselves. It goes through
// the partitions until Limit entries are found or all are searched.
func (r *Router) Match(ctx context.Context, level Level, q Match) (Matched, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	table := r.State().Table
	if len(q.Partitions) == 0 || int(q.Partitions[0]) >= len(table) {
		return Matched{}, fmt.Errorf("%w: no such partitions", ErrUnavailable)
	}
	g := table[q.Partitions[0]]
	var all Matched
	for all.Done < len(q.Partitions) && len(all.Entries) < q.Limit && all.Code == space.OK {
		part := q
		part.Partitions, part.From, part.Limit = q.Partitions[all.Done:], max(all.Next, q.From), q.Limit-len(all.Entries)
		if all.Done > 0 {
			part.From = all.Next
		}
		m, err := ask(ctx, r, g, level, func(ctx context.Context, svc Service) (Matched, error) { return svc.Match(ctx, g, level, part) })
		if err != nil {
			return Matched{}, err
		}
		all.Entries = append(all.Entries, m.Entries...)
		if again := len(all.Seqs) - all.Done; again >= 0 && again <= len(m.Seqs) {
			all.Seqs = append(all.Seqs, m.Seqs[again:]...)
		}
		all.Code, all.Done, all.Next = m.Code, all.Done+m.Done, m.Next
	}
	return all, nil
}

// Groups returns the partitions of the cluster by the group that holds them.
func (r *Router) Groups() [][]space.PartitionID {
	var groups [][]space.PartitionID
	for p, g := range r.State().Table {
		for len(groups) <= int(g) {
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], space.PartitionID(p))
	}
	return groups
}

// ask repeats a question, which changes nothing, until it is answered.
func ask[T any](ctx context.Context, r *Router, g GroupID, level Level, question func(context.Context, Service) (T, error)) (T, error) {
	var none T
	if g == 0 {
		return none, errNoPartition(0)
	}
	turn := r.turn(ctx, g)
	defer turn.end()
	if level == Local && r.holds(g) {
		if answer, err := question(ctx, r.cfg.Local); err == nil || !repeatable(err) {
			return answer, err
		}
	}
	for {
		svc, err := turn.service()
		if err == nil {
			var answer T
			if answer, err = question(turn.now, svc); err == nil || !repeatable(err) {
				return answer, err
			}
		}
		if !turn.again(err) {
			return none, fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(turn.reason))
		}
	}
}

// withoutDoubt makes an unknown outcome of a mere question a plain failure.
func withoutDoubt(err error) error {
	if errors.Is(err, ErrIndeterminate) {
		return errors.New(err.Error())
	}
	return err
}

// holds reports whether the member in this process holds a replica of a group.
func (r *Router) holds(g GroupID) bool {
	if r.cfg.Local == nil {
		return false
	}
	group, ok := r.State().Group(g)
	if !ok {
		return false
	}
	_, ok = group.Replica(r.cfg.Self)
	return ok
}

// Invoke runs a unit's handler beside the partition of a key and returns the
// reply of the command that its transaction became. Repeats are handled like
// those of Do.
func (r *Router) Invoke(ctx context.Context, unit, handler string, p space.PartitionID, key, body []byte) (space.Reply, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	table := r.State().Table
	if int(p) >= len(table) {
		return space.Reply{}, errNoPartition(p)
	}
	if len(key) > space.MaxKeyBytes || len(body) > space.MaxValueBytes {
		return space.Reply{}, &space.Error{Code: space.CodeTooLarge, Detail: "key or request of an invocation", Hint: "send less at once"}
	}
	g := table[p]
	c := &Call{Partition: p}
	defer r.settle(c)
	inv := Invocation{Partition: p, Unit: unit, Handler: handler, Key: key, Body: body, Session: r.mu.session}
	turn := r.turn(ctx, g)
	defer turn.end()
	for {
		svc, err := turn.service()
		if err == nil && !c.begun {
			if c.id, err = r.identify(turn.now, g, svc, p); err == nil {
				c.begun = true
				inv.History, inv.Sequence, inv.Acked, inv.Deadline = c.id.history, c.id.sequence, c.id.acked, c.id.deadline
			}
		}
		if err == nil {
			var b []byte
			if b, err = svc.Invoke(turn.now, g, inv); err == nil {
				c.Reply, err = space.DecodeReply(b)
			}
			if err == nil {
				if err = r.judge(c); err == nil {
					return c.Reply, c.Err
				}
			}
		}
		switch {
		case errors.Is(err, ErrIndeterminate):
			c.maybe, inv.Repeat = true, true
		case !repeatable(err) && c.maybe:
			// This refusal says nothing about the sending that may have arrived.
			c.fail(err)
			return space.Reply{}, c.Err
		case !repeatable(err):
			return space.Reply{}, err
		}
		if !turn.again(err) {
			c.fail(turn.reason)
			return space.Reply{}, c.Err
		}
	}
}

// Control proposes a command to the control group through any member, and
// returns when the member that answered has the change in its own state.
func (r *Router) Control(ctx context.Context, cmd Command) (Reply, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		svc, err := r.anyone(ctx)
		if err == nil {
			var reply Reply
			// Commands to the control group find their effect in place when
			// they are repeated, so an unknown outcome may be tried again.
			if reply, err = svc.Control(ctx, cmd); err == nil {
				return reply, errors.Join(reply.Err(), r.caughtUp(ctx, reply.Version))
			}
			if !repeatable(err) {
				return Reply{}, err
			}
		}
		if !pause(ctx, wait) {
			return Reply{}, fmt.Errorf("%w: %w", ErrIndeterminate, err)
		}
	}
}

// caughtUp waits until this router knows the control group's state at a version.
func (r *Router) caughtUp(ctx context.Context, version uint64) error {
	for wait := backoffMin; r.State().Version < version; wait = min(2*wait, backoffMax) {
		err := r.cfg.Topology.Refresh(ctx)
		if r.State().Version >= version {
			return nil
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("cluster: the change is made but not seen here yet: %w", errors.Join(err, ctx.Err()))
		}
	}
	return nil
}

// anyone returns the service of some member, this one if there is one.
func (r *Router) anyone(ctx context.Context) (Service, error) {
	if r.cfg.Local != nil {
		return r.cfg.Local, nil
	}
	err := fmt.Errorf("%w: no member is known", ErrUnavailable)
	for _, m := range r.State().Members {
		var svc Service
		if svc, err = r.member(ctx, m.ID); err == nil {
			return svc, nil
		}
	}
	return nil, err
}
