package replica

import "github.com/spacegrid/spacegrid/internal/folder"

// logFormat is the format of the folder: of the keys, of the values and of the Pebble files.
var logFormat = folder.Format{File: "RAFTLOG", Text: "spacegrid raft log, format ", Version: 2, Ledger: 2}

var (
	// ErrLocked is returned when another process, or another LogStorage of this one, has the folder open.
	ErrLocked = folder.ErrLocked
	// ErrNewerFormat is returned when the folder was written by a newer version; it is left untouched.
	ErrNewerFormat = folder.ErrNewerFormat
	// ErrNotLogFolder is returned when the folder holds files but no log storage; it is left untouched.
	ErrNotLogFolder = folder.ErrForeign
	// ErrStorageFailed is matched by what every operation of a LogStorage returns after a write, a sync or a background task of it
	// failed. What the disk holds is then unknown, so nothing may be acknowledged any more: the process must end and open the
	// folder again.
	ErrStorageFailed = folder.ErrFailed
)

// StorageFailedError is the failure that ended a LogStorage. errors.Is(err, ErrStorageFailed) holds for it.
type StorageFailedError = folder.FailedError
