package replica_test

import (
	"bytes"
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
	replicas map[uint32]*instance
	events   map[raft.ServerAddress][]replica.LinkEvent
}

// instance is one raft instance with what outlives it.
type instance struct {
	raft  *raft.Raft
	group *replica.GroupTransport
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
		replicas: make(map[uint32]*instance), events: make(map[raft.ServerAddress][]replica.LinkEvent),
	}
	cfg := replica.TransportConfig{
		Self: h.name, Mux: h.mux, Dial: n.Dialer(name),
		Resolve: func(a raft.ServerAddress) (string, error) { return string(a), nil },
		Confirm: h.confirm,
		OnLink: func(member raft.ServerAddress, e replica.LinkEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events[member] = append(h.events[member], e)
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

// seen returns the link events about a member so far.
func (h *host) seen(member raft.ServerAddress) []replica.LinkEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]replica.LinkEvent(nil), h.events[member]...)
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
func (h *host) start(group uint32, voters ...*host) *instance {
	return h.startWith(group, settings(h.id()), nil, voters...)
}

// startWith is start with raft's settings and, if wrap is set, another
// raft.Transport around the group.
func (h *host) startWith(group uint32, cfg *raft.Config, wrap func(*replica.GroupTransport) raft.Transport, voters ...*host) *instance {
	h.t.Helper()
	n := &instance{fsm: &journal{}, logs: &monotonicStore{InmemStore: raft.NewInmemStore()}}
	var err error
	if n.group, err = h.transport.Group(replica.GroupTransportConfig{ID: group, Self: cfg.LocalID}); err != nil {
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

// leaderHeader is what a host's raft puts on its requests.
func leaderHeader(a *host) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(a.id()), Addr: []byte(a.name)}
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
	restoring time.Duration // how long Restore takes
	mu        sync.Mutex
	applied   [][]byte
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
	time.Sleep(j.restoring)
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
func three(t *testing.T) (*wire.Network, []*host, []*instance) {
	n := wire.NewNetwork()
	hosts := []*host{newHost(t, n, "a", nil), newHost(t, n, "b", nil), newHost(t, n, "c", nil)}
	var instances []*instance
	for _, h := range hosts {
		instances = append(instances, h.start(1, hosts...))
	}
	return n, hosts, instances
}

// leaderOf waits until one of the instances leads, and returns its index.
func leaderOf(t *testing.T, instances []*instance) int {
	t.Helper()
	for range 200 {
		for i, n := range instances {
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
func agree(t *testing.T, want string, instances ...*instance) {
	t.Helper()
	for range 100 {
		same := true
		for _, n := range instances {
			same = same && n.fsm.String() == want
		}
		if same {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for i, n := range instances {
		t.Errorf("instance %d applied %q, want %q", i, n.fsm, want)
	}
}

func apply(t *testing.T, n *instance, command string) {
	t.Helper()
	if err := n.raft.Apply([]byte(command), time.Second).Error(); err != nil {
		t.Fatalf("apply %q: %v", command, err)
	}
}
