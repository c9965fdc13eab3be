package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// format is the version of the folder: of keys, records and Pebble's own files.
// It is raised whenever an older program could misread what this one writes.
const format = 1

const (
	formatFile   = "STORE"
	formatPrefix = "spacegrid store, format "
	formatMax    = 128 // bytes read of the format file
	lockFile     = "LOCK"
	unfinished   = ".tmp"
)

var (
	// ErrLocked is returned when another process, or another Store of this one,
	// has the folder open.
	ErrLocked = errors.New("store: folder is in use by another process (stop it, or give this member a data folder of its own)")
	// ErrNewerFormat is returned when a newer program wrote the folder, which is
	// left as it is.
	ErrNewerFormat = errors.New("store: folder has a newer format (start the version that wrote it, or a newer one)")
	// ErrNotStore is returned when the folder holds something else, or nothing
	// when it is opened for reading only. It is left as it is.
	ErrNotStore = errors.New("store: folder holds no store (check the path)")
)

// lockFolder checks the format before anything is touched, then takes the lock.
// A folder whose creation never ended is cleared: nothing in it was ever
// acknowledged, and Pebble's first files need not have survived a crash together.
// created is true if the folder is new; it becomes a store with finishFolder.
func lockFolder(fsys vfs.FS, dir string, readOnly bool) (lock *pebble.Lock, created bool, err error) {
	known, err := checkFolder(fsys, dir)
	if err != nil {
		return nil, false, err
	}
	switch {
	case !known && readOnly:
		return nil, false, fmt.Errorf("%w: %s", ErrNotStore, dir)
	case !known:
		if err := makeFolder(fsys, dir); err != nil {
			return nil, false, fmt.Errorf("store: create folder: %w", err)
		}
	}
	lock, err = pebble.LockDirectory(dir, fsys)
	if err != nil {
		// A lock file that cannot be created is a path error; all else means that
		// somebody holds it.
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			return nil, false, fmt.Errorf("store: lock folder: %w", err)
		}
		return nil, false, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
	}
	if !known {
		if err := beginFolder(fsys, dir); err != nil {
			return nil, false, errors.Join(fmt.Errorf("store: begin folder: %w", err), lock.Close())
		}
	}
	return lock, !known, nil
}

// beginFolder marks the folder as a store that is being created, and clears it.
func beginFolder(fsys vfs.FS, dir string) error {
	path := fsys.PathJoin(dir, formatFile+unfinished)
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(f, formatPrefix+strconv.Itoa(format)+"\n"); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), syncFolder(fsys, dir)); err != nil {
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != lockFile && name != formatFile+unfinished {
			if err := fsys.RemoveAll(fsys.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return syncFolder(fsys, dir)
}

// finishFolder makes the folder a store, after everything else in it is durable.
func finishFolder(fsys vfs.FS, dir string) error {
	path := fsys.PathJoin(dir, formatFile)
	if err := syncFolder(fsys, dir); err != nil {
		return err
	}
	if err := fsys.Rename(path+unfinished, path); err != nil {
		return err
	}
	return syncFolder(fsys, dir)
}

// checkFolder reports whether dir is a store of a known format; if not, and there
// is no error, it is missing, empty, or was never finished.
func checkFolder(fsys vfs.FS, dir string) (known bool, err error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: list folder: %w", err)
	}
	if !slices.Contains(names, formatFile) {
		if slices.Contains(names, formatFile+unfinished) {
			return false, nil
		}
		for _, name := range names {
			if name != lockFile {
				return false, fmt.Errorf("%w: %s holds %q", ErrNotStore, dir, name)
			}
		}
		return false, nil
	}
	f, err := fsys.Open(fsys.PathJoin(dir, formatFile))
	if err != nil {
		return false, fmt.Errorf("store: read format: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, formatMax))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("store: read format: %w", err)
	}
	found, ok := parseFormat(string(text))
	switch {
	case !ok:
		return false, &ErrCorrupt{Record: "format file", Reason: strconv.Quote(string(text))}
	case found > format:
		return false, fmt.Errorf("%w: %s has format %d, this program knows %d", ErrNewerFormat, dir, found, format)
	}
	return true, nil
}

func parseFormat(text string) (int, bool) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), formatPrefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0
}

// makeFolder creates dir with its missing parents, and makes their names durable.
func makeFolder(fsys vfs.FS, dir string) error {
	var missing []string
	for at := dir; ; {
		_, err := fsys.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, at)
		parent := fsys.PathDir(at)
		if parent == at {
			break
		}
		at = parent
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, made := range missing {
		if err := syncFolder(fsys, fsys.PathDir(made)); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
