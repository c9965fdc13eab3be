package replica

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// durableState is what one group and the member have on disk, as far as the calls that returned say.
type durableState struct {
	entries     map[uint64]*raft.Log // every entry in the log, by index
	first, last uint64
	vote        string // "term/candidate"
	term        uint64
	boot        string
}

func (s durableState) clone() durableState {
	s.entries = maps.Clone(s.entries)
	return s
}

// crashPoint is the disk after a crash at one moment, with what was acknowledged before it and what the call that was
// running then would have led to.
type crashPoint struct {
	disk     *vfs.MemFS
	before   durableState
	after    durableState
	written  map[uint64][]*raft.Log // every entry ever handed to StoreLogs, by index
	happened string
}

// crashRecorder takes crash points while a script of calls runs, right before operations of the file system.
type crashRecorder struct {
	disk    *vfs.MemFS
	percent int

	mu struct {
		sync.Mutex
		rng           *rand.Rand
		before, after durableState
		written       map[uint64][]*raft.Log
		points        []crashPoint
	}
}

const (
	crashPointsMax = 60
	crashOdds      = 0.08 // of each operation of the file system
)

// MaybeError implements errorfs.Injector. It injects nothing and sees everything.
func (c *crashRecorder) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.points) < crashPointsMax && c.mu.rng.Float64() < crashOdds {
		c.takeLocked(fmt.Sprintf("before operation %d on %s", op.Kind, op.Path))
	}
	return nil
}

func (c *crashRecorder) String() string { return "crash points" }

func (c *crashRecorder) takeLocked(happened string) {
	c.mu.points = append(c.mu.points, crashPoint{
		disk:   c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.mu.rng}),
		before: c.mu.before.clone(), after: c.mu.after.clone(), written: maps.Clone(c.mu.written), happened: happened,
	})
}

// step runs call, which changes the state by change, and fails the test if call fails.
func (c *crashRecorder) step(t *testing.T, change func(*durableState), call func() error) {
	t.Helper()
	c.mu.Lock()
	c.mu.after = c.mu.before.clone()
	change(&c.mu.after)
	for index, log := range c.mu.after.entries {
		if seen := c.mu.written[index]; len(seen) == 0 || seen[len(seen)-1] != log {
			c.mu.written[index] = append(seen[:len(seen):len(seen)], log)
		}
	}
	c.mu.Unlock()
	if err := call(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.before = c.mu.after.clone()
	if c.mu.rng.Float64() < 0.1 {
		c.takeLocked("between two calls")
	}
}

// runCrashScript does what raft does to a group, in random order.
func runCrashScript(t *testing.T, c *crashRecorder, s *LogStorage) {
	g := openTestGroup(t, s, 5)
	rng := rand.New(rand.NewPCG(7, uint64(c.percent)))
	state := func() durableState { c.mu.Lock(); defer c.mu.Unlock(); return c.mu.before.clone() }
	for round := range 150 {
		now := state()
		term := now.term
		switch choice := rng.IntN(20); {
		case choice < 11:
			logs := testEntries(now.last+1, now.last+1+rng.Uint64N(8), max(1, term))
			for _, log := range logs {
				log.Data = append(log.Data, make([]byte, rng.IntN(3000))...)
			}
			c.step(t, func(d *durableState) {
				d.first, d.last = max(d.first, 1), logs[len(logs)-1].Index
				if now.last == 0 {
					d.first = logs[0].Index
				}
				for _, log := range logs {
					d.entries[log.Index] = log
				}
			}, func() error { return g.StoreLogs(logs) })
		case choice < 13 && now.last > now.first+10:
			hi := now.first + rng.Uint64N(5)
			c.step(t, func(d *durableState) { deleteEntries(d, d.first, hi); d.first = hi + 1 },
				func() error { return g.DeleteRange(now.first, hi) })
		case choice < 15 && now.last > now.first+3:
			lo := now.last - rng.Uint64N(3)
			c.step(t, func(d *durableState) { deleteEntries(d, lo, d.last); d.last = lo - 1 },
				func() error { return g.DeleteRange(lo, now.last) })
		case choice < 16 && now.last > 0:
			c.step(t, func(d *durableState) { d.entries = map[uint64]*raft.Log{}; d.first, d.last = 0, 0 },
				func() error { return g.DeleteRange(now.first, now.last) })
		case choice < 18:
			candidate := fmt.Sprintf("m%d", rng.IntN(3))
			c.step(t, func(d *durableState) { d.term++ }, func() error { return g.SetUint64(currentTermName, term+1) })
			c.step(t, func(d *durableState) { d.vote = fmt.Sprintf("%d/%s", term+1, candidate) },
				func() error { return castVote(g, term+1, candidate) })
		default:
			boot := fmt.Sprint(round)
			c.step(t, func(d *durableState) { d.boot = boot }, func() error { return s.SetMeta("boot", []byte(boot)) })
		}
	}
}

func deleteEntries(d *durableState, lo, hi uint64) {
	for index := lo; index <= hi; index++ {
		delete(d.entries, index)
	}
}

func TestLogStorageSurvivesCrashes(t *testing.T) {
	// After a loss of power at any moment, whatever part of the unsynced bytes the disk kept: every append that returned is
	// there, none is there in part; the log is one run; term, vote and member records are those last acknowledged or those just
	// being written, and a vote is never made of two.
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d percent of unsynced bytes", percent), func(t *testing.T) {
			c := &crashRecorder{disk: vfs.NewCrashableMem(), percent: percent}
			c.mu.rng = rand.New(rand.NewPCG(1, uint64(percent)))
			c.mu.before.entries, c.mu.after.entries = map[uint64]*raft.Log{}, map[uint64]*raft.Log{}
			c.mu.written = map[uint64][]*raft.Log{}
			// Small buffers, so that flushes and compactions are crashed into as well.
			s := openTestStorage(t, errorfs.Wrap(c.disk, c), func(cfg *LogStorageConfig) { cfg.MemTableBytes = 64 << 10 })
			runCrashScript(t, c, s)
			mustClose(t, s)
			if len(c.mu.points) < crashPointsMax/2 {
				t.Fatalf("only %d crash points", len(c.mu.points))
			}
			for i, point := range c.mu.points {
				t.Run(fmt.Sprint(i), func(t *testing.T) { checkCrashPoint(t, point) })
			}
		})
	}
}

func checkCrashPoint(t *testing.T, p crashPoint) {
	defer func() {
		if t.Failed() {
			t.Logf("crashed %s", p.happened)
		}
	}()
	s := openTestStorage(t, p.disk)
	defer func() { mustClose(t, s) }()
	g := openTestGroup(t, s, 5)
	checkCrashedLog(t, g, p)

	boot, err := s.Meta("boot")
	if err != nil && !errors.Is(err, ErrNoMeta) {
		t.Fatal(err)
	}
	term, err := g.GetUint64(currentTermName)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	vote := ""
	if candidate, err := g.Get(lastVoteCand); err == nil {
		voteTerm, err := g.GetUint64(lastVoteTerm)
		if err != nil {
			t.Fatal(err)
		}
		vote = fmt.Sprintf("%d/%s", voteTerm, candidate)
	} else if !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if string(boot) != p.before.boot && string(boot) != p.after.boot {
		t.Errorf("member record %q, want %q or %q", boot, p.before.boot, p.after.boot)
	}
	if term != p.before.term && term != p.after.term {
		t.Errorf("term %d, want %d or %d", term, p.before.term, p.after.term)
	}
	if vote != p.before.vote && vote != p.after.vote {
		t.Errorf("vote %s, want %s or %s", vote, p.before.vote, p.after.vote)
	}

	// The storage goes on from there.
	last, _ := g.LastIndex()
	more := testEntries(last+1, last+3, 99)
	if err := g.StoreLogs(more); err != nil {
		t.Fatalf("append after the crash: %v", err)
	}
	mustClose(t, s)
	s = openTestStorage(t, p.disk)
	var log raft.Log
	if err := openTestGroup(t, s, 5).GetLog(last+3, &log); err != nil || log.Term != 99 {
		t.Fatalf("entry appended after the crash: term %d, %v", log.Term, err)
	}
}

func checkCrashedLog(t *testing.T, g *GroupLog, p crashPoint) {
	t.Helper()
	first, _ := g.FirstIndex()
	last, _ := g.LastIndex()
	for index := first; index <= last && index > 0; index++ {
		var log raft.Log
		if err := g.GetLog(index, &log); err != nil {
			t.Fatalf("log %d to %d: entry %d: %v", first, last, index, err)
		}
		isIt := func(w *raft.Log) bool { return reflect.DeepEqual(w, &log) }
		if !slices.ContainsFunc(p.written[index], isIt) {
			t.Errorf("entry %d was never stored like that", index)
		}
		// An entry that was in the log before, or is after, is that very entry.
		if b, a := p.before.entries[index], p.after.entries[index]; (b != nil || a != nil) && !(b != nil && isIt(b) || a != nil && isIt(a)) {
			t.Errorf("entry %d is an older one", index)
		}
	}
	for index := range p.before.entries {
		if _, stays := p.after.entries[index]; stays && (index < first || index > last) {
			t.Errorf("entry %d was acknowledged and is gone; log %d to %d", index, first, last)
		}
	}
	switch growing := p.after.last > p.before.last; {
	case growing && last != p.before.last && last != p.after.last:
		t.Errorf("log ends at %d, in the middle of an append from %d to %d", last, p.before.last, p.after.last)
	case last > max(p.before.last, p.after.last):
		t.Errorf("log ends at %d, behind everything stored, %d", last, max(p.before.last, p.after.last))
	}
}

func TestLogStorageFailsForGood(t *testing.T) {
	// The first error of the disk, wherever Pebble meets it, calls OnFatal exactly once; the call that needed the disk does
	// not succeed; nothing succeeds afterwards, even if the disk recovers; and what was acknowledged before is still there.
	isSync := func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	}
	cases := map[string]func(errorfs.Op) bool{
		"sync of the write-ahead log":     func(op errorfs.Op) bool { return isSync(op) && strings.HasSuffix(op.Path, ".log") },
		"write of the write-ahead log":    func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") },
		"creation of the write-ahead log": func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".log") },
		"write of a table":                func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") },
		"sync of a table":                 func(op errorfs.Op) bool { return isSync(op) && strings.HasSuffix(op.Path, ".sst") },
		"sync of the manifest":            func(op errorfs.Op) bool { return isSync(op) && strings.Contains(op.Path, "MANIFEST") },
		"sync of the folder":              func(op errorfs.Op) bool { return isSync(op) && strings.HasSuffix(op.Path, "/log") },
		"every sync":                      isSync,
	}
	for name, broken := range cases {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			fault := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken(op) {
					return errorfs.ErrInjected
				}
				return nil
			})}
			fatal := make(chan error, 16)
			s := openTestStorage(t, errorfs.Wrap(disk, fault), func(c *LogStorageConfig) {
				c.MemTableBytes = 64 << 10
				c.OnFatal = func(err error) { fatal <- err }
			})
			g := openTestGroup(t, s, 1)
			if err := errors.Join(g.StoreLogs(testEntries(1, 10, 1)), castVote(g, 1, "m1")); err != nil {
				t.Fatal(err)
			}
			fault.On()
			acknowledged := appendUntilFatal(t, g, s)
			fault.Off()

			if err := <-fatal; !errors.Is(err, ErrStorageFailed) || !errors.Is(err, errorfs.ErrInjected) && !strings.Contains(err.Error(), "injected") {
				t.Errorf("OnFatal got %v", err)
			}
			_, groupErr := s.Group(2)
			_, metaErr := s.Meta("name")
			for call, err := range map[string]error{
				"StoreLogs": g.StoreLogs(testEntries(acknowledged+1, acknowledged+1, 1)), "vote": castVote(g, 9, "m2"),
				"SetMeta": s.SetMeta("name", nil), "DeleteRange": g.DeleteRange(1, 2), "DropGroup": s.DropGroup(1),
				"Group": groupErr, "Meta": metaErr, "Close": s.Close(),
			} {
				if !errors.Is(err, ErrStorageFailed) {
					t.Errorf("%s after the failure: %v, want ErrStorageFailed", call, err)
				}
			}
			if len(fatal) > 0 {
				t.Errorf("OnFatal was called again: %v", <-fatal)
			}

			s = openTestStorage(t, disk.CrashClone(vfs.CrashCloneCfg{}))
			defer mustClose(t, s)
			g = openTestGroup(t, s, 1)
			if last, _ := g.LastIndex(); last < acknowledged {
				t.Errorf("log ends at %d, %d was acknowledged", last, acknowledged)
			}
			wantVote(t, g, 1, "m1")
		})
	}
}

// appendUntilFatal appends until the storage has failed and returns the last index that was acknowledged before.
func appendUntilFatal(t *testing.T, g *GroupLog, s *LogStorage) (acknowledged uint64) {
	t.Helper()
	acknowledged = 10
	result := make(chan error, 1)
	for index := uint64(11); index < 3000; index++ {
		logs := testEntries(index, index, 1)
		logs[0].Data = make([]byte, 8<<10)
		go func() { result <- g.StoreLogs(logs) }()
		select {
		case err := <-result:
			if err != nil {
				return acknowledged
			}
			acknowledged = index
		case <-time.After(20 * time.Second):
			t.Fatalf("append %d is held for good; failure: %v", index, s.folder.Err())
		}
	}
	t.Fatal("the fault was never met")
	return 0
}

func TestLogStorageSurvivesCrashOfItsCreation(t *testing.T) {
	// After a loss of power at any moment of the first open, whatever part of the unsynced bytes the disk kept, the folder opens,
	// and it works.
	for _, percent := range []int{0, 50, 100} {
		c := &creationRecorder{disk: vfs.NewCrashableMem(), percent: percent, rng: rand.New(rand.NewPCG(3, uint64(percent)))}
		mustClose(t, openTestStorage(t, errorfs.Wrap(c.disk, c)))
		if len(c.disks) < 3*20 {
			t.Fatalf("only %d crash points", len(c.disks))
		}
		for i, disk := range c.disks {
			s, err := OpenLogStorage(LogStorageConfig{Dir: "/member/log", FS: disk, MemTableBytes: 64 << 10, OnFatal: func(error) {}})
			if err != nil {
				t.Errorf("%d percent, crashed %s: %v", percent, c.happened[i], err)
				continue
			}
			if err := s.SetMeta("boot", []byte("1")); err != nil {
				t.Errorf("%d percent, crashed %s: %v", percent, c.happened[i], err)
			}
			mustClose(t, s)
		}
	}
}

// creationRecorder takes crash clones of a disk right before every operation that changes it.
type creationRecorder struct {
	disk    *vfs.MemFS
	percent int

	mu       sync.Mutex
	rng      *rand.Rand
	disks    []*vfs.MemFS
	happened []string
}

// MaybeError implements errorfs.Injector. It injects nothing.
func (c *creationRecorder) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 3 { // What survives is drawn each time.
		c.disks = append(c.disks, c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng}))
		c.happened = append(c.happened, fmt.Sprintf("before operation %d on %s", op.Kind, op.Path))
	}
	return nil
}

func (c *creationRecorder) String() string { return "crash points" }

func TestLogStorageFailsAtOpen(t *testing.T) {
	// A disk that fails while a folder is created or opened makes the opening fail, or is met later; it never hangs, and the
	// folder opens again on a good disk with all that was acknowledged.
	for _, filled := range []bool{false, true} {
		refused := 0
		for failing := range int32(60) {
			disk := vfs.NewCrashableMem()
			if filled {
				s := openTestStorage(t, disk)
				if err := s.SetMeta("boot", []byte("0")); err != nil {
					t.Fatal(err)
				}
				mustClose(t, s)
			}
			operation := int32(-1)
			fault := errorfs.InjectorFunc(func(errorfs.Op) error {
				if atomic.AddInt32(&operation, 1) == failing {
					return syscall.ENFILE
				}
				return nil
			})
			s, err := OpenLogStorage(LogStorageConfig{
				Dir: "/member/log", FS: errorfs.Wrap(disk, fault), MemTableBytes: 1 << 20, OnFatal: func(error) {},
			})
			want := ""
			if filled {
				want = "0"
			}
			if err != nil {
				refused++
			} else if s.SetMeta("boot", []byte("1")) == nil {
				want = "1"
			}
			s = openTestStorage(t, disk.CrashClone(vfs.CrashCloneCfg{}))
			if got, err := s.Meta("boot"); string(got) != want && string(got) != "1" || want != "" && err != nil {
				t.Errorf("operation %d failed: boot record %q, %v; want %q", failing, got, err, want)
			}
			mustClose(t, s)
		}
		if refused < 10 {
			t.Errorf("filled %v: only %d faults were met at open", filled, refused)
		}
	}
}

func TestLogStoragePanicsWithoutOnFatal(t *testing.T) {
	// Without an OnFatal, a failed sync ends the process, with the reason on its standard error.
	if os.Getenv("REPLICA_TEST_BROKEN_DISK") != "" {
		fault := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
				return errorfs.ErrInjected
			}
			return nil
		})}
		s := openTestStorage(t, errorfs.Wrap(vfs.NewMem(), fault), func(c *LogStorageConfig) { c.OnFatal = nil })
		g := openTestGroup(t, s, 1)
		fault.On()
		t.Fatalf("append on a broken disk returned %v", g.StoreLogs(testEntries(1, 1, 1)))
	}
	process := exec.Command(os.Args[0], "-test.run=^TestLogStoragePanicsWithoutOnFatal$")
	process.Env = append(os.Environ(), "REPLICA_TEST_BROKEN_DISK=1")
	out, err := process.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic:") || !strings.Contains(string(out), "log storage failed") {
		t.Errorf("process with a broken disk ended with %v\n%s", err, out)
	}
}
