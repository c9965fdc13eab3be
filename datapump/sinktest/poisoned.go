package sinktest

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// PoisonPrefix is how values begin that a [Poisoned] sink refuses.
const PoisonPrefix = "poison"

// ErrPoison is the reason of its refusals.
var ErrPoison = errors.New("sinktest: the value is poison")

// FullSink is a sink with everything that a sink may have.
type FullSink interface {
	datapump.Sink
	datapump.Resyncer
	datapump.DeadLetters
}

// Poisoned is a sink that refuses for good values that begin with PoisonPrefix,
// before it passes calls on.
type Poisoned struct {
	FullSink
	// Silent makes it refuse without naming the change.
	Silent atomic.Bool
	// Cured makes it take everything.
	Cured atomic.Bool
	// Refusals counts them.
	Refusals atomic.Int64
}

// Poison wraps a sink.
func Poison(s FullSink) *Poisoned { return &Poisoned{FullSink: s} }

func (p *Poisoned) refuse(id space.PartitionID, seq space.Seq, value []byte) error {
	if p.Cured.Load() || !bytes.HasPrefix(value, []byte(PoisonPrefix)) {
		return nil
	}
	p.Refusals.Add(1)
	if p.Silent.Load() {
		seq = 0
	}
	return &datapump.RefusedError{Partition: id, Seq: seq, Err: ErrPoison}
}

// Apply implements datapump.Sink.
func (p *Poisoned) Apply(ctx context.Context, b *datapump.Batch) error {
	for i := range b.Sections {
		s := &b.Sections[i]
		for j := range s.Changes {
			if err := p.refuse(s.Partition, s.Changes[j].Seq, s.Changes[j].Value); err != nil {
				return &datapump.PartitionError{Partition: s.Partition, Err: err}
			}
		}
	}
	return p.FullSink.Apply(ctx, b)
}

// Replay implements datapump.DeadLetters.
func (p *Poisoned) Replay(ctx context.Context, id datapump.LetterID) error {
	letters, err := p.List(ctx, datapump.LetterID{Partition: id.Partition, Seq: id.Seq - 1}, 1)
	if err != nil {
		return err
	}
	if len(letters) == 1 && letters[0].ID() == id {
		c, _, err := space.DecodeChange(letters[0].Change)
		if err != nil {
			return err
		}
		if err := p.refuse(id.Partition, id.Seq, c.Value); err != nil {
			return err
		}
	}
	return p.FullSink.Replay(ctx, id)
}

// BeginResync implements datapump.Resyncer.
func (p *Poisoned) BeginResync(ctx context.Context, to datapump.Target) (datapump.Resync, error) {
	r, err := p.FullSink.BeginResync(ctx, to)
	return poisonedResync{r, p, to.Partition}, err
}

type poisonedResync struct {
	datapump.Resync
	p  *Poisoned
	id space.PartitionID
}

func (r poisonedResync) Write(ctx context.Context, def *space.Definition, entries []space.Entry) error {
	for i := range entries {
		if err := r.p.refuse(r.id, entries[i].Version, entries[i].Value); err != nil {
			return err
		}
	}
	return r.Resync.Write(ctx, def, entries)
}
