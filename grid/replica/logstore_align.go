package replica

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// ErrLogHole is returned by AlignLog when entries are missing between the newest good snapshot and the log. The replica has lost
// state: it must be rebuilt from the others under a new identity.
var ErrLogHole = errors.New("replica: entries between snapshot and log are missing; remove this replica and let it be rebuilt from the others")

// AlignLog makes logs fit the snapshot that raft is about to start from, given by its index and term, 0 and 0 for none. Call it
// before raft.NewRaft, for the newest snapshot that verifies. It reports whether it emptied the log.
//
// Raft empties a log without holes after it has installed a snapshot. A crash between the two leaves entries from before
// the snapshot, which may even contradict it, and raft would then refuse every further append for ever. AlignLog
// finishes the work: a log that ends before the snapshot, or whose entry at the snapshot's index has another term, is emptied.
// A log that begins after the snapshot, with entries missing in between, is ErrLogHole and is left as it is.
func AlignLog(logs raft.LogStore, snapshotIndex, snapshotTerm uint64) (emptied bool, err error) {
	first, err := logs.FirstIndex()
	if err != nil || first == 0 {
		return false, err
	}
	last, err := logs.LastIndex()
	if err != nil {
		return false, err
	}
	if first > snapshotIndex+1 {
		return false, fmt.Errorf("%w: snapshot ends at %d, log begins at %d", ErrLogHole, snapshotIndex, first)
	}
	if last >= snapshotIndex {
		if first > snapshotIndex {
			return false, nil
		}
		var entry raft.Log
		if err := logs.GetLog(snapshotIndex, &entry); err != nil {
			return false, fmt.Errorf("replica: read log entry under snapshot: %w", err)
		}
		if entry.Term == snapshotTerm {
			return false, nil
		}
	}
	if err := logs.DeleteRange(first, last); err != nil {
		return false, fmt.Errorf("replica: empty log behind snapshot: %w", err)
	}
	return true, nil
}
