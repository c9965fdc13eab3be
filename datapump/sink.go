package datapump

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Sink takes the changes of partitions. The pump calls it from one goroutine at
// a time, but several pumps, of different members and epochs, may be alive at
// once: the sink's own transactions keep them apart.
type Sink interface {
	// Fence binds a partition's history and epoch in one transaction and returns
	// how far the sink has come and what it holds back. From then on everything of a lower epoch of this
	// history is refused. It fails with ErrFenced if a higher epoch was there
	// first, and with a *ForeignError if the sink holds another history and does
	// not stand exactly at f.Origin.
	Fence(ctx context.Context, f Fence) (Standing, error)
	// Apply writes a batch, its dead letters and the new watermarks in one
	// transaction and returns once they are durable. Of each section it checks that the history is the
	// one it holds (*ForeignError), that no higher epoch has fenced (ErrFenced),
	// and that nothing is missing before the section (*GapError); what it has
	// already, it skips, dead letters included. A section with parked letters and
	// another Settled than the partition's is refused with ErrSettled. A change
	// that it refuses for good is named by a *RefusedError. An error that concerns
	// one partition is wrapped in a *PartitionError, and means, as those named
	// here do, that nothing of the batch was written. After any other error it may
	// have been written or not: the pump fences again to find out. The batch is
	// the pump's and may be used during the call only.
	Apply(ctx context.Context, b *Batch) error
}

// Resyncer is a Sink whose partitions can be replaced whole. A sink that is not
// one is left behind for good when the changelog no longer has what it needs.
type Resyncer interface {
	// BeginResync starts to replace what the sink holds of a partition by the
	// state at to. A resync of the same partition that is under way, of whoever's,
	// is thereby void. It fails with ErrFenced as Fence does.
	BeginResync(ctx context.Context, to Target) (Resync, error)
}

// Resync is one replacement under way. What the sink held stays in force until
// Finish. It is used by one goroutine.
type Resync interface {
	// Write adds the entries of a space; every space is written at least once,
	// also if it is empty. An entry that the sink refuses for good is named by a
	// *RefusedError with its version; then nothing of the call was written. The
	// entries may be used during the call only.
	Write(ctx context.Context, def *space.Definition, entries []space.Entry) error
	// Finish puts the replacement in force, with Target.Seq as watermark, in one
	// transaction, and returns once it is durable. dead are the letters of the
	// partition from then on: those from before are void, for what they led to is
	// in the replacement, or among dead; Standing.Settled stays. It fails with
	// ErrFenced if another resync or a higher epoch came between.
	Finish(ctx context.Context, dead []DeadLetter) error
	// Abort gives the replacement up. It is called instead of Finish.
	Abort()
}

// Fence says in whose name a partition's changes come.
type Fence struct {
	Partition space.PartitionID
	History   space.History
	Origin    space.Position // where the history began; zero if with nothing
	Epoch     space.Epoch
}

// Target is the state that a resync leads to.
type Target struct {
	Fence
	Seq   space.Seq
	Clock space.Time
}

// Batch is what a sink gets in one transaction: sections of different partitions.
type Batch struct {
	Sections []Section
}

// Changes returns the number of changes in the batch.
func (b *Batch) Changes() int {
	n := 0
	for i := range b.Sections {
		n += len(b.Sections[i].Changes)
	}
	return n
}

// Section is a range of one partition's changes: all that happened after After,
// up to and including Through. It never ends inside a command.
type Section struct {
	Partition space.PartitionID
	History   space.History
	Epoch     space.Epoch
	After     space.Seq
	Through   space.Seq
	Clock     space.Time // partition clock at Through
	// Changes are in the order of Seq. If Folded, repeated changes of one key
	// have been folded into the last, so that the section is meaningful as a whole
	// only; a command of several changes is never folded.
	Changes []space.Change
	Folded  bool
	// Dead are the changes of the range that are for the side table instead, in
	// the order of Seq. Settled is the Standing that they were parked by.
	Dead    []DeadLetter
	Settled uint64
}

// Source is a partition as a pump sees it. All methods may be called by any
// goroutine at any time. A Source stands for one history: when a partition
// begins another, it is added to the pump anew, with a new Source.
type Source interface {
	// Describe returns history, origin, epoch and the last Seq; it must be cheap
	// and not block.
	Describe() Description
	// Read appends the changes after a Seq to dst, as space.Changelog.Read does:
	// about maxBytes of them, never stopping inside a command. It fails with
	// space.ErrTrimmed or space.ErrAhead and does not block.
	Read(dst []space.Change, after space.Seq, maxBytes int) ([]space.Change, error)
	// Cut returns an image of the partition as it is now. It may wait for the
	// goroutine that applies.
	Cut(ctx context.Context) (Cut, error)
}

// Description is a summary of a Source.
type Description struct {
	History space.History
	Origin  space.Position
	Epoch   space.Epoch
	Last    space.Seq
}

// Cut is a partition at one moment.
type Cut struct {
	Image *space.Image
	Clock space.Time
}
