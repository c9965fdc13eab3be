package cluster

import (
	"bytes"
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
func (q *queue) takeAny(ctx context.Context, r *Router, taker int, o space.Op) {
	o.Code, o.Space = space.OpTakeMatch, q.id
	reply, err := r.WaitAny(ctx, o)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(err, ErrIndeterminate):
		q.mu.unknown++
		return
	case errors.Is(err, ErrUnavailable), errors.Is(reply.Err(), space.ErrNotFound), errors.Is(reply.Err(), space.ErrCancelled):
		q.mu.waits++
		return
	case err != nil || reply.Err() != nil:
		q.g.t.Errorf("take: %v, %v", err, reply.Err())
		return
	}
	for _, e := range reply.Results[0].Entries {
		q.mu.taken = append(q.mu.taken, handed{string(e.Key), taker, time.Now()})
	}
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
	q.judge(left)
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
				for i := range 60 {
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

// A claim that waits everywhere hides one entry; what other partitions hand out in
// the same moment is there again at once, in its place and without an attempt more.
func TestClaimsWaitEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Partitions: 16})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.client("client")
		q := g.queue(defaultSpace(t, r))
		o := space.Op{Code: space.OpClaimMatch, Space: q.id, Lease: time.Hour, Wait: 10 * time.Second}
		won := make(chan space.Entry, 1)
		go func() {
			reply, err := r.WaitAny(t.Context(), o)
			if err != nil || reply.Err() != nil {
				t.Error(err, reply.Err())
				won <- space.Entry{}
				return
			}
			won <- reply.Results[0].Entries[0]
		}()
		time.Sleep(time.Second)
		var writers sync.WaitGroup
		const n = 64
		for i := range n {
			writers.Go(func() { q.put(t.Context(), g.nodes["a"].Router(), fmt.Sprint(i)) })
		}
		writers.Wait()
		claimed := <-won
		time.Sleep(time.Second)
		there := 0
		for p := range r.State().Table {
			m, err := r.Match(t.Context(), Linearizable, Match{Space: q.id, Partitions: []space.PartitionID{space.PartitionID(p)}, Limit: n, AllowScan: true})
			if err != nil {
				t.Fatal(err)
			}
			there += len(m.Entries)
			for _, e := range m.Entries {
				if e.Attempts != 0 || bytes.Equal(e.Key, claimed.Key) {
					t.Errorf("%s is there after %d attempts", e.Key, e.Attempts)
				}
			}
		}
		if there != n-1 {
			t.Errorf("%d of %d are there beside the claimed one", there, n)
		}
		if reply := one(t, r, string(claimed.Key), space.Op{Code: space.OpAck, Token: claimed.Token}); reply.Err() != nil {
			t.Error(reply.Err())
		}
	})
}

// A wait in all partitions ends when its time is up, when its caller goes and when
// nobody can be reached, and leaves nothing behind.
func TestWaitsEverywhereEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Partitions: 16})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.client("client")
		q := g.queue(defaultSpace(t, r))
		take := space.Op{Code: space.OpTakeMatch, Space: q.id, Wait: anyRound + 7*time.Second}
		begun := time.Now()
		if reply, err := r.WaitAny(t.Context(), take); err != nil || !errors.Is(reply.Err(), space.ErrNotFound) {
			t.Error(err, reply.Err())
		}
		if took := time.Since(begun); took < take.Wait || took > take.Wait+3*time.Second {
			t.Errorf("a wait of %v took %v", take.Wait, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if reply, err := r.WaitAny(ctx, take); err != nil || !errors.Is(reply.Err(), space.ErrCancelled) {
			t.Error(err, reply.Err())
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("a wait whose caller had gone after 1 s took %v", took)
		}
		g.eventually("nobody waits", func() bool { return q.waiting() == 0 })
		for _, bad := range []space.Op{{Code: space.OpTakeMatch, Space: q.id}, {Code: space.OpTake, Space: q.id, Key: []byte("k"), Wait: 1}} {
			if _, err := r.WaitAny(t.Context(), bad); !errors.Is(err, space.ErrInvalid) {
				t.Error(err)
			}
		}
		if _, err := r.WaitAny(t.Context(), space.Op{Code: space.OpTakeMatch, Space: q.id, Wait: 1, Limit: 1, Template: []byte{0xc1}}); !errors.Is(err, space.ErrInvalid) {
			t.Error(err)
		}
		for _, member := range []string{"a", "b", "c"} {
			g.net.Cut("client", member)
		}
		take.Wait = 5 * time.Second
		if reply, err := r.WaitAny(t.Context(), take); !errors.Is(err, ErrUnavailable) {
			t.Error(err, reply.Err())
		}
	})
}
