package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Records of the whole store that have a meaning here or by agreement.
const (
	// MetaPartitions holds the partition count. Open writes it.
	MetaPartitions = "partitions"
	// MetaCluster holds the identity of the cluster that the store belongs to.
	MetaCluster = "cluster"
	// MetaSinks holds the definitions of the sinks, which no change carries.
	MetaSinks = "sinks"
)

const (
	metaNameMax  = 256
	metaValueMax = 1 << 20
)

// ErrNoMeta is returned by Meta for a record that was never set.
var ErrNoMeta = errors.New("store: no such record")

// ErrPartitions is returned when a store was made for another partition count.
var ErrPartitions = errors.New("store: made for another number of partitions (start the grid with that number, or give it an empty data folder)")

// Meta returns a copy of the record called name.
func (s *Store) Meta(name string) ([]byte, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.life.users.Done()
	key := metaKey(name)
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("%w: %q", ErrNoMeta, name)
	}
	if err != nil {
		return nil, fmt.Errorf("store: read record %q: %w", name, err)
	}
	body, ok := unseal(value, key)
	body = append([]byte(nil), body...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("store: read record %q: %w", name, err)
	}
	if !ok {
		return nil, &CorruptError{Record: "record " + name, Reason: "checksum"}
	}
	return body, nil
}

// SetMeta stores a record and returns once it is durable.
func (s *Store) SetMeta(name string, value []byte) error {
	if name == "" || len(name) > metaNameMax || len(value) > metaValueMax {
		return fmt.Errorf("store: record %.32q: a name has 1 to %d bytes, a value at most %d", name, metaNameMax, metaValueMax)
	}
	return s.Update(func(tx *Tx) error {
		key := metaKey(name)
		return tx.batch.Set(key, seal(append([]byte(nil), value...), key), nil)
	})
}

// settlePartitions compares the recorded partition count with the configured
// one, or records it.
func (s *Store) settlePartitions() error {
	b, err := s.Meta(MetaPartitions)
	switch {
	case errors.Is(err, ErrNoMeta):
		if s.cfg.Partitions == 0 || s.cfg.ReadOnly {
			return nil
		}
		s.partitions = s.cfg.Partitions
		return s.SetMeta(MetaPartitions, binary.AppendUvarint(nil, uint64(s.partitions)))
	case err != nil:
		return err
	}
	n, used := binary.Uvarint(b)
	if used != len(b) || n == 0 || n > 1<<16 {
		return &CorruptError{Record: "partition count", Reason: "not a number of partitions"}
	}
	s.partitions = int(n)
	if s.cfg.Partitions != 0 && s.cfg.Partitions != s.partitions {
		return fmt.Errorf("%w: %d, not %d", ErrPartitions, s.partitions, s.cfg.Partitions)
	}
	return nil
}
