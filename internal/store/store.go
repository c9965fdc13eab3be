package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/folder"
)

const (
	// DefaultMemTableBytes lets a burst of a few hundred thousand changes reach
	// the disk as the write-ahead log only; up to memTablesMax of them exist.
	DefaultMemTableBytes = 64 << 20
	// DefaultCacheBytes is small because the store is read once, at a cold start;
	// what is read through is cached by the grid itself.
	DefaultCacheBytes = 64 << 20
	// DefaultReserveBytes is the free disk space below which transactions are
	// refused: room for the memtables, for a compaction and for the raft logs
	// beside the store.
	DefaultReserveBytes = 512 << 20
)

const (
	memTablesMax    = 4
	l0CompactAt     = 4         // sublevels of level 0 that start a compaction
	l0StopAt        = 24        // sublevels that stop writes: the pump's backlog is the buffer, not the disk
	compactionsMax  = 2         // at once
	bloomBits       = 10        // per key: one lookup in a hundred of an absent key reads a block
	blockBytes      = 32 << 10  // large blocks suit the whole-partition scan of a cold start
	backgroundSyncs = 512 << 10 // bytes between background syncs, which keep a foreground sync short
	openFilesMax    = 512
	// reserveChecks is how many times the disk's free space is looked at while
	// a reserve is used up.
	reserveChecks = 16
)

// Config says where a store rests.
type Config struct {
	// Dir is the folder; it is created if it is missing. Nothing else may live
	// in it.
	Dir string
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// OnFatal is called once, with an error that matches ErrFailed, when a write,
	// a sync or background work fails. It should end the process, and must not
	// call the store. Nil panics instead.
	OnFatal func(error)
	// ReadOnly opens an existing store without changing it.
	ReadOnly bool
	// Partitions is the partition count of the grid. It is recorded when the
	// store is created and never changes; another one is refused. 0 takes what
	// is recorded.
	Partitions int
	// MemTableBytes is the size of one write buffer; default DefaultMemTableBytes.
	MemTableBytes uint64
	// CacheBytes is the size of the block cache; default DefaultCacheBytes.
	CacheBytes int64
	// ReserveBytes of disk stay free; default DefaultReserveBytes, negative
	// reserves nothing.
	ReserveBytes int64
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("store: Config.Dir is empty")
	}
	if c.Partitions < 0 || c.Partitions > space.MaxPartitions {
		return c, fmt.Errorf("store: Config.Partitions is %d, want 0 to %d", c.Partitions, space.MaxPartitions)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = DefaultMemTableBytes
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = DefaultReserveBytes
	}
	return c, nil
}

// ErrClosed is returned by every operation of a closed Store.
var ErrClosed = errors.New("store: closed")

// Store is the open system of record. All methods may be called concurrently.
type Store struct {
	cfg        Config
	folder     *folder.Folder
	db         *pebble.DB // the folder's
	partitions int

	// life counts who uses db, so that Close can wait for them.
	life struct {
		sync.Mutex
		users  sync.WaitGroup
		closed bool // nobody is added any more
	}
	closing  sync.Once
	closeErr error

	// writing admits one transaction at a time: what it read stays true until
	// it has committed. It is held during the sync; writers come in batches.
	writing struct {
		sync.Mutex
		unchecked int64 // bytes written since the free space was last looked at
		full      bool
	}
}

// Open opens or creates the store in cfg.Dir. It fails with ErrLocked if the
// folder is in use; with ErrNewerFormat, ErrNotStore or ErrPartitions, nothing
// changed, if it is not for this program or this grid; with ErrDamaged if what was
// written is not there; and with ErrFailed, after a call of cfg.OnFatal, if the disk
// fails meanwhile. It takes the time of replaying the write-ahead log.
func Open(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	quiet, opened := folder.UntilOpen(cfg.OnFatal)
	cfg.OnFatal = quiet
	f, err := cfg.openFolder()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, folder: f, db: f.DB()}
	s.writing.unchecked = cfg.ReserveBytes // look at the disk first
	if err := s.prepare(); err != nil {
		if corrupt, ok := errors.AsType[*CorruptError](err); ok {
			err = errors.Join(err, f.Damaged(corrupt))
		}
		if errors.Is(f.Err(), folder.ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, errors.Join(err, s.Close())
	}
	opened()
	return s, nil
}

// prepare settles the partition count and removes what unfinished replacements
// left behind.
func (s *Store) prepare() error {
	if err := s.settlePartitions(); err != nil {
		return err
	}
	if s.cfg.ReadOnly {
		return nil
	}
	return s.sweep()
}

// Partitions returns the partition count recorded in the store, 0 if none is.
func (s *Store) Partitions() int { return s.partitions }

// use takes part in life. The caller calls s.life.users.Done if and only if the
// error is nil.
func (s *Store) use() error {
	s.life.Lock()
	defer s.life.Unlock()
	if err := s.folder.Err(); err != nil {
		return err
	}
	if s.life.closed {
		return ErrClosed
	}
	s.life.users.Add(1)
	return nil
}

// Close waits for what is under way, open snapshots included, and releases the
// folder. It is safe to call twice. A store that failed keeps its lock until the
// process ends.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.life.Lock()
		s.life.closed = true
		s.life.Unlock()
		if !s.folder.Sound() {
			_ = s.folder.Close() // the owner was told; a goroutine may be parked in the failed Pebble for good
			return
		}
		s.life.users.Wait()
		if err := s.folder.Close(); err != nil {
			s.closeErr = fmt.Errorf("store: %w", err)
		}
	})
	return s.closeErr
}

// Metrics returns Pebble's own account of its levels, caches and stalls, for
// people.
func (s *Store) Metrics() (string, error) {
	if err := s.use(); err != nil {
		return "", err
	}
	defer s.life.users.Done()
	return s.db.Metrics().String(), nil
}
