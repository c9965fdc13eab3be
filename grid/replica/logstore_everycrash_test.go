package replica

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// everyCrash takes a crash point before each operation that changes the file
// system, which is after each one before it, until it is told to stop.
type everyCrash struct {
	*crashRecorder
	over bool // guarded by mu
}

// MaybeError implements errorfs.Injector.
func (c *everyCrash) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.takeLocked(fmt.Sprintf("before operation %d, number %d on %s", op.Kind, len(c.mu.points)+1, op.Path))
	}
	return nil
}

// A power loss after any single write or sync of a short life of a log, whatever
// part of what was not synced remains, leaves one of the two states that the call
// under way was between; no operation is left out.
func TestLogStorageSurvivesACrashAfterEveryWrite(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d percent of unsynced bytes", percent), func(t *testing.T) {
			c := &everyCrash{crashRecorder: &crashRecorder{disk: vfs.NewCrashableMem(), percent: percent}}
			c.mu.rng = rand.New(rand.NewPCG(2, uint64(percent)))
			c.mu.before.entries, c.mu.after.entries = map[uint64]*raft.Log{}, map[uint64]*raft.Log{}
			c.mu.written = map[uint64][]*raft.Log{}
			s := openTestStorage(t, errorfs.Wrap(c.disk, c), func(cfg *LogStorageConfig) { cfg.MemTableBytes = 64 << 10 })
			shortLife(t, c, s)
			c.mu.Lock()
			c.over = true
			c.mu.Unlock()
			mustClose(t, s)
			if len(c.mu.points) < 60 {
				t.Fatalf("only %d crashes: the script does not reach the disk", len(c.mu.points))
			}
			for _, p := range c.mu.points {
				if checkCrashPoint(t, p); t.Failed() {
					return // one is enough, and it has said which
				}
			}
			t.Logf("%d crashes", len(c.mu.points))
		})
	}
}

// shortLife goes once through everything that changes a log: the first append,
// appends large enough to fill a memtable, a vote, a cut of the tail and what is
// appended over it, a cut of the front, a record of the member, a log that is
// emptied and begins elsewhere.
func shortLife(t *testing.T, c *everyCrash, s *LogStorage) {
	g := openTestGroup(t, s, 5)
	appendLogs := func(first, last, term uint64, size int) {
		logs := testEntries(first, last, term)
		for _, log := range logs {
			log.Data = append(log.Data, make([]byte, size)...)
		}
		c.step(t, func(d *durableState) {
			if d.last == 0 {
				d.first = first
			}
			d.last = last
			for _, log := range logs {
				d.entries[log.Index] = log
			}
		}, func() error { return g.StoreLogs(logs) })
	}
	vote := func(term uint64, candidate string) {
		c.step(t, func(d *durableState) { d.term = term }, func() error { return g.SetUint64(currentTermName, term) })
		c.step(t, func(d *durableState) { d.vote = fmt.Sprintf("%d/%s", term, candidate) },
			func() error { return castVote(g, term, candidate) })
	}
	cutTail := func(lo, hi uint64) {
		c.step(t, func(d *durableState) { deleteEntries(d, lo, hi); d.last = lo - 1 }, func() error { return g.DeleteRange(lo, hi) })
	}
	vote(1, "m1")
	appendLogs(1, 1, 1, 0)
	appendLogs(2, 9, 1, 12<<10)
	vote(2, "m2")
	cutTail(6, 9)
	appendLogs(6, 12, 2, 9<<10)
	c.step(t, func(d *durableState) { d.boot = "7" }, func() error { return s.SetMeta("boot", []byte("7")) })
	c.step(t, func(d *durableState) { deleteEntries(d, 1, 4); d.first = 5 }, func() error { return g.DeleteRange(1, 4) })
	vote(3, "m1")
	cutTail(12, 12)
	appendLogs(12, 14, 3, 100)
	c.step(t, func(d *durableState) { d.entries = map[uint64]*raft.Log{}; d.first, d.last = 0, 0 },
		func() error { return g.DeleteRange(5, 14) })
	appendLogs(40, 44, 4, 14<<10)
	appendLogs(45, 52, 4, 14<<10)
}
