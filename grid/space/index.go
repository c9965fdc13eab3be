package space

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// fieldIndex finds entries by the values of some fields. A hash index holds (hash
// of the values, order): one hash has its entries in their order. An ordered one
// holds (hash of all values but the last and place of the last, order). Hashes
// collide and places are shared, so every hit is compared.
//
// An index that is added to a space with entries is built step by step: those
// with an order in [next, end) may not be in it yet. What is written meanwhile
// enters it at once, wherever it lies.
type fieldIndex struct {
	Index
	hashed pairtree.Set[pairtree.Pair]   // of a hash index
	sorted pairtree.Set[pairtree.Triple] // of an ordered one
	next   uint64
	end    uint64
}

// built reports whether every entry that has the fields is in the index.
func (x *fieldIndex) built() bool { return x.next >= x.end }

// equalFields returns the fields that serve equality only.
func (x *fieldIndex) equalFields() []string {
	if x.Ordered {
		return x.Fields[:len(x.Fields)-1]
	}
	return x.Fields
}

// last returns the field that an ordered index orders.
func (x *fieldIndex) last() string { return x.Fields[len(x.Fields)-1] }

// bytes returns the memory that the index takes.
func (x *fieldIndex) bytes() int { return x.hashed.Bytes() + x.sorted.Bytes() }

// indexKey is what an entry is found by in an index: the key of the tree but for
// the order. The lower number is 0 for a hash index.
type indexKey struct{ hi, lo uint64 }

// key returns the key of a value, and false if the value lacks one of the fields.
func (x *fieldIndex) key(seed maphash.Seed, value []byte) (indexKey, bool) {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, f := range x.equalFields() {
		v, ok := msgp.FieldPath(value, f)
		if !ok {
			return indexKey{}, false
		}
		hashValue(&h, v)
	}
	if !x.Ordered {
		return indexKey{hi: h.Sum64()}, true
	}
	v, ok := msgp.FieldPath(value, x.last())
	if !ok {
		return indexKey{}, false
	}
	return placedKey(x.orderedHash(&h), placeOf(v)), true
}

// orderedHash returns the half of a hash that keys of an ordered index hold.
func (x *fieldIndex) orderedHash(h *maphash.Hash) uint32 {
	if len(x.Fields) == 1 {
		return 0
	}
	return uint32(h.Sum64() >> 32)
}

func placedKey(hash uint32, p place) indexKey {
	return indexKey{hi: uint64(hash)<<32 | uint64(p.hi), lo: p.lo}
}

func (x *fieldIndex) insert(k indexKey, order uint64) {
	if x.Ordered {
		x.sorted.Insert(pairtree.Triple{k.hi, k.lo, order})
	} else {
		x.hashed.Insert(pairtree.Pair{k.hi, order})
	}
}

func (x *fieldIndex) delete(k indexKey, order uint64) {
	if x.Ordered {
		x.sorted.Delete(pairtree.Triple{k.hi, k.lo, order})
	} else {
		x.hashed.Delete(pairtree.Pair{k.hi, order})
	}
}

// hashValue adds a value with its length, so that adjacent values cannot run
// into each other.
func hashValue(h *maphash.Hash, v []byte) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(v)))
	h.Write(n[:])
	h.Write(v)
}

// index enters a visible entry into the leases and into every index that covers
// it.
func (sp *entries) index(e *Entry) {
	if e.Deadline != Never {
		sp.leases.Insert(uint64(e.Deadline), e.Order)
	}
	for _, x := range sp.indexes {
		sp.enter(x, e)
	}
}

// enter enters an entry into one index, if it has the fields.
func (sp *entries) enter(x *fieldIndex, e *Entry) {
	if e.Kind != KindFields {
		return
	}
	if k, ok := x.key(sp.seed, e.Value); ok {
		x.insert(k, e.Order)
	}
}

// unindex takes a visible record out of the leases and of every index.
func (sp *entries) unindex(r arena.Record) {
	if d := r.Deadline(); Time(d) != Never {
		sp.leases.Delete(uint64(d), r.Order())
	}
	if Kind(r.Kind()) != KindFields {
		return
	}
	for _, x := range sp.indexes {
		if k, ok := x.key(sp.seed, r.Value()); ok {
			x.delete(k, r.Order())
		}
	}
}

// reindex brings leases and indexes from the record old, which they hold, to the
// entry that replaces it. What the change does not touch stays as it is.
func (sp *entries) reindex(old arena.Record, e *Entry) {
	if d := Time(old.Deadline()); d != e.Deadline {
		if d != Never {
			sp.leases.Delete(uint64(d), e.Order)
		}
		if e.Deadline != Never {
			sp.leases.Insert(uint64(e.Deadline), e.Order)
		}
	}
	for _, x := range sp.indexes {
		var was, is indexKey
		var had, has bool
		if Kind(old.Kind()) == KindFields {
			was, had = x.key(sp.seed, old.Value())
		}
		if e.Kind == KindFields {
			is, has = x.key(sp.seed, e.Value)
		}
		if had == has && was == is {
			continue
		}
		if had {
			x.delete(was, e.Order)
		}
		if has {
			x.insert(is, e.Order)
		}
	}
}
