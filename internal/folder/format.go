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
	// Ledger is the first version whose folders keep a ledger; 0: all do.
	Ledger int
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
	ErrDamagedFormat = fmt.Errorf("%w format file", ErrDamaged)
)

// takeLock locks dir, or fails with ErrLocked.
func takeLock(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fsys)
	if err == nil {
		return lock, nil
	}
	// A lock file that cannot be created is a path error; all else means that
	// somebody holds it.
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("folder: lock: %w", err)
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
}

// found is what claim has found in a folder and not changed.
type found struct {
	version int              // 0: new, or never finished
	claims  map[string]claim // of the ledger; nil: none is kept yet
	seq     uint64
}

// claim checks the format before anything is touched, then takes the lock, and
// compares the files with the ledger. A folder that is new, or whose creation never
// ended, is cleared: nothing in it was ever acknowledged, and Pebble's first files
// need not have survived a crash together. It becomes one of its format with
// Format.finish.
func claimFolder(fsys vfs.FS, cfg *Config) (lock *pebble.Lock, was found, err error) {
	version, err := cfg.Format.look(fsys, cfg.Dir)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, was, err
	}
	switch {
	case version == 0 && err == nil && cfg.ReadOnly:
		return nil, was, fmt.Errorf("%w: no %s in %s", ErrForeign, cfg.Name, cfg.Dir)
	case version == 0 && err == nil:
		if err := Make(fsys, cfg.Dir); err != nil {
			return nil, was, err
		}
	}
	if lock, err = takeLock(fsys, cfg.Dir); err != nil {
		return nil, was, err
	}
	// Another process may have created or changed it since the first look.
	if was, err = cfg.verify(fsys); err == nil && was.version == 0 {
		err = cfg.Format.begin(fsys, cfg.Dir)
	}
	if err != nil {
		return nil, was, errors.Join(cfg.damage(fsys, err), lock.Close())
	}
	return lock, was, nil
}

// verify looks at everything about the folder but what is inside of Pebble's
// tables.
func (c *Config) verify(fsys vfs.FS) (was found, err error) {
	if err := marked(fsys, c.Dir); err != nil {
		return was, err
	}
	if was.version, err = c.Format.look(fsys, c.Dir); err != nil || was.version == 0 || was.version < c.Format.Ledger {
		return was, err
	}
	was.claims, was.seq, err = readLedger(fsys, c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return was, fmt.Errorf("%w: %s is missing", ErrDamaged, ledgerFile)
	}
	if err == nil {
		err = check(fsys, c.Dir, was.claims)
	}
	return was, err
}

// damage makes an error that says that the folder is damaged a DamagedError, and
// marks the folder.
func (c *Config) damage(fsys vfs.FS, err error) error {
	if !unreadable(err) || errors.Is(err, ErrForeign) || errors.Is(err, ErrNewerFormat) {
		return fmt.Errorf("folder: open %s: %w", c.Dir, err)
	}
	damaged := &DamagedError{Name: c.Name, Dir: c.Dir, Cause: err}
	if c.ReadOnly {
		return damaged
	}
	return errors.Join(damaged, Mark(fsys, c.Dir, err))
}

// look returns the version of a folder of this format; 0, if there is no error, for
// one that is missing, empty, or was never finished.
func (m Format) look(fsys vfs.FS, dir string) (version int, err error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("folder: list: %w", err)
	}
	if !slices.Contains(names, m.File) {
		switch {
		case slices.Contains(names, damagedFile):
			return 0, marked(fsys, dir)
		case slices.Contains(names, m.File+unfinished):
			return 0, nil
		case slices.Contains(names, ledgerFile):
			return 0, fmt.Errorf("%w: %s is missing", ErrDamagedFormat, m.File)
		}
		for _, name := range names {
			if name != lockFile {
				return 0, fmt.Errorf("%w: %s holds %q", ErrForeign, dir, name)
			}
		}
		return 0, nil
	}
	f, err := fsys.Open(fsys.PathJoin(dir, m.File))
	if err != nil {
		return 0, fmt.Errorf("folder: read format: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, formatMax))
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("folder: read format: %w", err)
	}
	version, ok := m.parse(string(text))
	if !ok {
		return 0, fmt.Errorf("%w: %s in %s says %q", ErrDamagedFormat, m.File, dir, text)
	}
	// Where a ledger knows the file, it tells a newer program's from a damaged one.
	if claims, _, err := readLedger(fsys, dir); err == nil && claims[m.File] != (claim{}) {
		if err := check(fsys, dir, map[string]claim{m.File: claims[m.File]}); err != nil {
			return 0, err
		}
	}
	if version > m.Version {
		return 0, fmt.Errorf("%w: %s has format %d, this program knows %d", ErrNewerFormat, dir, version, m.Version)
	}
	return version, nil
}

func (m Format) parse(text string) (version int, ok bool) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), m.Text)
	version, err := strconv.Atoi(digits)
	return version, ok && err == nil && version > 0
}

// text is what the format file says.
func (m Format) text() string { return m.Text + strconv.Itoa(m.Version) + "\n" }

// write writes the format file under its unfinished name.
func (m Format) write(fsys vfs.FS, dir string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, m.File+unfinished), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(f, m.text()); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), Sync(fsys, dir))
}

// begin marks dir as a folder that is being created, and clears it.
func (m Format) begin(fsys vfs.FS, dir string) error {
	if err := m.write(fsys, dir); err != nil {
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
