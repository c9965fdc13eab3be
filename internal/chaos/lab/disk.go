package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
)

// disk is a file system of its own for one member, on an image file. The image is
// what the disk has kept; what the system has not written to it yet is what a power
// failure takes.
type disk struct {
	image   string
	at      string // where it is mounted
	mounted atomic.Bool
}

// format makes the image, sparse, with an empty file system. No blocks are reserved,
// so that it is full for everybody at once.
func (d *disk) format(ctx context.Context, size int64) error {
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	return command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image)
}

// mount mounts the image; the journal is replayed if there is anything in it.
func (d *disk) mount(ctx context.Context) error {
	if err := command(ctx, "mount", "-o", "loop,noatime", d.image, d.at); err != nil {
		return err
	}
	d.mounted.Store(true)
	return nil
}

// unmount gives the loop device back too. Nobody may have a file open there.
func (d *disk) unmount(ctx context.Context) error {
	if !d.mounted.Load() {
		return nil
	}
	if err := command(ctx, "umount", d.at); err != nil {
		return err
	}
	d.mounted.Store(false)
	return nil
}

// Disk returns the folder at which the member's own file system is mounted, "" if
// it has none.
func (m *Member) Disk() string {
	if m.disk == nil {
		return ""
	}
	return m.disk.at
}

var errNoDisk = errors.New("lab: the member has no disk of its own")

// CutPower ends all writing to the member's disk: what was not synced is not on it
// and will not be, and every later write and sync fails. The member itself is not
// touched; see Remount.
func (m *Member) CutPower() error {
	if m.disk == nil {
		return errNoDisk
	}
	return cutPower(m.disk.at)
}

// Remount unmounts the member's disk and mounts it again, as after a power failure.
// The member must not run.
func (m *Member) Remount(ctx context.Context) error {
	if m.disk == nil {
		return errNoDisk
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if m.Running() {
		return fmt.Errorf("lab: member %s runs: its disk cannot be mounted again", m.name)
	}
	if err := m.disk.unmount(ctx); err != nil {
		return err
	}
	return m.disk.mount(ctx)
}

// Mount mounts the member's disk if it is not.
func (m *Member) Mount(ctx context.Context) error {
	if m.disk == nil || m.disk.mounted.Load() {
		return nil
	}
	return m.disk.mount(ctx)
}

// Wipe removes everything that the member has kept. It must not run.
func (m *Member) Wipe() error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if m.Running() {
		return fmt.Errorf("lab: member %s runs: its folder cannot be emptied", m.name)
	}
	return os.RemoveAll(m.Dir())
}

// RemoveLogs removes everything that the member has kept but its store. It must not
// run.
func (m *Member) RemoveLogs() error {
	if _, err := os.Stat(m.LogDir()); err != nil {
		return fmt.Errorf("lab: the logs are not where they should be: %w", err)
	}
	names, err := os.ReadDir(m.Dir())
	if err != nil {
		return err
	}
	for _, n := range names {
		if path := filepath.Join(m.Dir(), n.Name()); path != m.StoreDir() {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}
