package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// governEvery is how often the leader of the control group compares what
	// there is with what there should be while something is open, and
	// governIdle while nothing is.
	governEvery = 200 * time.Millisecond
	governIdle  = 2 * time.Second
	// governTime bounds one round.
	governTime = 10 * time.Second
	// bootstrapTime is how long a member that does not answer may take over the
	// first state of a group before another one is asked.
	bootstrapTime = 10 * time.Second
)

// errOpen says that a round has found something that is not as it should be yet.
var errOpen = errors.New("cluster: not settled yet")

// governor is what the leader of the control group remembers from round to round.
type governor struct {
	n *Node
	// control are the incarnations of members in the control group, and what of
	// the member they were asked for.
	control map[MemberID]controlOf
	// begun is when a bootstrap was first seen under way, by group and attempt.
	begun map[[2]uint64]time.Time
}

type controlOf struct {
	incarnation, boot uint64
	id                replica.ServerID
}

// govern runs the cluster's affairs while this member leads the control group:
// it admits members, lets them vote, and has groups begun.
func (n *Node) govern() {
	g := &governor{n: n}
	g.forget()
	for n.ctx.Err() == nil {
		states, roles, peering := n.states.heard(), n.roles.heard(), n.peering.heard()
		wait := governIdle
		if _, leads := n.cgroup.Leading(); leads && n.control.State().Formed() {
			ctx, cancel := context.WithTimeout(n.ctx, governTime)
			if err := g.round(ctx); err != nil {
				wait = governEvery
				if !errors.Is(err, errOpen) && n.ctx.Err() == nil {
					n.log.Debug("an affair of the cluster is put off", "err", err)
				}
			}
			cancel()
		} else {
			g.forget()
			n.rest(governIdle, roles, nil)
			continue
		}
		n.restAny(wait, states, roles, peering)
	}
}

func (g *governor) forget() {
	g.control, g.begun = map[MemberID]controlOf{}, map[[2]uint64]time.Time{}
}

// restAny waits for a time or for one of three bells.
func (n *Node) restAny(d time.Duration, a, b, c <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a:
	case <-b:
	case <-c:
	case <-n.ctx.Done():
	}
}

// round settles one matter after the other. What has failed does not keep the
// others from being settled.
func (g *governor) round(ctx context.Context) error {
	return errors.Join(g.admit(ctx), g.begin(ctx), g.vote(ctx))
}

// admit makes members of those in sight who are not, and keeps what is known of
// the others up to date.
func (g *governor) admit(ctx context.Context) error {
	var failed error
	for _, p := range g.n.peers() {
		known, ok := g.n.control.State().Member(p.Member)
		if ok && known.Incarnation == p.Incarnation && known.Boot == p.Boot && known.Peer == p.Peer &&
			known.RESP == p.RESP && known.HTTP == p.HTTP && known.Zone == p.Zone {
			continue
		}
		ask := probe{}
		if ok {
			ask.Known = known.Incarnation
		}
		answer, err := g.n.probe(ctx, p.Member, ask)
		if err == nil && !answer.Cluster.IsZero() && answer.Cluster != g.n.control.State().Cluster {
			err = fmt.Errorf("it belongs to cluster %s", answer.Cluster)
		}
		if err == nil && !ok && !answer.Blank {
			err = errors.New("it was removed (start it with an empty data directory to have it back)")
		}
		if err == nil {
			var reply Reply
			if reply, err = g.n.decide(ctx, &AdmitMember{Member: answer.Member}); err == nil {
				err = reply.Err()
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("admit member %s: %w", p.Member, err))
		}
	}
	return failed
}

// controlID returns a member's identity in the control group.
func (g *governor) controlID(ctx context.Context, m *Member) (replica.ServerID, error) {
	if m.ID == g.n.name {
		return g.n.controlID, nil
	}
	if c, ok := g.control[m.ID]; ok && c.incarnation == m.Incarnation && c.boot == m.Boot {
		return c.id, nil
	}
	answer, err := g.n.probe(ctx, m.ID, probe{})
	if err != nil {
		return replica.ServerID{}, err
	}
	c := controlOf{
		incarnation: answer.Member.Incarnation, boot: answer.Member.Boot,
		id: replica.ServerID{Member: string(m.ID), Incarnation: answer.Control},
	}
	g.control[m.ID] = c
	return c.id, nil
}

// vote makes every member learn what the control group agrees on, and lets the
// right ones vote, one change at a time.
func (g *governor) vote(ctx context.Context) error {
	n := g.n
	s := n.control.State()
	in := map[replica.ServerID]bool{} // and whether it votes
	for _, m := range n.cgroup.Status().Members {
		in[m.ID] = m.Voter
	}
	if done, err := g.dismissStale(ctx, in); done {
		return errors.Join(errOpen, err)
	}
	want := DesiredVoters(s)
	open := error(nil)
	current := map[string]replica.ServerID{}
	for i := range s.Members {
		m := &s.Members[i]
		if m.State == Lost {
			continue
		}
		id, err := g.controlID(ctx, m)
		if err != nil {
			// It is away. What it was in the group it stays.
			for have := range in {
				if have.Member == string(m.ID) {
					current[have.Member] = have
				}
			}
			continue
		}
		current[id.Member] = id
		// An earlier life of it goes before this one votes, as in a group of partitions (outlived).
		for have := range in {
			if have.Member == id.Member && have.Incarnation < id.Incarnation && have != n.controlID {
				return errors.Join(errOpen, n.cgroup.Remove(ctx, have))
			}
		}
		votes, there := in[id]
		switch {
		case !there:
			return errors.Join(errOpen, n.cgroup.AddLearner(ctx, id))
		case !votes && slices.Contains(want, m.ID):
			if !n.cgroup.CaughtUp(id) {
				open = errOpen
				continue
			}
			return errors.Join(errOpen, n.cgroup.AddVoter(ctx, id))
		}
	}
	if open != nil {
		return open
	}
	if err := g.unvote(ctx, in, want, current); err != nil {
		return err
	}
	return g.recordVoters(ctx, in)
}

// unvote removes from the control group who is no longer to be in it, and makes
// learners of those who are not to vote.
func (g *governor) unvote(ctx context.Context, in map[replica.ServerID]bool, want []MemberID, current map[string]replica.ServerID) error {
	for id, votes := range in {
		present := current[id.Member] == id
		switch {
		case id == g.n.controlID && votes && !slices.Contains(want, g.n.name):
			g.n.handOverControl(ctx)
			return errOpen
		case id == g.n.controlID:
		case !present, votes && !slices.Contains(want, MemberID(id.Member)):
			// One that still belongs to the cluster is added again, as a learner.
			return errors.Join(errOpen, g.n.cgroup.Remove(ctx, id))
		}
	}
	return nil
}

func (g *governor) recordVoters(ctx context.Context, in map[replica.ServerID]bool) error {
	var votes []MemberID
	for id, voter := range in {
		if voter && !slices.Contains(votes, MemberID(id.Member)) {
			votes = append(votes, MemberID(id.Member))
		}
	}
	slices.Sort(votes)
	if slices.Equal(votes, g.n.control.State().Voters()) || len(votes) > MaxVoters {
		return nil
	}
	reply, err := g.n.decide(ctx, &SetVoters{Members: votes})
	if err != nil {
		return err
	}
	return reply.Err()
}

// handOverControl lets another voter lead the control group.
func (n *Node) handOverControl(ctx context.Context) {
	for _, m := range n.cgroup.Status().Members {
		if m.Voter && m.ID != n.controlID && n.cgroup.CaughtUp(m.ID) {
			if err := n.cgroup.Transfer(ctx, m.ID); err == nil {
				return
			}
		}
	}
}

// begin has groups begun that have no state: new ones, and those whose replicas
// are all known to be without it.
func (g *governor) begin(ctx context.Context) error {
	n := g.n
	s := n.control.State()
	var stored map[MemberID]StoredGrid
	for i := range s.Groups {
		group := &s.Groups[i]
		who, due := g.due(s, group)
		if !due {
			continue
		}
		if who.Member == "" {
			return fmt.Errorf("group %d: no member that could begin it is in sight", group.ID)
		}
		// Another attempt takes what the first one was to take, if that is still
		// to be had.
		from := group.Bootstrap.Sources
		if group.Stage != Bootstrapping || g.sourceGone(s, group) {
			if stored == nil {
				var err error
				if stored, err = g.stores(ctx, s); err != nil {
					return err
				}
			}
			from = sources(s.PartitionsOf(group.ID), stored)
		}
		if err := g.beginGroup(ctx, s, group, who, from); err != nil {
			return fmt.Errorf("begin group %d: %w", group.ID, err)
		}
	}
	return nil
}

// due says whether a group is to be begun, and by which of its replicas.
func (g *governor) due(s *State, group *Group) (who Replica, due bool) {
	switch group.Stage {
	case Bootstrapping:
		key := [2]uint64{uint64(group.ID), group.Bootstrap.Attempt}
		if _, seen := g.begun[key]; !seen {
			g.begun[key] = time.Now()
		}
		m, ok := s.Member(group.Bootstrap.Member)
		same := ok && m.Incarnation == group.Bootstrap.Incarnation && m.State != Lost
		if same && (g.alive(m.ID) || time.Since(g.begun[key]) < bootstrapTime) && !g.sourceGone(s, group) {
			return Replica{}, false
		}
	case Serving:
		for _, r := range group.Replicas {
			if m, ok := s.Member(r.Member); ok && m.State != Lost && m.Incarnation == r.Incarnation {
				return Replica{}, false
			}
		}
	}
	for _, r := range group.Replicas {
		if m, ok := s.Member(r.Member); ok && m.State != Lost && r.Role == Voter && g.alive(r.Member) {
			r.Incarnation = m.Incarnation
			return r, true
		}
	}
	return Replica{}, true
}

// sourceGone reports whether a bootstrap that is under way waits for a store that
// it is not going to read: its member was declared lost, or is away for so long
// that its loss, if accepted, is a fact.
func (g *governor) sourceGone(s *State, group *Group) bool {
	begun := g.begun[[2]uint64{uint64(group.ID), group.Bootstrap.Attempt}]
	accepted := g.n.cfg.AcceptLoss && time.Since(begun) >= bootstrapTime
	return slices.ContainsFunc(group.Bootstrap.Sources, func(src Source) bool {
		if src.Member == "" {
			return false
		}
		m, ok := s.Member(src.Member)
		return !ok || m.State == Lost || accepted && !g.alive(src.Member)
	})
}

func (g *governor) alive(m MemberID) bool {
	return slices.ContainsFunc(g.n.peers(), func(p Peer) bool { return p.Member == m })
}

// stores asks every member what its store holds. All must answer, or a majority
// if loss is accepted; members that are declared lost do not count.
func (g *governor) stores(ctx context.Context, s *State) (map[MemberID]StoredGrid, error) {
	stored := map[MemberID]StoredGrid{}
	asked := 0
	var failed error
	for i := range s.Members {
		m := &s.Members[i]
		if m.State == Lost {
			continue
		}
		asked++
		grid, err := g.n.storedOf(ctx, m.ID)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("store of member %s: %w", m.ID, err))
			continue
		}
		stored[m.ID] = grid
	}
	if failed != nil && (!g.n.cfg.AcceptLoss || 2*len(stored) <= asked) {
		return nil, fmt.Errorf("%w (wait for it, declare it lost, or accept the loss of what only it has)", failed)
	}
	if failed != nil {
		g.n.log.Warn("starting without some stores; what only they hold is lost", "err", failed)
	}
	return stored, nil
}

func (g *governor) beginGroup(ctx context.Context, s *State, group *Group, who Replica, from []Source) error {
	version := group.Version
	stateless := []MemberID{}
	if group.Stage != Unborn {
		// The replicas of earlier lives give way to those of the present ones.
		rs, changed := present(s, group)
		for _, r := range rs {
			if group.Stage == Serving {
				stateless = append(stateless, r.Member)
			}
		}
		if changed {
			reply, err := g.n.decide(ctx, &SetReplicas{Group: group.ID, Version: version, Replicas: rs})
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				return err
			}
			version = reply.Group
		}
	}
	reply, err := g.n.decide(ctx, &BeginBootstrap{
		Group: group.ID, Version: version, Member: who.Member, Incarnation: who.Incarnation,
		Stateless: stateless, Sources: from,
	})
	if err != nil {
		return err
	}
	return reply.Err()
}

// present returns the replicas of a group under their members' present
// incarnations.
func present(s *State, group *Group) (rs []Replica, changed bool) {
	for _, r := range group.Replicas {
		if m, ok := s.Member(r.Member); ok && m.State != Lost && m.Incarnation != r.Incarnation {
			r.Incarnation, changed = m.Incarnation, true
		}
		if !slices.Contains(rs, r) {
			rs = append(rs, r)
		}
	}
	return rs, changed
}

// sources picks for each partition the store that has come furthest, and notes the
// highest epoch that any of them has seen: the new history has to outrank also
// those that it does not come from.
func sources(ps []space.PartitionID, stored map[MemberID]StoredGrid) []Source {
	best := map[space.PartitionID]StoredPartition{}
	from := map[space.PartitionID]MemberID{}
	epochs := map[space.PartitionID]space.Epoch{}
	for _, m := range sortedKeys(stored) {
		for _, p := range stored[m].Partitions {
			if p.Position.History.IsZero() {
				continue
			}
			epochs[p.ID] = max(epochs[p.ID], p.Epoch)
			if b, ok := best[p.ID]; !ok || newer(&p, &b) {
				best[p.ID], from[p.ID] = p, m
			}
		}
	}
	out := make([]Source, len(ps))
	for i, p := range ps {
		out[i] = Source{Partition: p, Kind: FromNothing}
		if b, ok := best[p]; ok {
			out[i] = Source{
				Partition: p, Kind: FromStore, Member: from[p],
				History: b.Position.History, Seq: b.Position.Seq, Epoch: epochs[p],
			}
		}
	}
	return out
}

// newer compares two stores of one partition. Within a history the numbers
// decide; a history that began later began above the epochs of those before.
func newer(a, b *StoredPartition) bool {
	if a.Position.History == b.Position.History {
		return a.Position.Seq > b.Position.Seq
	}
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Position.Seq, b.Position.Seq)) > 0
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
