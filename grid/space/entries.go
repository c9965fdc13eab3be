package space

import (
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// entries is one space in one partition: the records, their leases and indexes.
type entries struct {
	def       Definition
	table     *arena.Table
	nextOrder uint64         // of the next new entry; from 1
	leases    *pairtree.Tree // (deadline, order) of the visible entries with a lease
	hidden    *hiddenRuns
	groups    *groups       // nil if the definition names no group
	indexes   []*fieldIndex // as in def.Indexes
	seed      maphash.Seed
}

func newEntries(def Definition, seed maphash.Seed) *entries {
	sp := &entries{
		def: def, table: arena.New(seed), nextOrder: 1, seed: seed,
		leases: new(pairtree.Tree), hidden: new(hiddenRuns), groups: newGroups(&def, seed),
	}
	sp.indexes = make([]*fieldIndex, len(def.Indexes))
	for i, x := range def.Indexes {
		sp.indexes[i] = &fieldIndex{Index: x}
	}
	return sp
}

// put stores an entry and keeps leases, indexes and groups in step. old is the
// record it replaces, if existed. A claimed entry is stored with the hidden mark,
// outside of leases and indexes.
func (sp *entries) put(e *Entry, old arena.Record, existed bool) {
	hid := existed && isHidden(old)
	shown := existed && !hid
	if existed {
		sp.leaveGroup(old)
	}
	switch {
	case shown && !e.Claimed:
		sp.reindex(old, e)
	case shown:
		sp.unindex(old)
	}
	sp.table.Put(e.Key, arena.Meta{
		Version: uint64(e.Version), Order: e.Order, Deadline: int64(e.Deadline),
		Kind: uint8(e.Kind) | boolByte(e.Claimed)*hiddenMark, Extra: uint64(e.Attempts),
	}, e.Value)
	sp.nextOrder = max(sp.nextOrder, e.Order+1)
	if !shown && !e.Claimed {
		sp.index(e)
	}
	if hid != e.Claimed {
		if e.Claimed {
			sp.noteHidden(e.Order)
		} else {
			sp.noteShown(e.Order)
		}
	}
	sp.joinGroup(e.Kind, e.Value, e.Order, e.Claimed)
}

// remove drops a record with its leases, index entries and place in its group.
func (sp *entries) remove(r arena.Record) {
	sp.leaveGroup(r)
	if !isHidden(r) {
		sp.unindex(r)
	}
	sp.table.Delete(r.Key())
	if isHidden(r) {
		sp.noteShown(r.Order())
	} else {
		sp.noteRemoved(r.Order())
	}
}
