package replica

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// GroupStorage is where one group's log, vote and snapshots rest on a member.
// DiskStorage and MemoryStorage make one.
type GroupStorage struct {
	log       alignedLog
	ring      *Ring // log, if it is in memory
	stable    raft.StableStore
	snapshots SnapshotStore
}

// DiskStorage keeps all of group in files: the log and the vote in logs, the
// snapshots in the folder that snapshots names, which is the group's own. What
// is acknowledged has been synced by a majority.
func DiskStorage(logs *LogStorage, snapshots SnapshotStoreConfig, group uint32) (GroupStorage, error) {
	log, err := logs.Group(group)
	if err != nil {
		return GroupStorage{}, err
	}
	snapshots.published = log.noteCovered
	if snapshots.OnFatal == nil {
		snapshots.OnFatal = logs.folder.Fail // Nothing is acknowledged any more, and the owner of the logs is told.
	}
	store, err := OpenSnapshotStore(snapshots)
	if err != nil {
		return GroupStorage{}, err
	}
	return GroupStorage{log: log, stable: log, snapshots: store}, nil
}

// MemoryStorageConfig says what a group in memory may take.
type MemoryStorageConfig struct {
	// Votes keeps the term and the vote over a restart, where the member has a
	// folder. Without it a restarted process cannot know whether it has voted,
	// and nobody but the owner can see to it that it uses another incarnation.
	Votes *LogStorage
	// LogBytes bounds the log; default DefaultRingBytes.
	LogBytes int64
	// SnapshotBytes bounds a snapshot; default DefaultSnapshotBytes.
	SnapshotBytes int64
}

// MemoryStorage keeps the log and the newest snapshot of group in memory. What
// is acknowledged is held by a majority, and lost with a majority of processes.
func MemoryStorage(cfg MemoryStorageConfig, group uint32) (GroupStorage, error) {
	ring := NewRing(cfg.LogBytes)
	s := GroupStorage{log: ring, ring: ring, snapshots: NewMemorySnapshotStore(cfg.SnapshotBytes), stable: NewMemoryStable()}
	if cfg.Votes != nil {
		votes, err := cfg.Votes.Group(group)
		if err != nil {
			return GroupStorage{}, err
		}
		s.stable = votes
	}
	return s, nil
}

// Names of what is kept beside raft's own in the stable store.
var (
	selfName = []byte("Self")        // the server id under which this storage is written
	termName = []byte("CurrentTerm") // raft's
)

// empty tells whether there is neither a log nor a snapshot. A term alone is
// no state: it only says that somebody has called.
func (s *GroupStorage) empty() (bool, error) {
	last, err := s.log.LastIndex()
	if err != nil || last > 0 {
		return false, err
	}
	metas, err := s.snapshots.List()
	return len(metas) == 0, err
}

// term returns the term that raft has stored, 0 if none.
func (s *GroupStorage) term() (uint64, error) {
	term, err := s.stable.GetUint64(termName)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return term, err
}

// claim makes sure that the storage is self's, and writes self into it when it
// is new.
func (s *GroupStorage) claim(self ServerID) error {
	empty, err := s.empty()
	if err != nil {
		return err
	}
	owner, err := s.stable.Get(selfName)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	term, err := s.term()
	switch {
	case err != nil:
		return err
	case string(owner) == self.String():
		if s.ring != nil && empty && term > 0 {
			return fmt.Errorf("%w: %v", ErrStateLost, self)
		}
		return nil
	case len(owner) > 0 && !empty:
		return fmt.Errorf("%w: it is %s's, not %v's", ErrOtherIncarnation, owner, self)
	}
	return s.stable.Set(selfName, []byte(self.String()))
}

// newest returns index and term at which raft will start, 0 and 0 without a
// snapshot.
func (s *GroupStorage) newest() (index, term uint64, err error) {
	meta, err := s.snapshots.Newest()
	if errors.Is(err, ErrNoSnapshot) {
		// Raft refuses to start when there are snapshots and none verifies.
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return meta.Index, meta.Term, nil
}

// end returns where the log ends, or the newest snapshot if that is further.
func (s *GroupStorage) end() (position, error) {
	last, err := s.log.LastIndex()
	if err != nil {
		return position{}, err
	}
	if last > 0 {
		var entry raft.Log
		if err := s.log.GetLog(last, &entry); err != nil {
			return position{}, err
		}
		return position{entry.Term, entry.Index}, nil
	}
	index, term, err := s.newest()
	return position{term, index}, err
}

// found makes a snapshot with only voter as its voter, out of what persist
// writes. The snapshot is there as a whole or not at all; with it the group is
// founded.
func (s *GroupStorage) found(voter ServerID, persist func(raft.SnapshotSink) error) error {
	switch empty, err := s.empty(); {
	case err != nil:
		return err
	case !empty:
		return ErrNotEmpty
	}
	// The term comes first: a snapshot must not be newer than it. Alone it
	// does no harm.
	term, err := s.term()
	if err != nil {
		return err
	}
	if term < firstTerm {
		if err := s.stable.SetUint64(termName, firstTerm); err != nil {
			return err
		}
	}
	configuration := raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: voter.raftID(), Address: voter.raftAddress()},
	}}
	sink, err := s.snapshots.Create(raft.SnapshotVersionMax, firstIndex, firstTerm, configuration, firstIndex, nil)
	if err != nil {
		return err
	}
	return persist(sink)
}

// The place of a group's first snapshot. Raft takes index and term 0 for none.
const (
	firstIndex = 1
	firstTerm  = 1
)
