package grid

import (
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// commit carries out what the transaction gathered; without writes it only checks
// that what was read holds.
func (tx *Tx) commit(writes bool) error {
	parts, home := tx.parts(writes)
	switch {
	case len(parts) == 0:
		return nil
	case home < 0 && len(tx.order) == 1 && len(tx.queries) == 0:
		// One read, which was true when it was made.
		return nil
	}
	list := make([]*cluster.TxnPart, 0, len(parts))
	if home >= 0 {
		list = append(list, parts[space.PartitionID(home)])
		delete(parts, space.PartitionID(home))
	}
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		list = append(list, parts[p])
	}
	return tx.g.router.Transact(tx.ctx, list)
}

// parts returns the operations of the commit by partition, and the partition of
// the first write, -1 if there is none.
func (tx *Tx) parts(writes bool) (parts map[space.PartitionID]*cluster.TxnPart, home int) {
	parts, home = map[space.PartitionID]*cluster.TxnPart{}, -1
	add := func(p space.PartitionID, op space.Op) {
		part := parts[p]
		if part == nil {
			part = &cluster.TxnPart{Partition: p}
			parts[p] = part
		}
		part.Ops = append(part.Ops, op)
	}
	for _, q := range tx.queries {
		add(q.partition, space.Op{Code: space.OpCheckMatch, Space: q.space, Template: q.template, Predicate: q.condition, Match: q.seq})
	}
	for _, x := range tx.order {
		p := space.PartitionOf(x.entry.Key, tx.g.Partitions())
		if x.looked {
			add(p, space.Op{Code: space.OpCheck, Space: x.key.space, Key: x.entry.Key, Match: x.version})
		}
		op, ok := x.write()
		if !ok || !writes {
			continue
		}
		add(p, op)
		if home < 0 {
			home = int(p)
		}
	}
	return parts, home
}

// write returns the operation that leaves the entry as the transaction wants it,
// if it takes one.
func (x *txEntry) write() (space.Op, bool) {
	switch {
	case !x.written, !x.present && x.version == 0:
		return space.Op{}, false
	case x.present:
		return space.Op{Code: space.OpWrite, Space: x.key.space, Key: x.entry.Key, Value: x.entry.Value, Kind: x.entry.Kind, Lease: x.lease}, true
	}
	return space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: x.key.space, Key: x.entry.Key}, true
}

// TxSpace is a typed view of a space inside of a transaction: see [Space.In].
type TxSpace[T any] struct {
	tx *Tx
	s  *Space[T]
}

// In returns the view of the space as a transaction sees it.
func (s *Space[T]) In(tx *Tx) TxSpace[T] { return TxSpace[T]{tx, s} }

// Read returns the value under a key, or ErrNotFound.
func (v TxSpace[T]) Read(key any) (T, error) { return v.get(key, v.tx.Read) }

// Take removes the entry under a key and returns its value, or ErrNotFound.
func (v TxSpace[T]) Take(key any) (T, error) { return v.get(key, v.tx.Take) }

func (v TxSpace[T]) get(key any, get func(string, []byte) (Entry, error)) (value T, err error) {
	k, err := Key(key)
	if err != nil {
		return value, err
	}
	e, err := get(v.s.def.Name, k)
	if err != nil {
		return value, err
	}
	err = v.s.codec.decode(space.Entry{Value: e.Value, Kind: e.Kind}, &value)
	return value, err
}

// Write writes a value under its key.
func (v TxSpace[T]) Write(value T) error {
	b, err := v.s.codec.encode(&value)
	if err != nil {
		return err
	}
	lease, err := v.s.codec.leaseOf(&value)
	if err != nil {
		return err
	}
	return v.tx.Write(v.s.def.Name, Entry{Key: v.s.codec.keyOf(&value), Value: b, Kind: Fields, Lease: lease})
}

// Query returns the values that pass a filter: see [Tx.Query].
func (v TxSpace[T]) Query(f Filter) ([]T, error) {
	es, err := v.tx.query(&v.s.typed, f)
	if err != nil {
		return nil, err
	}
	values := make([]T, len(es))
	for i, e := range es {
		if err := v.s.codec.decode(space.Entry{Value: e.Value, Kind: e.Kind}, &values[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}
