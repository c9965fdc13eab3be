package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// increments counts in entries of a space from every member at once, and knows
// what must have come of it.
type increments struct {
	g       *rig
	id      space.ID
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
	ok      atomic.Int64
	unknown atomic.Int64
	refused atomic.Int64
}

func (g *rig) count(id space.ID, workers int, timeout time.Duration) *increments {
	c := &increments{g: g, id: id, stop: make(chan struct{})}
	for w := range workers {
		r := g.nodes[name(w%len(g.nodes))].Router()
		c.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-c.stop:
					return
				case <-time.After(25 * time.Millisecond):
				}
				c.add(r, fmt.Sprint("n", i%5), timeout)
			}
		})
	}
	return c
}

func (c *increments) add(r *Router, key string, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	call := &Call{Partition: at(r, key), Ops: []space.Op{{
		Code: space.OpChange, Space: c.id, Key: []byte(key), Flags: space.FlagCreate,
		Mutations: []space.Mutation{{Code: space.MutAdd, Arg: []byte{1}}},
	}}}
	r.Do(ctx, []*Call{call})
	err := call.Err
	if err == nil {
		err = call.Reply.Err()
	}
	switch {
	case err == nil:
		c.ok.Add(1)
	case errors.Is(err, ErrIndeterminate):
		c.unknown.Add(1)
	case errors.Is(err, ErrUnavailable):
		c.refused.Add(1)
	default:
		c.g.t.Errorf("increment: %v", err)
	}
}

// check compares the entries with what was answered.
func (c *increments) check(r *Router) {
	t := c.g.t
	t.Helper()
	sum := int64(0)
	for i := range 5 {
		if v, ok := read(t, r, c.id, fmt.Sprint("n", i)); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	t.Logf("%d counted; %d acknowledged, %d unknown, %d refused", sum, c.ok.Load(), c.unknown.Load(), c.refused.Load())
	if sum < c.ok.Load() || sum > c.ok.Load()+c.unknown.Load() {
		t.Errorf("%d were counted, want %d to %d", sum, c.ok.Load(), c.ok.Load()+c.unknown.Load())
	}
}

// A member that dies and comes back with its disk costs nothing that was
// acknowledged, and no increment is made twice: those who repeat to the end
// count exactly.
func TestCrashedMembersComeBackWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		c := g.count(id, 6, time.Minute)
		for _, victim := range []string{"a", "b", "c"} {
			time.Sleep(time.Second)
			// The routers of the member that dies die with it; let others count.
			c.close()
			c = g.countFrom(c, victim)
			g.crash(victim)
			time.Sleep(3 * time.Second)
			g.start(victim)
			g.ready()
			g.eventually("the cluster is whole again", g.whole)
		}
		c.close()
		if c.unknown.Load() > 0 || c.refused.Load() > 0 {
			t.Errorf("%d increments unknown and %d refused though they were repeated for a minute", c.unknown.Load(), c.refused.Load())
		}
		c.check(g.nodes["b"].Router())
		g.agree()
	})
}

func (c *increments) close() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}

// countFrom goes on counting from members other than one.
func (g *rig) countFrom(old *increments, without string) *increments {
	c := &increments{g: g, id: old.id, stop: make(chan struct{})}
	c.ok.Store(old.ok.Load())
	c.unknown.Store(old.unknown.Load())
	c.refused.Store(old.refused.Load())
	for _, n := range g.nodes {
		if string(n.name) == without {
			continue
		}
		for w := range 2 {
			c.wg.Go(func() {
				for i := w; ; i++ {
					select {
					case <-c.stop:
						return
					case <-time.After(25 * time.Millisecond):
					}
					c.add(n.Router(), fmt.Sprint("n", i%5), time.Minute)
				}
			})
		}
	}
	return c
}

// All members may die at once: what was acknowledged is on their disks.
func TestAllMembersDieAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		for i := range 50 {
			write(t, r, id, fmt.Sprint("k", i), "v")
		}
		cluster := r.State().Cluster
		for _, m := range []string{"a", "b", "c"} {
			g.crash(m)
		}
		g.start("c", "b", "a")
		g.ready()
		r = g.nodes["b"].Router()
		if r.State().Cluster != cluster {
			t.Error("it is another cluster")
		}
		for i := range 50 {
			if v, _ := read(t, r, id, fmt.Sprint("k", i)); v != "v" {
				t.Errorf("k%d is lost", i)
			}
		}
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}

// Cut links make outcomes unknown at worst: the sum lies between what was
// acknowledged and that plus what is unknown.
func TestCutLinksNeverCountTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		c := g.count(defaultSpace(t, g.nodes["a"].Router()), 6, 2*time.Second)
		for _, pair := range [][2]string{{"a", "b"}, {"b", "c"}, {"a", "c"}} {
			time.Sleep(500 * time.Millisecond)
			g.net.Cut(pair[0], pair[1])
			time.Sleep(3 * time.Second)
			g.net.Heal(pair[0], pair[1])
			time.Sleep(time.Second)
			g.net.Reset(pair[0], pair[1])
		}
		// One member alone on its side.
		g.net.Cut("a", "b")
		g.net.Cut("a", "c")
		time.Sleep(5 * time.Second)
		g.net.Heal("a", "b")
		g.net.Heal("a", "c")
		time.Sleep(3 * time.Second)
		c.close()
		g.ready()
		c.check(g.nodes["a"].Router())
		g.eventually("the cluster is whole again", g.whole)
		g.agree()
	})
}

// Without disks a member that comes back is a new one: it takes its state from
// the others and votes again, and the old one is forgotten.
func TestMembersInMemoryComeBackAsNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		c := g.countFrom(&increments{id: id}, "b")
		for range 2 {
			time.Sleep(time.Second)
			old := g.nodes["b"].incarnation
			g.crash("b")
			time.Sleep(time.Second)
			g.start("b")
			g.ready()
			g.eventually("the cluster is whole again", g.whole)
			g.eventually("the member votes as a new one", func() bool {
				s := g.nodes["a"].control.State()
				m, _ := s.Member("b")
				return len(s.Voters()) == 3 && m.Incarnation > old && len(g.nodes["a"].cgroup.Status().Members) == 3
			})
		}
		c.close()
		c.check(g.nodes["a"].Router())
		g.agree()
	})
}

// A member that was away for longer than the others keep their logs takes a
// snapshot.
func TestAMemberTooLongAwayTakesASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "before", "v")
		g.crash("c")
		for i := range 2500 { // one log entry each
			write(t, r, id, "hot", fmt.Sprint(i))
		}
		for _, m := range []string{"a", "b"} {
			for i := range g.nodes[m].groups {
				if h := g.nodes[m].held(GroupID(i)); h != nil {
					if err := h.group.Snapshot(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		g.start("c")
		g.ready()
		g.eventually("the cluster is whole again", g.whole)
		g.agree()
		installed := false
		for i := range g.nodes["c"].groups {
			if h := g.nodes["c"].held(GroupID(i)); h != nil && h.group.Status().Snapshot > 1 {
				installed = true
			}
		}
		if !installed {
			t.Error("no replica took a snapshot; the test does not test what it says")
		}
		if v, _ := read(t, g.nodes["c"].Router(), id, "hot"); v != "2499" {
			t.Errorf("the entry is %q", v)
		}
	})
}

// A follower misses nothing and sees nothing twice while the members it follows
// from die.
func TestFollowersSurviveCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		dial := g.net.Dialer("client")
		topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
		r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
		defer topology.Close()
		defer r.Close()
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := newMirror()
		m.gapless = true
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Follow(ctx, everywhere(r, id), m.item(g.cfg.Partitions)) })
		want := map[string]string{}
		for i := range 200 {
			key := fmt.Sprint("k", i%50)
			want[key] = fmt.Sprint(i)
			write(t, r, id, key, want[key])
			switch i {
			case 40:
				g.crash("a")
			case 80:
				g.start("a")
				g.ready()
			case 120:
				g.crash("b")
			case 160:
				g.start("b")
				g.ready()
			}
		}
		g.eventually("the follower has everything", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			for k, v := range want {
				if m.entries[k] != v {
					return false
				}
			}
			return true
		})
		if len(m.faults) > 0 || m.resets > 0 {
			t.Errorf("%d resets, faults %v", m.resets, m.faults)
		}
		cancel()
		wg.Wait()
	})
}
