package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// takeAny waits in all partitions for an entry, and records what it got.
func (q *queue) takeAny(ctx context.Context, r *Router, taker int, o space.Op) (key string, ok bool) {
	o.Code, o.Space = space.OpTakeMatch, q.id
	reply, err := r.WaitAny(ctx, o)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(err, ErrIndeterminate):
		q.mu.unknown++
		return "", false
	case errors.Is(err, ErrUnavailable), errors.Is(reply.Err(), space.ErrNotFound), errors.Is(reply.Err(), space.ErrCancelled):
		q.mu.waits++
		return "", false
	case err != nil || reply.Err() != nil:
		q.g.t.Errorf("take: %v, %v", err, reply.Err())
		return "", false
	}
	for _, e := range reply.Results[0].Entries {
		key = string(e.Key)
		q.mu.taken = append(q.mu.taken, handed{key, taker, time.Now()})
	}
	return key, true
}

// checkAll is check over all partitions, after everything that was held has gone
// back: nothing waits, is claimed, or is locked any more.
func (q *queue) checkAll(r *Router) {
	t := q.g.t
	t.Helper()
	time.Sleep(anyRound + holdTime + waitMargin)
	left := map[string]bool{}
	for p := range r.State().Table {
		id := space.PartitionID(p)
		m, err := r.Match(t.Context(), Linearizable, Match{Space: q.id, Partitions: []space.PartitionID{id}, Limit: 10000, AllowScan: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Entries {
			left[string(e.Key)] = true
			for _, n := range q.g.nodes {
				if h := n.held(r.State().Table[p]); h != nil && h.serving() != nil {
					if err := h.group.Inspect(t.Context(), func() {
						if x := h.host.partition(id); x.Locked(q.id, e.Key) || x.Status().Waiting > 0 {
							t.Errorf("%s is locked or somebody waits beside it", e.Key)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	got := map[string]int{}
	for _, h := range q.mu.taken {
		got[h.key]++
		if begun, ok := q.mu.asked[h.key]; !ok || h.at.Before(begun) {
			t.Errorf("%s was handed out before it was written", h.key)
		}
	}
	missing := 0
	for key, sure := range q.mu.written {
		switch n := got[key]; {
		case n > 1, n == 1 && left[key]:
			t.Errorf("%s was handed out %d times; left: %v", key, n, left[key])
		case n == 0 && !left[key] && sure:
			missing++
		}
	}
	t.Logf("%d written, %d handed out, %d left, %d waits in vain, %d of unknown outcome, %d missing",
		len(q.mu.written), len(q.mu.taken), len(left), q.mu.waits, q.mu.unknown, missing)
	if missing > q.mu.unknown {
		t.Errorf("%d entries are lost", missing)
	}
}

// client returns a router that reaches the members of the rig over connections.
func (g *rig) client(name string) *Router {
	g.t.Helper()
	dial := g.net.Dialer(name)
	topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
	r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
	g.t.Cleanup(func() {
		if err := errors.Join(r.Close(), topology.Close()); err != nil {
			g.t.Error(err)
		}
	})
	if err := r.Ready(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	return r
}

// A take that waits everywhere gets what is written anywhere, once, whatever
// becomes of leaders and of those who wait beside it; what was held for a client
// that died goes back.
func TestTakesWaitEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data", Partitions: 16})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		q := g.queue(defaultSpace(t, g.nodes["a"].Router()))
		lasting := g.client("lasting")
		stop := make(chan struct{})
		stopped := func() bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		}
		var writers, takers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 100 {
					time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					q.put(ctx, lasting, fmt.Sprintf("%d.%d", w, i))
					cancel()
				}
			})
		}
		for w := range 12 {
			takers.Go(func() {
				for !stopped() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(100+rand.IntN(5000))*time.Millisecond)
					q.takeAny(ctx, lasting, w, space.Op{Wait: time.Duration(1+rand.IntN(3000)) * time.Millisecond, Limit: rand.IntN(3)})
					cancel()
				}
			})
		}
		for w := range 4 {
			takers.Go(func() {
				for life := 0; !stopped(); life++ {
					name := fmt.Sprint("mortal", w, ".", life)
					dial := g.net.Dialer(name)
					topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
					r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
					ctx, cancel := context.WithCancel(context.Background())
					var wg sync.WaitGroup
					wg.Go(func() {
						for ctx.Err() == nil {
							q.takeAny(ctx, r, 100+w, space.Op{Wait: time.Minute})
						}
					})
					time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
					for _, member := range []string{"a", "b", "c"} {
						g.net.Cut(name, member)
					}
					cancel()
					wg.Wait()
					if err := errors.Join(r.Close(), topology.Close()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 2 {
			time.Sleep(time.Second)
			victim := q.leader()
			g.crash(victim)
			time.Sleep(time.Second)
			g.start(victim)
			g.ready()
		}
		writers.Wait()
		close(stop)
		takers.Wait()
		q.checkAll(lasting)
		if len(q.mu.taken) == 0 || q.mu.waits == 0 {
			t.Error("nobody took, or nobody waited in vain; the test does not test what it says")
		}
		g.ready()
		g.agree()
	})
}
