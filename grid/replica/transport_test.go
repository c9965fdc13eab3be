package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Three members elect a leader and replicate. When the leader is cut off the
// others elect another, and after healing everybody holds the same commands.
func TestElectionAndReplicationSurviveACut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, instances := three(t)
		old := leaderOf(t, instances)
		apply(t, instances[old], "one")
		agree(t, "one", instances...)

		b, c := (old+1)%3, (old+2)%3
		net.Cut(string(hosts[old].name), string(hosts[b].name))
		net.Cut(string(hosts[old].name), string(hosts[c].name))
		rest := []*instance{instances[b], instances[c]}
		apply(t, rest[leaderOf(t, rest)], "two")
		agree(t, "one two", rest...)
		if instances[old].raft.State() == raft.Leader {
			t.Error("the leader that was cut off still leads")
		}

		net.Heal(string(hosts[old].name), string(hosts[b].name))
		net.Heal(string(hosts[old].name), string(hosts[c].name))
		apply(t, instances[leaderOf(t, instances)], "three")
		agree(t, "one two three", instances...)
	})
}

// A leader that can be heard but hears nobody steps down, and a follower that
// nobody hears does not disturb the others: pre-vote keeps its term where it
// was.
func TestOneWayLinks(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, instances := three(t)
		old := leaderOf(t, instances)
		b, c := (old+1)%3, (old+2)%3
		net.CutOneWay(string(hosts[b].name), string(hosts[old].name))
		net.CutOneWay(string(hosts[c].name), string(hosts[old].name))
		time.Sleep(3 * time.Second)
		if instances[old].raft.State() == raft.Leader {
			t.Error("a leader that hears nobody still leads")
		}
		rest := []*instance{instances[b], instances[c]}
		apply(t, rest[leaderOf(t, rest)], "one")
		net.Heal(string(hosts[b].name), string(hosts[old].name))
		net.Heal(string(hosts[c].name), string(hosts[old].name))
		leader := leaderOf(t, instances)
		apply(t, instances[leader], "two")
		agree(t, "one two", instances...)

		mute := (leader + 1) % 3
		term := instances[leader].raft.CurrentTerm()
		net.CutOneWay(string(hosts[mute].name), string(hosts[leader].name))
		net.CutOneWay(string(hosts[mute].name), string(hosts[(leader+2)%3].name))
		time.Sleep(10 * time.Second)
		net.Heal(string(hosts[mute].name), string(hosts[leader].name))
		net.Heal(string(hosts[mute].name), string(hosts[(leader+2)%3].name))
		time.Sleep(5 * time.Second)
		apply(t, instances[leader], "three")
		agree(t, "one two three", instances...)
		if got := instances[leader].raft.CurrentTerm(); got != term {
			t.Errorf("term went from %d to %d because of a mute follower", term, got)
		}
	})
}

// Resets of every connection cost neither the leadership nor a command.
func TestResetsDoNotChangeTheLeader(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, instances := three(t)
		leader := leaderOf(t, instances)
		term := instances[leader].raft.CurrentTerm()
		want := ""
		for i := range 20 {
			for _, h := range hosts {
				if h != hosts[leader] {
					net.Reset(string(hosts[leader].name), string(h.name))
				}
			}
			time.Sleep(50 * time.Millisecond)
			apply(t, instances[leader], fmt.Sprint(i))
			want += " " + fmt.Sprint(i)
		}
		agree(t, want[1:], instances...)
		if got := instances[leader].raft.CurrentTerm(); got != term {
			t.Errorf("term went from %d to %d", term, got)
		}
	})
}

// Eight groups share four connections per pair of members: two for what each
// side asks.
func TestGroupsShareConnections(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		hosts := []*host{newHost(t, n, "a", nil), newHost(t, n, "b", nil), newHost(t, n, "c", nil)}
		for g := range uint32(8) {
			var instances []*instance
			for _, h := range hosts {
				instances = append(instances, h.start(g, hosts...))
			}
			leader := leaderOf(t, instances)
			apply(t, instances[leader], "x")
			agree(t, "x", instances...)
		}
		if got := n.Connections("a", "b"); got > 4 {
			t.Errorf("%d connections between two members", got)
		}
	})
}

// A request for another incarnation, or for a group that is not there, is
// refused and never reaches raft.
func TestWrongIncarnationIsNeverDelivered(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: "a#1"})
		if err != nil {
			t.Fatal(err)
		}
		to, err := b.transport.Group(replica.GroupTransportConfig{ID: 1, Self: "b#2"})
		if err != nil {
			t.Fatal(err)
		}
		var delivered sync.WaitGroup
		delivered.Go(func() {
			for {
				select {
				case rpc := <-to.Consumer():
					t.Errorf("delivered %T", rpc.Command)
					rpc.Respond(nil, errors.New("unexpected"))
				case <-t.Context().Done():
					return
				}
			}
		})
		entries := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 1, Entries: []*raft.Log{{Index: 2, Term: 3}}}
		pipe, err := from.AppendEntriesPipeline("b#1", "b")
		if err != nil {
			t.Fatal(err)
		}
		future, err := pipe.AppendEntries(entries, &raft.AppendEntriesResponse{})
		if err != nil {
			t.Fatal(err)
		}
		asks := map[string]error{
			"heartbeat": from.AppendEntries("b#1", "b", &raft.AppendEntriesRequest{Term: 3}, &raft.AppendEntriesResponse{}),
			"entries":   from.AppendEntries("b#1", "b", entries, &raft.AppendEntriesResponse{}),
			"pipeline":  future.Error(),
			"vote":      from.RequestVote("b#1", "b", &raft.RequestVoteRequest{Term: 3}, &raft.RequestVoteResponse{}),
			"pre-vote":  from.RequestPreVote("b#1", "b", &raft.RequestPreVoteRequest{Term: 3}, &raft.RequestPreVoteResponse{}),
			"timeout":   from.TimeoutNow("b#1", "b", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}),
			"snapshot": from.InstallSnapshot("b#1", "b", &raft.InstallSnapshotRequest{Term: 3, Size: 1 << 20}, &raft.InstallSnapshotResponse{},
				bytes.NewReader(make([]byte, 1<<20))),
		}
		for name, err := range asks {
			if !errors.Is(err, replica.ErrWrongIncarnation) {
				t.Errorf("%s: %v", name, err)
			}
		}
		pipe.Close()
		confirmed, err := a.transport.Confirm(t.Context(), "b", []replica.ConfirmItem{{Group: 1, Target: "b#1"}})
		if err != nil || confirmed[0] {
			t.Errorf("confirm: %v, %v", confirmed, err)
		}
		to.Close()
		if err := from.RequestVote("b#2", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); !errors.Is(err, replica.ErrNoGroup) {
			t.Errorf("closed group: %v", err)
		}
		synctest.Wait()
	})
}

// While one group takes in a snapshot for half a minute, the heartbeats of
// another group between the same two members are answered at once.
func TestSnapshotDoesNotDelayHeartbeats(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		n.Rate("a", "b", 1<<20)
		big := make([]byte, 30<<20)
		for i := range big {
			big[i] = byte(i >> 12)
		}
		var from [2]*replica.GroupTransport
		for g := range uint32(2) {
			var err error
			if from[g], err = a.transport.Group(replica.GroupTransportConfig{ID: g, Self: a.id()}); err != nil {
				t.Fatal(err)
			}
			b.start(g, a, b)
		}
		sent := make(chan error, 1)
		var resp raft.InstallSnapshotResponse
		go func() {
			sent <- from[0].InstallSnapshot(b.id(), "b", &raft.InstallSnapshotRequest{
				RPCHeader:       leaderHeader(a),
				SnapshotVersion: 1, Term: 9, LastLogIndex: 100, LastLogTerm: 9, Size: int64(len(big)),
				Configuration: raft.EncodeConfiguration(configuration(a, b)), ConfigurationIndex: 1,
			}, &resp, bytes.NewReader(big))
		}()
		beats, slowest, began := 0, time.Duration(0), time.Now()
		for len(sent) == 0 {
			start := time.Now()
			beat := &raft.AppendEntriesRequest{RPCHeader: leaderHeader(a), Term: 9}
			var ok raft.AppendEntriesResponse
			if err := from[1].AppendEntries(b.id(), "b", beat, &ok); err != nil || !ok.Success {
				t.Fatalf("heartbeat: %+v, %v", ok, err)
			}
			slowest = max(slowest, time.Since(start))
			beats++
			time.Sleep(100 * time.Millisecond)
		}
		if err := <-sent; err != nil || !resp.Success {
			t.Fatalf("snapshot: %+v, %v", resp, err)
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("snapshot took %v: it was meant to be slow", took)
		}
		if slowest > 10*time.Millisecond || beats < 200 {
			t.Errorf("%d heartbeats, the slowest took %v", beats, slowest)
		}
	})
}

// A follower that takes longer to restore a snapshot than a transfer may stall
// shows that it is alive, and the leader waits for it.
func TestSlowRestoreIsWaitedFor(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		b.start(1, a, b).fsm.restoring = time.Minute
		began := time.Now()
		sendSnapshot(t, from, a, b, 100)
		if took := time.Since(began); took < time.Minute {
			t.Errorf("answered after %v", took)
		}
	})
}

// A snapshot that stops moving is given up on both sides.
func TestStalledSnapshotIsGivenUp(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		follower := b.start(1, a, b)
		time.AfterFunc(time.Second, func() { n.CutOneWay("a", "b") })
		n.Rate("a", "b", 1<<20)
		began := time.Now()
		err = from.InstallSnapshot(b.id(), b.name, &raft.InstallSnapshotRequest{
			RPCHeader: leaderHeader(a), SnapshotVersion: 1, Term: 2, LastLogIndex: 9, LastLogTerm: 2, Size: 10 << 20,
			Configuration: raft.EncodeConfiguration(configuration(a, b)), ConfigurationIndex: 1,
		}, &raft.InstallSnapshotResponse{}, bytes.NewReader(make([]byte, 10<<20)))
		if took := time.Since(began); err == nil || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		time.Sleep(10 * time.Second)
		n.Heal("a", "b")
		n.Rate("a", "b", 0)
		sendSnapshot(t, from, a, b, 100)
		if got := follower.raft.LastIndex(); got != 100 {
			t.Errorf("the follower's raft is at %d", got)
		}
	})
}

// Heartbeats do not wait behind log entries: while a request with a megabyte of
// them crawls over the link, heartbeats are answered at once.
func TestEntriesDoNotDelayHeartbeats(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", func(c *replica.TransportConfig) { c.StaleAfter = time.Minute }), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		b.start(1, a, b)
		n.Rate("a", "b", 300<<10)
		crawled := make(chan error, 1)
		go func() {
			crawled <- from.AppendEntries(b.id(), b.name, &raft.AppendEntriesRequest{
				RPCHeader: leaderHeader(a), Term: 2, PrevLogEntry: 1, PrevLogTerm: 1,
				Entries: []*raft.Log{{Index: 2, Term: 2, Data: make([]byte, 1<<20)}},
			}, &raft.AppendEntriesResponse{})
		}()
		time.Sleep(time.Second)
		began := time.Now()
		if err := from.AppendEntries(b.id(), b.name, &raft.AppendEntriesRequest{RPCHeader: leaderHeader(a), Term: 2}, &raft.AppendEntriesResponse{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond || len(crawled) > 0 {
			t.Errorf("the heartbeat took %v", took)
		}
		if err := <-crawled; err != nil {
			t.Error(err)
		}
	})
}

// A reply to AppendEntries that is older than the bound is an error, although
// it arrived: raft would take it for fresh contact.
func TestStaleRepliesAreErrors(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		b.start(1, a, b)
		ask := func() error {
			return from.AppendEntries(b.id(), "b", &raft.AppendEntriesRequest{RPCHeader: leaderHeader(a), Term: 9}, &raft.AppendEntriesResponse{})
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		n.Delay("b", "a", 240*time.Millisecond)
		if err := ask(); err != nil {
			t.Errorf("just in time: %v", err)
		}
		n.Delay("b", "a", 260*time.Millisecond)
		if err := ask(); err == nil {
			t.Error("a reply older than half the heartbeat timeout was taken")
		}
	})
}

// Confirm answers for each group by its own term, in one exchange.
func TestConfirmComparesTerms(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		var items []replica.ConfirmItem
		var want []bool
		for g := range uint32(3) {
			leaderOf(t, []*instance{b.start(g, b)})
			term := b.replicas[g].raft.CurrentTerm()
			items = append(items, replica.ConfirmItem{Group: g, Target: b.id(), Term: term}, replica.ConfirmItem{Group: g, Target: b.id(), Term: term + 1})
			want = append(want, true, false)
		}
		got, err := a.transport.Confirm(t.Context(), "b", items)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("confirmed %v, %v; want %v", got, err, want)
		}
		n.Cut("a", "b")
		if _, err := a.transport.Confirm(t.Context(), "b", items); err == nil {
			t.Error("confirmed over a cut link")
		}
	})
}

// A member that dies is seen to break and then to refuse; one whose link is cut
// is seen to break only after a while, and never to refuse; both are seen to
// come back.
func TestLinkEvents(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		reach := func() error {
			_, err := a.transport.Confirm(t.Context(), "b", nil)
			return err
		}
		count := func(e replica.LinkEvent) (k int) {
			for _, seen := range a.seen("b") {
				if seen == e {
					k++
				}
			}
			return k
		}
		if err := reach(); err != nil {
			t.Fatal(err)
		}
		n.Cut("a", "b")
		time.Sleep(10 * time.Second)
		if err := reach(); !errors.Is(err, wire.ErrUnreachable) || wire.IsRefused(err) {
			t.Errorf("cut link: %v", err)
		}
		if count(replica.LinkBroken) != 1 || count(replica.LinkRefused) != 0 {
			t.Errorf("cut link: %v", a.seen("b"))
		}
		n.Heal("a", "b")
		time.Sleep(time.Second)
		if err := reach(); err != nil {
			t.Errorf("healed: %v", err)
		}
		n.Crash("b")
		synctest.Wait()
		if count(replica.LinkBroken) != 2 {
			t.Errorf("a dead member's connection did not break at once: %v", a.seen("b"))
		}
		if err := reach(); !wire.IsRefused(err) {
			t.Errorf("dead member: %v", err)
		}
		b.stop()
		newHost(t, n, "b", nil)
		time.Sleep(time.Second)
		if err := reach(); err != nil {
			t.Errorf("restarted: %v", err)
		}
		if count(replica.LinkUp) != 3 || count(replica.LinkRefused) != 1 {
			t.Errorf("events %v", a.seen("b"))
		}
	})
}

// A member that answers nothing loses both its links within two seconds: a
// stalled stream may take long to recover, a new one does not.
func TestSilenceEndsBothLinks(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		b.start(1, a, b)
		for _, index := range []uint64{0, 1} { // a heartbeat, and not
			req := &raft.AppendEntriesRequest{RPCHeader: leaderHeader(a), Term: 2, PrevLogEntry: index, PrevLogTerm: index}
			if err := from.AppendEntries(b.id(), b.name, req, &raft.AppendEntriesResponse{}); err != nil {
				t.Fatal(err)
			}
		}
		n.CutOneWay("b", "a")
		time.Sleep(2 * time.Second)
		want := []replica.LinkEvent{replica.LinkUp, replica.LinkUp, replica.LinkBroken, replica.LinkBroken}
		if got := a.seen("b"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("seen %v, want %v", got, want)
		}
	})
}

// Close ends requests that wait for an answer that will never come.
func TestCloseEndsWaitingRequests(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", func(c *replica.TransportConfig) { c.RPCTimeout = time.Hour; c.TransferStall = time.Hour }), newHost(t, n, "b", nil)
		from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.transport.Group(replica.GroupTransportConfig{ID: 1, Self: b.id()}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		errs := make(chan error, 2)
		go func() {
			errs <- from.RequestVote(b.id(), "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
		}()
		go func() {
			errs <- from.InstallSnapshot(b.id(), "b", &raft.InstallSnapshotRequest{Size: 1 << 20}, &raft.InstallSnapshotResponse{}, bytes.NewReader(make([]byte, 1<<20)))
		}()
		time.Sleep(100 * time.Millisecond)
		from.Close()
		for range 2 {
			if err := <-errs; err == nil {
				t.Error("a request was answered by nobody")
			}
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("Close took %v to end them", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.transport.Confirm(ctx, "b", nil); err != nil {
			t.Errorf("the transport lives on: %v", err)
		}
	})
}
