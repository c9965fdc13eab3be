package space

import (
	"hash/maphash"
	"iter"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// entries is one space in one partition: the records, their leases and indexes.
type entries struct {
	def       Definition
	table     *arena.Table
	nextOrder uint64         // of the next new entry; from 1
	leases    *pairtree.Tree // (deadline, order) of the entries with a lease
	indexes   []*fieldIndex  // as in def.Indexes
	seed      maphash.Seed
}

func newEntries(def Definition, seed maphash.Seed) *entries {
	sp := &entries{def: def, table: arena.New(seed), nextOrder: 1, seed: seed, leases: new(pairtree.Tree)}
	sp.indexes = make([]*fieldIndex, len(def.Indexes))
	for i, x := range def.Indexes {
		sp.indexes[i] = &fieldIndex{Index: x}
	}
	return sp
}

// put stores an entry and keeps leases and indexes in step. old is the record it
// replaces, if existed.
func (sp *entries) put(e *Entry, old arena.Record, existed bool) {
	if existed {
		sp.reindex(old, e)
	} else {
		sp.index(e)
	}
	sp.table.Put(e.Key, arena.Meta{
		Version: uint64(e.Version), Order: e.Order, Deadline: int64(e.Deadline), Kind: uint8(e.Kind),
	}, e.Value)
	sp.nextOrder = max(sp.nextOrder, e.Order+1)
}

// remove drops a record with its leases and index entries.
func (sp *entries) remove(r arena.Record) {
	sp.unindex(r)
	sp.table.Delete(r.Key())
}

// visible walks over the records that can be found, ascending from an order.
func (sp *entries) visible(from uint64) iter.Seq[arena.Record] { return sp.table.Ascend(from) }
