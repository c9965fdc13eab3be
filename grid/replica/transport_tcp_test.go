package replica_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// realMember is a member on loopback TCP.
type realMember struct {
	name      raft.ServerAddress
	mux       *wire.Mux
	transport *replica.Transport
}

// realMembers starts members that find each other by name and dial from a
// source address of their own.
func realMembers(tb testing.TB, names ...raft.ServerAddress) []*realMember {
	tb.Helper()
	addrs := make(map[raft.ServerAddress]string)
	var members []*realMember
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		addrs[name] = l.Addr().String()
		members = append(members, &realMember{name: name, mux: wire.NewMux(l, wire.MuxConfig{})})
	}
	dial, err := wire.TCPDialer("127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range members {
		m.transport, err = replica.OpenTransport(replica.TransportConfig{
			Self: m.name, Mux: m.mux, Dial: dial,
			Resolve:          func(a raft.ServerAddress) (string, error) { return addrs[a], nil },
			HeartbeatTimeout: 2 * time.Second,
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return members
}

func (m *realMember) close() {
	m.transport.Close()
	m.mux.Close()
}

// Three members on real sockets elect a leader, replicate, and leave nothing
// behind.
func TestClusterOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	members := realMembers(t, "a", "b", "c")
	var voters raft.Configuration
	for _, m := range members {
		voters.Servers = append(voters.Servers, raft.Server{ID: raft.ServerID(m.name), Address: m.name})
	}
	var instances []*instance
	for _, m := range members {
		g, err := m.transport.Group(replica.GroupTransportConfig{ID: 1, Self: raft.ServerID(m.name)})
		if err != nil {
			t.Fatal(err)
		}
		cfg := settings(raft.ServerID(m.name))
		cfg.Logger = hclog.NewNullLogger()
		n := &instance{fsm: &journal{}, logs: &monotonicStore{InmemStore: raft.NewInmemStore()}}
		stable, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(cfg, n.logs, stable, snaps, g, voters); err != nil {
			t.Fatal(err)
		}
		if n.raft, err = raft.NewRaft(cfg, n.fsm, n.logs, stable, snaps, g); err != nil {
			t.Fatal(err)
		}
		instances = append(instances, n)
	}
	leader := leaderOf(t, instances)
	apply(t, instances[leader], "one")
	agree(t, "one", instances...)
	for _, n := range instances {
		if err := n.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}
	for _, m := range members {
		m.close()
	}
}

// BenchmarkAppendEntries is one request with one entry and its reply over
// loopback TCP: what the transport adds to a raft round.
func BenchmarkAppendEntries(b *testing.B) {
	for _, size := range []int{-1, 100, 64 << 10} {
		name := fmt.Sprintf("entry=%dB", size)
		if size < 0 {
			name = "heartbeat"
		}
		b.Run(name, func(b *testing.B) {
			members := realMembers(b, "a", "b")
			from, err := members[0].transport.Group(replica.GroupTransportConfig{ID: 1, Self: "a"})
			if err != nil {
				b.Fatal(err)
			}
			to, err := members[1].transport.Group(replica.GroupTransportConfig{ID: 1, Self: "b"})
			if err != nil {
				b.Fatal(err)
			}
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case rpc := <-to.Consumer():
						rpc.Respond(&raft.AppendEntriesResponse{Term: 2, Success: true}, nil)
					case <-stop:
						return
					}
				}
			})
			req := &raft.AppendEntriesRequest{Term: 2}
			if size >= 0 {
				req = &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 1, Entries: []*raft.Log{{Index: 2, Term: 2, Data: make([]byte, size)}}}
				b.SetBytes(int64(size))
			}
			b.ReportAllocs()
			for b.Loop() {
				var resp raft.AppendEntriesResponse
				if err := from.AppendEntries("b", "b", req, &resp); err != nil || !resp.Success {
					b.Fatalf("%+v, %v", resp, err)
				}
			}
			close(stop)
			wg.Wait()
			for _, m := range members {
				m.close()
			}
		})
	}
}
