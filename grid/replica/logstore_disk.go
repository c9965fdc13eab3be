package replica

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failStopFS reports every failed write and sync of the files under it to stop, at the source. Pebble's own reports are not
// enough: if a write-ahead log cannot be created or closed, it panics with one of its locks released, which ends the process
// before anybody was told why.
//
// File operations return their error, so that whoever waits for a sync is told. Operations on names never return after
// a failure, because that panic is what Pebble would do with the error.
type failStopFS struct {
	vfs.FS
	stop *failStop
}

// park reports err and keeps the caller for ever, if err is not nil.
func (f *failStopFS) park(what, name string, err error) {
	if err != nil {
		f.stop.fail(fmt.Errorf("%s %s: %w", what, name, err))
		select {}
	}
}

func (f *failStopFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	f.park("create", name, err)
	return &failStopFile{File: file, stop: f.stop, name: name}, nil
}

func (f *failStopFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	f.park("reuse", newname, err)
	return &failStopFile{File: file, stop: f.stop, name: newname}, nil
}

func (f *failStopFS) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &failStopDir{File: dir, fs: f, name: name}, nil
}

func (f *failStopFS) Rename(oldname, newname string) error {
	f.park("rename", newname, f.FS.Rename(oldname, newname))
	return nil
}

// Unwrap implements vfs.FS.
func (f *failStopFS) Unwrap() vfs.FS { return f.FS }

type failStopDir struct {
	vfs.File
	fs   *failStopFS
	name string
}

func (d *failStopDir) Sync() error {
	d.fs.park("sync folder", d.name, d.File.Sync())
	return nil
}

type failStopFile struct {
	vfs.File
	stop *failStop
	name string
}

func (f *failStopFile) check(what string, err error) error {
	if err != nil {
		f.stop.fail(fmt.Errorf("%s %s: %w", what, f.name, err))
	}
	return err
}

func (f *failStopFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.check("write", err)
}

func (f *failStopFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	return n, f.check("write", err)
}

func (f *failStopFile) Sync() error     { return f.check("sync", f.File.Sync()) }
func (f *failStopFile) SyncData() error { return f.check("sync", f.File.SyncData()) }
func (f *failStopFile) Close() error    { return f.check("close", f.File.Close()) }

func (f *failStopFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.check("sync", err)
}
