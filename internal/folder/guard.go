package folder

import (
	"fmt"

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
type guardedFS struct {
	vfs.FS
	failure *failure
}

// park reports err and keeps the caller for ever, if err is not nil.
func (f *guardedFS) park(what, name string, err error) {
	if err != nil {
		f.failure.fail(fmt.Errorf("%s %s: %w", what, name, err))
		select {}
	}
}

func (f *guardedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	f.park("create", name, err)
	return &guardedFile{File: file, failure: f.failure, name: name}, nil
}

func (f *guardedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	f.park("reuse", newname, err)
	return &guardedFile{File: file, failure: f.failure, name: newname}, nil
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
	d.fs.park("sync folder", d.name, d.File.Sync())
	return nil
}

type guardedFile struct {
	vfs.File
	failure *failure
	name    string
}

func (f *guardedFile) check(what string, err error) error {
	if err != nil {
		f.failure.fail(fmt.Errorf("%s %s: %w", what, f.name, err))
	}
	return err
}

func (f *guardedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.check("write", err)
}

func (f *guardedFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	return n, f.check("write", err)
}

func (f *guardedFile) Sync() error     { return f.check("sync", f.File.Sync()) }
func (f *guardedFile) SyncData() error { return f.check("sync", f.File.SyncData()) }
func (f *guardedFile) Close() error    { return f.check("close", f.File.Close()) }

func (f *guardedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.check("sync", err)
}
