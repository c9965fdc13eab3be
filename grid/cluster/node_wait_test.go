package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// queue is entries of one partition that are written by some and taken by
// others, and a record of who did what and when.
type queue struct {
	g  *rig
	id space.ID

	mu struct {
		sync.Mutex
		written map[string]bool      // asked for; true: acknowledged
		asked   map[string]time.Time // when a write was begun
		taken   []handed
		unknown int // takes and writes whose outcome nobody knows
		waits   int // that ended with nothing
	}
}

// handed is an entry that a taker got.
type handed struct {
	key   string
	taker int
	at    time.Time
}

func (g *rig) queue(id space.ID) *queue {
	q := &queue{g: g, id: id}
	q.mu.written, q.mu.asked = map[string]bool{}, map[string]time.Time{}
	return q
}

func (q *queue) put(ctx context.Context, r *Router, key string) {
	q.mu.Lock()
	q.mu.written[key], q.mu.asked[key] = false, time.Now()
	q.mu.Unlock()
	c := &Call{Partition: at(r, key), Ops: []space.Op{{Code: space.OpWrite, Mode: space.ModeInsert, Space: q.id, Key: []byte(key), Value: []byte("v")}}}
	r.Do(ctx, []*Call{c})
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(c.Err, ErrIndeterminate):
		q.mu.unknown++
	case errors.Is(c.Err, ErrUnavailable):
		delete(q.mu.written, key)
	case c.Err != nil || c.Reply.Err() != nil:
		q.g.t.Errorf("write %s: %v, %v", key, c.Err, c.Reply.Err())
	default:
		q.mu.written[key] = true
	}
}

// take waits for an entry, and reports whether it got one.
func (q *queue) take(ctx context.Context, r *Router, taker int, o space.Op) (ok bool) {
	if o.Code == 0 {
		o.Code = space.OpTakeMatch
	}
	o.Space = q.id
	c := &Call{Partition: at(r, "{q}"), Ops: []space.Op{o}}
	r.Wait(ctx, c)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(c.Err, ErrIndeterminate):
		q.mu.unknown++
		return false
	case c.Err != nil:
		q.g.t.Errorf("take: %v", c.Err)
		return false
	case errors.Is(c.Reply.Err(), space.ErrNotFound), errors.Is(c.Reply.Err(), space.ErrCancelled):
		q.mu.waits++
		return false
	case c.Reply.Err() != nil:
		q.g.t.Errorf("take: %v", c.Reply.Err())
		return false
	}
	for _, e := range c.Reply.Results[0].Entries {
		q.mu.taken = append(q.mu.taken, handed{string(e.Key), taker, time.Now()})
	}
	return true
}

// check reads the record: every entry was handed out once or is left, none was
// handed out before anybody wrote it, and none but those of unknown outcome is
// missing.
func (q *queue) check(r *Router) {
	t := q.g.t
	t.Helper()
	left := map[string]bool{}
	m, err := r.Match(t.Context(), Linearizable, Match{Space: q.id, Partitions: []space.PartitionID{at(r, "{q}")}, Limit: 10000, AllowScan: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Entries {
		left[string(e.Key)] = true
	}
	q.judge(left)
}

// judge compares the record with what is left.
func (q *queue) judge(left map[string]bool) {
	t := q.g.t
	t.Helper()
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

// leader returns the member that leads the partition of the queue.
func (q *queue) leader() string {
	q.g.t.Helper()
	found := ""
	q.g.eventually("somebody leads", func() bool {
		for name, n := range q.g.nodes {
			r := n.Router()
			if h := n.held(r.State().Table[at(r, "{q}")]); h != nil && h.serving() != nil {
				found = name
				return true
			}
		}
		return false
	})
	return found
}

func (q *queue) others(than string) []*Router {
	var rs []*Router
	for _, name := range sortedKeys(q.g.nodes) {
		if name != than {
			rs = append(rs, q.g.nodes[name].Router())
		}
	}
	return rs
}

func (q *queue) waiting() int {
	for _, n := range q.g.nodes {
		r := n.Router()
		h := n.held(r.State().Table[at(r, "{q}")])
		if h == nil || h.serving() == nil {
			continue
		}
		count := 0
		if h.group.Inspect(q.g.t.Context(), func() { count = h.host.partition(at(r, "{q}")).Status().Waiting }) == nil {
			return count
		}
	}
	return -1
}

func (cs *callers) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.mu.count
}

// Those who wait are served first come, first served, whoever leads: places in
// line outlive the leader, and the slices in which a wait is asked for.
func TestWaitersKeepTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		q := g.queue(defaultSpace(t, g.nodes["a"].Router()))
		victim := q.leader()
		rs := q.others(victim)
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if ok := q.take(t.Context(), rs[i%2], i, space.Op{Wait: 5 * time.Minute}); !ok {
					t.Errorf("taker %d got nothing", i)
				}
			})
			g.eventually("the taker waits", func() bool { return q.waiting() == i+1 })
		}
		for i := range 4 {
			q.put(t.Context(), rs[0], fmt.Sprint("{q}", i))
		}
		time.Sleep(time.Second)
		g.crash(victim)
		time.Sleep(2*waitSlice + time.Second)
		if n := q.waiting(); n != 8 {
			t.Errorf("%d wait at the new leader", n)
		}
		for i := 4; i < 12; i++ {
			q.put(t.Context(), rs[0], fmt.Sprint("{q}", i))
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		q.check(rs[0])
		for _, h := range q.mu.taken {
			if h.key != fmt.Sprint("{q}", h.taker) {
				t.Errorf("taker %d got %s", h.taker, h.key)
			}
		}
	})
}

// A wait moves with the leader at once, also if the old one lives on: nobody stands
// at a member where the answer will not come.
func TestAWaitMovesWithTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		q := g.queue(defaultSpace(t, g.nodes["a"].Router()))
		old := q.leader()
		r := g.nodes[old].Router()
		var wg sync.WaitGroup
		var took time.Duration
		var written time.Time
		wg.Go(func() {
			if ok := q.take(t.Context(), r, 0, space.Op{Wait: time.Minute}); !ok {
				t.Error("got nothing")
			}
			took = time.Since(written)
		})
		g.eventually("the taker waits", func() bool { return q.waiting() == 1 })
		time.Sleep(time.Second)
		h := g.nodes[old].held(r.State().Table[at(r, "{q}")])
		for _, m := range h.group.Status().Members {
			if m.ID != h.self {
				if err := h.group.Transfer(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		moved := time.Now()
		g.eventually("nobody stands at the old leader", func() bool { return h.serving() == nil && h.callers.count() == 0 })
		if took := time.Since(moved); took > 5*time.Second {
			t.Errorf("the request was open at the old leader for %v", took)
		}
		written = time.Now()
		q.put(t.Context(), q.others(old)[0], "{q}")
		wg.Wait()
		if took > time.Second {
			t.Errorf("the entry was handed out %v after it was written", took)
		}
		q.check(r)
	})
}

// Many take and many write while leaders die and callers give up: every entry is
// handed out exactly once, and none is lost with a caller who gave up in time.
func TestEveryEntryIsHandedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		q := g.queue(defaultSpace(t, g.nodes["a"].Router()))
		clients := make([]*Router, 2)
		for i := range clients {
			dial := g.net.Dialer(fmt.Sprint("client", i))
			topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
			clients[i] = NewRouter(RouterConfig{Topology: topology, Dial: dial})
			defer topology.Close()
			defer clients[i].Close()
			if err := clients[i].Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		stop := make(chan struct{})
		var writers, takers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 150 {
					time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					q.put(ctx, clients[w%2], fmt.Sprintf("{q}%d.%d", w, i))
					cancel()
				}
			})
		}
		for w := range 16 {
			takers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					o := space.Op{Wait: time.Duration(1+rand.IntN(500)) * time.Millisecond, Limit: rand.IntN(3)}
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(500))*time.Millisecond)
					q.take(ctx, clients[w%2], w, o)
					cancel()
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
		q.check(clients[0])
		if len(q.mu.taken) == 0 || q.mu.waits == 0 {
			t.Error("nobody took, or nobody waited in vain; the test does not test what it says")
		}
		g.ready()
		g.agree()
	})
}

// Claims that wait lose nothing, whatever becomes of members, links and workers:
// what a lost answer had hidden is shown again, and every entry is acknowledged
// exactly once.
func TestWaitingClaimsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: "data"})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		q := g.queue(defaultSpace(t, g.nodes["a"].Router()))
		dial := g.net.Dialer("client")
		topology := NewRemoteTopology(dial, []string{"a:1", "b:1", "c:1"})
		r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
		defer topology.Close()
		defer r.Close()
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		acks := acknowledged{by: map[string]int{}}
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for ctx.Err() == nil {
					q.work(ctx, r, &acks)
				}
			})
		}
		for i := range 200 {
			q.put(t.Context(), r, fmt.Sprint("{q}", i))
			time.Sleep(20 * time.Millisecond)
			leader := q.leader()
			switch i {
			case 40:
				g.crash(leader)
				defer g.start(leader)
			case 80:
				g.net.Cut("client", leader)
				defer g.net.Heal("client", leader)
				go func() {
					time.Sleep(15 * time.Second)
					g.net.Heal("client", leader)
				}()
			case 120:
				g.net.Reset("client", leader)
			}
		}
		g.eventually("everything is acknowledged", func() bool {
			acks.Lock()
			defer acks.Unlock()
			for key, sure := range q.mu.written {
				if _, ok := acks.by[key]; sure && !ok {
					return false
				}
			}
			return true
		})
		stop()
		workers.Wait()
		for key, n := range acks.by {
			if n > 1 {
				t.Errorf("%s was acknowledged %d times", key, n)
			}
		}
		t.Logf("%d acknowledged, %d fenced, %d of unknown outcome", len(acks.by), acks.fenced, acks.unknown)
		q.check(r)
		if q.waiting() != 0 {
			t.Errorf("%d still wait", q.waiting())
		}
	})
}

// acknowledged counts what became of claims.
type acknowledged struct {
	sync.Mutex
	by              map[string]int
	fenced, unknown int
}

// work claims one entry and acknowledges it, unless the worker dies.
func (q *queue) work(ctx context.Context, r *Router, acks *acknowledged) {
	c := &Call{Partition: at(r, "{q}"), Ops: []space.Op{{Code: space.OpClaimMatch, Space: q.id, Lease: 2 * time.Second, Wait: 10 * time.Second}}}
	patience, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(5000))*time.Millisecond)
	defer cancel()
	r.Wait(patience, c)
	if c.Err != nil || c.Reply.Err() != nil || rand.IntN(20) == 0 {
		return
	}
	e := c.Reply.Results[0].Entries[0]
	ack := &Call{Partition: c.Partition, Ops: []space.Op{{Code: space.OpAck, Token: e.Token}}}
	r.Do(context.WithoutCancel(ctx), []*Call{ack})
	acks.Lock()
	defer acks.Unlock()
	switch {
	case ack.Err != nil:
		// It happened, or the entry comes back and is done again.
		acks.unknown++
		acks.by[string(e.Key)] += 0
	case errors.Is(ack.Reply.Err(), space.ErrFenced):
		acks.fenced++
	case ack.Reply.Err() != nil:
		q.g.t.Errorf("ack: %v", ack.Reply.Err())
	default:
		acks.by[string(e.Key)]++
		q.mu.Lock()
		q.mu.taken = append(q.mu.taken, handed{key: string(e.Key), at: time.Now()})
		q.mu.Unlock()
	}
}

// A wait ends when its time is up, when its caller goes, and when its space has
// nobody left to serve it; it leaves nothing behind.
func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1, NodeConfig{})
		g.start("a")
		g.ready()
		r := g.nodes["a"].Router()
		q := g.queue(defaultSpace(t, r))
		begun := time.Now()
		q.take(t.Context(), r, 0, space.Op{Wait: 7 * time.Second})
		if took := time.Since(begun); took < 7*time.Second || took > 7*time.Second+2*dutyEvery {
			t.Errorf("a wait of 7 s ended after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		q.take(ctx, r, 0, space.Op{Wait: time.Minute})
		if took := time.Since(begun); took > time.Second+dutyEvery {
			t.Errorf("a wait whose caller had gone after 1 s ended after %v", took)
		}
		if q.mu.waits != 2 || q.waiting() != 0 {
			t.Errorf("%d waits ended with nothing, %d are left", q.mu.waits, q.waiting())
		}
		// Longer than one command waits.
		var wg sync.WaitGroup
		wg.Go(func() {
			if ok := q.take(t.Context(), r, 0, space.Op{Wait: 2 * maxRound}); !ok {
				t.Error("got nothing in the second round")
			}
		})
		time.Sleep(maxRound + time.Minute)
		q.put(t.Context(), r, "{q}late")
		wg.Wait()
		q.check(r)
		if n := g.nodes["a"].held(r.State().Table[at(r, "{q}")]).callers.count(); n != 0 {
			t.Errorf("%d requests are left open", n)
		}
	})
}

// A waiting call holds up nobody: not the other calls of its client, however many
// there are, and not those in the same request.
func TestWaitersHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1, NodeConfig{})
		g.start("a")
		g.ready()
		dial := g.net.Dialer("client")
		topology := NewRemoteTopology(dial, []string{"a:1"})
		r := NewRouter(RouterConfig{Topology: topology, Dial: dial})
		defer topology.Close()
		defer r.Close()
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		q := g.queue(defaultSpace(t, r))
		const takers = 1500 // more than a connection carries requests
		var wg sync.WaitGroup
		for i := range takers {
			wg.Go(func() { q.take(t.Context(), r, i, space.Op{Wait: 5 * time.Minute}) })
		}
		g.eventually("all wait", func() bool { return q.waiting() == takers })
		calls := make([]*Call, 20_000) // more than one session has places for
		for i := range calls {
			calls[i] = &Call{Partition: at(r, "{q}"), Ops: []space.Op{{Code: space.OpRespond}}}
		}
		begun := time.Now()
		for lot := range slices.Chunk(calls, 1000) {
			r.Do(t.Context(), lot)
		}
		for _, c := range calls {
			if c.Err != nil || c.Reply.Err() != nil {
				t.Fatal(c.Err, c.Reply.Err())
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the other calls took %v", took)
		}
		if c := (&Call{Partition: at(r, "{q}"), Ops: []space.Op{{Code: space.OpTakeMatch, Space: q.id, Wait: 1}}}); !refuseWait(c) {
			t.Error("a call that waits is taken for another one")
		}
		for i := range takers {
			q.put(t.Context(), r, fmt.Sprint("{q}", i))
		}
		wg.Wait()
		q.check(r)
		if len(q.mu.taken) != takers {
			t.Errorf("%d of %d got an entry", len(q.mu.taken), takers)
		}
	})
}

// A command that waits is answered at once in company, and when too many requests
// are open.
func TestAWaitingCommandInCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{})
		r := n.Router()
		id := defaultSpace(t, r)
		p := at(r, "{q}")
		group := r.State().Table[p]
		greetings, err := n.Hello(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(greetings, func(x Greeting) bool { return x.Partition == p })
		sub := func(session space.SessionID, o space.Op) Submission {
			c := space.Command{
				History: greetings[i].History, Session: session, Sequence: 1, Acked: 1,
				Deadline: greetings[i].Clock.Add(time.Minute), Ops: []space.Op{o},
			}
			return Submission{Partition: p, Command: c.Append(nil)}
		}
		take := space.Op{Code: space.OpTakeMatch, Space: id, Wait: 30 * time.Second}
		begun := time.Now()
		outs := n.Submit(t.Context(), group, []Submission{sub(5, take), sub(6, space.Op{Code: space.OpRespond})})
		if outs[0].Err != nil || !space.Waits(outs[0].Reply) || outs[1].Err != nil || time.Since(begun) > time.Second {
			t.Fatalf("%v, %v after %v", outs[0], outs[1].Err, time.Since(begun))
		}
		h := n.held(group)
		for range maxCallers {
			h.callers.join(waitingCommand{session: 1}, nil)
		}
		if out := n.Submit(t.Context(), group, []Submission{sub(7, take)})[0]; out.Err != nil || !space.Waits(out.Reply) || time.Since(begun) > time.Second {
			t.Fatalf("%v after %v", out, time.Since(begun))
		}
	})
}
