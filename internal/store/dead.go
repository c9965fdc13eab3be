package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/spacegrid/spacegrid/grid/space"
)

// deadKeyBytes is the length of a refused change's key. The one with Seq 0, which
// no change has, keeps how often such changes of the partition were settled.
const deadKeyBytes = 1 + 2 + 8

func appendDeadKey(dst []byte, p space.PartitionID, seq space.Seq) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, kindDead), uint16(p))
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

// SetDead keeps a refused change, encoded by the caller, under its Seq.
func (tx *Tx) SetDead(p space.PartitionID, seq space.Seq, record []byte) error {
	tx.key = appendDeadKey(tx.key[:0], p, seq)
	tx.value = seal(append(append(tx.value[:0], recordFormat), record...), tx.key)
	return tx.batch.Set(tx.key, tx.value, nil)
}

// DeleteDead removes a refused change, which may be absent.
func (tx *Tx) DeleteDead(p space.PartitionID, seq space.Seq) error {
	tx.key = appendDeadKey(tx.key[:0], p, seq)
	return tx.batch.Delete(tx.key, nil)
}

// DropDead removes all refused changes of a partition, not the count of those
// that were settled.
func (tx *Tx) DropDead(p space.PartitionID) error {
	tx.key = appendDeadKey(tx.key[:0], p, 1)
	return tx.batch.DeleteRange(tx.key, after(appendDeadPrefix(p)), nil)
}

// Settled returns how often refused changes of a partition were settled.
func (tx *Tx) Settled(p space.PartitionID) (uint64, error) {
	tx.key = appendDeadKey(tx.key[:0], p, 0)
	value, closer, err := tx.s.db.Get(tx.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("store: read the settled count of partition %d: %w", p, err)
	}
	body, ok := openDead(tx.key, value)
	d := decoder{b: body}
	n := d.uvarint()
	if err := closer.Close(); err != nil {
		return 0, fmt.Errorf("store: read the settled count of partition %d: %w", p, err)
	}
	if !ok || d.failed {
		return 0, &CorruptError{Record: fmt.Sprintf("settled count of partition %d", p), Reason: "checksum"}
	}
	return n, nil
}

// SetSettled writes what Settled returns.
func (tx *Tx) SetSettled(p space.PartitionID, n uint64) error {
	return tx.SetDead(p, 0, binary.AppendUvarint(nil, n))
}

// Dead calls fn for the refused changes of a partition above a Seq, ascending.
// The record is valid during the call only. It stops at the first error, which it
// returns.
func (tx *Tx) Dead(p space.PartitionID, above space.Seq, fn func(space.Seq, []byte) error) error {
	return scanDead(context.Background(), tx.s.db, appendDeadKey(nil, p, above), after(appendDeadPrefix(p)),
		func(_ space.PartitionID, seq space.Seq, record []byte) error { return fn(seq, record) })
}

func appendDeadPrefix(p space.PartitionID) []byte {
	return binary.BigEndian.AppendUint16([]byte{kindDead}, uint16(p))
}

// Dead calls fn for the refused changes of all partitions that come after the one
// of partition p and Seq above, ascending by both. The record is valid during the
// call only. It stops at the first error, which it returns, and at the end of
// ctx.
func (n *Snapshot) Dead(ctx context.Context, p space.PartitionID, above space.Seq, fn func(space.PartitionID, space.Seq, []byte) error) error {
	return scanDead(ctx, n.at, appendDeadKey(nil, p, above), after([]byte{kindDead}), fn)
}

// scanDead visits what comes after the key begin.
func scanDead(ctx context.Context, from pebble.Reader, begin, end []byte, fn func(space.PartitionID, space.Seq, []byte) error) error {
	return scanRange(ctx, from, begin, end, func(key, value []byte) error {
		if len(key) != deadKeyBytes {
			return &CorruptError{Record: "refused change", Reason: "key"}
		}
		p, seq := space.PartitionID(binary.BigEndian.Uint16(key[1:])), space.Seq(binary.BigEndian.Uint64(key[3:]))
		if seq == 0 || bytes.Equal(key, begin) {
			return nil
		}
		body, ok := openDead(key, value)
		if !ok {
			return &CorruptError{Record: fmt.Sprintf("refused change %d of partition %d", seq, p), Reason: "checksum"}
		}
		return fn(p, seq, body)
	})
}

func openDead(key, value []byte) ([]byte, bool) {
	body, ok := unseal(value, key)
	if !ok || len(body) == 0 || body[0] != recordFormat {
		return nil, false
	}
	return body[1:], true
}

// Has reports whether there is a row under a key.
func (tx *Tx) Has(p space.PartitionID, generation uint8, id space.ID, key []byte) (bool, error) {
	_, closer, err := tx.s.db.Get(appendRowKey(nil, p, generation, id, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: read a row of partition %d: %w", p, err)
	}
	return true, closer.Close()
}
