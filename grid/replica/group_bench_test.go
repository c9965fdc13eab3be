package replica_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// counter is a state machine that costs nothing, so that the group is measured.
type counter struct{ commands int }

func (c *counter) Apply(_ uint64, commands [][]byte) [][]byte {
	c.commands += len(commands)
	return make([][]byte, len(commands))
}
func (c *counter) Image() (replica.Image, error) { return registersImage(nil), nil }
func (c *counter) Restore(io.Reader) error       { return nil }

// benchGroups opens a group of so many members over loopback TCP in this process
// and returns the one that leads.
func benchGroups(b *testing.B, members int, disk bool) *replica.Group {
	addresses := make(map[raft.ServerAddress]string)
	var listeners []net.Listener
	for i := range members {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addresses[raft.ServerAddress(fmt.Sprint("m", i))] = l.Addr().String()
		listeners = append(listeners, l)
	}
	var groups []*replica.Group
	for i, l := range listeners {
		groups = append(groups, benchGroup(b, replica.ServerID{Member: fmt.Sprint("m", i), Incarnation: 1}, l, addresses, disk))
	}
	leader := groups[0]
	if err := leader.Found(); err != nil {
		b.Fatal(err)
	}
	for term, ok := leader.Leading(); !ok || term == 0; term, ok = leader.Leading() {
		time.Sleep(time.Millisecond)
	}
	for i := 1; i < members; i++ {
		id := replica.ServerID{Member: fmt.Sprint("m", i), Incarnation: 1}
		if err := leader.AddLearner(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		for !leader.CaughtUp(id) {
			time.Sleep(10 * time.Millisecond)
		}
		if err := leader.AddVoter(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	return leader
}

func benchGroup(b *testing.B, id replica.ServerID, l net.Listener, addresses map[raft.ServerAddress]string, disk bool) *replica.Group {
	dial, err := wire.TCPDialer("")
	if err != nil {
		b.Fatal(err)
	}
	mux := wire.NewMux(l, wire.MuxConfig{})
	b.Cleanup(func() { mux.Close() })
	var self struct {
		sync.Mutex
		group *replica.Group
	}
	transport, err := replica.OpenTransport(replica.TransportConfig{
		Self: raft.ServerAddress(id.Member), Mux: mux, Dial: dial,
		Resolve: func(a raft.ServerAddress) (string, error) { return addresses[a], nil },
		Confirm: func(_ uint32, term uint64) bool {
			self.Lock()
			defer self.Unlock()
			return self.group != nil && self.group.AtTerm(term)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { transport.Close() })
	var storage replica.GroupStorage
	if disk {
		logs, err := replica.OpenLogStorage(replica.LogStorageConfig{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { logs.Close() })
		storage, err = replica.DiskStorage(logs, replica.SnapshotStoreConfig{Dir: b.TempDir()}, groupID)
		if err != nil {
			b.Fatal(err)
		}
	} else if storage, err = replica.MemoryStorage(replica.MemoryStorageConfig{}, groupID); err != nil {
		b.Fatal(err)
	}
	g, err := replica.OpenGroup(replica.GroupConfig{ID: groupID, Self: id, Storage: storage, Transport: transport, StateMachine: &counter{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.Close() })
	self.Lock()
	self.group = g
	self.Unlock()
	return g
}

// BenchmarkPropose measures commands of 100 bytes, each caller waiting for its
// answer before the next one: operations per second and how long they took.
func BenchmarkPropose(b *testing.B) {
	for _, setting := range []struct {
		members int
		disk    bool
	}{{3, false}, {3, true}, {1, false}, {1, true}} {
		for _, callers := range []int{1, 64, 1024} {
			name := fmt.Sprintf("members=%d/disk=%v/callers=%d", setting.members, setting.disk, callers)
			b.Run(name, func(b *testing.B) {
				leader := benchGroups(b, setting.members, setting.disk)
				command := make([]byte, 100)
				benchCallers(b, callers, func(ctx context.Context) error {
					_, err := leader.Propose(ctx, command)
					return err
				})
			})
		}
	}
}

// BenchmarkConfirm measures linearizable reads, without the read.
func BenchmarkConfirm(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("members=3/callers=%d", callers), func(b *testing.B) {
			leader := benchGroups(b, 3, false)
			benchCallers(b, callers, func(ctx context.Context) error {
				term, _ := leader.Leading()
				return leader.Confirm(ctx, term)
			})
		})
	}
}

// benchCallers has callers share b.N calls of f and reports rate and latency.
func benchCallers(b *testing.B, callers int, f func(context.Context) error) {
	took := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	b.ResetTimer()
	for c := range callers {
		n := b.N / callers
		if c < b.N%callers {
			n++
		}
		wg.Go(func() {
			took[c] = make([]time.Duration, 0, n)
			for range n {
				began := time.Now()
				if err := f(b.Context()); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
