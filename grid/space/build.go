package space

import (
	"encoding/binary"
	"slices"
)

// redefine puts a new definition in force: indexes that stay keep what they
// hold, others begin to be built, and are used when that is done. Groups by
// another field are made at once.
func (sp *entries) redefine(def Definition) *entries {
	next := *sp
	next.def = def
	next.indexes = make([]*fieldIndex, len(def.Indexes))
	for i, x := range def.Indexes {
		at := slices.IndexFunc(sp.indexes, func(old *fieldIndex) bool { return old.sameAs(x) })
		if at >= 0 {
			next.indexes[i] = sp.indexes[at]
			next.indexes[i].Index = x
			continue
		}
		next.indexes[i] = &fieldIndex{Index: x, end: sp.nextOrder}
	}
	if def.Group != sp.def.Group {
		next.regroup()
	}
	return &next
}

// sameAs reports whether an index holds what another definition asks for,
// whatever its name.
func (x *fieldIndex) sameAs(y Index) bool {
	return x.Ordered == y.Ordered && slices.Equal(x.Fields, y.Fields)
}

// buildStep is how many entries one command adds to unfinished indexes. It takes
// a fraction of a millisecond; a tick adds tickSteps times as many.
const (
	buildStep = 512
	tickSteps = 4
)

// Building reports whether an index is still being built. Every command that is
// applied takes it further; a leader keeps ticking until it is done. Only the
// goroutine that applies may call it.
func (p *Partition) Building() bool { return len(p.unbuilt) > 0 }

// noteUnbuilt notes which spaces have unfinished indexes, ascending.
func (p *Partition) noteUnbuilt() {
	p.unbuilt = nil
	for id, sp := range *p.spaces.Load() {
		if slices.ContainsFunc(sp.indexes, func(x *fieldIndex) bool { return !x.built() }) {
			p.unbuilt = append(p.unbuilt, id)
		}
	}
	slices.Sort(p.unbuilt)
}

// build takes unfinished indexes further by at most limit entries.
func (p *Partition) build(limit int) {
	if !p.Building() {
		return
	}
	for _, id := range p.unbuilt {
		sp := p.space(id)
		for _, x := range sp.indexes {
			if limit > 0 && !x.built() {
				limit = sp.extend(x, limit)
			}
		}
	}
	p.noteUnbuilt()
}

// extend builds an index further by at most limit entries and returns what is
// left of the limit.
func (sp *entries) extend(x *fieldIndex, limit int) int {
	for r := range sp.visible(x.next) {
		if r.Order() >= x.end {
			break
		}
		if limit == 0 {
			x.next = r.Order()
			return 0
		}
		limit--
		x.next = r.Order() + 1
		if !isHidden(r) {
			e := entryOf(r)
			sp.enter(x, &e)
		}
	}
	x.next = x.end
	return limit
}

// IndexProgress is how far an index has come that is still being built.
type IndexProgress struct {
	Space ID
	Index string
	// Next is the order number of the entry that comes next, End the one where
	// the index is done.
	Next, End uint64
}

func (sp *entries) progress(dst []IndexProgress) []IndexProgress {
	for _, x := range sp.indexes {
		if !x.built() {
			dst = append(dst, IndexProgress{Space: sp.def.ID, Index: x.Name, Next: x.next, End: x.end})
		}
	}
	return dst
}

// appendPlaces appends the next order number and how far each index has come,
// which readPlaces reads.
func (sp *entries) appendPlaces(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, sp.nextOrder)
	for _, x := range sp.indexes {
		dst = binary.AppendUvarint(dst, x.next)
		dst = binary.AppendUvarint(dst, x.end)
	}
	return dst
}

func (sp *entries) readPlaces(d *decoder) {
	sp.nextOrder = d.uvarint()
	for _, x := range sp.indexes {
		if x.next, x.end = d.uvarint(), d.uvarint(); x.next > x.end || x.end > sp.nextOrder {
			d.fail()
		}
	}
}
