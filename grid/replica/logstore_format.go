package replica

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

// logFormat is the version of the folder: of the keys, of the values and of the Pebble files. It is raised whenever an older
// binary could misread what this one writes, a newer Pebble file format included.
const logFormat = 1

const (
	formatFile   = "RAFTLOG"
	formatPrefix = "spacegrid raft log, format "
	// formatMaxLen bounds what is read of a format file.
	formatMaxLen = 128
	lockFile     = "LOCK"
	tempSuffix   = ".tmp"
)

var (
	// ErrLocked is returned when another process, or another LogStorage of this one, has the folder open.
	ErrLocked = errors.New("replica: log folder is in use by another process; stop it or give this member a folder of its own")
	// ErrNewerFormat is returned when the folder was written by a newer version; it is left untouched.
	ErrNewerFormat = errors.New("replica: log folder has a newer format; start the version that wrote it")
	// ErrNotLogFolder is returned when the folder holds files but no log storage; it is left untouched.
	ErrNotLogFolder = errors.New("replica: folder holds something else than a raft log; choose an empty one")
)

// prepareFolder makes dir a log folder of this format that is locked by us. The format is looked at before anything is
// written, so a folder of a newer format stays as it is.
func prepareFolder(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	present, err := checkFormat(fsys, dir)
	if err != nil {
		return nil, err
	}
	if err := makeDir(fsys, dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, fsys)
	if err != nil {
		// A lock file that cannot be created is a path error; everything else is a lock that somebody holds.
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			return nil, fmt.Errorf("replica: lock log folder: %w", err)
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
	}
	if !present {
		// Written before Pebble creates its first file: a Pebble without a format file is somebody else's.
		err = writeFileAtomically(fsys, dir, formatFile, formatPrefix+strconv.Itoa(logFormat)+"\n")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replica: write log format: %w", err), lock.Close())
	}
	return lock, nil
}

// checkFormat reports whether dir is a log folder of this format, or could become one.
func checkFormat(fsys vfs.FS, dir string) (present bool, err error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("replica: list log folder: %w", err)
	}
	if !slices.Contains(names, formatFile) {
		for _, name := range names {
			if name != lockFile && name != formatFile+tempSuffix {
				return false, fmt.Errorf("%w: %s holds %q", ErrNotLogFolder, dir, name)
			}
		}
		return false, nil
	}
	text, err := readSmallFile(fsys, fsys.PathJoin(dir, formatFile))
	if err != nil {
		return false, fmt.Errorf("replica: read log format: %w", err)
	}
	format, err := parseFormat(text)
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrCorrupt, formatFile, err)
	}
	if format > logFormat {
		return false, fmt.Errorf("%w: %s has format %d, this version knows %d", ErrNewerFormat, dir, format, logFormat)
	}
	return true, nil
}

func parseFormat(text string) (int, error) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), formatPrefix)
	if !ok {
		return 0, fmt.Errorf("unexpected text %q", text)
	}
	format, err := strconv.Atoi(digits)
	if err != nil || format < 1 {
		return 0, fmt.Errorf("unexpected format number %q", digits)
	}
	return format, nil
}

func readSmallFile(fsys vfs.FS, path string) (string, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, formatMaxLen))
	return string(text), err
}

// writeFileAtomically makes dir/name hold text, durably: after a crash it holds text or is as it was before.
func writeFileAtomically(fsys vfs.FS, dir, name, text string) error {
	temp := fsys.PathJoin(dir, name+tempSuffix)
	f, err := fsys.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(temp, fsys.PathJoin(dir, name)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// makeDir creates dir and its missing parents and makes their names durable.
func makeDir(fsys vfs.FS, dir string) error {
	var missing []string
	for at := dir; ; {
		if _, err := fsys.Stat(at); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replica: create folder: %w", err)
		}
		missing = append(missing, at)
		parent := fsys.PathDir(at)
		if parent == at {
			break
		}
		at = parent
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("replica: create folder: %w", err)
	}
	for _, created := range missing {
		if err := syncDir(fsys, fsys.PathDir(created)); err != nil {
			return fmt.Errorf("replica: create folder: %w", err)
		}
	}
	return nil
}

// syncDir makes the names in dir durable.
func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
