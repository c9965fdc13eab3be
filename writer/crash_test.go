package writer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/writer"
)

// crashes takes a copy of what the disk would hold after a power loss, at every
// operation on the file system that could make a difference.
type crashes struct {
	fs      *vfs.MemFS
	percent int // of what was not synced that survives

	mu      sync.Mutex
	acked   space.Position // what the writer has acknowledged so far
	offered space.Position // what it was given
	points  []crash
}

type crash struct {
	fs             *vfs.MemFS
	acked, offered space.Position
	op             string
}

func (c *crashes) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
		errorfs.OpCreate, errorfs.OpRename, errorfs.OpRemove, errorfs.OpLink:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.take(fmt.Sprintf("%d %s", op.Kind, op.Path))
	}
	return nil
}

func (c *crashes) String() string { return "crashes" }

func (c *crashes) take(op string) {
	clone := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: newRand(uint64(len(c.points)))})
	c.points = append(c.points, crash{clone, c.acked, c.offered, op})
}

func (c *crashes) set(acked, offered space.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked, c.offered = acked, offered
	c.take("between calls")
}

// Whenever the power fails, the store that is found afterwards is exactly one
// state of one history: at or above what was acknowledged, never above what was
// offered, and entry for entry the fold of the log up to there. This holds while
// batches are written, while a resync replaces a partition by another history,
// and while batches follow that.
func TestCrash(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d%% of unsynced data survives", percent), func(t *testing.T) {
			old, next := sinktest.NewSource(3, space.History{1}), sinktest.NewSource(3, space.History{2})
			load(old, uint64(percent))
			load(next, uint64(percent)+7)
			c := &crashes{fs: vfs.NewCrashableMem(), percent: percent}
			script(t, c, old, next)
			states := map[string]int{}
			for i := range c.points {
				states[c.points[i].check(t, old, next)]++
			}
			// The script is worth something only if crashes are found in all phases.
			if len(states) < 10 || states["resynced"] < 3 {
				t.Fatalf("%d crashes found the store in too few states: %v", len(c.points), states)
			}
			t.Logf("%d crashes", len(c.points))
		})
	}
}

// load makes a source of random entries, some of them large enough that Pebble
// flushes and compacts meanwhile.
func load(src *sinktest.Source, seed uint64) {
	rng := newRand(seed)
	src.Define(1)
	for i := range 12 {
		src.Random(rng, 8)
		src.Define(1)
		for j := range 4 {
			src.Put(1, fmt.Sprintf("large-%d", j), strings.Repeat(string(rune('a'+i)), 6<<10))
		}
	}
}

func script(t *testing.T, c *crashes, old, next *sinktest.Source) {
	s, err := store.Open(store.Config{
		Dir: "data/store", FS: errorfs.Wrap(c.fs, c), MemTableBytes: 256 << 10, ReserveBytes: -1,
		OnFatal: func(err error) { t.Errorf("the disk failed: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := writer.New(s, nil)
	follow := func(src *sinktest.Source, at space.Seq) {
		h := src.Fence().History
		for at < src.Last() {
			to := min(at+12, src.Last())
			acked := space.Position{History: h, Seq: at}
			if at == 0 {
				acked = space.Position{} // a fence promises nothing to a disk
			}
			c.set(acked, space.Position{History: h, Seq: to})
			if err := w.Apply(t.Context(), &datapump.Batch{Sections: []datapump.Section{src.Section(at, to)}}); err != nil {
				t.Fatal(err)
			}
			at = to
		}
		c.set(space.Position{History: h, Seq: at}, space.Position{History: h, Seq: at})
	}
	if _, err := w.Fence(t.Context(), old.Fence()); err != nil {
		t.Fatal(err)
	}
	follow(old, 0)
	cut, err := next.Cut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target := datapump.Target{Fence: next.Fence(), Seq: cut.Image.Seq(), Clock: cut.Clock}
	c.set(space.Position{History: old.Fence().History, Seq: old.Last()}, space.Position{History: target.History, Seq: target.Seq})
	r, err := w.BeginResync(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range cut.Image.Definitions() {
		if err := r.Write(t.Context(), &def, nil); err != nil {
			t.Fatal(err)
		}
		cut.Image.Scan(def.ID, func(e space.Entry) bool {
			err = r.Write(t.Context(), &def, []space.Entry{e})
			return err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	next.Random(newRand(5), 60)
	follow(next, target.Seq)
}

// check opens what a crash left and returns the state it found, in words.
func (c *crash) check(t *testing.T, old, next *sinktest.Source) string {
	t.Helper()
	s, err := store.Open(store.Config{
		Dir: "data/store", FS: c.fs, MemTableBytes: 256 << 10, ReserveBytes: -1,
		OnFatal: func(err error) { t.Errorf("after a crash at %s the store fails: %v", c.op, err) },
	})
	if err != nil {
		t.Fatalf("after a crash at %s the store does not open: %v", c.op, err)
	}
	defer s.Close()
	got, at := contentOf(t, s, 3)
	var want sinktest.Content
	switch at.History {
	case space.History{}:
		if c.acked != (space.Position{}) {
			t.Fatalf("after a crash at %s the store is empty, though %v was acknowledged", c.op, c.acked)
		}
		return "empty"
	case old.Fence().History:
		want = old.At(at.Seq)
	case next.Fence().History:
		want = next.At(at.Seq)
	}
	if at.History == c.acked.History && at.Seq < c.acked.Seq || at.History == c.offered.History && at.Seq > c.offered.Seq ||
		at.History != c.acked.History && at.History != c.offered.History {
		t.Fatalf("after a crash at %s the store is at %v; acknowledged was %v, offered %v", c.op, at, c.acked, c.offered)
	}
	if got.String() != want.String() {
		t.Fatalf("after a crash at %s the store at %v holds\n%.2000s\nwant\n%.2000s", c.op, at, got, want)
	}
	if rows := leftovers(t, s); rows > 0 {
		t.Fatalf("after a crash at %s, %d rows of other generations are left", c.op, rows)
	}
	if at.History == next.Fence().History {
		return "resynced"
	}
	return fmt.Sprint(at.Seq)
}

// leftovers counts the rows of partition 3 outside of the generation that counts.
func leftovers(t *testing.T, s *store.Store) (rows int) {
	t.Helper()
	n, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	m, err := n.Mark(3)
	if err != nil {
		t.Fatal(err)
	}
	for g := range 4 { // the script gets to generation 1
		if uint8(g) == m.Generation {
			continue
		}
		if err := n.Scan(t.Context(), 3, uint8(g), func(space.ID, []byte, *store.Row) error { rows++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}
