package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/space"
)

var (
	// ErrReadOnly is returned by writes to a store that was opened for reading.
	ErrReadOnly = errors.New("store: opened for reading only")
	// ErrDiskFull is returned when less than the reserve of disk space is free.
	// Nothing was written; the same write succeeds once there is room.
	ErrDiskFull = errors.New("store: disk is nearly full (free space, or enlarge the disk)")
)

// Tx is one transaction: what it writes takes effect whole, or not at all. Its
// reads see the store as it was before the transaction, not its own writes. It
// is used by one goroutine, inside Update, and keeps no slice that it was given.
type Tx struct {
	s     *Store
	batch *pebble.Batch
	key   []byte // scratch
	value []byte // scratch
}

// Update runs fn, commits what it wrote, and returns once that is on disk.
// Transactions run one after the other. An error of fn is returned as it is and
// nothing is written.
func (s *Store) Update(fn func(*Tx) error) error { return s.update(true, fn) }

// UpdateSoon is Update without the wait for the disk: what fn wrote is seen by
// every later transaction and is durable before any later one is, but a crash
// may undo it together with everything after it.
func (s *Store) UpdateSoon(fn func(*Tx) error) error { return s.update(false, fn) }

func (s *Store) update(sync bool, fn func(*Tx) error) error {
	if s.cfg.ReadOnly {
		return ErrReadOnly
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.users.Done()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.checkSpace(); err != nil {
		return err
	}
	tx := Tx{s: s, batch: s.db.NewBatch()}
	if err := fn(&tx); err != nil {
		_ = tx.batch.Close() // of a batch that is thrown away, only the memory matters
		if _, corrupt := errors.AsType[*CorruptError](err); corrupt {
			err = errors.Join(err, s.folder.Damaged(err))
		}
		return err
	}
	if tx.batch.Empty() {
		return tx.batch.Close()
	}
	size := int64(tx.batch.Len())
	if err := s.folder.Commit(tx.batch, sync); err != nil {
		return err
	}
	s.writing.unchecked += size
	return nil
}

// checkSpace looks at the free space of the disk often enough that the reserve
// cannot be used up unseen. s.writing is held.
func (s *Store) checkSpace() error {
	reserve := s.cfg.ReserveBytes
	if reserve < 0 || !s.writing.full && s.writing.unchecked < reserve/reserveChecks {
		return nil
	}
	fsys := s.cfg.FS
	if fsys == nil {
		fsys = vfs.Default
	}
	usage, err := fsys.GetDiskUsage(s.cfg.Dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: free disk space: %w", err)
	}
	s.writing.unchecked = 0
	s.writing.full = usage.AvailBytes < uint64(reserve)
	if s.writing.full {
		return fmt.Errorf("%w: %d bytes free, %d reserved", ErrDiskFull, usage.AvailBytes, reserve)
	}
	return nil
}

// Mark returns the mark of a partition; the zero Mark if it has none.
func (tx *Tx) Mark(p space.PartitionID) (Mark, error) { return readMark(tx.s.db, p) }

// SetMark writes the mark of a partition.
func (tx *Tx) SetMark(p space.PartitionID, m *Mark) error {
	tx.key = appendMarkKey(tx.key[:0], p)
	tx.value = seal(m.append(tx.value[:0]), tx.key)
	return tx.batch.Set(tx.key, tx.value, nil)
}

// Space returns what is known of a space; ok is false if there is none.
func (tx *Tx) Space(p space.PartitionID, generation uint8, id space.ID) (s Space, ok bool, err error) {
	return readSpace(tx.s.db, p, generation, id)
}

// SetSpace writes what is known of a space.
func (tx *Tx) SetSpace(p space.PartitionID, generation uint8, s *Space) error {
	tx.key = appendSpaceKey(tx.key[:0], kindSpace, p, generation, s.Definition.ID)
	tx.value = seal(s.append(tx.value[:0]), tx.key)
	return tx.batch.Set(tx.key, tx.value, nil)
}

// Put writes a row.
func (tx *Tx) Put(p space.PartitionID, generation uint8, id space.ID, key []byte, r *Row) error {
	tx.key = appendRowKey(tx.key[:0], p, generation, id, key)
	tx.value = r.append(tx.value[:0])
	return tx.batch.Set(tx.key, tx.value, nil)
}

// Delete removes a row, which may be absent.
func (tx *Tx) Delete(p space.PartitionID, generation uint8, id space.ID, key []byte) error {
	tx.key = appendRowKey(tx.key[:0], p, generation, id, key)
	return tx.batch.Delete(tx.key, nil)
}

// DropSpace removes a space with all its rows, by one range deletion.
func (tx *Tx) DropSpace(p space.PartitionID, generation uint8, id space.ID) error {
	tx.key = appendSpaceKey(tx.key[:0], kindSpace, p, generation, id)
	if err := tx.batch.Delete(tx.key, nil); err != nil {
		return err
	}
	tx.key = appendSpaceKey(tx.key[:0], kindData, p, generation, id)
	return tx.batch.DeleteRange(tx.key, after(tx.key), nil)
}

// DropGeneration removes a whole generation of a partition, by two range
// deletions.
func (tx *Tx) DropGeneration(p space.PartitionID, generation uint8) error {
	for _, kind := range []byte{kindSpace, kindData} {
		tx.key = appendGeneration(tx.key[:0], kind, p, generation)
		if err := tx.batch.DeleteRange(tx.key, after(tx.key), nil); err != nil {
			return err
		}
	}
	return nil
}

// Drop removes everything the store holds of a partition, its mark included.
func (tx *Tx) Drop(p space.PartitionID) error {
	for _, kind := range []byte{kindSpace, kindData, kindMark, kindDead} {
		tx.key = append(tx.key[:0], appendMarkKey(nil, p)...)
		tx.key[0] = kind
		if err := tx.batch.DeleteRange(tx.key, after(tx.key), nil); err != nil {
			return err
		}
	}
	return nil
}
