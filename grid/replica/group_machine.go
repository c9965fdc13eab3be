package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// A snapshot is format(1) | applied (8, big endian) | what Image.Export writes.
// Its checksum is the snapshot store's.
const (
	snapshotFormat = 1
	snapshotHeader = 9
)

// entryOverhead is what an entry is taken to need beside its data, in bytes,
// when the log since the last snapshot is measured.
const entryOverhead = 64

// machine is the state machine as raft sees it. It adds what raft does not
// keep: how far the state really is, in entries that everybody sees, and turns
// at the state for those who want to look at it between two entries.
type machine struct {
	sm StateMachine
	// due gets a value when enough log was applied to want a snapshot.
	due   chan struct{}
	every int64 // bytes of log between snapshots
	since atomic.Int64
	stop  <-chan struct{} // closed when the group closes

	// turn has one slot; who fills it has the state to itself. A channel and
	// not a lock, so that waiting for it can be given up.
	turn    chan struct{}
	applied atomic.Uint64
	covered atomic.Uint64 // by the newest snapshot
	// configured is at or after the last change of the group's members.
	configured atomic.Uint64
	scratch    [][]byte // of ApplyBatch

	mu struct {
		sync.Mutex
		moved chan struct{} // closed when applied grows; nil while nobody waits
		// starting is set while raft starts; unreadable is then why the newest
		// snapshot was not restored.
		starting   bool
		unreadable error
	}
}

var _ raft.BatchingFSM = (*machine)(nil)

func newMachine(sm StateMachine, every int64, stop <-chan struct{}) *machine {
	return &machine{sm: sm, every: every, stop: stop, due: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// Apply applies one entry.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries in order. The response to a command
// entry is its replies.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	for i, l := range logs {
		m.turn <- struct{}{}
		switch l.Type {
		case raft.LogCommand:
			responses[i] = m.applyEntry(l)
		case raft.LogConfiguration:
			m.configured.Store(l.Index)
		}
		m.applied.Store(l.Index)
		<-m.turn
		m.count(int64(len(l.Data)) + entryOverhead)
	}
	m.announce()
	return responses
}

// applyEntry applies the commands of one entry. An entry that does not verify
// is not what was agreed on: to go on would be to differ from the others.
func (m *machine) applyEntry(l *raft.Log) [][]byte {
	commands, err := decodeEntry(m.scratch[:0], l.Data)
	if err != nil {
		panic(fmt.Sprintf("replica: entry %d of term %d was damaged after it was agreed on; "+
			"this member must stop and be rebuilt from the others: %v", l.Index, l.Term, err))
	}
	replies := m.sm.Apply(l.Index, commands)
	if len(replies) != len(commands) {
		panic(fmt.Sprintf("replica: state machine gave %d replies to %d commands", len(replies), len(commands)))
	}
	clear(commands)
	m.scratch = commands
	return replies
}

// count measures the log since the last snapshot.
func (m *machine) count(bytes int64) {
	if m.since.Add(bytes) >= m.every {
		signal(m.due)
	}
}

// announce wakes those who wait for applied.
func (m *machine) announce() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.moved != nil {
		close(m.mu.moved)
		m.mu.moved = nil
	}
}

// waitApplied blocks until index is applied, the group closes or ctx ends.
func (m *machine) waitApplied(ctx context.Context, index uint64) error {
	for {
		m.mu.Lock()
		if m.applied.Load() >= index {
			m.mu.Unlock()
			return nil
		}
		if m.mu.moved == nil {
			m.mu.moved = make(chan struct{})
		}
		moved := m.mu.moved
		m.mu.Unlock()
		select {
		case <-moved:
		case <-m.stop:
			return ErrGroupClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// inspect runs fn while nothing is applied.
func (m *machine) inspect(ctx context.Context, fn func()) error {
	select {
	case m.turn <- struct{}{}:
	case <-m.stop:
		return ErrGroupClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.turn }()
	fn()
	return nil
}

// Snapshot cuts the state.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	image, err := m.sm.Image()
	if err != nil {
		return nil, err
	}
	return &cut{machine: m, image: image, applied: m.applied.Load(), bytes: m.since.Swap(0)}, nil
}

// whileStarting runs start, in which raft restores the newest snapshot. Where that
// fails raft would take the one before, whose log need not be there any more; so
// the first failure stands.
func (m *machine) whileStarting(start func() error) error {
	m.mu.Lock()
	m.mu.starting, m.mu.unreadable = true, nil
	m.mu.Unlock()
	err := start()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		err = errors.Join(err, m.mu.unreadable)
	}
	m.mu.starting, m.mu.unreadable = false, nil
	return err
}

// Restore replaces the state by a snapshot's.
func (m *machine) Restore(r io.ReadCloser) error {
	m.mu.Lock()
	err := m.mu.unreadable
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err = m.restore(r); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.mu.starting {
			m.mu.unreadable = err
		}
		return err
	}
	m.announce()
	return nil
}

func (m *machine) restore(r io.Reader) error {
	header := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return fmt.Errorf("replica: read header of snapshot: %w", err)
	}
	if header[0] != snapshotFormat {
		return fmt.Errorf("replica: snapshot has format %d, this version reads %d", header[0], snapshotFormat)
	}
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	if err := m.sm.Restore(r); err != nil {
		return err
	}
	m.restored(binary.BigEndian.Uint64(header[1:]))
	return nil
}

// restored notes that the state is a snapshot's.
func (m *machine) restored(applied uint64) {
	m.applied.Store(applied)
	m.covered.Store(applied)
	m.configured.Store(applied)
	m.since.Store(0)
}

// cut is a state that was cut for a snapshot.
type cut struct {
	machine *machine
	image   Image
	applied uint64
	bytes   int64 // of log since the snapshot before
}

// Persist writes the snapshot and finishes sink.
func (c *cut) Persist(sink raft.SnapshotSink) error {
	header := binary.BigEndian.AppendUint64([]byte{snapshotFormat}, c.applied)
	_, err := sink.Write(header)
	if err == nil {
		err = c.image.Export(&exporter{sink, c.machine.stop})
	}
	if err != nil {
		c.machine.since.Add(c.bytes)
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		c.machine.since.Add(c.bytes)
		return err
	}
	c.machine.covered.Store(max(c.applied, c.machine.covered.Load()))
	return nil
}

// persistFirst writes the present state as the snapshot that founds the group.
func (m *machine) persistFirst(sink raft.SnapshotSink) error {
	// Others may be looking at the state already, such as a store that is fed.
	m.turn <- struct{}{}
	image, err := m.sm.Image()
	<-m.turn
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	first := &cut{machine: m, image: image, applied: firstIndex}
	defer first.Release()
	if err := first.Persist(sink); err != nil {
		return err
	}
	m.restored(firstIndex)
	return nil
}

// exporter lets Close end a long export.
type exporter struct {
	w    io.Writer
	stop <-chan struct{}
}

func (e *exporter) Write(p []byte) (int, error) {
	select {
	case <-e.stop:
		return 0, ErrGroupClosed
	default:
		return e.w.Write(p)
	}
}

// Release ends the use of the cut.
func (c *cut) Release() { c.image.Close() }

// signal makes sure that a channel of one slot has a value.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
