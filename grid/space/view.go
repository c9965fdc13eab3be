package space

import (
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// ViewLong is View for a read that takes long: steady tells it whether going on
// makes sense, that is, whether no command was applied so far.
func (p *Partition) ViewLong(read func(steady func() bool)) bool {
	before := p.busy.Load()
	if before%2 == 1 {
		return false
	}
	steady := func() bool { return p.busy.Load() == before }
	read(steady)
	return steady()
}

// Content is what one space of a partition held at one moment. It keeps the
// memory of that moment until it is dropped.
type Content struct {
	table *arena.Image
}

// Content cuts the content of a space, in a time that grows with the number of
// its pages, not of its entries. Only the goroutine that applies may call it; the
// content itself may be used by any one goroutine afterwards.
func (p *Partition) Content(id ID) (*Content, Code) {
	sp := p.space(id)
	if sp == nil {
		return nil, CodeNoSpace
	}
	return &Content{table: sp.table.Image()}, OK
}

// Scan calls fn for every entry in order until fn returns false. As in
// Partition.Scan, entries that a claim hides are among them, marked as such.
func (c *Content) Scan(fn func(Entry) bool) {
	for r := range c.table.Ascend() {
		if !fn(entryOf(r)) {
			return
		}
	}
}

// Filter is a template and a predicate, both as in Op, ready to be asked. It is
// immutable; any goroutine may use it.
type Filter struct {
	f filter
}

// NewFilter reads a template and a predicate, which it keeps. What is nil asks
// for nothing.
func NewFilter(template, predicate []byte) (Filter, error) {
	// What a search would be refused for is refused here.
	search := Op{Code: OpReadMatch, Template: template, Predicate: predicate}
	if err := search.validate(); err != nil {
		return Filter{}, err
	}
	f, code := newFilter(template, predicate)
	if code != OK {
		panic(fmt.Sprintf("space: a filter that was checked is refused: %v", code))
	}
	return Filter{f: f}, nil
}

// All reports whether every entry matches.
func (f *Filter) All() bool { return f.f.all() }

// Matches reports whether a value of the given kind matches.
func (f *Filter) Matches(kind Kind, value []byte) bool { return f.f.matches(kind, value) }

// Reach says what an index does for a filter.
type Reach uint8

// What an index does.
const (
	Unindexed  Reach = iota // no index leads to what matches
	FarIndexed              // an index leads there, past more candidates than one step takes
	Indexed                 // an index has led to everything that matches
)

// Gather appends to dst all entries of a space that match a filter, in their
// order, if an index leads to them past a bounded number of candidates, which
// takes a fraction of a millisecond. Otherwise it appends nothing. Only the
// goroutine that applies may call it.
func (p *Partition) Gather(dst []Entry, id ID, f *Filter) ([]Entry, Reach) {
	sp := p.space(id)
	if sp == nil {
		return dst, Unindexed
	}
	r, ok := sp.plan(&f.f)
	switch {
	case !ok:
		return dst, Unindexed
	case r.count() >= maxEstimate:
		return dst, FarIndexed
	}
	s := search{sp: sp, f: &f.f}
	s.follow(&r, func(r arena.Record) bool {
		if !p.gone(sp, r) {
			dst = append(dst, entryOf(r))
		}
		return true
	})
	return dst, Indexed
}
