package datapump

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

// ErrNoDeadLetters is returned when a sink has no side table that can be asked.
var ErrNoDeadLetters = errors.New("datapump: this sink shows no dead letters")

// ErrDeadLettered is what errors.Is finds in a [*DeadLetteredError].
var ErrDeadLettered = errors.New("datapump: dead-lettered")

// DeadLetteredError is returned by WaitDurable for a change that is not where it
// should be: the sink has refused it, or it waits for one that was refused.
type DeadLetteredError struct {
	Sink   string
	Letter Letter
}

// Error says what became of the change and what to do.
func (e *DeadLetteredError) Error() string {
	return fmt.Sprintf("datapump: change %d of partition %d is a dead letter of sink %s: %s (put it right, then replay or drop the letter)",
		e.Letter.Seq, e.Letter.Partition, e.Sink, e.Letter.Reason)
}

// Is makes errors.Is find ErrDeadLettered.
func (e *DeadLetteredError) Is(target error) bool { return target == ErrDeadLettered }

// WaitDurable waits until the sink has a change of a partition, and fails with a
// *DeadLetteredError if it has it among its dead letters only, with ErrRemoved if
// the partition leaves the pump or begins another history, with ErrClosed, and at
// the end of ctx.
func (p *Pump) WaitDurable(ctx context.Context, id space.PartitionID, seq space.Seq) error {
	p.mu.Lock()
	var history space.History
	clean := false
	if f := p.mu.feeds[id]; f != nil {
		history = f.history
	}
	err := p.awaitLocked(ctx, func() (bool, error) {
		f := p.mu.feeds[id]
		switch {
		case f == nil || f.history != history:
			return false, ErrRemoved
		case f.state != Following && f.state != Ahead || f.watermark < seq:
			return false, nil
		}
		clean = f.letters+f.parked == 0
		return true, nil
	})
	p.mu.Unlock()
	if err != nil || clean {
		return err
	}
	letters, err := p.Letters(ctx, LetterID{id, seq - 1}, 1)
	if err != nil {
		return err
	}
	if len(letters) == 1 && letters[0].ID() == (LetterID{id, seq}) {
		return &DeadLetteredError{Sink: p.cfg.Name, Letter: letters[0]}
	}
	return nil
}

// Letters lists dead letters of the sink as DeadLetters says, of whichever
// partition: the sink knows no others than it has. It fails with
// ErrNoDeadLetters.
func (p *Pump) Letters(ctx context.Context, after LetterID, limit int) ([]Letter, error) {
	d, ok := p.cfg.Sink.(DeadLetters)
	if !ok {
		return nil, ErrNoDeadLetters
	}
	return d.List(ctx, after, limit)
}

// Replay replays a dead letter as DeadLetters says, and has the partition fenced
// again, so that the pump holds its key back no longer.
func (p *Pump) Replay(ctx context.Context, id LetterID) error {
	return p.settle(ctx, id, DeadLetters.Replay)
}

// Drop drops a dead letter in the same way.
func (p *Pump) Drop(ctx context.Context, id LetterID) error {
	return p.settle(ctx, id, DeadLetters.Drop)
}

func (p *Pump) settle(ctx context.Context, id LetterID, how func(DeadLetters, context.Context, LetterID) error) error {
	d, ok := p.cfg.Sink.(DeadLetters)
	if !ok {
		return ErrNoDeadLetters
	}
	if err := how(d, ctx, id); err != nil {
		return err
	}
	p.cfg.Logger.Info("datapump: a dead letter was settled", "sink", p.cfg.Name, "partition", id.Partition, "seq", id.Seq)
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.mu.feeds[id.Partition]; f != nil {
		f.asked.refence = true
		p.enqueueLocked(f)
	}
	return nil
}

// Resync has the sink brought up again from images of the given partitions, or
// of all in the pump if none are given, whatever it holds: also one of another
// history, which is a taking over. It does not wait for the end; WaitDurable and
// Flush do.
func (p *Pump) Resync(ids ...space.PartitionID) error {
	if _, able := p.cfg.Sink.(Resyncer); !able {
		return ErrNoResync
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(ids) == 0 {
		for id := range p.mu.feeds {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		f := p.mu.feeds[id]
		if f == nil {
			return ErrRemoved
		}
		f.asked.resync = true
		p.enqueueLocked(f)
	}
	p.cfg.Logger.Info("datapump: a resync was asked for", "sink", p.cfg.Name, "partitions", len(ids))
	return nil
}

// asked is what somebody else wants the loop to do with a feed.
type asked struct {
	refence, resync bool
}

// heedLocked does it, unless a resync is under way: that brings both about.
func (f *feed) heedLocked() {
	a := f.asked
	f.asked = asked{}
	switch {
	case f.resync != nil:
	case a.resync:
		f.state, f.err = Resyncing, nil
		f.retry.succeed()
	case a.refence && (f.state == Following || f.state == Ahead):
		f.state = Fencing
		f.retry.succeed()
	}
}
