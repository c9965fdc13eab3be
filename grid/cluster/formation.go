package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// DefaultSpace is the space that every cluster has from its start.
const DefaultSpace = "default"

const (
	// settleEvery is how often a member that belongs to no cluster looks around.
	settleEvery = 100 * time.Millisecond
	// incompleteEvery is how often all stores are read while members are missing;
	// one that comes is heard at once.
	incompleteEvery = 2 * time.Second
	// consentTime is how long a member holds to the founder it has agreed to.
	consentTime = 5 * time.Second
	// foundTime bounds one attempt to found, in which every member is asked what
	// its store holds.
	foundTime = 30 * time.Second
)

// consent makes sure that of several members that might found a cluster, a given
// member goes along with one.
type consent struct {
	mu    sync.Mutex
	to    MemberID
	until time.Time
}

// grant agrees to a founder unless another one has been agreed to a moment ago.
func (c *consent) grant(to MemberID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.to != to && now.Before(c.until) {
		return false
	}
	c.to, c.until = to, now.Add(consentTime)
	return true
}

// blank reports whether this member has never been part of a cluster.
func (n *Node) blank() bool {
	if n.control.State().Formed() {
		return false
	}
	empty, err := n.cgroup.Empty()
	return err == nil && empty
}

// settle founds a cluster, or waits until this member has become part of one;
// afterwards it keeps what others are told of this member true.
func (n *Node) settle() {
	for n.ctx.Err() == nil && !n.control.State().Formed() {
		states, peering := n.states.heard(), n.peering.heard()
		wait := settleEvery
		if n.blank() {
			ctx, cancel := context.WithTimeout(n.ctx, foundTime)
			if err := n.found(ctx); err != nil && n.ctx.Err() == nil {
				n.log.Info("not forming a cluster yet", "reason", err)
				if errors.Is(err, errIncomplete) {
					wait = incompleteEvery
				}
			}
			cancel()
		}
		n.rest(wait, states, peering)
	}
	if n.gossip == nil {
		return
	}
	if err := n.gossip.UpdateMeta(n.describe()); err != nil && n.ctx.Err() == nil {
		n.log.Warn("others are not told that this member is part of the cluster", "err", err)
	}
}

// rest waits for a time or for one of the bells.
func (n *Node) rest(d time.Duration, a, b <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a:
	case <-b:
	case <-n.ctx.Done():
	}
}

// found makes a cluster out of the members in sight, if this is the one to do
// it: all are as new as this one, there are as many as are expected, none has a
// lower name, all agree, and nobody is missing of a cluster that their stores
// know. An error says what is missing.
func (n *Node) found(ctx context.Context) error {
	if err := n.bereft(); err != nil {
		return err
	}
	if n.gossip != nil && len(n.cfg.Seeds) > 0 {
		select {
		case <-n.gossip.Joined():
		default:
			return fmt.Errorf("no seed has answered")
		}
	}
	peers := n.peers()
	for _, p := range peers {
		if p.Flags&FlagAdmitted != 0 {
			return fmt.Errorf("member %s belongs to a cluster, which will admit this one", p.Member)
		}
	}
	switch {
	case len(peers) == 0:
		return fmt.Errorf("this member does not see itself yet")
	case len(peers) < n.cfg.Expect:
		return fmt.Errorf("%d of %d members are there", len(peers), n.cfg.Expect)
	case slices.MinFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Member, b.Member) }).Member != n.name:
		return fmt.Errorf("another member is to form the cluster")
	}
	form := &Form{
		Partitions: n.cfg.Partitions, Copies: n.cfg.Copies, Durability: n.cfg.Durability,
	}
	roll := roll{there: map[MemberID]bool{}}
	var err error
	if form.Members, err = n.consents(ctx, peers); err != nil {
		return err
	}
	for _, p := range peers {
		grid, err := n.storedOf(ctx, p.Member)
		if err != nil {
			return fmt.Errorf("store of member %s: %w", p.Member, err)
		}
		roll.call(p.Member, &grid)
		if err := form.recall(p.Member, &grid); err != nil {
			return err
		}
	}
	if err := roll.complete(n.cfg.AcceptLoss); err != nil {
		return err
	}
	if absent := roll.absent(); len(absent) > 0 {
		n.log.Warn("forming the cluster anew without some of its members; what only they hold is lost", "absent", absent)
	}
	// Reading the stores may have taken longer than consent lasts.
	again, err := n.consents(ctx, peers)
	if err != nil {
		return err
	}
	if !slices.Equal(again, form.Members) {
		return errors.New("a member was started again meanwhile")
	}
	if form.Cluster.IsZero() {
		rand.Read(form.Cluster[:])
	}
	return n.foundWith(ctx, form)
}

// consents asks members to let this one found, and returns them as they want to
// be admitted. All must agree.
func (n *Node) consents(ctx context.Context, peers []Peer) ([]Member, error) {
	var members []Member
	for _, p := range peers {
		answer, err := n.probe(ctx, p.Member, probe{Founder: n.name})
		switch {
		case err != nil:
			return nil, fmt.Errorf("member %s: %w", p.Member, err)
		case !answer.Blank:
			return nil, fmt.Errorf("member %s belongs to a cluster", p.Member)
		case !answer.Granted:
			return nil, fmt.Errorf("member %s has agreed to another founder, or has lost its logs and waits for its cluster", p.Member)
		}
		members = append(members, answer.Member)
	}
	return members, nil
}

// recall takes over what a store knows of the cluster that it belonged to.
func (c *Form) recall(m MemberID, g *StoredGrid) error {
	if g.Cluster.IsZero() {
		return nil
	}
	if !c.Cluster.IsZero() && c.Cluster != g.Cluster {
		return fmt.Errorf("cluster: the store of member %s belongs to cluster %s, others to %s (start it apart, or with an empty store)", m, g.Cluster, c.Cluster)
	}
	if c.Cluster.IsZero() || g.Version > c.Version {
		c.Version, c.Spaces, c.Sinks = g.Version, g.Spaces, g.Sinks
	}
	c.Cluster, c.Partitions, c.LastSpace = g.Cluster, g.Count, max(c.LastSpace, g.LastSpace)
	return nil
}

// errIncomplete puts a founding off until more members are there.
var errIncomplete = errors.New("cluster: members are missing")

// roll is who was in the cluster that the stores know, by the newest of their
// accounts, and who of them is there.
type roll struct {
	version uint64
	members []MemberID
	there   map[MemberID]bool
}

// call notes that a member is there, and its store. The store may have got into
// other hands; it is there all the same.
func (r *roll) call(m MemberID, g *StoredGrid) {
	r.there[m] = true
	if g.Cluster.IsZero() {
		return
	}
	r.there[g.Owner] = true
	if len(r.members) == 0 || g.Version > r.version {
		r.version, r.members = g.Version, g.Members
	}
}

// absent returns the members that are not there.
func (r *roll) absent() []MemberID {
	return slices.DeleteFunc(slices.Clone(r.members), func(m MemberID) bool { return r.there[m] })
}

// complete says why the cluster must not be formed anew: a store that is not
// there may be the newest.
func (r *roll) complete(acceptLoss bool) error {
	absent := r.absent()
	all := len(r.members)
	there := all - len(absent)
	hint := "start the others, or accept the loss"
	switch {
	case there == all, acceptLoss && 2*there > all:
		return nil
	case acceptLoss:
		hint = "start the others; to accept the loss takes more than half"
	}
	return fmt.Errorf("%w: %d of %d members of the cluster that the stores know are there, not %v: %s", errIncomplete, there, all, absent, hint)
}

// foundWith makes the formed state the first one of the control group.
func (n *Node) foundWith(ctx context.Context, form *Form) error {
	commands := []Command{form}
	if len(form.Spaces) == 0 {
		commands = append(commands, &CreateSpace{Definition: space.Definition{Name: DefaultSpace, Shape: space.ShapeAny}})
	}
	commands = append(commands, &SetSink{Name: storeSinkName, Required: n.cfg.Store != nil})
	made := NewControl()
	for _, c := range commands {
		reply, err := DecodeReply(made.Apply(EncodeCommand(c)))
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			return err
		}
	}
	// Another founder may have been quicker. What its control group applies here is
	// not to be replaced, neither now nor when founding fails.
	var put bool
	err := n.cgroup.Inspect(ctx, func() {
		if before := n.control.State(); !before.Formed() {
			put = n.control.state.CompareAndSwap(before, made.State())
		}
	})
	switch {
	case err != nil:
		return err
	case !put:
		return errors.New("cluster: this member has become part of a cluster meanwhile")
	}
	if err := n.cgroup.Found(); err != nil {
		n.control.state.CompareAndSwap(made.State(), &State{})
		return fmt.Errorf("cluster: found the control group: %w", err)
	}
	n.states.ring()
	n.log.Info("has formed the cluster", "cluster", form.Cluster.String(), "members", len(form.Members))
	return nil
}
