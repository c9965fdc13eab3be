package cluster

import (
	"errors"
	"fmt"
	"slices"
)

func (c *SetReplicas) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Version == c.Version+1 && slices.Equal(g.Replicas, c.Replicas) {
		return Reply{Group: g.Version} // a repeat
	}
	if g.Version != c.Version {
		r := refuse(CodeConflict, "group %d is at version %d, not %d", c.Group, g.Version, c.Version)
		r.Group = g.Version
		return r
	}
	if err := d.checkReplicas(g, c.Replicas); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	next := *g
	next.Replicas = slices.Clone(c.Replicas)
	d.setGroup(next)
	return Reply{Group: next.Version + 1}
}

// checkReplicas says why rs cannot be the replicas of g. New ones are on living
// members at their present incarnation; old ones may stay until they are
// replaced.
func (s *State) checkReplicas(g *Group, rs []Replica) error {
	voters := 0
	for i, r := range rs {
		same := func(o Replica) bool { return o.Member == r.Member && o.Incarnation == r.Incarnation }
		if slices.ContainsFunc(rs[:i], same) {
			return fmt.Errorf("member %q is named twice", r.Member)
		}
		if r.Role != Learner && r.Role != Voter {
			return fmt.Errorf("member %q: unknown %s", r.Member, r.Role)
		}
		if r.Role == Voter {
			voters++
		}
		if slices.ContainsFunc(g.Replicas, same) {
			continue
		}
		switch m, ok := s.Member(r.Member); {
		case !ok:
			return fmt.Errorf("there is no member %q", r.Member)
		case m.State == Lost:
			return fmt.Errorf("member %q is declared lost", r.Member)
		case m.Incarnation != r.Incarnation:
			return fmt.Errorf("member %q is at incarnation %d, not %d", r.Member, m.Incarnation, r.Incarnation)
		}
	}
	if voters == 0 {
		return errors.New("a group needs a voter")
	}
	return nil
}

func (c *MendReplica) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	times := g.MendedTimes(c.Member)
	if times >= c.Times && c.Times > 0 {
		return Reply{Group: g.Version} // a repeat
	}
	at := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.Member == c.Member && r.Incarnation == c.Incarnation })
	switch {
	case g.Stage != Serving:
		return refuse(CodeConflict, "group %d is %s", g.ID, g.Stage)
	case c.Times != times+1:
		return refuse(CodeConflict, "the replica of group %d on member %q was mended %d times, not %d", g.ID, c.Member, times, c.Times-1)
	case at < 0:
		return refuse(CodeConflict, "member %q, incarnation %d, has no replica of group %d", c.Member, c.Incarnation, g.ID)
	}
	next := *g
	next.Replicas = slices.Clone(g.Replicas)
	next.Replicas[at].Role = Learner
	if !slices.ContainsFunc(next.Replicas, func(r Replica) bool { return r.Role == Voter }) {
		return refuse(CodeInvalid, "nobody else votes in group %d", g.ID)
	}
	next.Mended = slices.Clone(g.Mended)
	i, known := g.mendedAt(c.Member)
	if !known {
		next.Mended = slices.Insert(next.Mended, i, Mended{Member: c.Member})
	}
	next.Mended[i].Times = c.Times
	d.setGroup(next)
	return Reply{Group: next.Version + 1}
}

func (c *BeginBootstrap) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Version != c.Version {
		r := refuse(CodeConflict, "group %d is at version %d, not %d", c.Group, g.Version, c.Version)
		r.Group = g.Version
		return r
	}
	if !slices.Contains(g.Replicas, Replica{c.Member, c.Incarnation, Voter}) {
		return refuse(CodeInvalid, "member %q, incarnation %d, is no voter of group %d", c.Member, c.Incarnation, c.Group)
	}
	if m, ok := d.Member(c.Member); !ok || m.State == Lost || m.Incarnation != c.Incarnation {
		return refuse(CodeStaleIncarnation, "member %q, incarnation %d, cannot begin", c.Member, c.Incarnation)
	}
	if err := d.checkSources(c.Group, c.Sources); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if g.Stage == Serving {
		if r, may := d.mayHoldState(g, c.Stateless); may {
			return refuse(CodeHasState, "member %q, incarnation %d, in group %d", r.Member, r.Incarnation, g.ID)
		}
	}
	next := *g
	next.Stage = Bootstrapping
	next.Bootstrap = Bootstrap{
		Member: c.Member, Incarnation: c.Incarnation,
		Attempt: g.Bootstrap.Attempt + 1, Sources: slices.Clone(c.Sources),
	}
	d.setGroup(next)
	return Reply{Group: next.Version + 1, Attempt: next.Bootstrap.Attempt}
}

// mayHoldState returns a replica of g that nobody has said to be without state.
func (s *State) mayHoldState(g *Group, stateless []MemberID) (Replica, bool) {
	for _, r := range g.Replicas {
		m, ok := s.Member(r.Member)
		lost := !ok || m.State == Lost || m.Incarnation > r.Incarnation
		if !lost && !slices.Contains(stateless, r.Member) {
			return r, true
		}
	}
	return Replica{}, false
}

// checkSources says why a bootstrap of g cannot use these sources.
func (s *State) checkSources(g GroupID, sources []Source) error {
	partitions := s.PartitionsOf(g)
	if len(sources) != len(partitions) {
		return fmt.Errorf("%d sources for the %d partitions of group %d", len(sources), len(partitions), g)
	}
	for i, src := range sources {
		if src.Partition != partitions[i] {
			return fmt.Errorf("source %d is for partition %d, not %d", i+1, src.Partition, partitions[i])
		}
		nothing := src.Member == "" && src.History.IsZero() && src.Seq == 0 && src.Epoch == 0
		switch src.Kind {
		case FromNothing:
			if !nothing {
				return fmt.Errorf("partition %d: nothing has no member and no history", src.Partition)
			}
		case FromStore:
		case FromReplica:
			if _, ok := s.Member(src.Member); !ok {
				return fmt.Errorf("partition %d: there is no member %q", src.Partition, src.Member)
			}
		default:
			return fmt.Errorf("partition %d: unknown %s", src.Partition, src.Kind)
		}
	}
	return nil
}

func (c *EndBootstrap) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Stage == Unborn || g.Bootstrap.Attempt != c.Attempt {
		r := refuse(CodeConflict, "group %d is %s at attempt %d, not %d", c.Group, g.Stage, g.Bootstrap.Attempt, c.Attempt)
		r.Group = g.Version
		return r
	}
	if g.Stage == Serving {
		return Reply{Group: g.Version, Attempt: c.Attempt}
	}
	next := *g
	next.Stage = Serving
	d.setGroup(next)
	return Reply{Group: next.Version + 1, Attempt: c.Attempt}
}
