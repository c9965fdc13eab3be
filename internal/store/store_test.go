package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/spacegrid/spacegrid/grid/space"
)

func testConfig(t *testing.T, fs vfs.FS) Config {
	return Config{
		Dir: "store", FS: fs, MemTableBytes: 1 << 20,
		OnFatal: func(err error) { t.Errorf("the disk failed: %v", err) },
	}
}

func mustOpen(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// put writes one row and a mark that names its generation.
func put(s *Store, generation uint8, key, value string, seq space.Seq) error {
	return s.Update(func(tx *Tx) error {
		if err := tx.Put(1, generation, 1, []byte(key), &Row{Version: seq, Order: 1, Value: []byte(value)}); err != nil {
			return err
		}
		return tx.SetMark(1, &Mark{History: space.History{1}, Seq: seq, Generation: generation})
	})
}

func get(t *testing.T, s *Store, generation uint8, key string) (string, bool) {
	t.Helper()
	n, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	r, ok, err := n.Get(1, generation, 1, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Value), ok
}

// A folder has one user at a time; the second is told what to do.
func TestLocked(t *testing.T) {
	for _, fs := range []vfs.FS{vfs.NewMem(), nil} {
		c := testConfig(t, fs)
		if fs == nil {
			c.Dir = filepath.Join(t.TempDir(), "data", "store")
		}
		s := mustOpen(t, c)
		if _, err := Open(c); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "stop it") {
			t.Errorf("a second opening ends with %v", err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Snapshot(); !errors.Is(err, ErrClosed) {
			t.Errorf("reading a closed store ends with %v", err)
		}
		mustOpen(t, c)
	}
}

// A folder of a newer format, or of something else, is refused and left as it is.
func TestFolder(t *testing.T) {
	for _, x := range []struct {
		name, file, text string
		want             error
	}{
		{"newer", format.File, format.Text + "3\n", ErrNewerFormat},
		{"something else", "MANIFEST-000001", "x", ErrNotStore},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, x.file), []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		c := testConfig(t, nil)
		c.Dir = dir
		if _, err := Open(c); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 1 {
			t.Errorf("%s: the folder holds %v afterwards, %v", x.name, files, err)
		}
	}
	c := testConfig(t, nil)
	c.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Dir, format.File), []byte("spacegrid?"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c); !errors.Is(err, ErrDamaged) {
		t.Errorf("an unreadable format file: %v", err)
	}
}

// A store that is opened for reading can be read and not written, and is not
// created.
func TestReadOnly(t *testing.T) {
	c := testConfig(t, vfs.NewMem())
	c.ReadOnly = true
	if _, err := Open(c); !errors.Is(err, ErrNotStore) {
		t.Errorf("opening nothing for reading: %v", err)
	}
	c.ReadOnly = false
	s := mustOpen(t, c)
	if err := put(s, 0, "key", "value", 1); err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.ReadOnly = true
	s = mustOpen(t, c)
	if v, ok := get(t, s, 0, "key"); v != "value" || !ok {
		t.Errorf("read %q, %v", v, ok)
	}
	if err := put(s, 0, "key", "other", 2); !errors.Is(err, ErrReadOnly) {
		t.Errorf("writing: %v", err)
	}
}

// The partition count of a store is fixed when it is created.
func TestPartitions(t *testing.T) {
	c := testConfig(t, vfs.NewMem())
	c.Partitions = 256
	mustOpen(t, c).Close()
	c.Partitions = 0
	s := mustOpen(t, c)
	if s.Partitions() != 256 {
		t.Errorf("the store is of %d partitions", s.Partitions())
	}
	s.Close()
	c.Partitions = 64
	if _, err := Open(c); !errors.Is(err, ErrPartitions) {
		t.Errorf("another count: %v", err)
	}
	if _, err := Open(Config{Dir: "x", Partitions: space.MaxPartitions + 1}); err == nil {
		t.Error("a count beyond the slots is accepted")
	}
}

// Records of the whole store are durable and checked.
func TestMeta(t *testing.T) {
	c := testConfig(t, vfs.NewMem())
	s := mustOpen(t, c)
	if _, err := s.Meta(MetaCluster); !errors.Is(err, ErrNoMeta) {
		t.Errorf("a record that was never set: %v", err)
	}
	if err := s.SetMeta(MetaCluster, []byte("cluster")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustOpen(t, c)
	if b, err := s.Meta(MetaCluster); string(b) != "cluster" || err != nil {
		t.Errorf("the record is %q, %v", b, err)
	}
	if err := s.SetMeta("", nil); err == nil {
		t.Error("a record without a name is accepted")
	}
}

// An error inside a transaction leaves nothing of it, and generations that no
// mark names are gone when the store is opened again.
func TestUpdateAndSweep(t *testing.T) {
	c := testConfig(t, vfs.NewMem())
	s := mustOpen(t, c)
	if err := put(s, 3, "key", "value", 1); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	err := s.Update(func(tx *Tx) error {
		if err := tx.Delete(1, 3, 1, []byte("key")); err != nil {
			return err
		}
		return refused
	})
	if err != refused {
		t.Errorf("the transaction ends with %v", err)
	}
	err = s.Update(func(tx *Tx) error {
		for _, g := range []uint8{0, 2, 4, 255} {
			if err := tx.Put(1, g, 9, []byte("stray"), &Row{Version: 1, Order: 1}); err != nil {
				return err
			}
		}
		return tx.Put(2, 0, 9, []byte("stray"), &Row{Version: 1, Order: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustOpen(t, c)
	if v, ok := get(t, s, 3, "key"); v != "value" || !ok {
		t.Errorf("the row is %q, %v", v, ok)
	}
	n, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	rows := 0
	for p := range space.PartitionID(3) {
		for g := range 256 {
			if err := n.Scan(t.Context(), p, uint8(g), func(space.ID, []byte, *Row) error { rows++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rows != 1 {
		t.Errorf("%d rows are left, want 1", rows)
	}
}

// A disk that fails ends the store with one call of its owner; what was
// acknowledged before is there when the folder is opened again.
func TestDiskFails(t *testing.T) {
	for _, x := range []struct {
		name string
		hit  func(errorfs.Op) bool
		with error
	}{
		{"log write", func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") }, errorfs.ErrInjected},
		{"log sync", func(op errorfs.Op) bool {
			return (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && strings.HasSuffix(op.Path, ".log")
		}, errorfs.ErrInjected},
		{"full disk", func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }, syscall.ENOSPC},
		{"flush", func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") }, errorfs.ErrInjected},
	} {
		t.Run(x.name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var on atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && x.hit(op) {
					return x.with
				}
				return nil
			}))
			told := make(chan error, 16)
			c := Config{Dir: "store", FS: fs, MemTableBytes: 256 << 10, ReserveBytes: -1, OnFatal: func(err error) { told <- err }}
			s, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := put(s, 0, "before", "value", 1); err != nil {
				t.Fatal(err)
			}
			on.Store(true)
			failed := fill(s)
			if !errors.Is(failed, ErrFailed) {
				t.Fatalf("writing to the failed disk ends with %v", failed)
			}
			if err := put(s, 0, "later", "value", 9); !errors.Is(err, ErrFailed) {
				t.Errorf("a later write ends with %v", err)
			}
			if _, err := s.Meta(MetaCluster); !errors.Is(err, ErrFailed) {
				t.Errorf("a later read ends with %v", err)
			}
			s.Close()
			if n := len(told); n != 1 {
				t.Errorf("the owner was told %d times", n)
			}
			again := mustOpen(t, Config{Dir: "store", FS: mem.CrashClone(vfs.CrashCloneCfg{}), OnFatal: func(error) {}})
			if v, ok := get(t, again, 0, "before"); v != "value" || !ok {
				t.Errorf("what was acknowledged reads %q, %v", v, ok)
			}
		})
	}
}

// fill writes until the store fails, in calls that may hang in a failed Pebble.
func fill(s *Store) error {
	failed := make(chan error, 1)
	go func() {
		for seq := space.Seq(2); ; seq++ {
			if err := put(s, 0, "large", strings.Repeat("x", 60<<10), seq); err != nil {
				failed <- err
				return
			}
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-time.After(20 * time.Second):
		return errors.New("nothing for 20 s")
	}
}

// fullDisk is a file system with little room left.
type fullDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (f *fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 1 << 40}, nil
}

// Before the disk is full, transactions are refused; they succeed once there is
// room again, and nothing has been lost or ended meanwhile.
func TestDiskNearlyFull(t *testing.T) {
	fs := &fullDisk{FS: vfs.NewMem()}
	fs.free.Store(1 << 30)
	c := testConfig(t, fs)
	c.ReserveBytes = 1 << 20
	s := mustOpen(t, c)
	if err := put(s, 0, "key", "1", 1); err != nil {
		t.Fatal(err)
	}
	fs.free.Store(1 << 19)
	var err error
	written := 0
	for ; err == nil && written < 1<<20; written += 10 << 10 {
		err = put(s, 0, "large", strings.Repeat("x", 10<<10), 2)
	}
	if !errors.Is(err, ErrDiskFull) || written > 1<<18 {
		t.Errorf("after %d bytes beyond the reserve: %v", written, err)
	}
	if v, ok := get(t, s, 0, "key"); v != "1" || !ok {
		t.Errorf("reading a full store: %q, %v", v, ok)
	}
	fs.free.Store(1 << 30)
	if err := put(s, 0, "key", "2", 3); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
