package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	damagedFile = "DAMAGED"
	// asideInfix comes between the name of a folder that was set aside and its
	// number.
	asideInfix = ".damaged-"
	// KeptAside is how many folders are kept beside the one they were set aside
	// from. Damage that comes back that often is the disk's.
	KeptAside = 4
	// damageTextMax bounds what is kept of the reason.
	damageTextMax = 4 << 10
)

var (
	// ErrDamaged is matched by every error that says that what a folder holds is
	// not what was written into it. The folder is left as it is, but for a mark
	// that makes every later Open fail with the same error.
	ErrDamaged = errors.New("folder: damaged")
	// ErrManyAside is returned by SetAside when KeptAside folders are there.
	ErrManyAside = errors.New("folder: damaged again and again (replace the disk, or check it and remove the folders set aside)")
	errNotMarked = errors.New("folder: not marked as damaged")
)

// DamagedError is why a folder must not be used. It matches ErrDamaged.
type DamagedError struct {
	Name  string // what the folder holds
	Dir   string
	Cause error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("folder: %s is damaged: %s: %v", e.Name, e.Dir, e.Cause)
}

// Unwrap gives access to the cause.
func (e *DamagedError) Unwrap() error { return e.Cause }

// Is makes every DamagedError match ErrDamaged.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// isDamage reports whether an error says that something does not verify.
func isDamage(err error) bool {
	return errors.Is(err, ErrDamaged) || pebble.IsCorruptionError(err)
}

// unreadable reports whether a folder that does not open, because of err, is
// damaged. All that Pebble itself finds fault with is damage; of what the operating
// system refuses, it is a file that is not there, and a disk that cannot read. The
// rest may pass: a right that is missing, a full disk, too many open files.
func unreadable(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return isDamage(err) || errors.Is(err, fs.ErrNotExist) || !ok || errno == syscall.EIO
}

// Mark notes in dir, durably, that what it holds is damaged, so that every later
// Open fails with ErrDamaged. The first reason stays.
func Mark(fsys vfs.FS, dir string, reason error) error {
	if fsys == nil {
		fsys = vfs.Default
	}
	path := fsys.PathJoin(dir, damagedFile)
	if _, err := fsys.Stat(path); err == nil {
		return nil
	}
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("folder: mark as damaged: %w", err)
	}
	text := reason.Error()
	_, err = io.WriteString(f, text[:min(len(text), damageTextMax)])
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), Sync(fsys, dir)); err != nil {
		return fmt.Errorf("folder: mark as damaged: %w", err)
	}
	return nil
}

// marked returns the mark of a folder as an error, nil if it has none. The file
// alone is the mark, whatever has become of its text.
func marked(fsys vfs.FS, dir string) error {
	f, err := fsys.Open(fsys.PathJoin(dir, damagedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, damageTextMax))
	return errors.Join(fmt.Errorf("%w: found before: %s", ErrDamaged, text), err, f.Close())
}

// SetAside renames root, which is dir or a folder around it, to a name of its own
// beside it, so that root can begin anew; it returns that name. What it holds is
// not changed and never removed: it may be the only copy. dir must be marked as
// damaged and not be in use. It fails with ErrManyAside, ErrLocked, or an error of
// the file system.
func SetAside(fsys vfs.FS, root, dir string) (aside string, err error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	lock, err := takeLock(fsys, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	// Another process may have set it aside since it was found damaged; what is
	// here now is then another folder.
	if _, err := fsys.Stat(fsys.PathJoin(dir, damagedFile)); err != nil {
		return "", fmt.Errorf("%w: %s: %w", errNotMarked, dir, err)
	}
	last, count, err := countAside(fsys, root)
	if err != nil {
		return "", err
	}
	if count >= KeptAside {
		return "", fmt.Errorf("%w: %d beside %s", ErrManyAside, count, root)
	}
	aside = asideName(root, last+1)
	if err := fsys.Rename(root, aside); err != nil {
		return "", fmt.Errorf("folder: set aside: %w", err)
	}
	if err := Sync(fsys, fsys.PathDir(root)); err != nil {
		return "", fmt.Errorf("folder: set aside: %w", err)
	}
	return aside, nil
}

func asideName(root string, number int) string { return root + asideInfix + strconv.Itoa(number) }

// countAside returns the greatest number of a folder that was set aside from root,
// 0 for none, and how many there are.
func countAside(fsys vfs.FS, root string) (last, count int, err error) {
	names, err := fsys.List(fsys.PathDir(root))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("folder: look for folders set aside: %w", err)
	}
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, fsys.PathBase(root)+asideInfix)
		if number, err := strconv.Atoi(digits); ok && err == nil {
			last, count = max(last, number), count+1
		}
	}
	return last, count, nil
}

// Aside returns the folder that was set aside from root last, "" if none is there.
func Aside(fsys vfs.FS, root string) (string, error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	last, _, err := countAside(fsys, root)
	if err != nil || last == 0 {
		return "", err
	}
	return asideName(root, last), nil
}
