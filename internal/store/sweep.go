package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/spacegrid/spacegrid/grid/space"
)

// sweep removes the generations that no mark names: what a replacement had
// written when the process ended. It visits one key per generation, not per row.
func (s *Store) sweep() error {
	type part struct {
		id         space.PartitionID
		generation uint8
	}
	var stale []part
	for _, kind := range []byte{kindSpace, kindData} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: after([]byte{kind})})
		if err != nil {
			return fmt.Errorf("store: sweep: %w", err)
		}
		for ok := it.First(); ok && err == nil; {
			key := it.Key()
			if len(key) < generationPrefix {
				err = &CorruptError{Record: "key", Reason: fmt.Sprintf("%x", key)}
				break
			}
			x := part{space.PartitionID(binary.BigEndian.Uint16(key[1:])), key[3]}
			var m Mark
			if m, err = readMark(s.db, x.id); err == nil && (m.History.IsZero() || m.Generation != x.generation) {
				stale = append(stale, x)
			}
			ok = it.SeekGE(after(key[:generationPrefix]))
		}
		if closed := it.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return s.Update(func(tx *Tx) error {
		for _, x := range stale {
			if err := tx.DropGeneration(x.id, x.generation); err != nil {
				return err
			}
		}
		return nil
	})
}
