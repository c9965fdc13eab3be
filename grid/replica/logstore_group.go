package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

var (
	// ErrLogGap is returned for an append that would not continue the log, and for a deletion inside it: a log has no holes.
	ErrLogGap = errors.New("replica: log would have a hole")
	// ErrDropped is returned by a GroupLog whose group was dropped.
	ErrDropped = errors.New("replica: group was dropped")
)

var (
	_ raft.LogStore               = (*GroupLog)(nil)
	_ raft.MonotonicLogStore      = (*GroupLog)(nil)
	_ raft.CommitTrackingLogStore = (*GroupLog)(nil)
	_ raft.StableStore            = (*GroupLog)(nil)
)

// GroupLog is the durable log of one group, and its durable term and vote: a raft.LogStore and raft.StableStore over the
// LogStorage of the member.
//
// The log is one run of consecutive indexes, first to last. StoreLogs appends to it and returns once the entries are on disk.
// The newest entries are also kept in memory, where replication and Apply find them; only a follower that is far behind
// makes GetLog read from Pebble.
//
// Raft calls it from its main goroutine (append, cut the tail), from its snapshot goroutine (cut the front) and from one
// goroutine per follower (read). Writers take turns on write, which is held while the disk works; readers only need mu.
type GroupLog struct {
	stableStore

	write   sync.Mutex // one writer at a time; taken before mu
	dropped bool       // guarded by write

	mu struct {
		sync.RWMutex
		first, last uint64 // 0, 0 when the log is empty
		recent      entryRing
		commit      uint64 // as stored with the newest entry
		staged      uint64 // to be stored with the next entries, if hasStaged
		hasStaged   bool
		covered     uint64 // index of the snapshot that raft starts from: see AlignLog
	}
}

// loadGroupLog reads the ends of the log of group id.
func loadGroupLog(s *LogStorage, id uint32) (g *GroupLog, err error) {
	g = &GroupLog{stableStore: stableStore{storage: s, group: id}}
	if err := g.loadVote(); err != nil {
		return nil, err
	}
	first, err := g.loadFirst()
	if err != nil || first == 0 {
		return g, err
	}
	// The lower bound keeps the search away from the deletion marks of what was truncated before.
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: logKey(id, first), UpperBound: groupPrefix(id, kindLog+1)})
	if err != nil {
		return nil, fmt.Errorf("replica: open log of group %d: %w", id, err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	if !iter.First() || keyIndex(iter.Key()) != first {
		return nil, errors.Join(g.corrupt(first, "first entry is missing"), iter.Error())
	}
	if !iter.Last() {
		return nil, fmt.Errorf("replica: open log of group %d: %w", id, iter.Error())
	}
	last := keyIndex(iter.Key())
	newest, err := g.decode(iter.Key(), iter.Value())
	if err != nil {
		return nil, err
	}
	g.mu.first, g.mu.last, g.mu.commit = first, last, min(newest.commit, last)
	return g, nil
}

// loadFirst returns the stored index of the first entry, 0 for an empty log.
func (g *GroupLog) loadFirst() (uint64, error) {
	body, err := g.storage.get(groupPrefix(g.group, kindFirst))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err == nil && len(body) != 8:
		err = errEntryTruncated
	}
	if err != nil {
		return 0, &CorruptError{Group: g.group, Record: "first index", Reason: err.Error()}
	}
	return binary.BigEndian.Uint64(body), nil
}

// FirstIndex returns the index of the oldest entry, 0 if there is none.
func (g *GroupLog) FirstIndex() (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mu.first, nil
}

// LastIndex returns the index of the newest entry, 0 if there is none.
func (g *GroupLog) LastIndex() (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mu.last, nil
}

// IsMonotonic tells raft that the log has no holes, so that it empties the log after installing a snapshot.
func (g *GroupLog) IsMonotonic() bool { return true }

// GetLog fills log with the entry at index, or returns raft.ErrLogNotFound. An entry that is lost or does not verify is a
// CorruptError and the end of the storage: see LogStorage.Damaged. The bytes of log may be shared with other readers and must
// not be changed.
func (g *GroupLog) GetLog(index uint64, log *raft.Log) error {
	return g.storage.ended(g.read(index, log))
}

func (g *GroupLog) read(index uint64, log *raft.Log) error {
	held, err := g.recentEntry(index, log)
	if held || err != nil {
		return err
	}
	if err := g.storage.use(); err != nil {
		return err
	}
	defer g.storage.life.RUnlock()
	key := logKey(g.group, index)
	value, closer, err := g.storage.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		// Truncated since we looked, or lost.
		if _, err := g.recentEntry(index, log); err != nil {
			return err
		}
		return g.corrupt(index, "entry is missing")
	}
	if err != nil {
		return fmt.Errorf("replica: read log of group %d: %w", g.group, g.storage.unreadable(err))
	}
	e, err := g.decode(key, value)
	*log = e.Log
	return errors.Join(err, closer.Close())
}

// recentEntry fills log if the entry is in memory. The error is raft.ErrLogNotFound if it is outside of the log.
func (g *GroupLog) recentEntry(index uint64, log *raft.Log) (held bool, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if index == 0 || index < g.mu.first || index > g.mu.last {
		return false, raft.ErrLogNotFound
	}
	return g.mu.recent.get(index, log), nil
}

func (g *GroupLog) decode(key, value []byte) (storedEntry, error) {
	index := keyIndex(key)
	body, err := openValue(key, value)
	if err != nil {
		return storedEntry{}, g.corrupt(index, err.Error())
	}
	e, err := decodeEntryBody(body)
	if err != nil {
		return storedEntry{}, g.corrupt(index, err.Error())
	}
	e.Index = index
	return e, nil
}

func (g *GroupLog) corrupt(index uint64, reason string) error {
	return &CorruptError{Group: g.group, Index: index, Record: "log entry", Reason: reason}
}

// StoreLog is StoreLogs of one entry.
func (g *GroupLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends logs and returns once they are on disk: all of them or, after a crash, none. They must continue the log
// (any first index will do for an empty one), else ErrLogGap. The entries' bytes are kept in memory and must not change
// afterwards.
func (g *GroupLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	done, err := g.beginWrite()
	if err != nil {
		return err
	}
	defer done()
	if err := checkContinues(g.mu.last, logs); err != nil { // Only writers change it, so no lock is needed to read it.
		return fmt.Errorf("%w: group %d: %w", ErrLogGap, g.group, err)
	}
	newest := logs[len(logs)-1].Index
	commit := g.commitFor(newest)
	batch, err := g.appendBatch(logs, commit)
	if err != nil {
		return err
	}
	if err := g.storage.commit(batch, true); err != nil {
		return err
	}
	g.publishAppend(logs, commit)
	return nil
}

// beginWrite takes the writer's turn and returns what ends it.
func (g *GroupLog) beginWrite() (done func(), err error) {
	g.write.Lock()
	if g.dropped {
		err = fmt.Errorf("%w: %d", ErrDropped, g.group)
	} else {
		err = g.storage.use()
	}
	if err != nil {
		g.write.Unlock()
		return nil, err
	}
	return func() { g.storage.life.RUnlock(); g.write.Unlock() }, nil
}

// checkContinues reports whether logs are consecutive and follow last.
func checkContinues(last uint64, logs []*raft.Log) error {
	next := last + 1
	if last == 0 {
		next = max(logs[0].Index, 1)
	}
	for _, log := range logs {
		if log.Index != next {
			return fmt.Errorf("index %d where %d must follow", log.Index, next)
		}
		next++
	}
	return nil
}

// commitFor returns the commit index to store with entries up to newest: the staged one, never above the entries themselves.
func (g *GroupLog) commitFor(newest uint64) uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.mu.hasStaged {
		return min(g.mu.staged, newest)
	}
	return g.mu.commit
}

func (g *GroupLog) appendBatch(logs []*raft.Log, commit uint64) (*pebble.Batch, error) {
	batch := g.storage.db.NewBatch()
	if g.mu.last == 0 {
		if err := g.setFirst(batch, logs[0].Index); err != nil {
			return nil, err
		}
	}
	for _, log := range logs {
		e := storedEntry{Log: *log, commit: commit}
		op := batch.SetDeferred(logKeyLen, checksumLen+entryBodyLen(&e))
		copy(op.Key, logKey(g.group, log.Index))
		putEntryValue(op.Value, op.Key, &e)
		if err := op.Finish(); err != nil {
			return nil, fmt.Errorf("replica: append to log of group %d: %w", g.group, err)
		}
	}
	return batch, nil
}

func (g *GroupLog) setFirst(batch *pebble.Batch, index uint64) error {
	key := groupPrefix(g.group, kindFirst)
	return batch.Set(key, sealValue(key, binary.BigEndian.AppendUint64(nil, index)), nil)
}

func (g *GroupLog) publishAppend(logs []*raft.Log, commit uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.first == 0 {
		g.mu.first = logs[0].Index
	}
	g.mu.last = logs[len(logs)-1].Index
	g.mu.commit, g.mu.hasStaged = commit, false
	for _, log := range logs {
		g.mu.recent.push(log)
	}
	g.mu.recent.evict(g.storage.cfg.RecentEntries, g.storage.cfg.RecentBytes)
}

// StageCommitIndex keeps index to be stored, atomically, with the entries of the next StoreLogs.
func (g *GroupLog) StageCommitIndex(index uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.staged, g.mu.hasStaged = index, true
	return nil
}

// CommittedIndex returns the commit index stored with the newest entry, 0 if there is none, never above LastIndex. All entries up
// to it were committed.
func (g *GroupLog) CommittedIndex() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return min(g.mu.commit, g.mu.last)
}

// GetCommitIndex returns the index up to which raft may apply entries while it starts: CommittedIndex, or less where raft would
// go wrong: see AlignLog, which comes first, and restorableCommit.
func (g *GroupLog) GetCommitIndex() (uint64, error) {
	g.mu.RLock()
	covered := g.mu.covered
	g.mu.RUnlock()
	return restorableCommit(g, covered, g.CommittedIndex())
}

func (g *GroupLog) setCovered(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.covered = index
}

// DeleteRange removes the entries from lo to hi, both included, which must reach one end of the log; beyond the ends it is
// ignored. Entries are deleted one by one in bounded batches, front to back when the front goes and back to front when the tail
// goes, so that after a crash in between the log is still one run. A cut at the front is not waited for: if a crash
// undoes it, older entries are back that a snapshot covers anyway. A cut of the tail is durable on return.
func (g *GroupLog) DeleteRange(lo, hi uint64) error {
	done, err := g.beginWrite()
	if err != nil {
		return err
	}
	defer done()
	first, last := g.mu.first, g.mu.last
	lo, hi = max(lo, first), min(hi, last)
	switch {
	case last == 0 || lo > hi:
		return nil
	case lo == first:
		g.publishFrontCut(hi)
		return g.deleteFront(lo, hi, hi == last)
	case hi == last:
		g.publishTailCut(lo)
		return g.deleteTail(lo, hi)
	}
	return fmt.Errorf("%w: group %d: delete %d to %d of %d to %d", ErrLogGap, g.group, lo, hi, first, last)
}

// publishFrontCut hides the entries up to hi from readers before they vanish from Pebble, so that a reader who misses one
// can tell a truncated entry from a lost one.
func (g *GroupLog) publishFrontCut(hi uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.recent.dropThrough(hi)
	g.mu.first = hi + 1
	if hi == g.mu.last {
		g.mu.first, g.mu.last, g.mu.commit = 0, 0, 0
	}
}

// publishTailCut does the same for the entries from lo, which is above first.
func (g *GroupLog) publishTailCut(lo uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.recent.dropFrom(lo)
	g.mu.last = lo - 1
	g.mu.commit = min(g.mu.commit, g.mu.last)
}

// deleteFront deletes lo to hi upwards. With all, hi is the last entry and nothing remains.
func (g *GroupLog) deleteFront(lo, hi uint64, all bool) error {
	for from := lo; from <= hi; from += deletesPerBatch {
		to := min(hi, from+deletesPerBatch-1)
		batch, err := g.deleteBatch(from, to)
		if err != nil {
			return err
		}
		if all && to == hi {
			err = batch.Delete(groupPrefix(g.group, kindFirst), nil)
		} else {
			err = g.setFirst(batch, to+1)
		}
		if err != nil {
			return fmt.Errorf("replica: truncate log of group %d: %w", g.group, err)
		}
		if err := g.storage.commit(batch, all && to == hi); err != nil {
			return err
		}
	}
	return nil
}

// deleteTail deletes lo to hi, the last entry, downwards. The sync of the last batch covers the others.
func (g *GroupLog) deleteTail(lo, hi uint64) error {
	for to := hi; ; to -= deletesPerBatch {
		from := lo
		if to-lo >= deletesPerBatch {
			from = to - deletesPerBatch + 1
		}
		batch, err := g.deleteBatch(from, to)
		if err != nil {
			return err
		}
		if err := g.storage.commit(batch, from == lo); err != nil || from == lo {
			return err
		}
	}
}

func (g *GroupLog) deleteBatch(from, to uint64) (*pebble.Batch, error) {
	batch := g.storage.db.NewBatch()
	for index := from; index <= to; index++ {
		if err := batch.Delete(logKey(g.group, index), nil); err != nil {
			return nil, fmt.Errorf("replica: truncate log of group %d: %w", g.group, err)
		}
	}
	return batch, nil
}

// retire makes every later write fail with ErrDropped, empties the log for readers, and keeps writers out until the returned
// function is called.
func (g *GroupLog) retire() (release func()) {
	g.write.Lock()
	g.dropped = true
	g.stableStore.retire()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.first, g.mu.last, g.mu.commit = 0, 0, 0
	g.mu.recent = entryRing{}
	return g.write.Unlock
}
