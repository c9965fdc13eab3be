package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// busiest returns the member that leads most groups, and one of its groups.
func (g *rig) busiest() (string, GroupID) {
	led := map[string][]GroupID{}
	best := ""
	for _, name := range sortedKeys(g.nodes) {
		n := g.nodes[name]
		for _, gr := range n.control.State().Groups {
			if h := n.held(gr.ID); h != nil && h.serving() != nil {
				led[name] = append(led[name], gr.ID)
			}
		}
		if best == "" || len(led[name]) > len(led[best]) {
			best = name
		}
	}
	if len(led[best]) == 0 {
		g.t.Fatal("nobody leads")
	}
	return best, led[best][0]
}

// keyIn returns a key in a partition of a group.
func keyIn(r *Router, g GroupID) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("k", i); r.State().Table[at(r, key)] == g {
			return key
		}
	}
}

// A client whose leader dies or falls silent goes on as soon as another one serves,
// and not after pauses of its own: in some milliseconds after a death, in a good
// heartbeat timeout and a half when the leader is cut off from the others and does
// not know it.
func TestClientsGoOnWithTheNextLeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(g *rig, leader string)
		most  time.Duration
	}{
		{"dead", func(g *rig, leader string) { g.crash(leader) }, 50 * time.Millisecond},
		{"paused", func(g *rig, leader string) {
			for _, other := range append(sortedKeys(g.nodes), "client") {
				if other != leader {
					g.net.Cut(leader, other)
				}
			}
		}, time.Second},
		{"cut off from its followers", func(g *rig, leader string) {
			for other := range g.nodes {
				if other != leader {
					g.net.Cut(leader, other)
				}
			}
		}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 3, NodeConfig{Dir: "data"})
				g.start("a", "b", "c")
				g.ready()
				g.eventually("the cluster is whole", g.whole)
				time.Sleep(5 * time.Second) // leaders are where they are preferred
				r := g.client("client")
				id := defaultSpace(t, r)
				leader, group := g.busiest()
				key := keyIn(r, group)
				write(t, r, id, key, "before")
				c.fault(g, leader)
				began := time.Now()
				write(t, r, id, key, "after")
				if took := time.Since(began); took > c.most {
					t.Errorf("the write took %v, want %v at most", took, c.most)
				}
				if v, ok := read(t, r, id, key); !ok || v != "after" {
					t.Errorf("read %q, %v", v, ok)
				}
				for _, a := range sortedKeys(g.nodes) {
					g.net.Heal(leader, a)
					g.net.Heal(leader, "client")
				}
			})
		})
	}
}

// A leader that takes its time is left in peace: nothing is given up and nothing is
// sent twice, however often it is asked whether somebody else leads.
func TestASlowLeaderIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &claimant{slow: 5 * time.Second, leads: true}
		b := &claimant{}
		r := claimants(t, a, b)
		c := &Call{Ops: []space.Op{{Code: space.OpRead, Space: 1, Key: []byte("k")}}}
		r.Do(t.Context(), []*Call{c})
		if c.Err != nil || a.submits.Load() != 1 || b.submits.Load() != 0 {
			t.Errorf("%v; %d and %d sendings", c.Err, a.submits.Load(), b.submits.Load())
		}
		if b.awaited.Load() == 0 {
			t.Error("the other was not asked whether it leads; nothing was tested")
		}
	})
}

// A member that says it leads and refuses all the same is not asked in a tight
// loop, and a search ends with the last request that needs it.
func TestABoastIsNotBelievedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &claimant{boasts: true}, &claimant{boasts: true}
		r := claimants(t, a, b)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c := &Call{Ops: []space.Op{{Code: space.OpRead, Space: 1, Key: []byte("k")}}}
		r.Do(ctx, []*Call{c})
		if n := a.hellos.Load() + b.hellos.Load(); c.Err == nil || n > 200 {
			t.Errorf("asked %d times in 10 s: %v", n, c.Err)
		}
		r.searches.mu.Lock()
		defer r.searches.mu.Unlock()
		if n := len(r.searches.mu.by); n > 0 {
			t.Errorf("%d searches go on for nobody", n)
		}
	})
}

// claimant is a member that leads, or only says so.
type claimant struct {
	Service
	slow                     time.Duration
	leads, boasts            bool
	hellos, submits, awaited atomic.Int64
}

func (c *claimant) Hello(context.Context, GroupID) ([]Greeting, error) {
	c.hellos.Add(1)
	if !c.leads {
		return nil, &NotLeaderError{Group: 1}
	}
	return []Greeting{{History: space.History{1}}}, nil
}

func (c *claimant) Await(ctx context.Context, _ GroupID) error {
	c.awaited.Add(1)
	if c.leads || c.boasts {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *claimant) Submit(ctx context.Context, _ GroupID, subs []Submission) []Outcome {
	c.submits.Add(1)
	outs := make([]Outcome, len(subs))
	select {
	case <-time.After(c.slow):
	case <-ctx.Done():
	}
	for i := range outs {
		reply := space.Reply{Failed: -1}
		outs[i] = Outcome{Reply: reply.Append(nil), Err: ctx.Err()}
	}
	return outs
}

// pair is a Topology of two members, a and b, and one partition.
type pair struct{ onlyA }

func (pair) State() *State {
	return &State{
		Table:   []GroupID{1},
		Groups:  []Group{{ID: 1, Replicas: []Replica{{Member: "a"}, {Member: "b"}}}},
		Members: []Member{{ID: "a", Peer: "a:1"}, {ID: "b", Peer: "b:1"}},
	}
}

// claimants returns a router to members a and b.
func claimants(t *testing.T, a, b Service) *Router {
	network := wire.NewNetwork()
	for name, s := range map[string]Service{"a": a, "b": b} {
		l, err := network.Listen(name + ":1")
		if err != nil {
			t.Fatal(err)
		}
		mux := wire.NewMux(l, wire.MuxConfig{})
		answers := &server{service: s}
		mux.Handle(wire.PurposeRequests, wire.NewServer(wire.ServerConfig{Handle: answers.call, MaxFrame: maxRequestBytes}).Serve)
		t.Cleanup(func() { mux.Close() })
	}
	r := NewRouter(RouterConfig{Topology: pair{}, Dial: network.Dialer("client")})
	t.Cleanup(func() { r.Close() })
	return r
}

// Whoever cannot be asked for the state of the cluster does not keep the others
// from being asked.
func TestAMuteMemberHoldsNoRefreshUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		dial := g.net.Dialer("client")
		topology := NewRemoteTopology(dial, []string{"a:1", "b:1"})
		defer topology.Close()
		g.net.Cut("a", "client")
		began := time.Now()
		if err := topology.Refresh(t.Context()); err != nil || time.Since(began) > askTime+10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		g.net.Heal("a", "client")
	})
}
