package folder

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

// Format names what a folder holds, and which version of it: of keys, records
// and Pebble's own files. The version is raised whenever an older program could
// misread what this one writes.
type Format struct {
	File    string // the name of the file that says so, like "STORE"
	Text    string // what that file says before the number of the version
	Version int    // from 1
}

const (
	formatMax  = 128 // bytes read of a format file
	lockFile   = "LOCK"
	unfinished = ".tmp"
)

var (
	// ErrLocked is returned when another process, or another Folder of this one,
	// has the folder open.
	ErrLocked = errors.New("folder: in use by another process (stop it, or give this member a data folder of its own)")
	// ErrNewerFormat is returned when a newer program wrote the folder, which is
	// left as it is.
	ErrNewerFormat = errors.New("folder: newer format (start the version that wrote it, or a newer one)")
	// ErrForeign is returned when the folder holds something else, or nothing
	// when it is opened for reading only. It is left as it is.
	ErrForeign = errors.New("folder: holds something else (check the path, or choose an empty folder)")
	// ErrDamagedFormat is returned when the format file cannot be understood.
	// The folder is left as it is.
	ErrDamagedFormat = errors.New("folder: damaged format file")
)

// claim checks the format before anything is touched, then takes the lock. A
// folder that is new, or whose creation never ended, is cleared: nothing in it
// was ever acknowledged, and Pebble's first files need not have survived a crash
// together. It becomes one of its format with Format.finish.
func claim(fsys vfs.FS, cfg *Config) (lock *pebble.Lock, created bool, err error) {
	known, err := cfg.Format.check(fsys, cfg.Dir)
	if err != nil {
		return nil, false, err
	}
	switch {
	case !known && cfg.ReadOnly:
		return nil, false, fmt.Errorf("%w: no %s in %s", ErrForeign, cfg.Name, cfg.Dir)
	case !known:
		if err := Make(fsys, cfg.Dir); err != nil {
			return nil, false, err
		}
	}
	lock, err = pebble.LockDirectory(cfg.Dir, fsys)
	if err != nil {
		// A lock file that cannot be created is a path error; all else means that
		// somebody holds it.
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, false, fmt.Errorf("folder: lock: %w", err)
		}
		return nil, false, fmt.Errorf("%w: %s: %w", ErrLocked, cfg.Dir, err)
	}
	if known {
		return lock, false, nil
	}
	// Another process may have created and left it since the first look.
	known, err = cfg.Format.check(fsys, cfg.Dir)
	if err == nil && !known {
		err = cfg.Format.begin(fsys, cfg.Dir)
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("folder: create %s: %w", cfg.Dir, err), lock.Close())
	}
	return lock, !known, nil
}

// check reports whether dir is a folder of this format; if not, and there is no
// error, it is missing, empty, or was never finished.
func (m Format) check(fsys vfs.FS, dir string) (known bool, err error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("folder: list: %w", err)
	}
	if !slices.Contains(names, m.File) {
		if slices.Contains(names, m.File+unfinished) {
			return false, nil
		}
		for _, name := range names {
			if name != lockFile {
				return false, fmt.Errorf("%w: %s holds %q", ErrForeign, dir, name)
			}
		}
		return false, nil
	}
	f, err := fsys.Open(fsys.PathJoin(dir, m.File))
	if err != nil {
		return false, fmt.Errorf("folder: read format: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, formatMax))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("folder: read format: %w", err)
	}
	version, ok := m.parse(string(text))
	switch {
	case !ok:
		return false, fmt.Errorf("%w: %s in %s says %q", ErrDamagedFormat, m.File, dir, text)
	case version > m.Version:
		return false, fmt.Errorf("%w: %s has format %d, this program knows %d", ErrNewerFormat, dir, version, m.Version)
	}
	return true, nil
}

func (m Format) parse(text string) (version int, ok bool) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), m.Text)
	version, err := strconv.Atoi(digits)
	return version, ok && err == nil && version > 0
}

// begin marks dir as a folder that is being created, and clears it.
func (m Format) begin(fsys vfs.FS, dir string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, m.File+unfinished), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(f, m.Text+strconv.Itoa(m.Version)+"\n"); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), Sync(fsys, dir)); err != nil {
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != lockFile && name != m.File+unfinished {
			if err := fsys.RemoveAll(fsys.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return Sync(fsys, dir)
}

// finish makes dir a folder of this format, after everything else in it is
// durable.
func (m Format) finish(fsys vfs.FS, dir string) error {
	if err := Sync(fsys, dir); err != nil {
		return err
	}
	path := fsys.PathJoin(dir, m.File)
	if err := fsys.Rename(path+unfinished, path); err != nil {
		return err
	}
	return Sync(fsys, dir)
}

// Make creates dir with its missing parents, and makes their names durable.
func Make(fsys vfs.FS, dir string) error {
	var missing []string
	for at := dir; ; {
		_, err := fsys.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("folder: create: %w", err)
		}
		missing = append(missing, at)
		parent := fsys.PathDir(at)
		if parent == at {
			break
		}
		at = parent
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder: create: %w", err)
	}
	for _, made := range missing {
		if err := Sync(fsys, fsys.PathDir(made)); err != nil {
			return fmt.Errorf("folder: create: %w", err)
		}
	}
	return nil
}

// Sync makes the names in dir durable.
func Sync(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
