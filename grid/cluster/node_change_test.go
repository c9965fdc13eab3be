package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/space"
)

// A lease is measured by the leaders' clocks: time without a leader does not
// count, and an idle partition loses no more than a few seconds of it.
func TestLeasesStandStillWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		one(t, r, "k", space.Op{Code: space.OpWrite, Space: id, Key: []byte("k"), Value: []byte("v"), Lease: time.Minute})
		time.Sleep(40 * time.Second)
		for _, m := range []string{"a", "b", "c"} {
			g.crash(m)
		}
		time.Sleep(time.Hour)
		g.start("a", "b", "c")
		g.ready()
		r = g.nodes["a"].Router()
		time.Sleep(10 * time.Second)
		if _, ok := read(t, r, id, "k"); !ok {
			t.Error("the lease ended though the members were away for most of the time")
		}
		time.Sleep(20 * time.Second)
		if _, ok := read(t, r, id, "k"); ok {
			t.Error("the lease has not ended: time that passed with a leader was forgotten")
		}
	})
}

// Members come and go while the grid serves: a new one takes its share, and one
// that is drained hands over what it has and can then be removed.
func TestMembersJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		c := g.countFrom(&increments{id: id}, "b")
		defer c.close()
		g.start("d")
		g.eventually("the new member is admitted", func() bool {
			_, ok := g.nodes["a"].control.State().Member("d")
			return ok
		})
		if _, err := r.Control(t.Context(), &DrainMember{Member: "b", Drain: true}); err != nil {
			t.Fatal(err)
		}
		g.eventually("the drained member holds nothing", func() bool {
			s := g.nodes["a"].control.State()
			for i := range s.Groups {
				if _, holds := s.Groups[i].Replica("b"); holds {
					return false
				}
			}
			m, _ := s.Member("b")
			return !m.Voter
		})
		if _, err := r.Control(t.Context(), &RemoveMember{Member: "b"}); err != nil {
			t.Fatal(err)
		}
		if err := g.nodes["b"].Close(); err != nil {
			t.Error(err)
		}
		delete(g.nodes, "b")
		g.eventually("the cluster is whole", g.whole)
		c.close()
		c.check(g.nodes["d"].Router())
		if c.unknown.Load() > 0 || c.refused.Load() > 0 {
			t.Errorf("%d increments unknown, %d refused", c.unknown.Load(), c.refused.Load())
		}
		g.agree()
	})
}

// A member that closes hands over first: nobody waits for an election.
func TestCloseHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		for i := range 20 {
			write(t, r, id, fmt.Sprint("k", i), "v")
		}
		done := make(chan error, 1)
		b := g.nodes["b"]
		delete(g.nodes, "b")
		go func() { done <- b.Close() }()
		worst := time.Duration(0)
		for range 100 {
			for i := range 4 {
				start := time.Now()
				write(t, r, id, fmt.Sprint("k", i), "v")
				worst = max(worst, time.Since(start))
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if worst > 400*time.Millisecond {
			t.Errorf("a write took %v", worst)
		}
	})
}

// A member whose disk was rolled back stops by itself: what it has forgotten,
// others may count on.
func TestARolledBackDiskIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		g.crash("c")
		old := g.disks["c"].CrashClone(vfs.CrashCloneCfg{})
		for range 2 {
			g.start("c")
			g.ready()
			g.eventually("the cluster is whole", g.whole)
			g.eventually("the start is counted", func() bool {
				m, _ := g.nodes["a"].control.State().Member("c")
				return m.Boot == g.nodes["c"].boot
			})
			g.crash("c")
		}
		g.disks["c"] = old
		g.start("c")
		g.eventually("the member has stopped", func() bool { return g.nodes["c"].ctx.Err() != nil })
		if err := g.nodes["c"].outlived(); !errors.Is(err, ErrOutlived) {
			t.Error(err)
		}
		// With an empty disk it is welcome.
		g.crash("c")
		delete(g.disks, "c")
		g.start("c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}

// Members meet over real sockets as they do in memory.
func TestMembersMeetOverTCP(t *testing.T) {
	start := func(cfg NodeConfig) *Node {
		cfg.Listen, cfg.GossipAddr, cfg.Partitions = "127.0.0.1:0", "127.0.0.1:0", 8
		n, err := OpenNode(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	a := start(NodeConfig{Name: "a", Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	b := start(NodeConfig{Name: "b", Seeds: []string{a.GossipAddr()}, Dir: t.TempDir()})
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	id := defaultSpace(t, a.Router())
	write(t, b.Router(), id, "k", "v")
	if v, _ := read(t, a.Router(), id, "k"); v != "v" {
		t.Errorf("read %q", v)
	}
	if reply, err := b.Router().Control(ctx, &CreateSpace{Definition: space.Definition{Name: "s", Shape: space.ShapeBytes}}); err != nil {
		t.Error(err)
	} else {
		write(t, a.Router(), reply.Space, "k", "v")
	}
}

// A member that is declared lost is replaced; should it come back, it stops.
func TestALostMemberIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "k", "v")
		lost := g.nodes["c"].incarnation
		g.crash("c")
		g.start("d")
		if _, err := r.Control(t.Context(), &DeclareLost{Member: "c", Incarnation: lost}); err != nil {
			t.Fatal(err)
		}
		g.eventually("the lost member is replaced", func() bool {
			s := g.nodes["a"].control.State()
			for i := range s.Groups {
				_, old := s.Groups[i].Replica("c")
				fresh, ok := s.Groups[i].Replica("d")
				if old || !ok || fresh.Role != Voter {
					return false
				}
			}
			c, _ := s.Member("c")
			d, ok := s.Member("d")
			return ok && d.Voter && !c.Voter
		})
		g.agree()
		if v, _ := read(t, g.nodes["d"].Router(), id, "k"); v != "v" {
			t.Errorf("k is %q", v)
		}
	})
}

// The member that makes the first state of a group may die at any moment: the
// group begins once, with it or with another one.
func TestAGroupBeginsThoughItsFirstMemberDies(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 3, NodeConfig{Dir: "data"})
				g.start("a", "b", "c")
				g.eventually("the cluster is formed", func() bool { return g.nodes["a"].control.State().Formed() })
				g.eventually("others vote", func() bool { return len(g.nodes["a"].control.State().Voters()) == 3 })
				time.Sleep(after)
				g.crash("c")
				time.Sleep(3 * bootstrapTime)
				g.ready()
				r := g.nodes["a"].Router()
				id := defaultSpace(t, r)
				for i := range 20 {
					write(t, r, id, fmt.Sprint("k", i), "v")
				}
				g.start("c")
				g.ready()
				g.eventually("the cluster is whole", g.whole)
				for i := range 20 {
					if v, _ := read(t, g.nodes["c"].Router(), id, fmt.Sprint("k", i)); v != "v" {
						t.Errorf("k%d is lost", i)
					}
				}
				g.agree()
			})
		})
	}
}
