package space

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// entries is one space in one partition: the records, their leases and indexes.
type entries struct {
	def       Definition
	table     *arena.Table
	nextOrder uint64         // of the next new entry; from 1
	leases    *pairtree.Tree // (deadline, order) of the visible entries with a lease
	hidden    *hiddenRuns
	groups    *groups      // nil if the definition names no group
	indexes   []fieldIndex // as in def.Indexes
	seed      maphash.Seed
}

// fieldIndex finds entries by equality of some fields: a tree of (hash of the
// fields' values, order). Hashes may collide, so every hit is compared.
type fieldIndex struct {
	fields []string
	tree   *pairtree.Tree
}

func newEntries(def Definition, seed maphash.Seed) *entries {
	sp := &entries{
		def: def, table: arena.New(seed), nextOrder: 1, seed: seed,
		leases: new(pairtree.Tree), hidden: new(hiddenRuns), groups: newGroups(&def, seed),
	}
	sp.indexes = make([]fieldIndex, len(def.Indexes))
	for i, x := range def.Indexes {
		sp.indexes[i] = fieldIndex{fields: x.Fields, tree: new(pairtree.Tree)}
	}
	return sp
}

// put stores an entry and keeps leases and indexes in step. old is the record it
// replaces, if existed. A claimed entry is stored with the hidden mark, outside of
// leases and indexes.
func (sp *entries) put(e *Entry, old arena.Record, existed bool) {
	if existed {
		sp.unindex(old)
	}
	sp.table.Put(e.Key, arena.Meta{
		Version: uint64(e.Version), Order: e.Order, Deadline: int64(e.Deadline),
		Kind: uint8(e.Kind) | boolByte(e.Claimed)*hiddenMark, Extra: uint64(e.Attempts),
	}, e.Value)
	sp.nextOrder = max(sp.nextOrder, e.Order+1)
	if was := existed && isHidden(old); was != e.Claimed {
		if e.Claimed {
			sp.noteHidden(e.Order)
		} else {
			sp.noteShown(e.Order)
		}
	}
	sp.joinGroup(e.Kind, e.Value, e.Order, e.Claimed)
	if !e.Claimed {
		sp.index(e)
	}
}

// index enters a visible entry into leases and indexes.
func (sp *entries) index(e *Entry) {
	if e.Deadline != Never {
		sp.leases.Insert(uint64(e.Deadline), e.Order)
	}
	if e.Kind == KindFields {
		for i := range sp.indexes {
			if h, ok := sp.hashFields(sp.indexes[i].fields, e.Value); ok {
				sp.indexes[i].tree.Insert(h, e.Order)
			}
		}
	}
}

// remove drops a record with its leases and index entries.
func (sp *entries) remove(r arena.Record) {
	sp.unindex(r)
	sp.table.Delete(r.Key())
	if isHidden(r) {
		sp.noteShown(r.Order())
	} else {
		sp.noteRemoved(r.Order())
	}
}

// unindex undoes index, and takes a record out of its group.
func (sp *entries) unindex(r arena.Record) {
	sp.leaveGroup(r)
	if isHidden(r) {
		return
	}
	if d := r.Deadline(); Time(d) != Never {
		sp.leases.Delete(uint64(d), r.Order())
	}
	if Kind(r.Kind()) == KindFields {
		for i := range sp.indexes {
			if h, ok := sp.hashFields(sp.indexes[i].fields, r.Value()); ok {
				sp.indexes[i].tree.Delete(h, r.Order())
			}
		}
	}
}

// redefine puts a new definition in force: indexes and groups that stay keep their
// trees, new ones are built from the records.
func (sp *entries) redefine(def Definition) *entries {
	next := &entries{
		def: def, table: sp.table, nextOrder: sp.nextOrder, leases: sp.leases, seed: sp.seed,
		hidden: sp.hidden, groups: sp.groups,
		indexes: make([]fieldIndex, len(def.Indexes)),
	}
	for i, x := range def.Indexes {
		next.indexes[i] = fieldIndex{fields: x.Fields, tree: new(pairtree.Tree)}
		if j := sp.indexOn(x.Fields); j >= 0 {
			next.indexes[i].tree = sp.indexes[j].tree
			continue
		}
		for r := range sp.visible(0) {
			if Kind(r.Kind()) == KindFields {
				if h, ok := sp.hashFields(x.Fields, r.Value()); ok {
					next.indexes[i].tree.Insert(h, r.Order())
				}
			}
		}
	}
	if def.Group != sp.def.Group {
		next.regroup()
	}
	return next
}

func (sp *entries) indexOn(fields []string) int {
	for i := range sp.indexes {
		if equalStrings(sp.indexes[i].fields, fields) {
			return i
		}
	}
	return -1
}

func equalStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// hashFields hashes the values of fields in a canonical map, in the given order;
// false if one of them is absent.
func (sp *entries) hashFields(fields []string, m []byte) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(sp.seed)
	for _, f := range fields {
		v, ok := msgp.Field(m, f)
		if !ok {
			return 0, false
		}
		hashValue(&h, v)
	}
	return h.Sum64(), true
}

// hashValue adds a value with its length, so that adjacent values cannot run
// into each other.
func hashValue(h *maphash.Hash, v []byte) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(v)))
	h.Write(n[:])
	h.Write(v)
}
