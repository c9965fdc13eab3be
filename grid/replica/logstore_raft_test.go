package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestAlignLog(t *testing.T) {
	// Before raft starts, the log fits the snapshot: what a crash left of an installed snapshot's predecessor goes, what continues
	// or overlaps it stays, and a hole between the two is an error.
	cases := []struct {
		name             string
		lo, hi, logTerm  uint64
		index, term      uint64
		emptied          bool
		want             error
		first, lastAfter uint64
	}{
		{name: "empty log", index: 9, term: 2},
		{name: "no snapshot", lo: 1, hi: 5, logTerm: 1, first: 1, lastAfter: 5},
		{name: "log overlaps", lo: 3, hi: 9, logTerm: 2, index: 5, term: 2, first: 3, lastAfter: 9},
		{name: "log ends at snapshot", lo: 3, hi: 5, logTerm: 2, index: 5, term: 2, first: 3, lastAfter: 5},
		{name: "log continues", lo: 6, hi: 9, logTerm: 2, index: 5, term: 2, first: 6, lastAfter: 9},
		{name: "log ends before", lo: 1, hi: 4, logTerm: 1, index: 5, term: 2, emptied: true},
		{name: "log contradicts", lo: 1, hi: 8, logTerm: 1, index: 5, term: 2, emptied: true},
		{name: "hole", lo: 7, hi: 9, logTerm: 2, index: 5, term: 2, want: ErrLogHole, first: 7, lastAfter: 9},
		{name: "front lost, no snapshot", lo: 2, hi: 9, logTerm: 2, want: ErrLogHole, first: 2, lastAfter: 9},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			forEachLog(t, func(t *testing.T, log raftLog) {
				if c.hi > 0 {
					if err := log.StoreLogs(testEntries(c.lo, c.hi, c.logTerm)); err != nil {
						t.Fatal(err)
					}
				}
				emptied, err := AlignLog(log, c.index, c.term)
				if emptied != c.emptied || !errors.Is(err, c.want) {
					t.Errorf("emptied %v, %v; want %v, %v", emptied, err, c.emptied, c.want)
				}
				first, _ := log.FirstIndex()
				last, _ := log.LastIndex()
				if first != c.first || last != c.lastAfter {
					t.Errorf("log %d to %d, want %d to %d", first, last, c.first, c.lastAfter)
				}
			})
		})
	}
}

func TestLogStoresRestoreOnlyWhatRaftCan(t *testing.T) {
	// The commit index that raft starts from stays below the first configuration entry that the snapshot does not cover, and so
	// close above the snapshot that raft's queue takes it all; what was stored is reported elsewhere.
	const n = 2*restoredEntriesMax + 100
	for _, c := range []struct{ configuration, covered, want uint64 }{
		{1, 0, 0},
		{1, 1, 1 + restoredEntriesMax},
		{50, 0, 49},
		{50, 49, 49},
		{50, 50, 50 + restoredEntriesMax},
		{50, n - 10, n},
		{n, n - 10, n - 1},
	} {
		forEachLog(t, func(t *testing.T, log raftLog) {
			logs := testEntries(1, n, 1)
			logs[c.configuration-1].Type = raft.LogConfiguration
			if err := log.StageCommitIndex(n); err != nil {
				t.Fatal(err)
			}
			if err := log.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			if _, err := AlignLog(log, c.covered, min(1, c.covered)); err != nil {
				t.Fatal(err)
			}
			if got, err := log.GetCommitIndex(); err != nil || got != c.want || log.CommittedIndex() != n {
				t.Errorf("configuration at %d, snapshot at %d: %d and %d, %v; want %d and %d",
					c.configuration, c.covered, got, log.CommittedIndex(), err, c.want, n)
			}
		})
	}
}

func TestRaftStartsOverALongLog(t *testing.T) {
	// A member with more committed entries behind its snapshot than raft's queue takes starts, with the membership of its log.
	disk := vfs.NewMem()
	s := openTestStorage(t, disk)
	g := openTestGroup(t, s, 1)
	logs := []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(
		raft.Configuration{Servers: []raft.Server{{ID: "m1", Address: "m1"}}})}}
	for n := uint64(1); n <= 3*restoredEntriesMax; n++ {
		logs = append(logs, &raft.Log{Index: n + 1, Term: 1, Type: raft.LogCommand, Data: binary.BigEndian.AppendUint64(nil, n)})
	}
	sink, err := openTestSnapshots(t, disk).Create(raft.SnapshotVersionMax, 1, 1, raft.DecodeConfiguration(logs[0].Data), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, sink)
	err = errors.Join(g.SetUint64(currentTermName, 1), g.StageCommitIndex(uint64(len(logs))), g.StoreLogs(logs))
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	m := startStoredMember(t, disk, "m1")
	defer m.stop(t)
	within(t, "applying the log", func() bool { return len(m.machine.state()) == 3*restoredEntriesMax })
	if got := m.machine.state(); !slices.Equal(got, numbers(1, 3*restoredEntriesMax)) {
		t.Error("commands were applied out of order")
	}
}

// sumMachine is a state machine that adds numbers, and remembers which.
type sumMachine struct {
	mu    sync.Mutex
	added []uint64
}

func (m *sumMachine) Apply(log *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.added = append(m.added, binary.BigEndian.Uint64(log.Data))
	return nil
}

func (m *sumMachine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return sumSnapshot(slices.Clone(m.added)), nil
}

func (m *sumMachine) Restore(content io.ReadCloser) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.added = nil
	for ; len(b) >= 8; b = b[8:] {
		m.added = append(m.added, binary.BigEndian.Uint64(b))
	}
	return nil
}

func (m *sumMachine) state() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.added)
}

type sumSnapshot []uint64

func (s sumSnapshot) Persist(sink raft.SnapshotSink) error {
	for _, n := range s {
		if _, err := sink.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return err
		}
	}
	return sink.Close()
}

func (s sumSnapshot) Release() {}

// storedMember is one raft instance on our stores.
type storedMember struct {
	raft      *raft.Raft
	machine   *sumMachine
	storage   *LogStorage
	transport *raft.InmemTransport
}

func startStoredMember(t *testing.T, fsys vfs.FS, id string) *storedMember {
	t.Helper()
	m := &storedMember{machine: &sumMachine{}, storage: openTestStorage(t, fsys)}
	group := openTestGroup(t, m.storage, 1)
	snapshots := openTestSnapshots(t, fsys)
	var index, term uint64
	if newest, err := snapshots.Newest(); err == nil {
		index, term = newest.Index, newest.Term
	} else if !errors.Is(err, ErrNoSnapshot) {
		t.Fatal(err)
	}
	if _, err := AlignLog(group, index, term); err != nil {
		t.Fatal(err)
	}
	_, m.transport = raft.NewInmemTransport(raft.ServerAddress(id))
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(id)
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 60*time.Millisecond, 60*time.Millisecond, 50*time.Millisecond
	cfg.CommitTimeout = 5 * time.Millisecond
	cfg.TrailingLogs = 5
	cfg.MaxAppendEntries = 16
	cfg.RestoreCommittedLogs = true
	cfg.Logger = hclog.NewNullLogger()
	var err error
	if m.raft, err = raft.NewRaft(cfg, m.machine, group, group, snapshots, m.transport); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *storedMember) stop(t *testing.T) {
	t.Helper()
	if err := m.raft.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, m.storage)
}

func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func (m *storedMember) add(t *testing.T, lo, hi uint64) {
	t.Helper()
	for n := lo; n <= hi; n++ {
		if err := m.raft.Apply(binary.BigEndian.AppendUint64(nil, n), time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
}

func numbers(lo, hi uint64) (ns []uint64) {
	for n := lo; n <= hi; n++ {
		ns = append(ns, n)
	}
	return ns
}

func TestRaftOnOurStoresSurvivesCrashes(t *testing.T) {
	// A raft instance that loses power after every few commands, with snapshots and truncations in between, has every acknowledged
	// command applied once and in order when it is back.
	disk := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range uint64(6) {
		m := startStoredMember(t, disk, "m1")
		if round == 0 {
			configuration := raft.Configuration{Servers: []raft.Server{{ID: "m1", Address: "m1"}}}
			if err := m.raft.BootstrapCluster(configuration).Error(); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "leadership", func() bool { return m.raft.State() == raft.Leader })
		if err := m.raft.Barrier(time.Second).Error(); err != nil {
			t.Fatal(err)
		}
		if got := m.machine.state(); !slices.Equal(got, numbers(1, round*20)) {
			t.Fatalf("round %d starts with %v", round, got)
		}
		m.add(t, round*20+1, round*20+15)
		if round%2 == 1 {
			if err := m.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
		m.add(t, round*20+16, round*20+20)
		crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(round) * 20, RNG: rng})
		m.stop(t)
		disk = crashed
	}
}

func TestRaftFollowerCatchesUpBySnapshot(t *testing.T) {
	// A follower that starts empty after the log was truncated gets the snapshot and the rest, and keeps them over a restart.
	disks := []*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
	leader := startStoredMember(t, disks[0], "m0")
	configuration := raft.Configuration{Servers: []raft.Server{{ID: "m0", Address: "m0"}}}
	if err := leader.raft.BootstrapCluster(configuration).Error(); err != nil {
		t.Fatal(err)
	}
	within(t, "leadership", func() bool { return leader.raft.State() == raft.Leader })
	leader.add(t, 1, 40)
	if err := leader.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	leader.add(t, 41, 45)
	connect := func(f *storedMember) {
		leader.transport.Connect("m1", f.transport)
		f.transport.Connect("m0", leader.transport)
	}
	follower := startStoredMember(t, disks[1], "m1")
	connect(follower)
	if err := leader.raft.AddNonvoter("m1", "m1", 0, time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	within(t, "catching up", func() bool { return slices.Equal(follower.machine.state(), numbers(1, 45)) })
	leader.add(t, 46, 50)
	within(t, "following", func() bool { return slices.Equal(follower.machine.state(), numbers(1, 50)) })
	follower.stop(t)

	follower = startStoredMember(t, disks[1].CrashClone(vfs.CrashCloneCfg{}), "m1")
	// Before it hears from the leader it applies what it knows to be committed, up to where it was made a member.
	within(t, "applying the log", func() bool { return slices.Equal(follower.machine.state(), numbers(1, 45)) })
	connect(follower)
	leader.add(t, 51, 52)
	within(t, "following again", func() bool { return slices.Equal(follower.machine.state(), numbers(1, 52)) })
	follower.stop(t)
	leader.stop(t)
}

func TestRaftFollowsAgainAfterCrashBehindInstalledSnapshot(t *testing.T) {
	// A crash between the installation of a snapshot and the emptying of the log leaves older entries behind; the follower still
	// takes the leader's next entries.
	for name, lastTerm := range map[string]uint64{"older": 1, "contradicting": 1} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			s := openTestStorage(t, disk)
			hi := uint64(4)
			if name == "contradicting" {
				hi = 12
			}
			if err := openTestGroup(t, s, 1).StoreLogs(testEntries(1, hi, lastTerm)); err != nil {
				t.Fatal(err)
			}
			if err := openTestGroup(t, s, 1).SetUint64(currentTermName, 3); err != nil {
				t.Fatal(err)
			}
			sink, err := openTestSnapshots(t, disk).Create(raft.SnapshotVersionMax, 10, 3,
				raft.Configuration{Servers: []raft.Server{{ID: "m1", Address: "m1"}, {ID: "m0", Address: "m0"}}}, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			mustClose(t, sink)
			mustClose(t, s)

			m := startStoredMember(t, disk, "m1")
			defer m.stop(t)
			_, leader := raft.NewInmemTransport("m0")
			leader.Connect("m1", m.transport)
			var response raft.AppendEntriesResponse
			err = leader.AppendEntries("m1", "m1", &raft.AppendEntriesRequest{
				RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("m0"), Addr: []byte("m0")},
				Term:      3, PrevLogEntry: 10, PrevLogTerm: 3, LeaderCommitIndex: 11,
				Entries: []*raft.Log{{Index: 11, Term: 3, Type: raft.LogCommand, Data: binary.BigEndian.AppendUint64(nil, 77)}},
			}, &response)
			if err != nil || !response.Success {
				t.Fatalf("entry after the snapshot: %+v, %v", response, err)
			}
			within(t, "applying it", func() bool { return fmt.Sprint(m.machine.state()) == "[77]" })
		})
	}
}
