package replica

import (
	"errors"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// raftLog is what raft asks of a log store, all parts of it.
type raftLog interface {
	raft.CommitTrackingLogStore
	raft.MonotonicLogStore
	alignedLog
	CommittedIndex() uint64
}

var (
	_ raftLog = (*GroupLog)(nil)
	_ raftLog = (*Ring)(nil)
)

// forEachLog runs test against every log store, small limits included, so that entries come from memory and from disk.
func forEachLog(t *testing.T, test func(*testing.T, raftLog)) {
	// Syncs take a moment, so that what happens during one is seen by readers.
	slow := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			time.Sleep(100 * time.Microsecond)
		}
		return nil
	})
	durable := func(recent int) func(*testing.T) raftLog {
		return func(t *testing.T) raftLog {
			s := openTestStorage(t, errorfs.Wrap(vfs.NewMem(), slow), func(c *LogStorageConfig) { c.RecentEntries = recent })
			t.Cleanup(func() { mustClose(t, s) })
			return openTestGroup(t, s, 1)
		}
	}
	for name, open := range map[string]func(*testing.T) raftLog{
		"disk":        durable(DefaultRecentEntries),
		"disk, bare":  durable(1),
		"memory only": func(*testing.T) raftLog { return NewRing(0) },
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// wantLog fails the test unless log holds exactly want.
func wantLog(t testing.TB, log raftLog, want []*raft.Log) {
	t.Helper()
	first, last := uint64(0), uint64(0)
	if len(want) > 0 {
		first, last = want[0].Index, want[len(want)-1].Index
	}
	gotFirst, err := log.FirstIndex()
	gotLast, err2 := log.LastIndex()
	if err != nil || err2 != nil || gotFirst != first || gotLast != last {
		t.Fatalf("log from %d to %d (%v, %v), want %d to %d", gotFirst, gotLast, err, err2, first, last)
	}
	for _, w := range want {
		var got raft.Log
		if err := log.GetLog(w.Index, &got); err != nil {
			t.Fatalf("entry %d: %v", w.Index, err)
		}
		if !reflect.DeepEqual(&got, w) {
			t.Fatalf("entry %d:\n got %+v\nwant %+v", w.Index, got, *w)
		}
	}
	for _, outside := range []uint64{0, first - 1, last + 1} {
		if err := log.GetLog(outside, &raft.Log{}); err != raft.ErrLogNotFound {
			t.Fatalf("entry %d outside of the log: %v, want raft.ErrLogNotFound itself", outside, err)
		}
	}
}

func TestLogStoresKeepWhatRaftStores(t *testing.T) {
	// Every field of an entry comes back, of every type, with and without data.
	forEachLog(t, func(t *testing.T, log raftLog) {
		wantLog(t, log, nil)
		logs := testEntries(1, 6, 2)
		logs[1].Type, logs[1].Data = raft.LogNoop, nil
		logs[2].Type, logs[2].Extensions = raft.LogConfiguration, []byte("extension")
		logs[3].Type, logs[3].Data, logs[3].Extensions = raft.LogBarrier, nil, []byte{0}
		logs[4].AppendedAt = logs[4].AppendedAt.Truncate(0).AddDate(-60, 0, 0)
		logs[5].Data = make([]byte, 300<<10)
		if err := log.StoreLog(logs[0]); err != nil {
			t.Fatal(err)
		}
		if err := log.StoreLogs(logs[1:]); err != nil {
			t.Fatal(err)
		}
		if err := log.StoreLogs(nil); err != nil {
			t.Fatal(err)
		}
		wantLog(t, log, logs)
		if !log.IsMonotonic() {
			t.Error("raft must know that the log has no holes")
		}
	})
}

func TestLogStoresTruncate(t *testing.T) {
	// Raft's three truncations (front after a snapshot, tail after a conflict, all after an installed snapshot) and appends after
	// each; batches of deletions are crossed.
	const n = 3*deletesPerBatch + 10
	forEachLog(t, func(t *testing.T, log raftLog) {
		logs := testEntries(1, n, 1)
		if err := log.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			lo, hi uint64
			want   []*raft.Log
		}{
			{0, 0, logs},
			{n + 1, n + 9, logs},
			{5, 4, logs},
			{0, 10, logs[10:]},
			{1, 5, logs[10:]},
			{n, n, logs[10 : n-1]},
			{n - 9, n + 9, logs[10 : n-10]},
			{11, 2*deletesPerBatch + 1, logs[2*deletesPerBatch+1 : n-10]},
		}
		for _, s := range steps {
			if err := log.DeleteRange(s.lo, s.hi); err != nil {
				t.Fatalf("delete %d to %d: %v", s.lo, s.hi, err)
			}
			wantLog(t, log, s.want)
		}
		if err := log.DeleteRange(n-20, n-15); !errors.Is(err, ErrLogGap) {
			t.Errorf("a hole: %v, want ErrLogGap", err)
		}
		rest := logs[2*deletesPerBatch+1 : n-10]
		wantLog(t, log, rest)
		more := testEntries(n-9, n+5, 2)
		if err := log.StoreLogs(more); err != nil {
			t.Fatal(err)
		}
		wantLog(t, log, append(rest[:len(rest):len(rest)], more...))
		if err := log.DeleteRange(0, n+5); err != nil {
			t.Fatal(err)
		}
		wantLog(t, log, nil)
		after := testEntries(5_000_000, 5_000_003, 3)
		if err := log.StoreLogs(after); err != nil {
			t.Fatal(err)
		}
		wantLog(t, log, after)
	})
}

func TestLogStoresRefuseHoles(t *testing.T) {
	// An append that does not continue the log is refused as a whole.
	forEachLog(t, func(t *testing.T, log raftLog) {
		logs := testEntries(1, 9, 1)
		if err := log.StoreLog(&raft.Log{}); !errors.Is(err, ErrLogGap) {
			t.Errorf("index 0: %v, want ErrLogGap", err)
		}
		if err := log.StoreLogs(logs[:5]); err != nil {
			t.Fatal(err)
		}
		for name, wrong := range map[string][]*raft.Log{
			"gap": logs[6:], "overlap": logs[4:], "hole inside": {logs[5], logs[7]}, "twice": {logs[5], logs[5]},
		} {
			if err := log.StoreLogs(wrong); !errors.Is(err, ErrLogGap) {
				t.Errorf("%s: %v, want ErrLogGap", name, err)
			}
		}
		wantLog(t, log, logs[:5])
	})
}

func TestLogStoresTrackTheCommitIndex(t *testing.T) {
	// A staged commit index counts from the next append on, never above the last entry, and shrinks with the log.
	forEachLog(t, func(t *testing.T, log raftLog) {
		want := func(when string, index uint64) {
			t.Helper()
			got, err := log.GetCommitIndex()
			if err != nil || got != index || log.CommittedIndex() != index {
				t.Fatalf("%s: commit index %d and %d, %v; want %d", when, got, log.CommittedIndex(), err, index)
			}
		}
		stage := func(index uint64) {
			t.Helper()
			if err := log.StageCommitIndex(index); err != nil {
				t.Fatal(err)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		want("empty", 0)
		stage(3)
		want("staged only", 0)
		must(log.StoreLogs(testEntries(1, 5, 1)))
		want("stored", 3)
		must(log.StoreLogs(testEntries(6, 6, 1)))
		want("nothing new staged", 3)
		stage(99)
		must(log.StoreLogs(testEntries(7, 8, 1)))
		want("staged above the log", 8)
		must(log.DeleteRange(6, 8))
		want("tail cut", 5)
		must(log.DeleteRange(1, 5))
		want("emptied", 0)
		must(log.StoreLogs(testEntries(20, 21, 2)))
		want("begun again", 0)
	})
}

func TestLogStoresServeReadersBesideWriters(t *testing.T) {
	// While raft appends, cuts the tail and truncates the front, a reader sees an entry of the index it asked for, or that it is
	// not in the log; never another entry, never damage.
	forEachLog(t, func(t *testing.T, log raftLog) {
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					runtime.Gosched() // Two readers that never wait would leave the writer no processor.
					first, _ := log.FirstIndex()
					for index := first; index < first+40; index++ {
						var got raft.Log
						if err := log.GetLog(index, &got); err != nil && err != raft.ErrLogNotFound || err == nil && got.Index != index {
							t.Errorf("read of %d: index %d, %v", index, got.Index, err)
							return
						}
					}
				}
			})
		}
		next := uint64(1)
		for round := range 100 {
			err := log.StoreLogs(testEntries(next, next+9, uint64(round+1)))
			next += 10
			if err == nil && round%3 == 2 {
				err = log.DeleteRange(next-5, next-1)
				next -= 5
			}
			first, _ := log.FirstIndex()
			switch {
			case err == nil && round%10 == 9:
				err = log.DeleteRange(first, next-1)
			case err == nil && round%4 == 3:
				err = log.DeleteRange(first, next-12)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		readers.Wait()
	})
}

func TestLogStoresFollowAModel(t *testing.T) {
	// Whatever raft does, in any order, with reopenings in between, the log holds what a slice of entries would hold.
	for name, durable := range map[string]bool{"disk": true, "memory": false} {
		t.Run(name, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { checkLogModel(t, durable) }) })
	}
}

func checkLogModel(t *rapid.T, durable bool) {
	fsys := vfs.NewMem()
	cfg := LogStorageConfig{Dir: "/log", FS: fsys, MemTableBytes: 1 << 20, RecentEntries: rapid.IntRange(1, 20).Draw(t, "recent")}
	var storage *LogStorage
	var log raftLog = NewRing(0)
	reopen := func() {
		if storage != nil {
			if err := storage.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if storage, err = OpenLogStorage(cfg); err != nil {
			t.Fatal(err)
		}
		if log, err = storage.Group(9); err != nil {
			t.Fatal(err)
		}
	}
	if durable {
		reopen()
		defer func() { _ = storage.Close() }()
	}
	var model []*raft.Log
	stored := map[uint64]uint64{} // commit index stored with each entry
	var commit, staged uint64
	hasStaged, term := false, uint64(1)
	actions := map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			next := rapid.Uint64Range(1, 50).Draw(t, "start")
			if len(model) > 0 {
				next = model[len(model)-1].Index + 1
			}
			term += rapid.Uint64Range(0, 1).Draw(t, "newer term")
			logs := testEntries(next, next+rapid.Uint64Range(0, 12).Draw(t, "more"), term)
			if err := log.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			model = append(model, logs...)
			if hasStaged {
				commit, hasStaged = min(staged, model[len(model)-1].Index), false
			}
			for _, l := range logs {
				stored[l.Index] = commit
			}
		},
		"cut front": func(t *rapid.T) {
			n := rapid.IntRange(0, len(model)).Draw(t, "entries")
			if n > 0 {
				if err := log.DeleteRange(model[0].Index, model[n-1].Index); err != nil {
					t.Fatal(err)
				}
			}
			model = model[n:]
		},
		"cut tail": func(t *rapid.T) {
			n := rapid.IntRange(0, len(model)).Draw(t, "entries")
			if n > 0 {
				if err := log.DeleteRange(model[len(model)-n].Index, model[len(model)-1].Index); err != nil {
					t.Fatal(err)
				}
			}
			model = model[: len(model)-n : len(model)-n]
		},
		"stage": func(t *rapid.T) {
			staged, hasStaged = rapid.Uint64Range(0, 100).Draw(t, "commit"), true
			if err := log.StageCommitIndex(staged); err != nil {
				t.Fatal(err)
			}
		},
		"": func(t *rapid.T) {
			if len(model) == 0 {
				commit = 0
			} else {
				commit = min(commit, model[len(model)-1].Index)
			}
			checkLogEquals(t, log, model)
			if got := log.CommittedIndex(); got != commit {
				t.Fatalf("commit index %d, want %d", got, commit)
			}
		},
	}
	if durable {
		actions["reopen"] = func(*rapid.T) {
			reopen()
			hasStaged = false
			if len(model) > 0 { // What was stored with the newest entry counts again.
				commit = stored[model[len(model)-1].Index]
			}
		}
	}
	t.Repeat(actions)
}

func checkLogEquals(t *rapid.T, log raftLog, model []*raft.Log) {
	first, _ := log.FirstIndex()
	last, _ := log.LastIndex()
	if len(model) == 0 {
		if first != 0 || last != 0 {
			t.Fatalf("log from %d to %d, want none", first, last)
		}
		return
	}
	if first != model[0].Index || last != model[len(model)-1].Index {
		t.Fatalf("log from %d to %d, want %d to %d", first, last, model[0].Index, model[len(model)-1].Index)
	}
	for _, want := range model {
		var got raft.Log
		if err := log.GetLog(want.Index, &got); err != nil || !reflect.DeepEqual(&got, want) {
			t.Fatalf("entry %d: %+v, %v; want %+v", want.Index, got, err, *want)
		}
	}
}
