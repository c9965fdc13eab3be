package replica_test

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// A leader that learns of a newer term through a heartbeat appends nothing in
// that term.
//
// Raft lets a transport answer heartbeats beside its main loop. A leader that
// is deposed that way has the new term while its main loop still believes to
// lead, and the next command it takes is logged under a term it never won, at
// an index where the real leader has its own entry. Equal index and term pass
// for equal entries, so nothing ever repairs it. The first case shows that this
// test would notice; the second that our transport does not do it.
func TestHeartbeatsDoNotForgeEntries(t *testing.T) {
	for _, c := range []struct {
		name     string
		wrap     func(*replica.GroupTransport) raft.Transport
		diverges bool
	}{
		{"answered beside the main loop", answerHeartbeatsEarly, true},
		{"answered by the main loop", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) { deposeByHeartbeat(t, c.wrap, c.diverges) })
		})
	}
}

func deposeByHeartbeat(t *testing.T, wrap func(*replica.GroupTransport) raft.Transport, diverges bool) {
	net := wire.NewNetwork()
	a, b, c := newHost(t, net, "a", nil), newHost(t, net, "b", nil), newHost(t, net, "c", nil)

	// a believes in its leadership for a minute without contact, so it still
	// leads, in its own eyes, when the others have moved on.
	patient := settings(a.id())
	patient.HeartbeatTimeout, patient.ElectionTimeout, patient.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
	old := a.startWith(1, patient, wrap, a, b, c)
	others := []*instance{b.start(1, a, b, c), c.start(1, a, b, c)}

	first := others[leaderOf(t, others)]
	apply(t, first, "one")
	if err := first.raft.LeadershipTransferToServer(a.id(), a.name).Error(); err != nil {
		t.Fatal(err)
	}
	if leaderOf(t, []*instance{old}) != 0 {
		t.Fatal("the transfer failed")
	}
	// All logs are equal here, so the next index is the same everywhere.
	apply(t, old, "two")
	agree(t, "one two", old, others[0], others[1])
	net.Cut("a", "b")
	net.Cut("a", "c")
	next := leaderOf(t, others)
	leader, leaderHost := others[next], []*host{b, c}[next]
	apply(t, leader, "three")
	term := leader.raft.CurrentTerm()
	if old.raft.State() != raft.Leader || old.raft.CurrentTerm() >= term {
		t.Fatalf("the old leader noticed: %v in term %d", old.raft.State(), old.raft.CurrentTerm())
	}

	// The new leader's heartbeat gets through, by way of a host that still
	// reaches a; then a is asked to log a command.
	relay, err := newHost(t, net, "relay", nil).transport.Group(replica.GroupTransportConfig{ID: 1, Self: leaderHost.id()})
	if err != nil {
		t.Fatal(err)
	}
	beat := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(leaderHost.id()), Addr: []byte(leaderHost.name)},
		Term:      term,
	}
	if err := relay.AppendEntries(a.id(), a.name, beat, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	err = old.raft.Apply([]byte("forged"), time.Second).Error()
	if !diverges && !errors.Is(err, raft.ErrNotLeader) {
		t.Errorf("the deposed leader answered %v", err)
	}

	net.Heal("a", "b")
	net.Heal("a", "c")
	time.Sleep(5 * time.Second)
	apply(t, leader, "four")
	time.Sleep(5 * time.Second)
	if got := forked(old, leader); got != diverges {
		t.Errorf("logs with one index and term and two contents: %v, want %v", got, diverges)
	}
	if !diverges {
		agree(t, "one two three four", old, others[0], others[1])
	}
}

// forked tells whether two logs hold different entries under one index and
// term.
func forked(a, b *instance) bool {
	last, _ := a.logs.LastIndex()
	for i := uint64(1); i <= last; i++ {
		x, y := a.logs.entry(i), b.logs.entry(i)
		if x != nil && y != nil && x.Term == y.Term && (x.Type != y.Type || !bytes.Equal(x.Data, y.Data)) {
			return true
		}
	}
	return false
}

// earlyTransport answers heartbeats as soon as they arrive, as transports with
// raft's short cut do.
type earlyTransport struct {
	*replica.GroupTransport
	rpcs    chan raft.RPC
	handler atomic.Pointer[func(raft.RPC)]
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

func answerHeartbeatsEarly(g *replica.GroupTransport) raft.Transport {
	e := &earlyTransport{GroupTransport: g, rpcs: make(chan raft.RPC), stop: make(chan struct{})}
	e.wg.Go(func() {
		for {
			select {
			case rpc := <-g.Consumer():
				e.pass(rpc)
			case <-e.stop:
				return
			}
		}
	})
	return e
}

func (e *earlyTransport) pass(rpc raft.RPC) {
	r, ok := rpc.Command.(*raft.AppendEntriesRequest)
	heartbeat := ok && r.PrevLogEntry == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
	if handler := e.handler.Load(); heartbeat && handler != nil {
		(*handler)(rpc)
		return
	}
	select {
	case e.rpcs <- rpc:
	case <-e.stop:
	}
}

func (e *earlyTransport) Consumer() <-chan raft.RPC                  { return e.rpcs }
func (e *earlyTransport) SetHeartbeatHandler(handler func(raft.RPC)) { e.handler.Store(&handler) }

func (e *earlyTransport) Close() error {
	e.once.Do(func() { close(e.stop) })
	e.wg.Wait()
	return e.GroupTransport.Close()
}
