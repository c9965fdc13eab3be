package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// ErrFailed is matched by what every operation returns after the disk failed
// once: what it holds is unknown until the folder is opened again.
var ErrFailed = errors.New("store: the disk failed (end the process, check the disk, start again)")

// breakdown turns the first failure into one call of the owner and refuses
// everything after it. It is also Pebble's logger, because that is where Pebble
// reports what it cannot continue from.
type breakdown struct {
	log     *slog.Logger
	onFatal func(error)
	first   atomic.Pointer[error]
	happens chan struct{} // closed once first is set
}

func newBreakdown(log *slog.Logger, onFatal func(error)) *breakdown {
	return &breakdown{log: log, onFatal: onFatal, happens: make(chan struct{})}
}

// fail records a failure and returns the first one. Without an owner to tell it
// panics: going on would acknowledge what may not be on disk.
func (b *breakdown) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !b.first.CompareAndSwap(nil, &err) {
		return *b.first.Load()
	}
	close(b.happens)
	if b.onFatal == nil {
		panic(err)
	}
	b.onFatal(err)
	return err
}

func (b *breakdown) err() error {
	if e := b.first.Load(); e != nil {
		return *e
	}
	return nil
}

// Infof implements pebble.Logger.
func (b *breakdown) Infof(format string, args ...any) {
	b.log.Debug("store: " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (b *breakdown) Errorf(format string, args ...any) {
	b.log.Error("store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. If it returned, Pebble would go on, and might
// remove files that the state on disk still needs. So the goroutine stays here
// until the process, whose owner has been told, is gone.
func (b *breakdown) Fatalf(format string, args ...any) {
	b.fail(fmt.Errorf(format, args...))
	select {}
}

// events watches Pebble's background work. A flush or compaction that fails
// would be retried for ever; it ends the store like any other failed write.
func (b *breakdown) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { b.fail(fmt.Errorf("background work: %w", err)) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { b.fail(fmt.Errorf("%v", info)) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			b.log.Warn("store: disk is slow", "path", info.Path, "operation", info.OpType.String(), "duration", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			b.log.Warn("store: writes wait for compaction", "reason", info.Reason)
		},
		WriteStallEnd: func() { b.log.Info("store: writes go on") },
	}
}

// commit writes a batch and, if sync, returns once it is on disk. Pebble is
// called on a goroutine of its own, which is left behind if it ends up parked in
// Fatalf: the caller must be able to stop. After an error the batch may still be
// in use and must not be touched.
func (b *breakdown) commit(db *pebble.DB, batch *pebble.Batch, sync bool) error {
	if err := b.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- apply(db, batch, sync) }()
	select {
	case err := <-done:
		if err != nil {
			return b.fail(err)
		}
		return b.err()
	case <-b.happens:
		return b.err()
	}
}

// apply reports as an error both what Pebble returns and what it panics with
// when its log cannot be written. The wait for the sync is a call of its own
// because it returns the error; the ordinary commit hands it to Fatalf.
func apply(db *pebble.DB, batch *pebble.Batch, sync bool) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			if errors.Is(r, ErrFailed) {
				panic(r) // on its way out of a store that nobody watches
			}
			err = fmt.Errorf("commit: %w", r)
		default:
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if !sync {
		return db.Apply(batch, pebble.NoSync)
	}
	if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	return batch.SyncWait()
}
