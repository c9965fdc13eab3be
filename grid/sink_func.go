package grid

import (
	"context"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// SinkFunc makes a kind of sink of a function, which gets every batch before the
// next one is made, on the member that leads. It is for pipes, such as brokers,
// that cannot keep in one transaction how far they have come: the replicas of a
// partition keep it for them, some hundred milliseconds behind. So each change
// comes at least once: in order, and after a failure or with another leader again
// from there. A sink of this kind that is optional stops for a partition when it
// was away for so long that its changes are no longer kept, since it holds nothing
// that could be replaced.
func SinkFunc(take func(ctx context.Context, b *datapump.Batch) error) SinkKind {
	return SinkKind{EveryChange: true, Open: func(_ context.Context, s SinkSettings) (datapump.Sink, error) {
		return &funcSink{take: take, settings: s, parts: map[space.PartitionID]*funcPartition{}}, nil
	}}
}

// funcSink is a function as a sink.
type funcSink struct {
	take     func(context.Context, *datapump.Batch) error
	settings SinkSettings

	mu    sync.Mutex
	parts map[space.PartitionID]*funcPartition
}

// funcPartition is how far the function has come on this member.
type funcPartition struct {
	fence datapump.Fence
	seq   space.Seq
}

// Fence implements datapump.Sink.
func (f *funcSink) Fence(ctx context.Context, x datapump.Fence) (datapump.Standing, error) {
	kept, err := f.settings.Watermark(ctx, x.Partition)
	if err != nil {
		return datapump.Standing{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[x.Partition]
	switch {
	case p == nil || p.fence.History != x.History || p.fence.Epoch < x.Epoch:
		// Another leader may have been at work meanwhile. A history that began with
		// entries begins there: what is before is not in its changelogs.
		p = &funcPartition{fence: x, seq: max(kept, x.Origin.Seq)}
		f.parts[x.Partition] = p
	case p.fence.Epoch > x.Epoch:
		return datapump.Standing{}, fmt.Errorf("%w: epoch %d, here is %d", datapump.ErrFenced, x.Epoch, p.fence.Epoch)
	}
	return datapump.Standing{Seq: p.seq}, nil
}

// Apply implements datapump.Sink.
func (f *funcSink) Apply(ctx context.Context, b *datapump.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range b.Sections {
		s := &b.Sections[i]
		p := f.parts[s.Partition]
		var wrong error
		switch {
		case p == nil || p.fence.History != s.History:
			wrong = &datapump.ForeignError{Partition: s.Partition, Offered: s.History}
		case p.fence.Epoch > s.Epoch:
			wrong = datapump.ErrFenced
		case s.After != p.seq:
			wrong = &datapump.GapError{Partition: s.Partition, Has: p.seq, After: s.After}
		}
		if wrong != nil {
			return &datapump.PartitionError{Partition: s.Partition, Err: wrong}
		}
	}
	if err := f.take(ctx, b); err != nil {
		return err
	}
	for i := range b.Sections {
		f.parts[b.Sections[i].Partition].seq = b.Sections[i].Through
	}
	return nil
}
