package datapump

import (
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

var (
	// ErrFenced is returned by sinks when a higher epoch has fenced: another
	// leader feeds the sink now.
	ErrFenced = errors.New("datapump: a newer leader feeds this sink (stop feeding it, or fence again with a higher epoch)")
	// ErrNoResync is the trouble of a partition whose sink needs a resync and
	// cannot do one.
	ErrNoResync = errors.New("datapump: the sink lacks changes that are no longer kept, and cannot be resynced (set it up anew)")
	// ErrClosed is returned by calls on a closed Pump.
	ErrClosed = errors.New("datapump: closed")
	// ErrRemoved is returned by Flush when a partition is removed before its
	// changes are durable.
	ErrRemoved = errors.New("datapump: the partition was removed before its changes were durable")
)

// ForeignError is returned by sinks that hold another history of a partition
// than the one that feeds them.
type ForeignError struct {
	Partition space.PartitionID
	Stored    space.Position // what the sink holds; zero if nothing
	Offered   space.History
}

// Error says which histories met and what to do.
func (e *ForeignError) Error() string {
	if e.Stored.History.IsZero() {
		return fmt.Sprintf("datapump: the sink holds nothing of partition %d, whose history %s began elsewhere (resync it)", e.Partition, e.Offered)
	}
	return fmt.Sprintf("datapump: the sink holds history %s of partition %d up to %d, not %s (let it be taken over, or start the grid from it)",
		e.Stored.History, e.Partition, e.Stored.Seq, e.Offered)
}

// GapError is returned by sinks when changes are missing before a section.
type GapError struct {
	Partition space.PartitionID
	Has       space.Seq // the sink's watermark
	After     space.Seq // where the section began
}

// Error says what is missing.
func (e *GapError) Error() string {
	return fmt.Sprintf("datapump: the sink has partition %d up to %d and was offered what follows %d (fence again)", e.Partition, e.Has, e.After)
}

// PartitionError says that a failure of Apply concerns one partition: the others
// of the batch may be tried again without it.
type PartitionError struct {
	Partition space.PartitionID
	Err       error
}

// Error names the partition.
func (e *PartitionError) Error() string { return fmt.Sprintf("partition %d: %v", e.Partition, e.Err) }

// Unwrap gives access to the cause.
func (e *PartitionError) Unwrap() error { return e.Err }
