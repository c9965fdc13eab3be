package space

import (
	"bytes"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// groups keeps, for a space whose definition names a group field, which entries
// may be handed out: of the entries with the same value of that field only the
// oldest visible one, its head, and none while another is hidden by a claim or by
// the delay after a nack. Entries without the field are independent, each a head.
//
// The head decides: a template that the head of a group does not match gets
// nothing of this group, also if a younger entry would match. Order inside a
// group is what groups promise, and a search that skipped the head would break it.
//
// Groups are derived from the records. They are found by the hash of the value;
// hashes may collide, so values are compared.
type groups struct {
	field   string
	hash    func(value []byte) uint64
	members pairtree.Tree // (hash, order) of the visible entries with the field
	locks   pairtree.Tree // (hash, order) of the hidden ones
	heads   pairtree.Tree // (0, order) of the entries that may be handed out
	// fresh are the orders that became heads since they were last looked at; some
	// may be none any more.
	fresh []uint64
}

// newGroups returns the groups of an empty space, or nil if it has none.
func newGroups(def *Definition, seed maphash.Seed) *groups {
	if def.Group == "" {
		return nil
	}
	return &groups{field: def.Group, hash: func(v []byte) uint64 { return maphash.Bytes(seed, v) }}
}

// of returns the group that a value belongs to.
func (g *groups) of(kind Kind, value []byte) ([]byte, bool) {
	if kind != KindFields {
		return nil, false
	}
	return msgp.Field(value, g.field)
}

// firstIn returns the lowest order of a group's entries in members or locks.
func (sp *entries) firstIn(in *pairtree.Tree, group []byte) (order uint64, ok bool) {
	h := sp.groups.hash(group)
	in.AscendFrom(h, 0, func(hi, lo uint64) bool {
		if hi != h {
			return false
		}
		r, found := sp.table.ByOrder(lo)
		if !found {
			panic("space: a group names an entry that is not there")
		}
		if v, has := sp.groups.of(kindOf(r), r.Value()); has && bytes.Equal(v, group) {
			order, ok = lo, true
		}
		return !ok
	})
	return order, ok
}

// head returns the entry of a group that may be handed out.
func (sp *entries) head(group []byte) (arena.Record, bool) {
	if _, locked := sp.firstIn(&sp.groups.locks, group); locked {
		return arena.Record{}, false
	}
	order, ok := sp.firstIn(&sp.groups.members, group)
	if !ok {
		return arena.Record{}, false
	}
	return sp.table.ByOrder(order)
}

func (g *groups) promote(order uint64) {
	g.heads.Insert(0, order)
	g.fresh = append(g.fresh, order)
}

// joinGroup enters a record that has just been stored: a visible one as a member,
// a hidden one as a lock.
func (sp *entries) joinGroup(kind Kind, value []byte, order uint64, hidden bool) {
	g := sp.groups
	if g == nil {
		return
	}
	group, ok := g.of(kind, value)
	if !ok {
		if !hidden {
			g.promote(order)
		}
		return
	}
	_, locked := sp.firstIn(&g.locks, group)
	first, some := sp.firstIn(&g.members, group)
	switch {
	case hidden:
		if !locked && some {
			g.heads.Delete(0, first)
		}
		g.locks.Insert(g.hash(group), order)
		return
	case !locked && (!some || order < first):
		if some {
			g.heads.Delete(0, first)
		}
		g.promote(order)
	}
	g.members.Insert(g.hash(group), order)
}

// leaveGroup undoes joinGroup for a record that is about to be replaced or
// removed.
func (sp *entries) leaveGroup(r arena.Record) {
	g := sp.groups
	if g == nil {
		return
	}
	order := r.Order()
	group, ok := g.of(kindOf(r), r.Value())
	if !ok {
		g.heads.Delete(0, order)
		return
	}
	if isHidden(r) {
		g.locks.Delete(g.hash(group), order)
		if _, locked := sp.firstIn(&g.locks, group); locked {
			return
		}
	} else {
		g.members.Delete(g.hash(group), order)
		if !g.heads.Delete(0, order) {
			return
		}
	}
	if first, some := sp.firstIn(&g.members, group); some {
		g.promote(first)
	}
}

// regroup builds the groups of the definition from the records.
func (sp *entries) regroup() {
	if sp.groups = newGroups(&sp.def, sp.seed); sp.groups == nil {
		return
	}
	for r := range sp.table.Ascend(0) {
		sp.joinGroup(kindOf(r), r.Value(), r.Order(), isHidden(r))
	}
}

// eligible reports whether a record may be handed out to whoever asks by
// template: no claim hides it, and it is the head of its group. Whether its lease
// has ended is another matter.
func (sp *entries) eligible(r arena.Record) bool {
	return !isHidden(r) && (sp.groups == nil || sp.groups.heads.Has(0, r.Order()))
}

// offer calls available for the entry at an order, which has been written or
// shown, and in a space with groups for the heads that came up since.
func (p *Partition) offer(sp *entries, order uint64) {
	p.available(sp, order)
	p.offerHeads(sp)
}

// offerHeads calls available for what has come to the head of its group.
func (p *Partition) offerHeads(sp *entries) {
	g := sp.groups
	if g == nil {
		return
	}
	for _, order := range g.fresh {
		if g.heads.Has(0, order) {
			p.available(sp, order)
		}
	}
	g.fresh = g.fresh[:0]
}

// offerAll calls available for all that may be handed out, after groups came, went
// or changed.
func (p *Partition) offerAll(sp *entries) {
	if sp.groups != nil {
		p.offerHeads(sp)
		return
	}
	for r := range sp.visible(0) {
		p.available(sp, r.Order())
	}
}
