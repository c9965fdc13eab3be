package replica_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// piped starts two members, a pipeline from a to b, and returns b's end of it:
// the test itself plays b's raft.
func piped(t *testing.T) (*wire.Network, raft.AppendPipeline, <-chan raft.RPC) {
	t.Helper()
	n := wire.NewNetwork()
	a, b := newHost(t, n, "a", nil), newHost(t, n, "b", nil)
	from, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
	if err != nil {
		t.Fatal(err)
	}
	to, err := b.transport.Group(replica.GroupTransportConfig{ID: 1, Self: b.id()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := from.AppendEntriesPipeline(b.id(), b.name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return n, p, to.Consumer()
}

func request(index uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: index - 1, PrevLogTerm: 2, Entries: []*raft.Log{{Index: index, Term: 2}}}
}

// Two requests are on their way at once and no third; they arrive and complete
// in order.
func TestPipelineKeepsOrderAndDepth(t *testing.T) {
	simulate(t, func(t *testing.T) {
		_, p, rpcs := piped(t)
		const total = 50
		sent := make(chan uint64, total)
		go func() {
			for i := range uint64(total) {
				if _, err := p.AppendEntries(request(i+1), &raft.AppendEntriesResponse{}); err != nil {
					t.Error(err)
				}
				sent <- i + 1
			}
		}()
		synctest.Wait()
		if len(sent) != 2 {
			t.Errorf("%d requests sent before the first answer", len(sent))
		}
		go func() {
			for i := range uint64(total) {
				rpc := <-rpcs
				if got := rpc.Command.(*raft.AppendEntriesRequest).Entries[0].Index; got != i+1 {
					t.Errorf("request %d arrived as number %d", got, i+1)
				}
				rpc.Respond(&raft.AppendEntriesResponse{Term: 2, LastLog: i + 1, Success: true}, nil)
			}
		}()
		for i := range uint64(total) {
			f := <-p.Consumer()
			if f.Error() != nil || f.Response().LastLog != i+1 || f.Request().Entries[0].Index != i+1 {
				t.Fatalf("future %d: %+v, %v", i+1, f.Response(), f.Error())
			}
		}
	})
}

// A request that fails never comes back as a future, because raft would count
// it as contact; the pipeline breaks and says so at the next request.
func TestFailedFuturesDoNotCountAsContact(t *testing.T) {
	for name, fail := range map[string]func(n *wire.Network, rpc raft.RPC){
		"raft's error": func(_ *wire.Network, rpc raft.RPC) { rpc.Respond(nil, errors.New("no")) },
		"reset":        func(n *wire.Network, _ raft.RPC) { n.Reset("a", "b") },
		"silence":      func(*wire.Network, raft.RPC) {},
		"stale": func(_ *wire.Network, rpc raft.RPC) {
			time.Sleep(300 * time.Millisecond)
			rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				n, p, rpcs := piped(t)
				f, err := p.AppendEntries(request(1), &raft.AppendEntriesResponse{})
				if err != nil {
					t.Fatal(err)
				}
				fail(n, <-rpcs)
				if f.Error() == nil {
					t.Error("the future succeeded")
				}
				time.Sleep(time.Second)
				if len(p.Consumer()) != 0 {
					t.Error("the failed future came back")
				}
				if _, err := p.AppendEntries(request(2), &raft.AppendEntriesResponse{}); err == nil {
					t.Error("the pipeline goes on")
				}
			})
		})
	}
}

// Closing a pipeline ends what waits in it.
func TestClosingAPipelineEndsItsRequests(t *testing.T) {
	simulate(t, func(t *testing.T) {
		_, p, _ := piped(t)
		var futures []raft.AppendFuture
		for i := range uint64(2) {
			f, err := p.AppendEntries(request(i+1), &raft.AppendEntriesResponse{})
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		blocked := make(chan error)
		go func() {
			_, err := p.AppendEntries(request(3), &raft.AppendEntriesResponse{})
			blocked <- err
		}()
		synctest.Wait()
		p.Close()
		p.Close()
		if err := <-blocked; err != raft.ErrPipelineShutdown {
			t.Errorf("the blocked request: %v", err)
		}
		for i, f := range futures {
			if f.Error() == nil {
				t.Errorf("future %d succeeded", i)
			}
		}
	})
}

// Over a link that carries less than a full request in time, requests shrink
// until they get through, and the leader stays the leader.
func TestSlowLinksGetSmallerRequests(t *testing.T) {
	simulate(t, func(t *testing.T) {
		n, hosts, instances := three(t)
		leader := leaderOf(t, instances)
		term := instances[leader].raft.CurrentTerm()
		for _, h := range hosts {
			n.Rate(string(hosts[leader].name), string(h.name), 1<<20)
		}
		began := time.Now()
		var futures []raft.ApplyFuture
		want := ""
		for i := range 64 {
			command := fmt.Sprintf("%d:%065536d", i, i)
			futures = append(futures, instances[leader].raft.Apply([]byte(command), time.Minute))
			want += " " + command
		}
		for i, f := range futures {
			if err := f.Error(); err != nil {
				t.Fatalf("command %d: %v", i, err)
			}
		}
		agree(t, want[1:], instances...)
		if got := instances[leader].raft.CurrentTerm(); got != term {
			t.Errorf("term went from %d to %d", term, got)
		}
		t.Logf("4 MiB at 1 MiB/s took %v", time.Since(began))
	})
}
