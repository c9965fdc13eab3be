package replica

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"
)

// DefaultSnapshotBytes bounds one snapshot. It is received from another member, so its size is not ours to trust.
const DefaultSnapshotBytes = 16 << 30

var (
	// ErrSnapshotCorrupt is matched by every error about a snapshot whose bytes do not verify. The caller takes an older one.
	ErrSnapshotCorrupt = errors.New("replica: snapshot is corrupt")
	// ErrNoSnapshot is returned by Open for an id that does not exist (any more), and by Newest when there is none.
	ErrNoSnapshot = errors.New("replica: no such snapshot")
	// ErrSnapshotTooLarge is returned by the Write that would exceed the bound on one snapshot.
	ErrSnapshotTooLarge = errors.New("replica: snapshot is larger than its bound")
	// ErrSnapshotVersion is returned by Create for a version of raft's that this store does not know.
	ErrSnapshotVersion = errors.New("replica: unknown snapshot version")
	// errSinkClosed is returned by a Write after Close or Cancel.
	errSinkClosed = errors.New("replica: snapshot is already finished")
)

// SnapshotCorruptError says which snapshot does not verify. errors.Is(err, ErrSnapshotCorrupt) holds for it.
type SnapshotCorruptError struct {
	Path   string
	Reason string
}

func (e *SnapshotCorruptError) Error() string {
	return fmt.Sprintf("replica: snapshot is corrupt: %s: %s", e.Path, e.Reason)
}

// Is makes every SnapshotCorruptError match ErrSnapshotCorrupt.
func (e *SnapshotCorruptError) Is(target error) bool { return target == ErrSnapshotCorrupt }

// SnapshotStore keeps the newest snapshots of one group: a raft.SnapshotStore, in a folder (OpenSnapshotStore) or in memory
// (NewMemorySnapshotStore). A snapshot exists from the return of its sink's Close on, whole, or not at all. Both forms
// stream: memory use does not depend on the size of a snapshot on disk, and one in memory is held once.
//
// All methods may be called concurrently, and several sinks may be open at a time.
type SnapshotStore interface {
	raft.SnapshotStore
	// Newest returns the newest snapshot that verifies, the one raft will start from, ErrNoSnapshot if there is none, or a
	// SnapshotCorruptError if there are only damaged ones.
	Newest() (*raft.SnapshotMeta, error)
}

var (
	_ SnapshotStore = (*diskSnapshots)(nil)
	_ SnapshotStore = (*memorySnapshots)(nil)
)

// newSnapshotMeta describes a snapshot that is about to be written; its size is not known yet. Raft's deprecated list of peers
// stays empty, because the configuration says it all.
func newSnapshotMeta(version raft.SnapshotVersion, index, term, serial uint64, configuration raft.Configuration,
	configurationIndex uint64) (raft.SnapshotMeta, error) {
	if version != raft.SnapshotVersionMax {
		return raft.SnapshotMeta{}, fmt.Errorf("%w: %d", ErrSnapshotVersion, version)
	}
	return raft.SnapshotMeta{
		Version:            version,
		ID:                 snapshotID(index, term, serial),
		Index:              index,
		Term:               term,
		Configuration:      configuration.Clone(),
		ConfigurationIndex: configurationIndex,
	}, nil
}

// snapshotID sorts as the snapshots do, oldest first: by index, then term, then the order of their creation.
func snapshotID(index, term, serial uint64) string {
	return fmt.Sprintf("%016x-%016x-%016x", index, term, serial)
}

// parseSnapshotID is the inverse of snapshotID.
func parseSnapshotID(id string) (index, term, serial uint64, ok bool) {
	n, err := fmt.Sscanf(id, "%016x-%016x-%016x", &index, &term, &serial)
	return index, term, serial, err == nil && n == 3 && id == snapshotID(index, term, serial)
}

// newestSnapshot opens the snapshots of store, newest first, until one verifies.
func newestSnapshot(store raft.SnapshotStore) (*raft.SnapshotMeta, error) {
	metas, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, candidate := range metas {
		meta, content, err := store.Open(candidate.ID)
		if errors.Is(err, ErrSnapshotCorrupt) || errors.Is(err, ErrNoSnapshot) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return meta, content.Close()
	}
	return nil, ErrNoSnapshot
}

// checkedReader reads size bytes of content and, at their end, compares their checksum: the last Read returns a
// SnapshotCorruptError instead of io.EOF if they differ, or if content ends early.
type checkedReader struct {
	content io.Reader // limited to size
	path    string
	left    int64
	want    uint32
	sum     uint32
}

func newCheckedReader(content io.Reader, path string, size int64, want uint32) *checkedReader {
	return &checkedReader{content: io.LimitReader(content, size), path: path, left: size, want: want}
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	r.left -= int64(n)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	switch {
	case err == io.EOF && r.left > 0:
		err = &SnapshotCorruptError{Path: r.path, Reason: fmt.Sprintf("content ends %d bytes early", r.left)}
	case err == io.EOF && r.sum != r.want:
		err = &SnapshotCorruptError{Path: r.path, Reason: "checksum of the content does not match"}
	}
	return n, err
}
