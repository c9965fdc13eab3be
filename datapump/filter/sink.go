package filter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// ErrUnknownSpace is returned for a change of a space whose name nobody knows. It
// passes as soon as somebody does.
var ErrUnknownSpace = errors.New("filter: the name of the space is not known yet")

// FullSink is a sink with everything that a sink may have.
type FullSink interface {
	datapump.Sink
	datapump.Resyncer
	datapump.DeadLetters
}

// Filtered is a sink behind a pipe. It may be used as the sink is.
type Filtered struct {
	FullSink
	pipe  *Pipe
	known func(space.ID) (string, bool)

	mu    sync.Mutex
	names map[space.ID]string // learned from changes: at most one for each space of the grid
}

var _ FullSink = (*Filtered)(nil)

// Sink puts a pipe before a sink. known returns the name of a space; nil knows
// none but those whose definition comes by.
func Sink(sink FullSink, pipe *Pipe, known func(space.ID) (string, bool)) *Filtered {
	return &Filtered{FullSink: sink, pipe: pipe, known: known, names: map[space.ID]string{}}
}

// name returns the name of a change's space, after learning it if the change tells.
func (f *Filtered) name(c *space.Change) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Op == space.Defined {
		def, err := space.DecodeDefinition(c.Value)
		if err != nil {
			return "", err
		}
		f.names[c.Space] = def.Name
	}
	if name, ok := f.names[c.Space]; ok {
		return name, nil
	}
	if f.known != nil {
		if name, ok := f.known(c.Space); ok {
			f.names[c.Space] = name
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: %d", ErrUnknownSpace, c.Space)
}

// Apply hands on what passes. The batch itself stays as it is.
func (f *Filtered) Apply(ctx context.Context, b *datapump.Batch) error {
	out := datapump.Batch{Sections: make([]datapump.Section, len(b.Sections))}
	for i := range b.Sections {
		if err := f.section(&out.Sections[i], &b.Sections[i]); err != nil {
			return &datapump.PartitionError{Partition: b.Sections[i].Partition, Err: err}
		}
	}
	return f.FullSink.Apply(ctx, &out)
}

// section fills out with what passes of s.
func (f *Filtered) section(out, s *datapump.Section) error {
	*out = *s
	out.Changes = make([]space.Change, 0, len(s.Changes))
	command := 0 // where the command under way begins in out
	for i := range s.Changes {
		c := s.Changes[i]
		end := c.More == 0
		name, err := f.name(&c)
		if err != nil {
			return err
		}
		what, err := f.pipe.change(name, &c, s.Folded)
		if err != nil {
			return &datapump.RefusedError{Partition: s.Partition, Seq: c.Seq, Err: err}
		}
		if what == pass {
			out.Changes = append(out.Changes, c)
		}
		if end {
			for j := command; j < len(out.Changes); j++ {
				out.Changes[j].More = len(out.Changes) - 1 - j
			}
			command = len(out.Changes)
		}
	}
	out.Dead = slices.Clone(s.Dead)
	for i := range out.Dead {
		if err := f.letter(&out.Dead[i]); err != nil {
			return err
		}
	}
	return nil
}

// letter makes a dead letter hold what the sink is to be given when it is replayed.
// What does not pass, or what a transform cannot carry out, becomes a change that
// sinks pass over: the letter keeps its place and its reason, and nothing rests in
// the sink that the pipe would have hidden.
func (f *Filtered) letter(l *datapump.DeadLetter) error {
	c, _, err := space.DecodeChange(l.Change)
	if err != nil {
		return err
	}
	name, err := f.name(&c)
	if err != nil {
		return err
	}
	if what, err := f.pipe.change(name, &c, true); err != nil || what == leaveOut {
		c.Op, c.Cause, c.Value, c.Before = space.Claimed, space.NoCause, nil, nil
	}
	l.Change = c.Append(nil)
	return nil
}

// BeginResync hands on the entries that pass.
func (f *Filtered) BeginResync(ctx context.Context, to datapump.Target) (datapump.Resync, error) {
	r, err := f.FullSink.BeginResync(ctx, to)
	if err != nil {
		return nil, err
	}
	return &filteredResync{Resync: r, f: f, partition: to.Partition}, nil
}

type filteredResync struct {
	datapump.Resync
	f         *Filtered
	partition space.PartitionID
}

// Write hands on the entries that pass.
func (r *filteredResync) Write(ctx context.Context, def *space.Definition, entries []space.Entry) error {
	r.f.mu.Lock()
	r.f.names[def.ID] = def.Name
	r.f.mu.Unlock()
	if !r.f.pipe.PassSpace(def.Name) {
		return nil
	}
	passed := make([]space.Entry, 0, len(entries))
	for i := range entries {
		e := entries[i]
		value, ok, err := r.f.pipe.Run(Entry{Space: def.Name, Key: e.Key, Kind: e.Kind, Fields: e.Value})
		if err != nil {
			return &datapump.PartitionError{Partition: r.partition, Err: &datapump.RefusedError{
				Partition: r.partition, Seq: e.Version, Err: err,
			}}
		}
		if ok {
			e.Value = value
			passed = append(passed, e)
		}
	}
	return r.Resync.Write(ctx, def, passed)
}

// Finish hands on the letters as Apply does.
func (r *filteredResync) Finish(ctx context.Context, dead []datapump.DeadLetter) error {
	letters := slices.Clone(dead)
	for i := range letters {
		if err := r.f.letter(&letters[i]); err != nil {
			return err
		}
	}
	return r.Resync.Finish(ctx, letters)
}
