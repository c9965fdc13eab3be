package grid

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Handler is application code that runs on the member that leads a partition,
// beside its data, as one transaction. processingunit registers handlers; a
// Handler must be safe for concurrent use.
//
// What Serve reads through tx is validated when the transaction commits, and
// what it writes takes effect in the same log record as its response. If
// something it read has changed meanwhile, it is run again; it must therefore
// have no effect but through tx. An error refuses the request without effect.
type Handler interface {
	Serve(ctx context.Context, tx *Txn, request []byte) (response []byte, err error)
}

// Txn is one transaction of a handler, on one partition. It is used by one
// goroutine and ends with the handler.
type Txn struct {
	partition space.PartitionID
	count     int // partitions of the grid
	key       []byte
	state     func(name string) *space.Definition
	get       func(space.ID, []byte) (space.Entry, space.Code)
	ops       []space.Op
	seen      map[txnKey]*txnEntry
}

type txnKey struct {
	space space.ID
	key   string
}

// txnEntry is an entry as the transaction sees it.
type txnEntry struct {
	entry   space.Entry
	present bool
}

// Key returns the key that the request was routed by.
func (tx *Txn) Key() []byte { return tx.key }

// Read returns the entry under a key of a space, as the transaction left it, or
// ErrNotFound. The key must lie in the transaction's partition.
func (tx *Txn) Read(spaceName string, key []byte) (Entry, error) {
	def, err := tx.space(spaceName, key)
	if err != nil {
		return Entry{}, err
	}
	e := tx.look(def.ID, key)
	if !e.present {
		return Entry{}, ErrNotFound
	}
	return entryOf(e.entry), nil
}

// Write writes an entry; its Key, Value and Kind count.
func (tx *Txn) Write(spaceName string, e Entry) error {
	def, err := tx.space(spaceName, e.Key)
	if err != nil {
		return err
	}
	op := space.Op{Code: space.OpWrite, Space: def.ID, Key: e.Key, Value: e.Value, Kind: e.Kind, Lease: e.Lease}
	// A blind write needs no look: nothing was read that could have changed.
	tx.seen[txnKey{def.ID, string(e.Key)}] = &txnEntry{
		entry: space.Entry{Key: e.Key, Value: e.Value, Kind: e.Kind}, present: true,
	}
	tx.ops = append(tx.ops, op)
	return nil
}

// Delete removes the entry under a key and reports whether there was one.
func (tx *Txn) Delete(spaceName string, key []byte) (bool, error) {
	def, err := tx.space(spaceName, key)
	if err != nil {
		return false, err
	}
	seen := tx.look(def.ID, key)
	if !seen.present {
		return false, nil
	}
	seen.entry, seen.present = space.Entry{}, false
	tx.ops = append(tx.ops, space.Op{Code: space.OpTake, Space: def.ID, Key: key})
	return true, nil
}

func (tx *Txn) space(name string, key []byte) (*space.Definition, error) {
	def := tx.state(name)
	if def == nil {
		return nil, noSpace(name)
	}
	if space.PartitionOf(key, tx.count) != tx.partition {
		return nil, ErrCrossPartition
	}
	return def, nil
}

// look returns the transaction's view of an entry. The first look at a stored
// entry, or at its absence, is validated at commit.
func (tx *Txn) look(id space.ID, key []byte) *txnEntry {
	k := txnKey{id, string(key)}
	if e, ok := tx.seen[k]; ok {
		return e
	}
	e := &txnEntry{}
	stored, code := tx.get(id, key)
	if code == space.OK {
		e.entry, e.present = stored, true
	}
	// Version 0 asks for absence.
	tx.ops = append(tx.ops, space.Op{Code: space.OpCheck, Space: id, Key: key, Match: e.entry.Version})
	tx.seen[k] = e
	return e
}
