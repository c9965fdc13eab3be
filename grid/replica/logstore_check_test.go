package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// checked is a member's folder with a group whose log follows on snapshots at 10 and 20, and goes on to 25.
func checked(t *testing.T) (*vfs.MemFS, *LogStorage) {
	fsys := vfs.NewMem()
	s := openTestStorage(t, fsys)
	g := openTestGroup(t, s, 1)
	if err := g.StoreLogs(testEntries(2, 25, 1)); err != nil {
		t.Fatal(err)
	}
	store, err := DiskStorage(s, checkedSnapshots(fsys).of(1), 1)
	if err != nil {
		t.Fatal(err)
	}
	takeTestSnapshot(t, store.snapshots, 10, 1, snapshotContent(1, 100))
	takeTestSnapshot(t, store.snapshots, 20, 1, snapshotContent(2, 100))
	return fsys, s
}

func checkedSnapshots(fsys vfs.FS) SnapshotStoreConfig {
	c, err := SnapshotStoreConfig{Dir: "/member/snapshots", FS: fsys}.withDefaults()
	if err != nil {
		panic(err)
	}
	return c
}

func TestCheckFindsWhatIsGone(t *testing.T) {
	// A replica that has lost what it acknowledged is found out before it starts; one that can make up for what is damaged is not.
	snapshot := func(n int, damage func(fsys vfs.FS, path string) error) func(*testing.T, *vfs.MemFS, *LogStorage) error {
		return func(t *testing.T, fsys *vfs.MemFS, _ *LogStorage) error {
			dir := checkedSnapshots(fsys).of(1).Dir
			names, err := fsys.List(dir)
			if err != nil || n >= len(names) {
				t.Fatal(names, err)
			}
			slices.Sort(names)
			return damage(fsys, fsys.PathJoin(dir, names[n]))
		}
	}
	remove := func(fsys vfs.FS, path string) error { return fsys.Remove(path) }
	truncate := func(fsys vfs.FS, path string) error { return overwriteFile(fsys, path, "SGSNAP") }
	cut := func(to uint64) func(*testing.T, *vfs.MemFS, *LogStorage) error {
		return func(t *testing.T, _ *vfs.MemFS, s *LogStorage) error {
			return openTestGroup(t, s, 1).DeleteRange(2, to)
		}
	}
	all := func(steps ...func(*testing.T, *vfs.MemFS, *LogStorage) error) func(*testing.T, *vfs.MemFS, *LogStorage) error {
		return func(t *testing.T, fsys *vfs.MemFS, s *LogStorage) (err error) {
			for _, step := range steps {
				err = errors.Join(err, step(t, fsys, s))
			}
			return err
		}
	}
	for name, x := range map[string]struct {
		damage func(*testing.T, *vfs.MemFS, *LogStorage) error
		want   error
	}{
		"nothing":                         {all(), nil},
		"newest snapshot, log from there": {all(cut(20), snapshot(1, truncate)), ErrLogHole},
		"newest snapshot, log reaches":    {all(cut(10), snapshot(1, truncate)), nil},
		"newest snapshot gone, no log":    {all(cut(25), snapshot(1, remove)), ErrCorrupt},
		"both snapshots gone":             {all(cut(10), snapshot(1, remove), snapshot(0, remove)), ErrLogHole},
		"both snapshots and the log gone": {all(cut(25), snapshot(1, remove), snapshot(0, remove)), ErrCorrupt},
		"both snapshots damaged":          {all(cut(20), snapshot(1, truncate), snapshot(0, truncate)), ErrSnapshotCorrupt},
		"an old snapshot":                 {all(cut(20), snapshot(0, truncate)), nil},
		"an entry": {func(_ *testing.T, _ *vfs.MemFS, s *LogStorage) error {
			return s.db.Delete(logKey(1, 15), pebble.Sync)
		}, ErrCorrupt},
		"an entry's bytes": {func(_ *testing.T, _ *vfs.MemFS, s *LogStorage) error {
			return s.db.Set(logKey(1, 15), []byte("other bytes"), pebble.Sync)
		}, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, s := checked(t)
			if err := x.damage(t, fsys, s); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			s = openTestStorage(t, fsys)
			defer mustClose(t, s)
			err := s.Check(checkedSnapshots(fsys), true)
			if !errors.Is(err, x.want) || IsDamage(err) != (x.want != nil) {
				t.Errorf("check: %v, want %v", err, x.want)
			}
		})
	}
}

func TestCheckOfALogFolderThatIsGone(t *testing.T) {
	// Snapshots without a log folder are the remains of a replica that has lost its vote; those of a group that was dropped are
	// removed.
	fsys, s := checked(t)
	defer mustClose(t, s)
	if err := s.Check(checkedSnapshots(fsys), false); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "log folder") {
		t.Errorf("a new log folder beside old snapshots: %v", err)
	}
	if err := s.DropGroup(1); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(checkedSnapshots(fsys), true); err != nil {
		t.Errorf("snapshots of a group that was dropped: %v", err)
	}
	if names, _ := fsys.List("/member/snapshots"); len(names) > 0 {
		t.Errorf("they are still there: %v", names)
	}
}
