package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/internal/folder"
)

const (
	// DefaultMemTableBytes holds most log entries from append to truncation, so that they never reach a sorted table.
	DefaultMemTableBytes = 64 << 20
	// DefaultLogCacheBytes is small because the log is written once and read back from memory: see DefaultRecentBytes.
	DefaultLogCacheBytes = 8 << 20
	// DefaultRecentEntries covers what followers that keep up ask for: a few messages of 64 entries each in flight.
	DefaultRecentEntries = 1024
	// DefaultRecentBytes bounds the same by size, per group.
	DefaultRecentBytes = 8 << 20
)

const (
	memTablesMax      = 4         // memtables in memory before writes wait
	l0CompactAt       = 2         // sublevels of level 0 that start a compaction
	l0StopAt          = 1000      // sublevels that stop writes; the memtables are the real brake
	compactionsMax    = 2         // concurrent compactions
	backgroundSyncs   = 512 << 10 // bytes between the background syncs that keep a foreground sync short
	openFilesMax      = 256
	deletesPerBatch   = 4096 // keys; about 64 KiB of batch
	metaNameLenMax    = 256
	metaValueBytesMax = 64 << 10
)

// ErrStorageClosed is returned by every operation of a closed LogStorage.
var ErrStorageClosed = errors.New("replica: log storage is closed")

// ErrNoMeta is returned by Meta for a name that was never set.
var ErrNoMeta = errors.New("replica: no such member record")

// LogStorageConfig says where the logs of a member rest.
type LogStorageConfig struct {
	// Dir is the folder; it is created if it is missing. Nothing else may live in it.
	Dir string
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// OnFatal is called exactly once, with an error that matches ErrStorageFailed, when a write, a sync or a background task fails:
	// on a broken disk, a full disk, a corrupt file. It should end the process and must neither panic nor call back into
	// the LogStorage, since it may run with locks of the storage held. From then on every operation fails. Nil ends the process by a panic.
	OnFatal func(error)
	// MemTableBytes is the size of one write buffer, of which up to four exist; default DefaultMemTableBytes.
	MemTableBytes uint64
	// CacheBytes is the size of the block cache for all groups; default DefaultLogCacheBytes.
	CacheBytes int64
	// RecentEntries and RecentBytes bound the newest entries that each group keeps in memory for readers;
	// defaults DefaultRecentEntries and DefaultRecentBytes.
	RecentEntries int
	RecentBytes   int64
}

func (c LogStorageConfig) withDefaults() (LogStorageConfig, error) {
	if c.Dir == "" {
		return c, errors.New("replica: LogStorageConfig.Dir is empty")
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = DefaultMemTableBytes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultLogCacheBytes
	}
	if c.RecentEntries == 0 {
		c.RecentEntries = DefaultRecentEntries
	}
	if c.RecentBytes == 0 {
		c.RecentBytes = DefaultRecentBytes
	}
	if c.CacheBytes < 0 || c.RecentEntries < 1 || c.RecentBytes < 1 {
		return c, errors.New("replica: LogStorageConfig has a negative size")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// LogStorage keeps the raft logs, votes and terms of every group of one member, and the member's own identity records, in one
// Pebble, so that one write-ahead log and one set of files serve them all.
//
// What a call acknowledged survives a crash of the process and of the machine. The first error of the disk ends it for good
// (LogStorageConfig.OnFatal): after a failed sync nobody can say what the disk holds, and a second try would only seem to work.
//
// All methods may be called concurrently.
type LogStorage struct {
	cfg    LogStorageConfig
	folder *folder.Folder
	db     *pebble.DB // the folder's

	// life is held for reading by every operation and for writing by Close, so that Pebble is never used after it.
	life   sync.RWMutex
	closed bool

	mu struct {
		sync.Mutex
		groups map[uint32]*GroupLog
	}
}

// OpenLogStorage opens or creates the log storage in cfg.Dir. It fails with ErrLocked if the folder is in use, with
// ErrNewerFormat or ErrNotLogFolder, the folder untouched, if it is not for this version, and with ErrStorageFailed, after a call of
// cfg.OnFatal, if the disk fails meanwhile.
func OpenLogStorage(cfg LogStorageConfig) (*LogStorage, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f, err := folder.Open(folder.Config{
		Name: "log storage", Dir: cfg.Dir, Format: logFormat, FS: cfg.FS, CacheBytes: cfg.CacheBytes, Logger: cfg.Logger, OnFatal: cfg.OnFatal,
	}, cfg.pebbleOptions())
	switch {
	case errors.Is(err, folder.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, fmt.Errorf("replica: open log storage: %w", err)
	}
	s := &LogStorage{cfg: cfg, folder: f, db: f.DB()}
	s.mu.groups = map[uint32]*GroupLog{}
	return s, nil
}

func (c *LogStorageConfig) pebbleOptions() *pebble.Options {
	return &pebble.Options{
		MemTableSize:                c.MemTableBytes,
		MemTableStopWritesThreshold: memTablesMax,
		L0CompactionThreshold:       l0CompactAt,
		L0StopWritesThreshold:       l0StopAt,
		CompactionConcurrencyRange:  func() (int, int) { return 1, compactionsMax },
		MaxOpenFiles:                openFilesMax,
		BytesPerSync:                backgroundSyncs,
		WALBytesPerSync:             backgroundSyncs,
	}
}

// use takes part in life. The caller calls s.life.RUnlock if and only if the error is nil.
func (s *LogStorage) use() error {
	s.life.RLock()
	err := s.folder.Err()
	if err == nil && s.closed {
		err = ErrStorageClosed
	}
	if err != nil {
		s.life.RUnlock()
	}
	return err
}

// commit makes batch visible and, with durable, returns only once the write-ahead log is on disk up to and including it. The batch
// belongs to commit. Every error is a StorageFailedError.
func (s *LogStorage) commit(batch *pebble.Batch, durable bool) error {
	return s.folder.Commit(batch, durable)
}

// get returns a copy of the verified body stored under key, or pebble.ErrNotFound.
func (s *LogStorage) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	body, err := openValue(key, value)
	if err == nil {
		body = append([]byte{}, body...)
	}
	return body, errors.Join(err, closer.Close())
}

// put stores body under key, durably.
func (s *LogStorage) put(key, body []byte) error {
	batch := s.db.NewBatch()
	if err := batch.Set(key, sealValue(key, body), nil); err != nil {
		return err
	}
	return s.commit(batch, true)
}

// Meta returns the member record called name, or ErrNoMeta. The caller owns the bytes.
func (s *LogStorage) Meta(name string) ([]byte, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	body, err := s.get(namedKey(memberGroup, kindMeta, name))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, fmt.Errorf("%w: %q", ErrNoMeta, name)
	case err != nil:
		return nil, &CorruptError{Group: memberGroup, Record: "member record " + name, Reason: err.Error()}
	}
	return body, nil
}

// SetMeta stores value as the member record called name and returns once it is durable. A record holds what the member must
// know before any group starts: its id, its incarnation, how often it was started.
func (s *LogStorage) SetMeta(name string, value []byte) error {
	if len(name) == 0 || len(name) > metaNameLenMax || len(value) > metaValueBytesMax {
		return fmt.Errorf("replica: member record %.32q: name must be 1 to %d bytes, value at most %d", name, metaNameLenMax, metaValueBytesMax)
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return s.put(namedKey(memberGroup, kindMeta, name), value)
}

// Group returns the log of group id, empty if nothing was stored for it. Calls with one id return the same value until
// DropGroup. It reads the ends of the log and reports ErrCorrupt if they do not verify.
func (s *LogStorage) Group(id uint32) (*GroupLog, error) {
	if id == memberGroup {
		return nil, fmt.Errorf("replica: group id %d is reserved", id)
	}
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.mu.groups[id]; ok {
		return g, nil
	}
	g, err := loadGroupLog(s, id)
	if err != nil {
		return nil, err
	}
	s.mu.groups[id] = g
	return g, nil
}

// Groups returns the ids of all groups with anything stored, ascending.
func (s *LogStorage) Groups() (ids []uint32, err error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	iter, err := s.db.NewIter(&pebble.IterOptions{UpperBound: groupPrefix(memberGroup, 0)})
	if err != nil {
		return nil, fmt.Errorf("replica: list groups: %w", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.First(); valid; {
		id := keyGroup(iter.Key())
		ids = append(ids, id)
		valid = iter.SeekGE(groupPrefix(id+1, 0))
	}
	return ids, iter.Error()
}

// DropGroup removes everything of group id, durably. Its GroupLog fails with ErrDropped from then on; the caller has shut
// down the raft instance that used it. To drop a group that does not exist does nothing.
func (s *LogStorage) DropGroup(id uint32) error {
	g, err := s.Group(id)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if g != nil {
		defer g.retire()() // Before life is taken, in the order in which every writer takes its locks.
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.groups, id)
	// The one place where a range deletion is right: rare, and the range never comes back to life in bulk.
	batch := s.db.NewBatch()
	if err := batch.DeleteRange(groupPrefix(id, 0), groupPrefix(id+1, 0), nil); err != nil {
		return fmt.Errorf("replica: drop group %d: %w", id, err)
	}
	return s.commit(batch, true)
}

// LogStorageStats are figures of a LogStorage at one moment.
type LogStorageStats struct {
	DiskBytes     uint64 // all files
	WALBytes      uint64 // of which write-ahead log that is still needed
	MemTableBytes uint64
	L0Sublevels   int32 // sorted runs waiting to be merged; grows when compaction falls behind
}

// Stats returns current figures, zero once the storage failed or closed.
func (s *LogStorage) Stats() LogStorageStats {
	if s.use() != nil {
		return LogStorageStats{}
	}
	defer s.life.RUnlock()
	m := s.db.Metrics()
	return LogStorageStats{
		DiskBytes:     m.DiskSpaceUsage() - m.WAL.PhysicalSize + max(m.WAL.PhysicalSize, m.WAL.Size), // The file in use is not in PhysicalSize.
		WALBytes:      m.WAL.Size,
		MemTableBytes: m.MemTable.Size,
		L0Sublevels:   m.Levels[0].Sublevels,
	}
}

// Close waits for running operations and closes the folder. The raft instances that use it have been shut down before.
// After a failure it returns the failure and, unless it is only that something does not verify, leaves the folder locked until the
// process ends, so that nobody opens what goroutines of the failed storage may still write. A second Close returns what the
// first one did.
func (s *LogStorage) Close() error {
	if !s.folder.Sound() {
		return s.folder.Close() // A reader may wait for a lock inside the failed Pebble, so life is not waited for.
	}
	s.life.Lock()
	defer s.life.Unlock()
	s.closed = true
	return s.folder.Close()
}
