package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/spacegrid/spacegrid/grid/space"
)

// checkEvery is the number of rows between two looks at a scan's context.
const checkEvery = 1024

// Snapshot is everything as it was at one moment. It may be used by several
// goroutines and must be closed; while it is open, the disk space of what has
// been replaced since is not given back.
type Snapshot struct {
	s  *Store
	at *pebble.Snapshot
}

// Snapshot opens a snapshot. Close of the store waits for it.
func (s *Store) Snapshot() (*Snapshot, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	return &Snapshot{s: s, at: s.db.NewSnapshot()}, nil
}

// Close releases the snapshot. It must be called once.
func (n *Snapshot) Close() error {
	defer n.s.life.users.Done()
	return n.at.Close()
}

// Mark returns the mark of a partition; the zero Mark if it has none.
func (n *Snapshot) Mark(p space.PartitionID) (Mark, error) { return readMark(n.at, p) }

// Marks calls fn for every partition that has a mark, ascending.
func (n *Snapshot) Marks(fn func(space.PartitionID, Mark) error) error {
	return scan(context.Background(), n.at, []byte{kindMark}, func(key, value []byte) error {
		if len(key) != 3 {
			return &CorruptError{Record: "mark", Reason: "key"}
		}
		p := space.PartitionID(binary.BigEndian.Uint16(key[1:]))
		m, err := openMark(key, value, p)
		if err != nil {
			return err
		}
		return fn(p, m)
	})
}

// Spaces returns the spaces of a generation of a partition, ascending by id.
func (n *Snapshot) Spaces(p space.PartitionID, generation uint8) ([]Space, error) {
	var spaces []Space
	prefix := appendGeneration(nil, kindSpace, p, generation)
	err := scan(context.Background(), n.at, prefix, func(key, value []byte) error {
		if len(spaces) >= space.MaxSpaces {
			return &CorruptError{Record: fmt.Sprintf("spaces of partition %d", p), Reason: "too many"}
		}
		s, err := openSpace(key, value, p)
		spaces = append(spaces, s)
		return err
	})
	return spaces, err
}

// Get returns the row under a key and copies it; ok is false if there is none.
func (n *Snapshot) Get(p space.PartitionID, generation uint8, id space.ID, key []byte) (r Row, ok bool, err error) {
	value, closer, err := n.at.Get(appendRowKey(nil, p, generation, id, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return Row{}, false, nil
	}
	if err != nil {
		return Row{}, false, fmt.Errorf("store: read a row of partition %d: %w", p, err)
	}
	r, ok = decodeRow(append([]byte(nil), value...))
	if err := closer.Close(); err != nil {
		return Row{}, false, fmt.Errorf("store: read a row of partition %d: %w", p, err)
	}
	if !ok {
		return Row{}, false, &CorruptError{Record: fmt.Sprintf("row of partition %d", p), Reason: "fields"}
	}
	return r, true, nil
}

// Scan calls fn for every row of a generation of a partition, ordered by space
// and key. Key and row are valid during the call only. It stops at the first
// error, which it returns, and at the end of ctx.
func (n *Snapshot) Scan(ctx context.Context, p space.PartitionID, generation uint8, fn func(id space.ID, key []byte, r *Row) error) error {
	prefix := appendGeneration(nil, kindData, p, generation)
	return scan(ctx, n.at, prefix, func(k, value []byte) error {
		_, _, id, key, ok := splitRowKey(k)
		r, good := decodeRow(value)
		if !ok || !good {
			return &CorruptError{Record: fmt.Sprintf("row of partition %d", p), Reason: "fields"}
		}
		return fn(id, key, &r)
	})
}

func scan(ctx context.Context, from pebble.Reader, prefix []byte, fn func(key, value []byte) error) error {
	return scanRange(ctx, from, prefix, after(prefix), fn)
}

func scanRange(ctx context.Context, from pebble.Reader, begin, end []byte, fn func(key, value []byte) error) error {
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: begin, UpperBound: end})
	if err != nil {
		return fmt.Errorf("store: scan: %w", err)
	}
	n := 0
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if n++; n%checkEvery == 0 {
			if err = ctx.Err(); err != nil {
				break
			}
		}
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = fn(it.Key(), value)
		}
	}
	if closed := it.Close(); closed != nil && err == nil {
		err = fmt.Errorf("store: scan: %w", closed)
	}
	return err
}

func readMark(from pebble.Reader, p space.PartitionID) (Mark, error) {
	key := appendMarkKey(make([]byte, 0, 3), p)
	value, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, fmt.Errorf("store: read the mark of partition %d: %w", p, err)
	}
	m, err := openMark(key, value, p)
	return m, errors.Join(err, closer.Close())
}

func openMark(key, value []byte, p space.PartitionID) (Mark, error) {
	body, ok := unseal(value, key)
	if !ok {
		return Mark{}, &CorruptError{Record: fmt.Sprintf("mark of partition %d", p), Reason: "checksum"}
	}
	m, ok := decodeMark(body)
	if !ok {
		return Mark{}, &CorruptError{Record: fmt.Sprintf("mark of partition %d", p), Reason: "fields"}
	}
	return m, nil
}

func readSpace(from pebble.Reader, p space.PartitionID, generation uint8, id space.ID) (Space, bool, error) {
	key := appendSpaceKey(make([]byte, 0, spacePrefix), kindSpace, p, generation, id)
	value, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return Space{}, false, nil
	}
	if err != nil {
		return Space{}, false, fmt.Errorf("store: read space %d of partition %d: %w", id, p, err)
	}
	s, err := openSpace(key, value, p)
	return s, err == nil, errors.Join(err, closer.Close())
}

func openSpace(key, value []byte, p space.PartitionID) (Space, error) {
	body, ok := unseal(value, key)
	if !ok {
		return Space{}, &CorruptError{Record: fmt.Sprintf("space of partition %d", p), Reason: "checksum"}
	}
	s, ok := decodeSpace(body)
	if !ok || len(key) != spacePrefix || uint32(s.Definition.ID) != binary.BigEndian.Uint32(key[generationPrefix:]) {
		return Space{}, &CorruptError{Record: fmt.Sprintf("space of partition %d", p), Reason: "fields"}
	}
	return s, nil
}
