package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// host is one member of a simulated cluster: a listener, a Transport and the
// raft instances of its groups.
type host struct {
	t         *testing.T
	net       *wire.Network
	name      raft.ServerAddress
	mux       *wire.Mux
	transport *replica.Transport

	mu       sync.Mutex
	replicas map[uint32]*node
	events   map[raft.ServerAddress][]replica.LinkEvent
}

// node is one raft instance with what outlives it.
type node struct {
	raft  *raft.Raft
	group *replica.Endpoint
	fsm   *journal
	logs  *monotonicStore
}

// id is the server id of a host's first incarnation.
func (h *host) id() raft.ServerID { return raft.ServerID(h.name + "#1") }

// newHost starts a member. Its timeouts follow from 500 ms heartbeats unless
// adjust changes them.
func newHost(t *testing.T, n *wire.Network, name string, adjust func(*replica.TransportConfig)) *host {
	t.Helper()
	l, err := n.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{
		t: t, net: n, name: raft.ServerAddress(name), mux: wire.NewMux(l, wire.MuxConfig{}),
		replicas: make(map[uint32]*node), events: make(map[raft.ServerAddress][]replica.LinkEvent),
	}
	cfg := replica.TransportConfig{
		Self: h.name, Mux: h.mux, Dial: n.Dialer(name),
		Resolve: func(a raft.ServerAddress) (string, error) { return string(a), nil },
		Confirm: h.confirm,
		OnLink: func(peer raft.ServerAddress, e replica.LinkEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events[peer] = append(h.events[peer], e)
		},
	}
	if adjust != nil {
		adjust(&cfg)
	}
	if h.transport, err = replica.OpenTransport(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	return h
}

// stop shuts a member down in the order its owner would.
func (h *host) stop() {
	h.mu.Lock()
	replicas := h.replicas
	h.replicas = nil
	h.mu.Unlock()
	for _, r := range replicas {
		if err := r.raft.Shutdown().Error(); err != nil {
			h.t.Error(err)
		}
	}
	h.transport.Close()
	h.mux.Close()
}

// confirm answers for the groups of this host from raft's own current term.
func (h *host) confirm(group uint32, term uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.replicas[group]
	return r != nil && r.raft.CurrentTerm() == term
}

// seen returns the link events about a peer so far.
func (h *host) seen(peer raft.ServerAddress) []replica.LinkEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]replica.LinkEvent(nil), h.events[peer]...)
}

// settings are raft's for one instance.
func settings(id raft.ServerID) *raft.Config {
	cfg := raft.DefaultConfig()
	cfg.LocalID = id
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
	cfg.Logger = hclog.NewNullLogger()
	cfg.NoLegacyTelemetry = true
	return cfg
}

// start makes a replica of a group with the given voters and runs it.
func (h *host) start(group uint32, voters ...*host) *node {
	return h.startWith(group, settings(h.id()), nil, voters...)
}

// startWith is start with raft's settings and, if wrap is set, another
// raft.Transport around the group.
func (h *host) startWith(group uint32, cfg *raft.Config, wrap func(*replica.Endpoint) raft.Transport, voters ...*host) *node {
	h.t.Helper()
	n := &node{fsm: &journal{}, logs: &monotonicStore{InmemStore: raft.NewInmemStore()}}
	var err error
	if n.group, err = h.transport.Endpoint(replica.EndpointConfig{ID: group, Self: cfg.LocalID}); err != nil {
		h.t.Fatal(err)
	}
	trans := raft.Transport(n.group)
	if wrap != nil {
		trans = wrap(n.group)
	}
	stable, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	if len(voters) > 0 {
		if err := raft.BootstrapCluster(cfg, n.logs, stable, snaps, trans, configuration(voters...)); err != nil {
			h.t.Fatal(err)
		}
	}
	if n.raft, err = raft.NewRaft(cfg, n.fsm, n.logs, stable, snaps, trans); err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.replicas[group] = n
	h.mu.Unlock()
	return n
}

// configuration makes every host a voter.
func configuration(voters ...*host) (c raft.Configuration) {
	for _, h := range voters {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: h.id(), Address: h.name})
	}
	return c
}

// monotonicStore is a log store that raft empties when it installs a snapshot.
type monotonicStore struct{ *raft.InmemStore }

func (*monotonicStore) IsMonotonic() bool { return true }

// entry returns the log entry at index, or nil.
func (s *monotonicStore) entry(index uint64) *raft.Log {
	l := new(raft.Log)
	if s.GetLog(index, l) != nil {
		return nil
	}
	return l
}

// journal is a state machine that keeps what it has applied.
type journal struct {
	mu      sync.Mutex
	applied [][]byte
}

func (j *journal) Apply(l *raft.Log) any {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied = append(j.applied, l.Data)
	return nil
}

func (j *journal) Snapshot() (raft.FSMSnapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return frozen(bytes.Join(j.applied, []byte("\n"))), nil
}

func (j *journal) Restore(r io.ReadCloser) error {
	all, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied = bytes.Split(all, []byte("\n"))
	return nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(bytes.Join(j.applied, []byte(" ")))
}

type frozen []byte

func (f frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(f); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (frozen) Release() {}

// simulate runs f in a bubble of its own time and checks that it leaves no
// goroutine behind.
func simulate(t *testing.T, f func(t *testing.T)) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, f)
}

// three starts a cluster of three members with one group on all of them.
func three(t *testing.T) (*wire.Network, []*host, []*node) {
	n := wire.NewNetwork()
	hosts := []*host{newHost(t, n, "a", nil), newHost(t, n, "b", nil), newHost(t, n, "c", nil)}
	var nodes []*node
	for _, h := range hosts {
		nodes = append(nodes, h.start(1, hosts...))
	}
	return n, hosts, nodes
}

// leaderOf waits until one of the nodes leads, and returns its index.
func leaderOf(t *testing.T, nodes []*node) int {
	t.Helper()
	for range 200 {
		for i, n := range nodes {
			if n != nil && n.raft.State() == raft.Leader && n.raft.VerifyLeader().Error() == nil {
				return i
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no leader after 20 s")
	return -1
}

// agree waits until every journal reads as want.
func agree(t *testing.T, want string, nodes ...*node) {
	t.Helper()
	for range 100 {
		same := true
		for _, n := range nodes {
			same = same && n.fsm.String() == want
		}
		if same {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for i, n := range nodes {
		t.Errorf("node %d applied %q, want %q", i, n.fsm, want)
	}
}

func apply(t *testing.T, n *node, command string) {
	t.Helper()
	if err := n.raft.Apply([]byte(command), time.Second).Error(); err != nil {
		t.Fatalf("apply %q: %v", command, err)
	}
}

// Three members elect a leader and replicate. When the leader is cut off the
// others elect another, and after healing everybody holds the same commands.
func TestElectionAndReplicationSurviveACut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, nodes := three(t)
		old := leaderOf(t, nodes)
		apply(t, nodes[old], "one")
		agree(t, "one", nodes...)

		b, c := (old+1)%3, (old+2)%3
		net.Cut(string(hosts[old].name), string(hosts[b].name))
		net.Cut(string(hosts[old].name), string(hosts[c].name))
		rest := []*node{nodes[b], nodes[c]}
		apply(t, rest[leaderOf(t, rest)], "two")
		agree(t, "one two", rest...)
		if nodes[old].raft.State() == raft.Leader {
			t.Error("the leader that was cut off still leads")
		}

		net.Heal(string(hosts[old].name), string(hosts[b].name))
		net.Heal(string(hosts[old].name), string(hosts[c].name))
		apply(t, nodes[leaderOf(t, nodes)], "three")
		agree(t, "one two three", nodes...)
	})
}

// A leader that can be heard but hears nobody steps down, and a follower that
// nobody hears does not disturb the others: pre-vote keeps its term where it
// was.
func TestOneWayLinks(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, nodes := three(t)
		old := leaderOf(t, nodes)
		b, c := (old+1)%3, (old+2)%3
		net.CutOneWay(string(hosts[b].name), string(hosts[old].name))
		net.CutOneWay(string(hosts[c].name), string(hosts[old].name))
		time.Sleep(3 * time.Second)
		if nodes[old].raft.State() == raft.Leader {
			t.Error("a leader that hears nobody still leads")
		}
		rest := []*node{nodes[b], nodes[c]}
		apply(t, rest[leaderOf(t, rest)], "one")
		net.Heal(string(hosts[b].name), string(hosts[old].name))
		net.Heal(string(hosts[c].name), string(hosts[old].name))
		leader := leaderOf(t, nodes)
		apply(t, nodes[leader], "two")
		agree(t, "one two", nodes...)

		mute := (leader + 1) % 3
		term := nodes[leader].raft.CurrentTerm()
		net.CutOneWay(string(hosts[mute].name), string(hosts[leader].name))
		net.CutOneWay(string(hosts[mute].name), string(hosts[(leader+2)%3].name))
		time.Sleep(10 * time.Second)
		net.Heal(string(hosts[mute].name), string(hosts[leader].name))
		net.Heal(string(hosts[mute].name), string(hosts[(leader+2)%3].name))
		time.Sleep(5 * time.Second)
		apply(t, nodes[leader], "three")
		agree(t, "one two three", nodes...)
		if got := nodes[leader].raft.CurrentTerm(); got != term {
			t.Errorf("term went from %d to %d because of a mute follower", term, got)
		}
	})
}

// Resets of every connection cost neither the leadership nor a command.
func TestResetsDoNotChangeTheLeader(t *testing.T) {
	simulate(t, func(t *testing.T) {
		net, hosts, nodes := three(t)
		leader := leaderOf(t, nodes)
		term := nodes[leader].raft.CurrentTerm()
		want := ""
		for i := range 20 {
			for _, h := range hosts {
				if h != hosts[leader] {
					net.Reset(string(hosts[leader].name), string(h.name))
				}
			}
			time.Sleep(50 * time.Millisecond)
			apply(t, nodes[leader], fmt.Sprint(i))
			want += " " + fmt.Sprint(i)
		}
		agree(t, want[1:], nodes...)
		if got := nodes[leader].raft.CurrentTerm(); got != term {
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
			var nodes []*node
			for _, h := range hosts {
				nodes = append(nodes, h.start(g, hosts...))
			}
			leader := leaderOf(t, nodes)
			apply(t, nodes[leader], "x")
			agree(t, "x", nodes...)
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
		from, err := a.transport.Endpoint(replica.EndpointConfig{ID: 1, Self: "a#1"})
		if err != nil {
			t.Fatal(err)
		}
		to, err := b.transport.Endpoint(replica.EndpointConfig{ID: 1, Self: "b#2"})
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
		var from [2]*replica.Endpoint
		for g := range uint32(2) {
			var err error
			if from[g], err = a.transport.Endpoint(replica.EndpointConfig{ID: g, Self: a.id()}); err != nil {
				t.Fatal(err)
			}
			b.start(g, a, b)
		}
		sent := make(chan error, 1)
		var resp raft.InstallSnapshotResponse
		go func() {
			sent <- from[0].InstallSnapshot(b.id(), "b", &raft.InstallSnapshotRequest{
				RPCHeader:       raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.id()), Addr: []byte("a")},
				SnapshotVersion: 1, Term: 9, LastLogIndex: 100, LastLogTerm: 9, Size: int64(len(big)),
				Configuration: raft.EncodeConfiguration(configuration(a, b)), ConfigurationIndex: 1,
			}, &resp, bytes.NewReader(big))
		}()
		beats, slowest, began := 0, time.Duration(0), time.Now()
		for len(sent) == 0 {
			start := time.Now()
			beat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.id()), Addr: []byte("a")}, Term: 9}
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

// A reply to AppendEntries that is older than the bound is an error, although
// it arrived: raft would take it for fresh contact.
func TestStaleRepliesAreErrors(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
		from, err := a.transport.Endpoint(replica.EndpointConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		b.start(1, a, b)
		ask := func() error {
			return from.AppendEntries(b.id(), "b", &raft.AppendEntriesRequest{
				RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.id()), Addr: []byte("a")}, Term: 9,
			}, &raft.AppendEntriesResponse{})
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
			leaderOf(t, []*node{b.start(g, b)})
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
		b = newHost(t, n, "b", nil)
		time.Sleep(time.Second)
		if err := reach(); err != nil {
			t.Errorf("restarted: %v", err)
		}
		if count(replica.LinkUp) != 3 || count(replica.LinkRefused) != 1 {
			t.Errorf("events %v", a.seen("b"))
		}
	})
}

// Close ends requests that wait for an answer that will never come.
func TestCloseEndsWaitingRequests(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n := wire.NewNetwork()
		a, b := newHost(t, n, "a", func(c *replica.TransportConfig) { c.RPCTimeout = time.Hour; c.SnapshotStall = time.Hour }), newHost(t, n, "b", nil)
		from, err := a.transport.Endpoint(replica.EndpointConfig{ID: 1, Self: a.id()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.transport.Endpoint(replica.EndpointConfig{ID: 1, Self: b.id()}); err != nil {
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
