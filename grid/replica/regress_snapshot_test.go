package replica_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// A follower whose log reaches beyond a snapshot takes the entries that follow
// the snapshot, once it has been restarted as the transport asks.
//
// Raft keeps the end of the old log in memory when it installs a snapshot. It
// then compares every AppendEntries with a log that is gone, and refuses for
// ever. The first case shows that raft still does so; should it fail one day,
// the restart can go. The last shows that a log which the snapshot covers needs
// no restart.
func TestFollowerGoesOnAfterASnapshot(t *testing.T) {
	for _, c := range []struct {
		name             string
		snapshot         uint64 // index at which it ends; the log ends at 8
		restarts         bool   // whether the owner does as asked
		asked, continues bool
	}{
		{"log beyond the snapshot, no restart", 5, false, false, false},
		{"log beyond the snapshot", 5, true, true, true},
		{"log ends with the snapshot", 8, true, true, true},
		{"snapshot beyond the log", 9, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				net := wire.NewNetwork()
				a, b := newHost(t, net, "a", nil), newHost(t, net, "b", nil)
				f := divergedFollower(t, b, configuration(a, b), c.restarts)
				defer f.stop()
				leader, err := a.transport.Group(replica.GroupTransportConfig{ID: 1, Self: a.id()})
				if err != nil {
					t.Fatal(err)
				}
				sendSnapshot(t, leader, a, b, c.snapshot)
				accepted, rejections := offerEntries(t, leader, a, b, c.snapshot+1)
				if accepted != c.continues {
					t.Errorf("entry after the snapshot accepted: %v, want %v", accepted, c.continues)
				}
				if accepted && rejections > 0 {
					t.Errorf("the old instance got to reject entries %d times before its restart", rejections)
				}
				if asked := f.restarted(); asked != c.asked {
					t.Errorf("restart asked for: %v, want %v", asked, c.asked)
				}
				if want := fmt.Sprintf("state@%d next", c.snapshot); c.continues {
					agree(t, want, &instance{fsm: f.fsm})
				}
			})
		})
	}
}

// sendSnapshot installs a snapshot of term 2 that ends at index.
func sendSnapshot(t *testing.T, leader *replica.GroupTransport, a, b *host, index uint64) {
	t.Helper()
	state := fmt.Sprintf("state@%d", index)
	var resp raft.InstallSnapshotResponse
	err := leader.InstallSnapshot(b.id(), b.name, &raft.InstallSnapshotRequest{
		RPCHeader:       leaderHeader(a),
		SnapshotVersion: 1, Term: 2, LastLogIndex: index, LastLogTerm: 2, Size: int64(len(state)),
		Configuration: raft.EncodeConfiguration(configuration(a, b)), ConfigurationIndex: 1,
	}, &resp, strings.NewReader(state))
	if err != nil || !resp.Success {
		t.Fatalf("snapshot: %+v, %v", resp, err)
	}
}

// offerEntries sends the entry that follows the snapshot, as a leader would:
// again and again. It returns whether raft took it, and how often it did not.
func offerEntries(t *testing.T, leader *replica.GroupTransport, a, b *host, index uint64) (accepted bool, rejections int) {
	t.Helper()
	for range 50 {
		var resp raft.AppendEntriesResponse
		err := leader.AppendEntries(b.id(), b.name, &raft.AppendEntriesRequest{
			RPCHeader: leaderHeader(a), Term: 2, PrevLogEntry: index - 1, PrevLogTerm: 2, LeaderCommitIndex: index,
			Entries: []*raft.Log{{Index: index, Term: 2, Type: raft.LogCommand, Data: []byte("next")}},
		}, &resp)
		switch {
		case errors.Is(err, replica.ErrGroupRestarting), errors.Is(err, replica.ErrNoGroup), errors.Is(err, replica.ErrGroupBusy):
		case err != nil:
			t.Fatal(err)
		case resp.Success:
			return true, rejections
		default:
			rejections++
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false, rejections
}

// follower is the owner of a replica that does what OnSnapshotInstalled asks.
type follower struct {
	t      *testing.T
	host   *host
	cfg    raft.Config
	fsm    *journal
	logs   *monotonicStore
	stable *raft.InmemStore
	snaps  *raft.InmemSnapshotStore
	wg     sync.WaitGroup

	mu       sync.Mutex
	raft     *raft.Raft
	restarts int
}

// divergedFollower starts a replica whose log holds eight entries of term 1
// that nobody else has.
func divergedFollower(t *testing.T, h *host, members raft.Configuration, restarts bool) *follower {
	t.Helper()
	f := &follower{
		t: t, host: h, cfg: *settings(h.id()), fsm: &journal{},
		logs:   &monotonicStore{InmemStore: raft.NewInmemStore()},
		stable: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore(),
	}
	if err := f.logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members)}); err != nil {
		t.Fatal(err)
	}
	for i := uint64(2); i <= 8; i++ {
		if err := f.logs.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: []byte("lost")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.stable.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	f.open(restarts)
	return f
}

// open starts a raft instance over what the last one has left.
func (f *follower) open(restarts bool) {
	cfg := replica.GroupTransportConfig{ID: 1, Self: f.host.id()}
	if restarts {
		cfg.LastIndex = func() uint64 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.raft.LastIndex()
		}
		cfg.OnSnapshotInstalled = f.installed
	}
	group, err := f.host.transport.Group(cfg)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.raft, err = raft.NewRaft(&f.cfg, f.fsm, f.logs, f.stable, f.snaps, group); err != nil {
		f.t.Error(err)
	}
}

// installed restarts the instance if need be. The state machine has the
// snapshot already, so the new instance must not restore it.
func (f *follower) installed(lastBefore, snapIndex uint64) {
	if lastBefore != 8 {
		f.t.Errorf("log ended at %d before the snapshot, want 8", lastBefore)
	}
	if !replica.RestartAfterSnapshot(lastBefore, snapIndex) {
		return
	}
	f.wg.Go(func() {
		time.Sleep(time.Second) // an owner may have other things to do first
		f.mu.Lock()
		old := f.raft
		f.restarts++
		f.mu.Unlock()
		if err := old.Shutdown().Error(); err != nil {
			f.t.Error(err)
		}
		f.cfg.NoSnapshotRestoreOnStart = true
		f.open(true)
	})
}

func (f *follower) restarted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restarts > 0
}

func (f *follower) stop() {
	f.wg.Wait()
	if err := f.raft.Shutdown().Error(); err != nil {
		f.t.Error(err)
	}
}
