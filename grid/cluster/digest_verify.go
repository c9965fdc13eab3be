package cluster

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// DefaultVerifyEvery is how long the leaders take to compare the replicas of
	// all partitions once. It is what a damaged replica may stay unseen for, and
	// it sets the price: every replica hashes all that it holds once in that time,
	// a second or two of one core for each gigabyte, and a fifth of a percent of the
	// core at the default. The goroutine that applies stands still for the cut of an
	// image, some microseconds, and copies a page or part when it first writes to it
	// afterwards.
	DefaultVerifyEvery = 10 * time.Minute
	// verifyTime bounds the comparison of one partition: the slowest replica has to
	// apply the command and to hash its state.
	verifyTime = 30 * time.Second
	// mendAgain is how soon a replica that must go asks again to be let go.
	mendAgain = time.Second
)

// What a comparison has come to.
const (
	replicasEqual  = "equal"
	replicasDiffer = "replicas differ" // with no majority for one state: for a person to decide
	replicaMended  = "mended"          // one or more differed from a majority and were taken out
	notCompared    = "not compared"
)

// checkView is how the replicas of one partition compared.
type checkView struct {
	Partition space.PartitionID `json:"partition"`
	Group     GroupID           `json:"group"`
	Result    string            `json:"result"`
	Reason    string            `json:"reason,omitempty"`
	Seq       space.Seq         `json:"seq"` // on the leader
	Replicas  []checkedReplica  `json:"replicas,omitempty"`
}

type checkedReplica struct {
	Member MemberID `json:"member"`
	// State is the digest, empty if the replica gave none in time.
	State string `json:"state,omitempty"`
	Odd   bool   `json:"odd,omitempty"`
}

// comparisons are what is known of how the replicas of a group compare.
type comparisons struct {
	slot chan struct{} // holds a value while a partition is compared
	told bell          // this replica is an outcast

	mu   sync.Mutex
	last map[space.PartitionID]checkView // by this replica as leader
}

func (c *comparisons) init() {
	c.slot, c.last = make(chan struct{}, 1), map[space.PartitionID]checkView{}
}

// note keeps the newest result and returns the one before.
func (c *comparisons) note(v checkView) (before string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.last[v.Partition].Result
	if v.Result != notCompared {
		c.last[v.Partition] = v
	}
	return before
}

// differing returns the partitions whose replicas differed, without a majority,
// when they were compared last.
func (c *comparisons) differing() (ps []space.PartitionID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, v := range c.last {
		if v.Result == replicasDiffer {
			ps = append(ps, p)
		}
	}
	slices.Sort(ps)
	return ps
}

// forget begins anew, with a leadership.
func (c *comparisons) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.last)
}

// verifyAll compares the replicas of one partition after the other while this one
// leads, and asks for a replica in its own place once it is an outcast, until the
// group is closed.
func (h *held) verifyAll() {
	last := -1
	for {
		told := h.compared.told.heard()
		wait := h.n.cfg.VerifyEvery / time.Duration(max(len(h.host.all()), 1))
		switch {
		case h.outcast.Load():
			wait = mendAgain
		case h.n.cfg.VerifyEvery < 0:
			wait = time.Hour
		}
		h.n.rest(wait, told, h.ctx.Done())
		if h.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, verifyTime)
		switch l := h.serving(); {
		case h.outcast.Load():
			if err := h.mend(ctx, h.self); err != nil && h.ctx.Err() == nil {
				h.log.Warn("this replica differs from the others and is not replaced yet", "err", err)
			}
		case l != nil && h.n.cfg.VerifyEvery > 0:
			ps := sortedPartitions(h.host.all())
			i := slices.IndexFunc(ps, func(p *carried) bool { return int(p.ID()) > last })
			if i < 0 && len(ps) > 0 {
				i = 0
			}
			if i >= 0 {
				last = int(ps[i].ID())
				h.verify(ctx, l, ps[i].ID())
			}
		}
		cancel()
	}
}

// verify compares the replicas of one partition and acts upon it: replicas against
// which a majority agrees are taken out. It returns what it has found.
func (h *held) verify(ctx context.Context, l *leadership, p space.PartitionID) checkView {
	v := checkView{Partition: p, Group: h.id, Result: notCompared}
	select {
	case h.compared.slot <- struct{}{}:
		defer func() { <-h.compared.slot }()
	case <-ctx.Done():
		v.Reason = "others are being compared"
		return v
	}
	voters, reason := h.comparable()
	if reason != "" {
		v.Reason = reason
		return v
	}
	mark := rand.Uint64() | 1
	if err := h.order(ctx, l, []systemCommand{{p, space.DigestCommand(mark)}}); err != nil {
		v.Reason = err.Error()
		return v
	}
	opinions, seq := h.opinions(ctx, voters, p, mark)
	v.Seq = seq
	found := judge(opinions)
	for _, o := range opinions {
		r := checkedReplica{Member: MemberID(o.voter.Member), Odd: slices.Contains(found.odd, o.voter)}
		if o.known {
			r.State = hex.EncodeToString(o.state[:])
		}
		v.Replicas = append(v.Replicas, r)
	}
	switch {
	case len(found.odd) > 0:
		v.Result = replicaMended
	case found.torn:
		v.Result = replicasDiffer
	case found.compared < 2:
		v.Reason = "no other replica has answered"
	default:
		v.Result = replicasEqual
	}
	before := h.compared.note(v)
	switch {
	case v.Result == replicaMended:
		h.log.Error("replicas differ: those against which a majority agrees are replaced", "partition", p, "seq", seq, "odd", found.odd, "replicas", v.Replicas)
		h.expel(ctx, found.odd)
	case v.Result == replicasDiffer && before != v.Result:
		h.log.Error("replicas differ, and no majority says which is right: the leader serves on; start a member that is wrong with an empty data directory, and it takes the leader's state",
			"partition", p, "seq", seq, "replicas", v.Replicas)
	}
	return v
}

// comparable returns the voters whose states are to be compared, or why that has
// to wait.
func (h *held) comparable() ([]replica.ServerID, string) {
	g, ok := h.n.control.State().Group(h.id)
	if !ok || !h.approved() {
		return nil, "the group does not serve yet"
	}
	members := h.members()
	voters := make([]replica.ServerID, 0, len(g.Replicas))
	for _, r := range g.Replicas {
		if id := g.server(r); r.Role == Voter && members[id] {
			voters = append(voters, id)
		}
	}
	switch {
	case len(voters) != len(members) || len(voters) != len(g.Replicas):
		return nil, "the group is changing its replicas"
	case len(voters) < 2:
		return nil, "there is one replica only"
	}
	slices.SortFunc(voters, compareServers)
	return voters, ""
}

func compareServers(a, b replica.ServerID) int {
	return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Incarnation, b.Incarnation))
}

// opinions asks every voter for its digest at a mark, and returns the Seq at which
// this one stood there.
func (h *held) opinions(ctx context.Context, voters []replica.ServerID, p space.PartitionID, mark uint64) ([]opinion, space.Seq) {
	opinions := make([]opinion, len(voters))
	var seq space.Seq
	var wg sync.WaitGroup
	for i, id := range voters {
		opinions[i].voter = id
		wg.Go(func() {
			if id == h.self {
				d, known := h.digests.wait(ctx, p, mark)
				opinions[i].known, opinions[i].state, seq = known, d.State, d.Seq
				return
			}
			q := digestQuestion{group: h.id, incarnation: id.Incarnation, partition: p, mark: mark}
			b, err := h.n.call(ctx, MemberID(id.Member), callDigest, q.encode())
			if err == nil {
				opinions[i].state, opinions[i].known, err = decodeDigest(b)
			}
			if err != nil && h.ctx.Err() == nil {
				h.log.Debug("a replica does not tell its digest", "replica", id.String(), "err", err)
			}
		})
	}
	wg.Wait()
	return opinions, seq
}

// expel makes replicas go: others are told that they are outcasts, and what the
// table says of them changes; this one first lets somebody else lead.
func (h *held) expel(ctx context.Context, odd []replica.ServerID) {
	for _, id := range odd {
		if id == h.self {
			continue
		}
		q := digestQuestion{group: h.id, incarnation: id.Incarnation}
		if _, err := h.n.call(ctx, MemberID(id.Member), callOutcast, q.encode()); err != nil {
			h.log.Warn("a replica that differs is not told so, and will see it in the table", "replica", id.String(), "err", err)
		}
		if err := h.mend(ctx, id); err != nil {
			h.log.Warn("a replica that differs is not replaced yet", "replica", id.String(), "err", err)
		}
	}
	if slices.Contains(odd, h.self) {
		h.castOut()
		h.handOver(ctx)
	}
}

// castOut ends all use of this replica's state at once.
func (h *held) castOut() {
	if h.outcast.Swap(true) {
		return
	}
	h.lead.Store(nil)
	h.callers.release()
	h.hub.close()
	h.log.Error("the state of this replica differs from that of a majority; it is not used any more, and another replica takes its place")
	h.compared.told.ring()
	h.n.roles.ring()
	poke(h.wake)
}

// mend begins another replica in the place of one that must not be used, unless
// that has been done.
func (h *held) mend(ctx context.Context, id replica.ServerID) error {
	g, ok := h.n.control.State().Group(h.id)
	if !ok {
		return nil
	}
	for _, r := range g.Replicas {
		if g.server(r) != id {
			continue
		}
		reply, err := h.n.decide(ctx, &MendReplica{
			Group: g.ID, Member: r.Member, Incarnation: r.Incarnation, Times: g.MendedTimes(r.Member) + 1,
		})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			return fmt.Errorf("mend replica %v of group %d: %w", id, g.ID, err)
		}
		h.log.Warn("a replica is begun anew", "replica", id.String())
	}
	return nil
}

// doubt notes, when a replica begins in the place of one that differed, that the
// store here may hold what that one has made of its changes.
func (h *held) doubt(g *Group) error {
	empty, err := h.group.Empty()
	if err != nil || !empty || g.MendedTimes(h.n.name) == 0 {
		return err
	}
	for _, p := range h.n.control.State().PartitionsOf(h.id) {
		h.doubted.Store(p, struct{}{})
	}
	return nil
}
