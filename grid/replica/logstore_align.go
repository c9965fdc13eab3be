package replica

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// ErrLogHole is returned by AlignLog when entries are missing between the newest good snapshot and the log. The replica has lost
// state: it must be rebuilt from the others under a new identity.
var ErrLogHole = errors.New("replica: entries between snapshot and log are missing; remove this replica and let it be rebuilt from the others")

// restoredEntriesMax bounds how many entries raft may apply while it starts: see restorableCommit. Raft's queue towards the state
// machine takes 128 batches of MaxAppendEntries, which this package never sets below 16.
const restoredEntriesMax = 128 * 16

// alignedLog is a log store that knows up to where a snapshot covers it.
type alignedLog interface {
	raft.LogStore
	setCovered(index uint64)
}

// AlignLog makes log (a GroupLog or a Ring) fit the snapshot that raft is about to start from, given by its index and term, 0 and 0
// for none. Call it before every raft.NewRaft, for the newest snapshot that verifies. It reports whether it emptied the log.
//
// Raft empties a log without holes after it has installed a snapshot. A crash between the two leaves entries from before
// the snapshot, which may even contradict it, and raft would then refuse every further append for ever. AlignLog
// finishes the work: a log that ends before the snapshot, or whose entry at the snapshot's index has another term, is emptied.
// A log that begins after the snapshot, with entries missing in between, is ErrLogHole and is left as it is.
func AlignLog(log alignedLog, snapshotIndex, snapshotTerm uint64) (emptied bool, err error) {
	log.setCovered(snapshotIndex)
	first, err := log.FirstIndex()
	if err != nil || first == 0 {
		return false, err
	}
	last, err := log.LastIndex()
	if err != nil {
		return false, err
	}
	switch {
	case first > snapshotIndex+1:
		return false, fmt.Errorf("%w: snapshot ends at %d, log begins at %d", ErrLogHole, snapshotIndex, first)
	case first == snapshotIndex+1:
		return false, nil
	case last >= snapshotIndex:
		var entry raft.Log
		if err := log.GetLog(snapshotIndex, &entry); err != nil {
			return false, fmt.Errorf("replica: read log entry under snapshot: %w", err)
		}
		if entry.Term == snapshotTerm {
			return false, nil
		}
	}
	if err := log.DeleteRange(first, last); err != nil {
		return false, fmt.Errorf("replica: empty log behind snapshot: %w", err)
	}
	return true, nil
}

// restorableCommit returns the commit index that raft may start from, given the one that was stored and the index that the
// snapshot covers. It is lower where raft v1.8.0 would go wrong with RestoreCommittedLogs:
//
//   - It looks for its configuration only above what it has restored, so it would forget every membership change that was
//     committed since the snapshot, and could then elect a leader by a majority of former members. Hence only entries below
//     the first configuration entry are restored.
//   - It queues what it restores before anybody takes it from the queue, and NewRaft would hang on a full one.
//
// The entries above are applied as without RestoreCommittedLogs: once the leader says that they are committed.
func restorableCommit(log raft.LogStore, covered, stored uint64) (uint64, error) {
	first, err := log.FirstIndex()
	if err != nil || first == 0 {
		return 0, err
	}
	from := max(first, covered+1)
	limit := min(stored, from-1+restoredEntriesMax)
	for index := from; index <= limit; index++ {
		var entry raft.Log
		if err := log.GetLog(index, &entry); err != nil {
			return 0, err
		}
		switch entry.Type {
		case raft.LogConfiguration, raft.LogAddPeerDeprecated, raft.LogRemovePeerDeprecated:
			return index - 1, nil
		}
	}
	return limit, nil
}
