package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
)

const (
	// extraTime is how long a replica must have been missing from the table
	// before it is removed from the group: the leader's own copy of the table may
	// be behind.
	extraTime = 2 * time.Second
	// preferAfter is how long a leader that is not the preferred one waits before
	// it hands over, and before it tries again.
	preferAfter = time.Second
	preferAgain = 5 * time.Second
	// handOverAgain is how soon a leader that wants to go looks again for
	// somebody who is up to date.
	handOverAgain = 20 * time.Millisecond
)

// align brings the group's members to what the table says, one change at a time:
// first goes who is outlived or stale, then comes who is missing, then goes who is too
// many; then the next step of a move, and last the leadership to the preferred replica.
func (h *held) align(ctx context.Context, l *leadership) error {
	s := h.n.control.State()
	g, ok := s.Group(h.id)
	if !ok || g.Stage != Serving {
		return nil
	}
	members := h.members()
	if former, ok := outlived(s, g, members); ok && former != h.self {
		return h.group.Remove(ctx, former)
	}
	if done, err := h.dismissStale(ctx, members); done || err != nil {
		return err
	}
	settled, err := h.complete(ctx, s, g, members)
	if err != nil || !settled {
		return err
	}
	if done, err := h.removeExtra(ctx, l, g, members); done || err != nil {
		return err
	}
	if done, err := h.move(ctx, s, g); done || err != nil {
		return err
	}
	return h.prefer(ctx, l, g, members)
}

// outlived returns a replica of the group of which a later life is known. It goes before
// the later one votes: it will never answer again, and beside it the later one would
// make a group of four of which three have to be there, so that the loss of the same
// member once more would stop the group for good.
func outlived(s *State, g *Group, members map[replica.ServerID]bool) (replica.ServerID, bool) {
	for id := range members {
		if m, ok := s.Member(MemberID(id.Member)); ok && id.Incarnation < m.Incarnation+g.life(m.ID)-1 {
			return id, true
		}
	}
	return replica.ServerID{}, false
}

// over reports whether a replica of the table is of an earlier life of its member: the
// table names it until the later one votes.
func (r Replica) over(s *State) bool {
	m, ok := s.Member(r.Member)
	return ok && m.Incarnation > r.Incarnation
}

// members returns who belongs to the group, and whether each votes.
func (h *held) members() map[replica.ServerID]bool {
	members := map[replica.ServerID]bool{}
	for _, m := range h.group.Status().Members {
		members[m.ID] = m.Voter
	}
	return members
}

// complete adds the next replica that the table names and the group lacks, or
// gives it its vote. It reports whether there was none.
func (h *held) complete(ctx context.Context, s *State, g *Group, members map[replica.ServerID]bool) (settled bool, err error) {
	settled = true
	for _, r := range g.Replicas {
		if m, ok := s.Member(r.Member); ok && m.State == Lost || r.over(s) {
			continue
		}
		id := g.server(r)
		votes, there := members[id]
		switch {
		case !there:
			return false, h.group.AddLearner(ctx, id)
		case !votes && r.Role == Voter && h.group.CaughtUp(id):
			return false, h.group.AddVoter(ctx, id)
		case !votes && r.Role == Voter:
			settled = false
		}
	}
	return settled, nil
}

// raise lets others vote in a group that this replica has founded and that does
// not serve yet.
func (h *held) raise() {
	s := h.n.control.State()
	g, ok := s.Group(h.id)
	if !ok || g.Stage != Bootstrapping || g.Bootstrap.Attempt != h.attempt || g.Bootstrap.Member != h.n.name {
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, takeOverTime)
	defer cancel()
	if _, err := h.complete(ctx, s, g, h.members()); err != nil && h.ctx.Err() == nil {
		h.log.Debug("a replica is not added yet", "err", err)
	}
}

// raised reports whether all replicas that the table names and that seem to be
// alive vote. Fewer might not survive the loss of one.
func (h *held) raised(g *Group) bool {
	members := h.members()
	for _, r := range g.Replicas {
		if r.Role == Voter && !members[g.server(r)] && h.n.staying(r.Member) {
			return false
		}
	}
	return members[h.self]
}

// server returns a replica's identity among the group's. It is another one for
// each life of the replica, so that what is left of an earlier one, which may
// have the same places in its log, is never taken for a part of this one.
func (g *Group) server(r Replica) replica.ServerID {
	return replica.ServerID{Member: string(r.Member), Incarnation: r.Incarnation + g.life(r.Member) - 1}
}

// removeExtra removes a replica that the table does not name.
func (h *held) removeExtra(ctx context.Context, l *leadership, g *Group, members map[replica.ServerID]bool) (done bool, err error) {
	wanted := map[replica.ServerID]bool{}
	for _, r := range g.Replicas {
		wanted[g.server(r)] = true
	}
	for id := range members {
		if wanted[id] {
			continue
		}
		if l.extra.id != id {
			l.extra.id, l.extra.since = id, time.Now()
			return true, nil
		}
		switch {
		case time.Since(l.extra.since) < extraTime:
			return true, nil
		case id == h.self:
			h.handOver(ctx)
			return true, nil
		}
		return true, h.group.Remove(ctx, id)
	}
	l.extra.id = replica.ServerID{}
	return false, nil
}

// move takes the next step of the group's move, if placement has one. The table
// changes first and the group follows.
func (h *held) move(ctx context.Context, s *State, g *Group) (done bool, err error) {
	for _, m := range Desired(s) {
		if m.Group != h.id {
			continue
		}
		step := m.Next(g)
		if step.Kind == Promote && !h.group.CaughtUp(g.server(step.Replica)) {
			return true, nil
		}
		reply, err := h.n.decide(ctx, &SetReplicas{Group: g.ID, Version: g.Version, Replicas: step.Replicas})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			return true, fmt.Errorf("move group %d: %w", g.ID, err)
		}
		return true, nil
	}
	return false, nil
}

// prefer hands the leadership to the preferred replica, so that leaders are spread
// as placement wants them.
func (h *held) prefer(ctx context.Context, l *leadership, g *Group, members map[replica.ServerID]bool) error {
	r, ok := g.Preferred()
	to := g.server(r)
	if !ok || to == h.self || !members[to] || !h.group.CaughtUp(to) || !h.n.staying(r.Member) {
		return nil
	}
	if time.Since(l.started) < preferAfter || time.Since(l.offered) < preferAgain {
		return nil
	}
	l.offered = time.Now()
	return h.transfer(ctx, to)
}

// staying reports whether a member seems to be alive and has not said that it
// goes.
func (n *Node) staying(m MemberID) bool {
	for _, p := range n.peers() {
		if p.Member == m {
			return p.Status == Alive && p.Flags&(FlagDraining|FlagLeaving) == 0
		}
	}
	return false
}

// transfer hands the leadership over.
func (h *held) transfer(ctx context.Context, to replica.ServerID) error {
	h.log.Info("hands over", "to", to.String())
	return h.group.Transfer(ctx, to)
}

// handOver makes some other replica lead. It waits for one that is up to date,
// while there is one that seems to be alive.
func (h *held) handOver(ctx context.Context) {
	for hope := true; hope && h.term.Load() != 0; {
		hope = false
		for _, m := range h.group.Status().Members {
			if !m.Voter || m.ID == h.self || !h.n.staying(MemberID(m.ID.Member)) {
				continue
			}
			if h.group.CaughtUp(m.ID) && h.transfer(ctx, m.ID) == nil {
				return
			}
			hope = true
		}
		hope = hope && pause(ctx, handOverAgain)
	}
}
