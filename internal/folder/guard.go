package folder

import (
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardedFS reports every failed write and sync of the files under it to failure,
// at the source. Pebble's own reports are not enough: if a write-ahead log cannot
// be created or closed, it panics with one of its locks released, which ends the
// process before anybody was told why.
//
// File operations return their error, so that whoever waits for a sync is told.
// Operations on names never return after a failure, because that panic is what
// Pebble would do with the error.
//
// What it sees of the files that Pebble appends to it tells the ledger.
type guardedFS struct {
	vfs.FS
	failure *failure
	ledger  *ledger // nil: opened for reading only
}

// park reports err and keeps the caller for ever, if err is not nil.
func (f *guardedFS) park(what, name string, err error) {
	if err != nil {
		f.failure.park(fmt.Errorf("%s %s: %w", what, name, err))
	}
}

func (f *guardedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	f.park("create", name, err)
	return f.guard(file, name), nil
}

// guard wraps a file that begins empty.
func (f *guardedFS) guard(file vfs.File, name string) *guardedFile {
	g := &guardedFile{File: file, failure: f.failure, name: name}
	if base := f.PathBase(name); f.ledger != nil && tracks(base) {
		f.ledger.created(base)
		g.ledger, g.base = f.ledger, base
	}
	return g
}

// withdraw ends what the ledger claims of a file, before the file goes.
func (f *guardedFS) withdraw(name string) {
	if base := f.PathBase(name); f.ledger != nil && tracks(base) {
		f.park("keep account of", name, f.ledger.removing(base))
	}
}

func (f *guardedFS) Remove(name string) error {
	f.withdraw(name)
	return f.FS.Remove(name)
}

func (f *guardedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.withdraw(oldname)
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	f.park("reuse", newname, err)
	return f.guard(file, newname), nil
}

func (f *guardedFS) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &guardedDir{File: dir, fs: f, name: name}, nil
}

func (f *guardedFS) Rename(oldname, newname string) error {
	f.park("rename", newname, f.FS.Rename(oldname, newname))
	return nil
}

// Unwrap implements vfs.FS.
func (f *guardedFS) Unwrap() vfs.FS { return f.FS }

type guardedDir struct {
	vfs.File
	fs   *guardedFS
	name string
}

func (d *guardedDir) Sync() error {
	var names []string
	if d.fs.ledger != nil {
		names = d.fs.ledger.unnamed()
	}
	d.fs.park("sync folder", d.name, d.File.Sync())
	if d.fs.ledger != nil {
		d.fs.park("keep account of", d.name, d.fs.ledger.named(names))
	}
	return nil
}

type guardedFile struct {
	vfs.File
	failure *failure
	name    string
	ledger  *ledger // nil: no account is kept of the file
	base    string
}

func (f *guardedFile) check(what string, err error) error {
	if err != nil {
		f.failure.fail(fmt.Errorf("%s %s: %w", what, f.name, err))
	}
	return err
}

func (f *guardedFile) Write(p []byte) (int, error) {
	if f.ledger == nil {
		n, err := f.File.Write(p)
		return n, f.check("write", err)
	}
	now := f.ledger.written(f.base)
	now.bytes += int64(len(p))
	now.sum = crc32.Update(now.sum, castagnoli, p) // Before the write, which may change p.
	n, err := f.File.Write(p)
	if err == nil {
		f.ledger.wrote(f.base, now)
	}
	return n, f.check("write", err)
}

func (f *guardedFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	return n, f.check("write", err)
}

// syncBy syncs with what call does and has the ledger claim what was written
// before it.
func (f *guardedFile) syncBy(call func() error) error {
	if f.ledger == nil {
		return f.check("sync", call())
	}
	to := f.ledger.written(f.base)
	if err := call(); err != nil {
		return f.check("sync", err)
	}
	return f.check("keep account of", f.ledger.synced(f.base, to))
}

func (f *guardedFile) Sync() error     { return f.syncBy(f.File.Sync) }
func (f *guardedFile) SyncData() error { return f.syncBy(f.File.SyncData) }
func (f *guardedFile) Close() error    { return f.check("close", f.File.Close()) }

func (f *guardedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.check("sync", err)
}
