package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Memory is a sink that keeps everything in memory: the contract of a sink
// written down once without a database. Its methods may be called concurrently.
type Memory struct {
	mu    sync.Mutex
	parts map[space.PartitionID]*memoryPartition
}

type memoryPartition struct {
	position space.Position
	epoch    space.Epoch
	content  Content
	dead     []datapump.DeadLetter // ascending by Seq
	settled  uint64
	build    *memoryResync // the one under way
}

var (
	_ datapump.Sink        = (*Memory)(nil)
	_ datapump.Resyncer    = (*Memory)(nil)
	_ datapump.DeadLetters = (*Memory)(nil)
)

// NewMemory returns an empty sink.
func NewMemory() *Memory { return &Memory{parts: map[space.PartitionID]*memoryPartition{}} }

// Read returns what the sink holds of a partition, and where it stands.
func (m *Memory) Read(p space.PartitionID) (Content, space.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.part(p)
	return x.content.clone(), x.position
}

func (m *Memory) part(p space.PartitionID) *memoryPartition {
	if m.parts[p] == nil {
		m.parts[p] = &memoryPartition{content: Content{}}
	}
	return m.parts[p]
}

func (x *memoryPartition) admit(h space.History, e space.Epoch) error {
	if x.position.History == h && x.epoch > e || x.build != nil && x.build.to.History == h && x.build.to.Epoch > e {
		return fmt.Errorf("%w: here is epoch %d", datapump.ErrFenced, e)
	}
	return nil
}

// Fence implements datapump.Sink.
func (m *Memory) Fence(_ context.Context, f datapump.Fence) (datapump.Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.part(f.Partition)
	if err := x.admit(f.History, f.Epoch); err != nil {
		return datapump.Standing{}, err
	}
	fresh := x.position.History.IsZero() && f.Origin.History.IsZero()
	if x.position.History != f.History && !fresh && (x.position.History.IsZero() || x.position != f.Origin) {
		return datapump.Standing{}, &datapump.ForeignError{Partition: f.Partition, Stored: x.position, Offered: f.History}
	}
	x.position.History, x.epoch = f.History, f.Epoch
	s := datapump.Standing{Seq: x.position.Seq, Settled: x.settled}
	for i := range x.dead {
		s.Hold(&x.dead[i])
	}
	return s, nil
}

// Apply implements datapump.Sink.
func (m *Memory) Apply(_ context.Context, b *datapump.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range b.Sections {
		if err := m.check(&b.Sections[i]); err != nil {
			return &datapump.PartitionError{Partition: b.Sections[i].Partition, Err: err}
		}
	}
	for i := range b.Sections {
		s := &b.Sections[i]
		x := m.part(s.Partition)
		for j := range s.Changes {
			if s.Changes[j].Seq > x.position.Seq {
				x.content.Fold(&s.Changes[j])
			}
		}
		for j := range s.Dead {
			if s.Dead[j].Seq > x.position.Seq {
				x.dead = append(x.dead, cloneLetter(&s.Dead[j]))
			}
		}
		x.position.Seq, x.epoch = max(x.position.Seq, s.Through), s.Epoch
	}
	return nil
}

func (m *Memory) check(s *datapump.Section) error {
	x := m.part(s.Partition)
	if err := x.admit(s.History, s.Epoch); err != nil {
		return err
	}
	switch {
	case x.position.History != s.History:
		return &datapump.ForeignError{Partition: s.Partition, Stored: x.position, Offered: s.History}
	case s.After > x.position.Seq:
		return &datapump.GapError{Partition: s.Partition, Has: x.position.Seq, After: s.After}
	case s.Settled != x.settled && slices.ContainsFunc(s.Dead, func(l datapump.DeadLetter) bool { return l.Parked }):
		return datapump.ErrSettled
	}
	return nil
}

// BeginResync implements datapump.Resyncer.
func (m *Memory) BeginResync(_ context.Context, to datapump.Target) (datapump.Resync, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.part(to.Partition)
	if err := x.admit(to.History, to.Epoch); err != nil {
		return nil, err
	}
	x.build = &memoryResync{m: m, to: to, content: Content{}}
	return x.build, nil
}

type memoryResync struct {
	m       *Memory
	to      datapump.Target
	content Content
}

func (r *memoryResync) admit() error {
	x := r.m.part(r.to.Partition)
	if x.build != r {
		return fmt.Errorf("%w: another resync came between", datapump.ErrFenced)
	}
	return x.admit(r.to.History, r.to.Epoch)
}

// Write implements datapump.Resync.
func (r *memoryResync) Write(_ context.Context, def *space.Definition, entries []space.Entry) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if err := r.admit(); err != nil {
		return err
	}
	r.content.Define(def)
	for _, e := range entries {
		r.content.Put(def.ID, e)
	}
	return nil
}

// Finish implements datapump.Resync.
func (r *memoryResync) Finish(_ context.Context, dead []datapump.DeadLetter) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if err := r.admit(); err != nil {
		return err
	}
	x := r.m.part(r.to.Partition)
	if x.position.History == r.to.History && x.position.Seq > r.to.Seq {
		return fmt.Errorf("%w: the sink has come further", datapump.ErrFenced)
	}
	*x = memoryPartition{
		position: space.Position{History: r.to.History, Seq: r.to.Seq}, epoch: r.to.Epoch, content: r.content, settled: x.settled,
	}
	for i := range dead {
		x.dead = append(x.dead, cloneLetter(&dead[i]))
	}
	return nil
}

// Abort implements datapump.Resync.
func (r *memoryResync) Abort() {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if x := r.m.part(r.to.Partition); x.build == r {
		x.build = nil
	}
}

func cloneLetter(l *datapump.DeadLetter) datapump.DeadLetter {
	c := *l
	c.Key, c.Change = bytes.Clone(l.Key), bytes.Clone(l.Change)
	return c
}

// List implements datapump.DeadLetters.
func (m *Memory) List(_ context.Context, after datapump.LetterID, limit int) ([]datapump.Letter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var letters []datapump.Letter
	for _, p := range slices.Sorted(maps.Keys(m.parts)) {
		for _, l := range m.parts[p].dead {
			if len(letters) < limit && (p > after.Partition || p == after.Partition && l.Seq > after.Seq) {
				letters = append(letters, datapump.Letter{Partition: p, DeadLetter: cloneLetter(&l)})
			}
		}
	}
	return letters, nil
}

// Replay implements datapump.DeadLetters.
func (m *Memory) Replay(_ context.Context, id datapump.LetterID) error { return m.settle(id, false) }

// Drop implements datapump.DeadLetters.
func (m *Memory) Drop(_ context.Context, id datapump.LetterID) error { return m.settle(id, true) }

func (m *Memory) settle(id datapump.LetterID, drop bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.part(id.Partition)
	s, err := datapump.Settle(slices.Values(x.dead), id.Seq, drop)
	if err != nil {
		return err
	}
	for i := range s.Apply {
		c, _, err := space.DecodeChange(s.Apply[i].Change)
		if err != nil {
			return err
		}
		if x.content[c.Space] != nil || c.Op == space.Defined {
			x.content.Fold(&c)
		}
	}
	x.dead = slices.DeleteFunc(x.dead, func(l datapump.DeadLetter) bool { return slices.Contains(s.Remove, l.Seq) })
	x.settled++
	return nil
}
