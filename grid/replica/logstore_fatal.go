package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// ErrStorageFailed is matched by what every operation of a LogStorage returns after a write, a sync or a background task of it failed.
// What the disk holds is then unknown, so nothing may be acknowledged any more: the process must end and open the folder again.
var ErrStorageFailed = errors.New("replica: log storage failed")

// StorageFailedError is the failure that ended a LogStorage. errors.Is(err, ErrStorageFailed) holds for it.
type StorageFailedError struct {
	Dir   string
	Cause error
}

func (e *StorageFailedError) Error() string {
	return fmt.Sprintf("replica: log storage failed: %s: %v; end the process, check the disk, start again", e.Dir, e.Cause)
}

// Unwrap gives access to the cause.
func (e *StorageFailedError) Unwrap() error { return e.Cause }

// Is makes every StorageFailedError match ErrStorageFailed.
func (e *StorageFailedError) Is(target error) bool { return target == ErrStorageFailed }

// failStop turns the first failure into one call of onFatal and refuses everything after it. It also is Pebble's logger,
// because that is where Pebble reports what it cannot continue from.
type failStop struct {
	dir     string
	log     *slog.Logger
	onFatal func(error)

	first atomic.Pointer[StorageFailedError]
	// failed is closed once first is set.
	failed chan struct{}
}

func newFailStop(dir string, log *slog.Logger, onFatal func(error)) *failStop {
	return &failStop{dir: dir, log: log, onFatal: onFatal, failed: make(chan struct{})}
}

// fail records cause if it is the first failure, tells the owner, and returns the failure that counts. Without an onFatal it
// ends the process by a panic on a goroutine of its own, because Pebble recovers from one on some of its own.
func (f *failStop) fail(cause error) error {
	failure := &StorageFailedError{Dir: f.dir, Cause: cause}
	if !f.first.CompareAndSwap(nil, failure) {
		return f.first.Load()
	}
	close(f.failed)
	if f.onFatal == nil {
		go func() { panic(failure) }()
		select {}
	}
	f.onFatal(failure)
	return failure
}

// err returns the failure, or nil.
func (f *failStop) err() error {
	if failure := f.first.Load(); failure != nil {
		return failure
	}
	return nil
}

// Infof implements pebble.Logger.
func (f *failStop) Infof(format string, args ...any) {
	f.log.Debug("log storage: " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (f *failStop) Errorf(format string, args ...any) {
	f.log.Error("log storage: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. Pebble calls it where it cannot go on, then goes on if it returns, and might then remove
// files that the state on disk still needs. So it never returns: the calling goroutine stays parked until the process,
// which onFatal was told to end, is gone.
func (f *failStop) Fatalf(format string, args ...any) {
	f.fail(fmt.Errorf(format, args...))
	select {}
}

// events reports what Pebble notices in the background. A failed flush or compaction (a full disk among them) would be
// retried by Pebble for ever; here it ends the storage like any other write that failed.
func (f *failStop) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { f.fail(fmt.Errorf("background task: %w", err)) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { f.fail(fmt.Errorf("%v", info)) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			f.log.Warn("log storage: disk is slow", "path", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			f.log.Warn("log storage: writes are stalled", "reason", info.Reason)
		},
		WriteStallEnd: func() { f.log.Info("log storage: writes go on") },
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			f.log.Warn("log storage: disk is nearly full", "available_bytes", info.AvailBytes, "total_bytes", info.TotalBytes)
		},
	}
}

// commit applies batch to db and, with durable, returns only once the write-ahead log is on disk up to and including it.
// It closes batch. Every error it returns is a StorageFailedError, and onFatal has been called.
func (f *failStop) commit(db *pebble.DB, batch *pebble.Batch, durable bool) error {
	if err := f.err(); err != nil {
		return err
	}
	if err := applyBatch(db, batch, durable); err != nil {
		return f.fail(err)
	}
	// A failure in the background while we waited: what it concerns is not known, so this write is not acknowledged either.
	return f.err()
}

// applyBatch reports as an error both what Pebble returns and what it panics with (a write-ahead log that cannot be written).
// The wait for the sync is a separate call because it returns the error, where the ordinary commit reports it to Fatalf.
func applyBatch(db *pebble.DB, batch *pebble.Batch, durable bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if !durable {
		if err := db.Apply(batch, pebble.NoSync); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return batch.Close()
	}
	if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := batch.SyncWait(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return batch.Close()
}
