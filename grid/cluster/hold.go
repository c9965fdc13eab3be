package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// holdEvery is how often a member compares what it holds with the table when
	// nothing tells it to.
	holdEvery = 2 * time.Second
	// holdAgain is how soon it tries again what has failed.
	holdAgain = 50 * time.Millisecond
	// raiseTime is how long a new group waits for its replicas before it serves
	// with those there are.
	raiseTime = 5 * time.Second
)

// errRaising says that a group waits for its other replicas.
var errRaising = errors.New("cluster: a new group waits for its other replicas")

// hold opens and closes replicas until they are those that the table gives this
// member, and makes the first state of groups that it is told to.
func (n *Node) hold() {
	for n.ctx.Err() == nil {
		states := n.states.heard()
		wait := holdEvery
		if err := n.outlived(); err != nil {
			n.log.Error("this member must not go on", "err", err)
			// Close waits for this goroutine. What it returns the owner gets too, from
			// its own call.
			go func() { _ = n.Close() }()
			return
		}
		if err := n.holdOnce(); err != nil {
			wait = holdAgain
			if n.ctx.Err() == nil && !errors.Is(err, errRaising) {
				n.log.Warn("a replica is not as the table says yet", "err", err)
			}
		}
		n.rest(wait, states, nil)
	}
}

func (n *Node) holdOnce() error {
	s := n.control.State()
	if err := n.bindStore(s); err != nil {
		return err
	}
	var failed error
	for i := range s.Groups {
		if err := n.holdGroup(&s.Groups[i]); err != nil {
			failed = errors.Join(failed, fmt.Errorf("group %d: %w", s.Groups[i].ID, err))
		}
	}
	return failed
}

// ErrOutlived is why a member stops by itself: the others know of a later life of
// it, or have declared this one lost.
var ErrOutlived = errors.New("cluster: this life of the member is over (start it with an empty data directory; it takes its state from the others)")

// outlived reports whether the others have gone on without this life of the
// member: its disk was rolled back or copied, or it was given up.
//
// It is not asked before this member votes and acknowledges. The boot is known to
// the others once the control group has agreed on it, and for that the control
// group needs a leader: when all members start at once, as after a loss of power,
// the votes of members whose boots are not agreed on yet are the only ones there
// are, and if they waited nobody would ever start. Nor would it tell a copy made
// in the last life from an ordinary restart: both start under the next boot. That
// one is found out by what it had acknowledged; see replica.Group.RolledBack.
func (n *Node) outlived() error {
	m, ok := n.control.State().Member(n.name)
	switch {
	case !ok || m.Incarnation < n.incarnation:
		return nil
	case m.Incarnation > n.incarnation, m.Boot > n.boot:
		return fmt.Errorf("%w: incarnation %d, boot %d, was seen, this is %d, %d", ErrOutlived, m.Incarnation, m.Boot, n.incarnation, n.boot)
	case m.State == Lost:
		return fmt.Errorf("%w: it was declared lost", ErrOutlived)
	}
	return nil
}

// kept returns the members whose stores count at a cold start.
func (s *State) kept() []MemberID {
	var ids []MemberID
	for i := range s.Members {
		if s.Members[i].State != Lost {
			ids = append(ids, s.Members[i].ID)
		}
	}
	return ids
}

// bindStore tells the store what its partitions have in common, when that has
// changed. A store that belongs to another cluster takes nothing.
func (n *Node) bindStore(s *State) error {
	b := n.bound
	members := s.kept()
	if n.cfg.Store == nil || !s.Formed() ||
		b != nil && sameList(b.Spaces, s.Spaces) && sameList(b.Sinks, s.Sinks) && slices.Equal(b.Members, members) {
		return nil
	}
	if b == nil {
		has, err := n.stored(n.ctx)
		if err != nil && !errors.Is(err, ErrStoreLost) {
			return fmt.Errorf("cluster: look into the store: %w", err)
		}
		if !has.Cluster.IsZero() && has.Cluster != s.Cluster {
			return fmt.Errorf("cluster: the store belongs to cluster %s, this member to %s (move the store's folder away)", has.Cluster, s.Cluster)
		}
	}
	b = &StoredGrid{
		Cluster: s.Cluster, Version: s.Version, Owner: n.name, Members: members, Count: len(s.Table),
		Spaces: s.Spaces, LastSpace: s.LastSpace, Sinks: s.Sinks,
	}
	if err := n.cfg.Store.Bind(n.ctx, *b); err != nil {
		return fmt.Errorf("cluster: bind the store: %w", err)
	}
	n.bound = b
	return nil
}

// holdGroup brings this member's replica of one group to what the table says.
func (n *Node) holdGroup(g *Group) error {
	n.holding.Lock()
	defer n.holding.Unlock()
	if n.ctx.Err() != nil {
		return n.ctx.Err()
	}
	mine := slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Member == n.name && r.Incarnation == n.incarnation })
	h := n.groups[g.ID].Load()
	b := &g.Bootstrap
	first := g.Stage == Bootstrapping && b.Member == n.name && b.Incarnation == n.incarnation
	switch {
	case g.Stage == Unborn:
		return nil
	case !mine && h == nil:
		return n.dropStored(g.ID)
	case h != nil && (!mine || h.life < g.life(n.name)):
		// Moved away, or begun anew, here or elsewhere: what is here is void.
		if err := n.discard(h); err != nil || !mine {
			return err
		}
		h = nil
	}
	if h == nil {
		if err := n.dropOutdated(g); err != nil {
			return err
		}
		var err error
		if h, err = n.openHeld(g); err != nil {
			return n.damaged(err)
		}
		n.groups[g.ID].Store(h)
	}
	if first {
		return n.bootstrap(h, g)
	}
	return nil
}

// errNotSure puts off what cannot be undone.
var errNotSure = errors.New("cluster: this member does not know yet whether its table is the newest one")

// sure reports whether this member's control state has caught up with the others
// since the start. Right after a restart it may be older than before, and must not
// be a reason to throw anything away.
func (n *Node) sure() error {
	if n.caughtUp.Load() {
		return nil
	}
	if err := n.Refresh(n.ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotSure, err)
	}
	n.caughtUp.Store(true)
	return errNotSure // look again, with the newer state
}

// discard closes a replica and forgets what it held.
func (n *Node) discard(h *held) error {
	if err := n.sure(); err != nil {
		return err
	}
	n.groups[h.id].Store(nil)
	return errors.Join(h.close(), n.dropStored(h.id))
}

// dropStored removes what is on disk of a group that this member does not hold.
func (n *Node) dropStored(g GroupID) error {
	if n.storage == nil {
		return nil
	}
	ids, err := n.storage.Groups()
	if err != nil || !slices.Contains(ids, uint32(g)) {
		return err
	}
	if err := n.sure(); err != nil {
		return err
	}
	if err := n.storage.DropGroup(uint32(g)); err != nil {
		return err
	}
	return replica.RemoveSnapshots(n.snapshots(g))
}

// dropOutdated removes what is on disk of an earlier life of the replica of a group
// here, and notes which one this is.
func (n *Node) dropOutdated(g *Group) error {
	if n.storage == nil {
		return nil
	}
	life := g.life(n.name)
	name := metaAttempt + strconv.Itoa(int(g.ID))
	kept, err := n.keptNumber(name, 0)
	if err != nil || kept == life {
		return err
	}
	if kept > life {
		return errNotSure
	}
	if err := n.dropStored(g.ID); err != nil {
		return err
	}
	return n.storage.SetMeta(name, binary.AppendUvarint(nil, life))
}

// bootstrap makes the first state of a group, unless a bootstrap that was
// interrupted has, and lets the group serve.
func (n *Node) bootstrap(h *held, g *Group) error {
	empty, err := h.group.Empty()
	if err != nil {
		return err
	}
	if empty {
		partitions, err := n.firstPartitions(n.ctx, g)
		if err != nil {
			return err
		}
		if err := h.group.Inspect(n.ctx, func() { h.host.found(partitions) }); err != nil {
			return err
		}
		if err := h.group.Found(); err != nil {
			return err
		}
		h.attach()
	}
	// A group that serves on one replica dies with it. If the others stay away,
	// it serves all the same.
	if h.founded.IsZero() {
		h.founded = time.Now()
	}
	if !h.raised(g) && time.Since(h.founded) < raiseTime {
		return errRaising
	}
	ctx, cancel := context.WithTimeout(n.ctx, memberCallTime)
	defer cancel()
	reply, err := n.decide(ctx, &EndBootstrap{Group: g.ID, Attempt: g.Bootstrap.Attempt})
	if err != nil {
		return err
	}
	return reply.Err()
}

// firstPartitions makes the partitions of a group from their sources, several at
// a time. Each begins a history.
func (n *Node) firstPartitions(ctx context.Context, g *Group) ([]*space.Partition, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ps := make([]*space.Partition, len(g.Bootstrap.Sources))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(ps)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(ps) && ctx.Err() == nil; i = next.Add(1) - 1 {
				src := &g.Bootstrap.Sources[i]
				p, err := n.firstPartition(ctx, src)
				if err != nil {
					cancel(fmt.Errorf("partition %d from the %s of %q: %w", src.Partition, src.Kind, src.Member, err))
				}
				ps[i] = p
			}
		})
	}
	wg.Wait()
	return ps, context.Cause(ctx)
}

func (n *Node) firstPartition(ctx context.Context, src *Source) (*space.Partition, error) {
	var h space.History
	rand.Read(h[:])
	switch {
	case src.Kind == FromNothing:
		return space.New(src.Partition, h), nil
	case n.cfg.Store == nil:
		return nil, errors.New("this member has no store to read with (open it with one)")
	case src.Member == n.name || src.Member == "":
		return n.cfg.Store.Load(ctx, src.Partition, h, src.Epoch)
	}
	return n.importFrom(ctx, src, h)
}
