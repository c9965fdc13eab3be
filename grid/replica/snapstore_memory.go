package replica

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// snapshotChunkBytes is the unit in which a snapshot in memory grows, so that growing never copies what is there.
const snapshotChunkBytes = 256 << 10

// memorySnapshots is the SnapshotStore of a member without a folder: the latest snapshot, in memory.
type memorySnapshots struct {
	limit int64

	mu struct {
		sync.Mutex
		serial uint64
		latest *memorySnapshot // nil before the first
	}
}

// memorySnapshot does not change once it is published, so readers of it need no lock and survive its replacement.
type memorySnapshot struct {
	meta   raft.SnapshotMeta
	chunks [][]byte
}

// NewMemorySnapshotStore returns an empty store that keeps the latest snapshot, of at most limit bytes, in memory; 0 means
// DefaultSnapshotBytes. While a snapshot is taken, memory holds the one before it too.
func NewMemorySnapshotStore(limit int64) SnapshotStore {
	if limit <= 0 {
		limit = DefaultSnapshotBytes
	}
	return &memorySnapshots{limit: limit}
}

// Create begins a snapshot. It replaces the latest one when its sink is closed, unless that is newer by then.
func (m *memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.serial++
	meta, err := newSnapshotMeta(version, index, term, m.mu.serial, configuration, configurationIndex)
	if err != nil {
		return nil, err
	}
	return &memorySink{store: m, snapshot: &memorySnapshot{meta: meta}}, nil
}

// List returns the latest snapshot, if there is one.
func (m *memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.latest == nil {
		return nil, nil
	}
	meta := m.mu.latest.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open returns a reader of snapshot id, or ErrNoSnapshot. The reader stays valid when the snapshot is replaced.
func (m *memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.latest == nil || m.mu.latest.meta.ID != id {
		return nil, nil, fmt.Errorf("%w: %q", ErrNoSnapshot, id)
	}
	meta := m.mu.latest.meta
	return &meta, &chunkReader{chunks: m.mu.latest.chunks}, nil
}

// Newest returns the latest snapshot, or ErrNoSnapshot.
func (m *memorySnapshots) Newest() (*raft.SnapshotMeta, error) { return newestSnapshot(m) }

func (m *memorySnapshots) publish(s *memorySnapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.latest == nil || m.mu.latest.meta.ID < s.meta.ID {
		m.mu.latest = s
	}
}

// memorySink fills a snapshot. One goroutine uses it.
type memorySink struct {
	store    *memorySnapshots
	snapshot *memorySnapshot // nil once closed or cancelled
	id       string
}

func (s *memorySink) ID() string {
	if s.snapshot != nil {
		s.id = s.snapshot.meta.ID
	}
	return s.id
}

func (s *memorySink) Write(p []byte) (written int, err error) {
	if s.snapshot == nil {
		return 0, errSinkClosed
	}
	if s.snapshot.meta.Size+int64(len(p)) > s.store.limit {
		return 0, fmt.Errorf("%w: %d bytes", ErrSnapshotTooLarge, s.store.limit)
	}
	for len(p) > 0 {
		chunks := s.snapshot.chunks
		if len(chunks) == 0 || len(chunks[len(chunks)-1]) == snapshotChunkBytes {
			chunks = append(chunks, make([]byte, 0, snapshotChunkBytes))
			s.snapshot.chunks = chunks
		}
		last := &chunks[len(chunks)-1]
		n := min(len(p), snapshotChunkBytes-len(*last))
		*last = append(*last, p[:n]...)
		p = p[n:]
		written += n
	}
	s.snapshot.meta.Size += int64(written)
	return written, nil
}

// Close publishes the snapshot. A second call does nothing.
func (s *memorySink) Close() error {
	if s.snapshot == nil {
		return nil
	}
	s.store.publish(s.snapshot)
	return s.Cancel()
}

// Cancel drops the snapshot. A call after Close does nothing.
func (s *memorySink) Cancel() error {
	s.ID()
	s.snapshot = nil
	return nil
}

// chunkReader reads chunks in order.
type chunkReader struct {
	chunks [][]byte
	offset int // in chunks[0]
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.chunks) > 0 && r.offset == len(r.chunks[0]) {
		r.chunks, r.offset = r.chunks[1:], 0
	}
	if len(r.chunks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.chunks[0][r.offset:])
	r.offset += n
	return n, nil
}

func (r *chunkReader) Close() error { return nil }
