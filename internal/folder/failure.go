package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFailed is matched by what every operation returns after the disk failed
// once: what it holds is unknown until the folder is opened again.
var ErrFailed = errors.New("folder: the disk failed")

// FailedError is the failure that ended a folder. It matches ErrFailed.
type FailedError struct {
	Name  string // what the folder holds
	Dir   string
	Cause error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("folder: %s failed: %s: %v (end the process, check the disk, start again)", e.Name, e.Dir, e.Cause)
}

// Unwrap gives access to the cause.
func (e *FailedError) Unwrap() error { return e.Cause }

// Is makes every FailedError match ErrFailed.
func (e *FailedError) Is(target error) bool { return target == ErrFailed }

// UntilOpen returns a Config.OnFatal for whoever checks what a folder holds before
// the owner uses it: damage that is found until opened is called stays an error of
// those calls, because it can be set aside, and is no reason to end the process.
// Everything else is onFatal's, as Config.OnFatal says.
func UntilOpen(onFatal func(error)) (quiet func(error), opened func()) {
	var open atomic.Bool
	return func(err error) {
		switch {
		case !open.Load() && isDamage(err):
		case onFatal != nil:
			onFatal(err)
		default:
			endProcess(err)
		}
	}, func() { open.Store(true) }
}

// endProcess panics on a goroutine of its own, because Pebble recovers from a panic
// on some of its own.
func endProcess(err error) {
	go func() { panic(err) }()
	select {}
}

// failure turns the first failure into one call of the owner and refuses
// everything after it. It is also Pebble's logger, because that is where Pebble
// reports what it cannot continue from.
type failure struct {
	name, dir string
	fs        vfs.FS
	readOnly  bool
	log       *slog.Logger
	onFatal   func(error)

	first atomic.Pointer[FailedError]
	// unsound is closed once Pebble must not be waited for any more: something
	// else than damage has failed, or a goroutine stays in it for good.
	unsound chan struct{}
	ending  sync.Once
}

func newFailure(cfg *Config) *failure {
	return &failure{
		name: cfg.Name, dir: cfg.Dir, fs: cfg.FS, readOnly: cfg.ReadOnly, log: cfg.Logger, onFatal: cfg.OnFatal,
		unsound: make(chan struct{}),
	}
}

// fail records cause if it is the first failure and tells the owner. Without one
// it ends the process.
func (f *failure) fail(cause error) {
	failed := &FailedError{Name: f.name, Dir: f.dir, Cause: cause}
	if !f.first.CompareAndSwap(nil, failed) {
		return
	}
	// A disk that refuses may be well after the next start. Damage stays, and the
	// next start must not walk into it again.
	if isDamage(cause) && !f.readOnly {
		if err := Mark(f.fs, f.dir, cause); err != nil {
			f.log.Error(f.name+": damage is not noted for the next start", "err", err)
		}
	}
	if f.onFatal == nil {
		endProcess(failed)
	}
	// The owner first: who is released by leave may ask what it was told.
	f.onFatal(failed)
	if !isDamage(cause) {
		f.leave()
	}
}

// leave gives Pebble up.
func (f *failure) leave() { f.ending.Do(func() { close(f.unsound) }) }

// left reports whether Pebble was given up.
func (f *failure) left() bool {
	select {
	case <-f.unsound:
		return true
	default:
		return false
	}
}

func (f *failure) err() error {
	if failed := f.first.Load(); failed != nil {
		return failed
	}
	return nil
}

// Infof implements pebble.Logger.
func (f *failure) Infof(format string, args ...any) {
	f.log.Debug(f.name + ": " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (f *failure) Errorf(format string, args ...any) {
	f.log.Error(f.name + ": " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. Pebble calls it where it cannot go on, and
// goes on if it returns: it might then remove files that the state on disk still
// needs. So the goroutine stays here until the process, whose owner has been
// told, is gone.
func (f *failure) Fatalf(format string, args ...any) {
	f.park(fmt.Errorf(format, args...))
}

// park fails with cause and keeps the caller for ever.
func (f *failure) park(cause error) {
	f.fail(cause)
	f.leave()
	select {}
}

// events watches Pebble's background work. A flush or compaction that fails, on
// a full disk among others, would be retried for ever; it ends the folder like
// any other failed write.
func (f *failure) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w: %w", ErrDamaged, err) // A file that the manifest names is gone.
			}
			f.fail(fmt.Errorf("background work: %w", err))
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) { f.fail(fmt.Errorf("%w: %s", ErrDamaged, info)) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			f.log.Warn(f.name+": disk is slow", "path", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			f.log.Warn(f.name+": writes wait for compaction", "reason", info.Reason)
		},
		WriteStallEnd: func() { f.log.Info(f.name + ": writes go on") },
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			f.log.Warn(f.name+": disk is nearly full", "available_bytes", info.AvailBytes, "total_bytes", info.TotalBytes)
		},
	}
}
