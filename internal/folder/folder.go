package folder

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says which folder, and whose.
type Config struct {
	// Name says in log lines and failures what the folder holds, like "store".
	Name string
	// Dir is the folder; it is created if it is missing, with its parents.
	// Nothing else may live in it.
	Dir string
	// Format is what the folder must hold.
	Format Format
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// ReadOnly opens what exists and changes nothing.
	ReadOnly bool
	// CacheBytes is the size of Pebble's block cache.
	CacheBytes int64
	// Logger gets what an operator should know.
	Logger *slog.Logger
	// OnFatal is called once, with a *FailedError, when a write, a sync or
	// background work fails. It should end the process, and must neither panic
	// nor call the folder, whose locks may be held. Nil ends the process by a
	// panic.
	OnFatal func(error)
}

// Folder is an open Pebble. All methods may be called concurrently.
type Folder struct {
	db      *pebble.DB
	cache   *pebble.Cache
	lock    *pebble.Lock
	failure *failure
	ledger  *ledger // nil: opened for reading only

	closing  sync.Once
	closeErr error
}

// Open opens or creates the folder. options carries what the owner tunes; file
// system, lock, cache and reports are filled in here. It fails with ErrLocked,
// ErrNewerFormat or ErrForeign, the folder as it was; with a DamagedError, the
// folder marked, see SetAside; and with ErrFailed, after a call of cfg.OnFatal, if
// the disk fails meanwhile. It takes the time of reading and replaying the
// write-ahead log.
func Open(cfg Config, options *pebble.Options) (*Folder, error) {
	native := cfg.FS == nil
	if native {
		cfg.FS = vfs.Default
	}
	lock, was, err := claimFolder(cfg.FS, &cfg)
	if err != nil {
		return nil, err
	}
	f := &Folder{lock: lock, cache: pebble.NewCache(cfg.CacheBytes), failure: newFailure(&cfg)}
	if !cfg.ReadOnly {
		f.ledger, err = openLedger(cfg.FS, cfg.Dir, was.claims, was.seq, f.failure.fail)
		if err != nil {
			f.cache.Unref()
			return nil, errors.Join(fmt.Errorf("folder: open %s: %w", cfg.Dir, err), lock.Close())
		}
	}
	options.FS = &guardedFS{FS: cfg.FS, failure: f.failure, ledger: f.ledger}
	options.Lock, options.Cache, options.ReadOnly = lock, f.cache, cfg.ReadOnly
	options.Logger, options.EventListener = f.failure, f.failure.events()
	options.FormatMajorVersion = pebble.FormatNewest
	// Where there was a database, one that begins anew would hide that it is gone.
	options.ErrorIfNotExists = was.version > 0
	if native {
		options.WithFSDefaults() // watches the operating system's files for slow calls
	}
	if f.db, err = f.openPebble(cfg.Dir, options); err != nil {
		if !f.Sound() {
			// Goroutines of the failed Pebble may still write: the lock stays
			// until the process ends.
			return nil, errors.Join(f.Err(), f.endLedger())
		}
		f.cache.Unref()
		return nil, errors.Join(f.endLedger(), cfg.damage(cfg.FS, err), lock.Close())
	}
	if damage := f.Err(); damage != nil {
		return nil, errors.Join(&DamagedError{Name: cfg.Name, Dir: cfg.Dir, Cause: damage}, f.Close())
	}
	if was.version != cfg.Format.Version && !cfg.ReadOnly {
		if err := f.settle(&cfg, was.version); err != nil {
			return nil, errors.Join(fmt.Errorf("folder: create %s: %w", cfg.Dir, err), f.Close())
		}
	}
	return f, nil
}

// settle makes the folder one of its format, after it was created or written by an
// older version.
func (f *Folder) settle(cfg *Config, version int) error {
	if version > 0 {
		if err := cfg.Format.write(cfg.FS, cfg.Dir); err != nil {
			return err
		}
		if err := f.ledger.removing(cfg.Format.File); err != nil {
			return err
		}
	}
	if err := cfg.Format.finish(cfg.FS, cfg.Dir); err != nil {
		return err
	}
	return f.ledger.holds(cfg.Format.File, []byte(cfg.Format.text()))
}

func (f *Folder) endLedger() error {
	if f.ledger == nil {
		return nil
	}
	return f.ledger.close(f.Err() != nil)
}

// openPebble calls Pebble on a goroutine of its own, which never returns if
// Pebble meets something fatal. Damage may make it panic; what it leaves behind
// then is not known, so that ends the folder.
func (f *Folder) openPebble(dir string, options *pebble.Options) (*pebble.DB, error) {
	var db *pebble.DB // not looked at after an error: Pebble may still be opening
	err := f.released(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: opening panics: %v", ErrDamaged, r)
				f.failure.fail(err)
				f.failure.leave()
			}
		}()
		db, err = pebble.Open(dir, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// released runs call, which uses Pebble, and returns its error; or the failure of
// the folder as soon as there is one that is more than damage, which leaves call
// behind: Pebble may have parked it for good, and the caller must be able to stop.
func (f *Folder) released(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-f.failure.unsound:
		return f.Err()
	}
}

// DB returns the database, for reading and for making batches. Its own writing
// methods would not report a failure; see Commit.
func (f *Folder) DB() *pebble.DB { return f.db }

// Err returns the failure that ended the folder, nil while there is none.
func (f *Folder) Err() error { return f.failure.err() }

// Sound reports whether nothing more is wrong with a folder that failed than that
// something in it is damaged: Pebble runs, and Close closes it.
func (f *Folder) Sound() bool { return !f.failure.left() }

// Fail ends the folder, because a disk that it depends on has failed.
func (f *Folder) Fail(cause error) { f.failure.fail(cause) }

// Damaged ends the folder, as a failure of the disk does, because something that
// was read from it does not verify, and marks it as damaged.
func (f *Folder) Damaged(cause error) error {
	f.failure.fail(fmt.Errorf("%w: %w", ErrDamaged, cause))
	return f.Err()
}

// Commit applies batch and, with sync, returns once the write-ahead log is on
// disk up to and including it. The batch belongs to Commit from here on. Every
// error is a *FailedError, and then the batch may or may not be on disk.
func (f *Folder) Commit(batch *pebble.Batch, sync bool) error {
	if err := f.Err(); err != nil {
		return err
	}
	if err := f.released(func() error { return apply(f.db, batch, sync) }); err != nil {
		f.failure.fail(err)
	}
	// A failure in the background meanwhile: what it concerns is not known, so
	// this write is not acknowledged either.
	return f.Err()
}

// apply reports as an error both what Pebble returns and what it panics with
// when its log cannot be written. The wait for the sync is a call of its own
// because it returns the error; the ordinary commit hands it to Fatalf.
func apply(db *pebble.DB, batch *pebble.Batch, sync bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if !sync {
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

// Close closes Pebble and gives up the lock. Whoever used the folder has ended.
// After a failure it returns the failure, and unless Sound leaves the folder locked
// until the process ends, so that nobody opens what goroutines of the failed Pebble
// may still write. A later Close returns what the first one did.
func (f *Folder) Close() error {
	f.closing.Do(func() {
		var err error
		if f.Sound() {
			err = f.released(f.db.Close)
		}
		if !f.Sound() {
			f.closeErr = errors.Join(f.Err(), f.endLedger())
			return
		}
		f.cache.Unref()
		if err = errors.Join(f.Err(), err, f.endLedger(), f.lock.Close()); err != nil {
			f.closeErr = fmt.Errorf("folder: close: %w", err)
		}
	})
	return f.closeErr
}
