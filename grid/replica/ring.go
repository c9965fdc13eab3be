package replica

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// DefaultRingBytes bounds the log of a group that is kept in memory only.
const DefaultRingBytes = 256 << 20

// ErrRingFull is returned by Ring.StoreLogs when the log would exceed its bound. Nothing has been stored; take a snapshot, so
// that raft truncates the log.
var ErrRingFull = errors.New("replica: log in memory is full; a snapshot must truncate it first")

var (
	_ raft.LogStore               = (*Ring)(nil)
	_ raft.MonotonicLogStore      = (*Ring)(nil)
	_ raft.CommitTrackingLogStore = (*Ring)(nil)
)

// Ring is the log of a group with memory durability: a raft.LogStore that a restart loses. A member that lost it must come back
// under a new identity and be caught up by the others. Term and vote are kept elsewhere, because losing those breaks the
// agreement of the others too: in the GroupLog of the same group when the member has a folder, else in a MemoryStable.
//
// The log is bounded by bytes and only raft truncates it, after a snapshot, since only raft knows what followers still need.
// So the owner watches Bytes and takes a snapshot well below Limit (a half leaves room for what arrives meanwhile), and keeps
// raft's TrailingLogs small enough that so many of the largest entries fit into the other half. At the bound StoreLogs
// refuses: a leader steps down, a follower stops following until it has truncated. A log that is empty takes any entry.
//
// All methods may be called concurrently.
type Ring struct {
	limit int64

	mu struct {
		sync.RWMutex
		entries   entryRing
		commit    uint64
		staged    uint64
		hasStaged bool
		covered   uint64 // index of the snapshot that raft starts from: see AlignLog
	}
}

// NewRing returns an empty log of at most limit bytes, overhead of the entries included; 0 means DefaultRingBytes.
func NewRing(limit int64) *Ring {
	if limit <= 0 {
		limit = DefaultRingBytes
	}
	return &Ring{limit: limit}
}

// Bytes returns the memory that the entries take.
func (r *Ring) Bytes() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.entries.bytes
}

// Limit returns the bound on Bytes.
func (r *Ring) Limit() int64 { return r.limit }

// FirstIndex returns the index of the oldest entry, 0 if there is none.
func (r *Ring) FirstIndex() (uint64, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.entries.first(), nil
}

// LastIndex returns the index of the newest entry, 0 if there is none.
func (r *Ring) LastIndex() (uint64, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.entries.last(), nil
}

// IsMonotonic tells raft that the log has no holes, so that it empties the log after installing a snapshot.
func (r *Ring) IsMonotonic() bool { return true }

// GetLog fills log with the entry at index, or returns raft.ErrLogNotFound. The bytes of log are shared with all readers and must
// not be changed.
func (r *Ring) GetLog(index uint64, log *raft.Log) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.mu.entries.get(index, log) {
		return raft.ErrLogNotFound
	}
	return nil
}

// StoreLog is StoreLogs of one entry.
func (r *Ring) StoreLog(log *raft.Log) error { return r.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends logs, all or none. They must continue the log (any first index will do for an empty one), else ErrLogGap;
// they must fit, else ErrRingFull. The entries' bytes are kept and must not change afterwards.
func (r *Ring) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	var added int64
	for _, log := range logs {
		added += entryBytes(log)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := checkContinues(r.mu.entries.last(), logs); err != nil {
		return fmt.Errorf("%w: %w", ErrLogGap, err)
	}
	if held := r.mu.entries.bytes; held > 0 && held+added > r.limit {
		return fmt.Errorf("%w: %d bytes held, %d more, limit %d", ErrRingFull, held, added, r.limit)
	}
	for _, log := range logs {
		r.mu.entries.push(log)
	}
	if r.mu.hasStaged {
		r.mu.commit, r.mu.hasStaged = min(r.mu.staged, r.mu.entries.last()), false
	}
	return nil
}

// StageCommitIndex keeps index to take effect with the next StoreLogs.
func (r *Ring) StageCommitIndex(index uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.staged, r.mu.hasStaged = index, true
	return nil
}

// CommittedIndex returns the commit index of the last StoreLogs, never above LastIndex.
func (r *Ring) CommittedIndex() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return min(r.mu.commit, r.mu.entries.last())
}

// GetCommitIndex is GroupLog.GetCommitIndex, for a raft instance that is restarted within the process.
func (r *Ring) GetCommitIndex() (uint64, error) {
	r.mu.RLock()
	covered := r.mu.covered
	r.mu.RUnlock()
	return restorableCommit(r, covered, r.CommittedIndex())
}

func (r *Ring) setCovered(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.covered = index
}

// DeleteRange removes the entries from lo to hi, both included, which must reach one end of the log; beyond the ends it is
// ignored.
func (r *Ring) DeleteRange(lo, hi uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, last := r.mu.entries.first(), r.mu.entries.last()
	lo, hi = max(lo, first), min(hi, last)
	switch {
	case last == 0 || lo > hi:
	case lo == first:
		r.mu.entries.dropThrough(hi)
	case hi == last:
		r.mu.entries.dropFrom(lo)
	default:
		return fmt.Errorf("%w: delete %d to %d of %d to %d", ErrLogGap, lo, hi, first, last)
	}
	r.mu.commit = min(r.mu.commit, r.mu.entries.last())
	return nil
}
