package space

import (
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// search is one walk over the entries that match a filter, ascending by order
// whatever the way to them.
type search struct {
	sp   *entries
	f    *filter
	from uint64 // entries below it are not asked for

	examined int // entries compared with the filter, or met in an index
	matched  int
}

// found gets what matches, until it returns false.
type found func(arena.Record) bool

const (
	// frontScan is how many entries are looked at before an index is asked for a
	// wide range: where much matches, the oldest of it lies in front.
	frontScan = 256
	// keepFirst and keepMost are how many of the lowest order numbers of a
	// range are kept at once, in the first pass over it and at most (half a
	// megabyte).
	keepFirst = 64
	keepMost  = 64 << 10
)

// match calls fn for the records that match, ascending by order from the given
// one, until fn returns false. Without a usable index it examines at most the
// definition's scan limit in vain, unless allowScan, and then refuses: which
// entries it has reported by then depends on nothing but the state.
func (sp *entries) match(f *filter, from uint64, allowScan bool, fn found) Code {
	s := search{sp: sp, f: f, from: from}
	if r, ok := sp.plan(f); ok {
		s.follow(&r, fn)
		return OK
	}
	return s.scan(allowScan, fn)
}

// offer hands a record on if it matches, and reports whether to go on.
func (s *search) offer(r arena.Record, fn found) bool {
	if !s.f.matches(Kind(r.Kind()), r.Value()) {
		return true
	}
	s.matched++
	return fn(r)
}

func (s *search) scan(allowScan bool, fn found) Code {
	limit := s.sp.def.scanLimit()
	for r := range s.sp.visible(s.from) {
		s.examined++
		if !s.offer(r, fn) {
			break
		}
		if !allowScan && s.examined-s.matched > limit {
			return CodeScanRefused
		}
	}
	return OK
}

// follow walks along a route.
func (s *search) follow(r *route, fn found) {
	switch spans := r.spans(); {
	case r.points && len(spans) == 1:
		s.walk(r.index, spans[0].low, fn)
	case r.points:
		s.merge(r.index, spans, fn)
	case r.count() < maxEstimate || s.front(fn):
		s.gather(r, fn)
	}
}

// candidate offers the entry of an order that an index holds.
func (s *search) candidate(order uint64, fn found) bool {
	r, ok := s.sp.table.ByOrder(order)
	if !ok {
		panic("space: index names an entry that is not there")
	}
	return s.offer(r, fn)
}

// walk offers the entries of one key, which the index holds in their order.
func (s *search) walk(x *fieldIndex, k indexKey, fn found) {
	if x.Ordered {
		x.sorted.AscendFrom(pairtree.Triple{k.hi, k.lo, s.from}, func(t pairtree.Triple) bool {
			if t[0] != k.hi || t[1] != k.lo {
				return false
			}
			s.examined++
			return s.candidate(t[2], fn)
		})
		return
	}
	x.hashed.AscendFrom(pairtree.Pair{k.hi, s.from}, func(p pairtree.Pair) bool {
		if p[0] != k.hi {
			return false
		}
		s.examined++
		return s.candidate(p[1], fn)
	})
}

// first returns the lowest order at or above from under a key.
func (x *fieldIndex) first(k indexKey, from uint64) (uint64, bool) {
	if x.Ordered {
		t, ok := x.sorted.First(pairtree.Triple{k.hi, k.lo, from})
		return t[2], ok && t[0] == k.hi && t[1] == k.lo
	}
	p, ok := x.hashed.First(pairtree.Pair{k.hi, from})
	return p[1], ok && p[0] == k.hi
}

// merge offers the entries of several keys, of each the lowest order first: a
// heap holds the next order of each key.
func (s *search) merge(x *fieldIndex, spans []span, fn found) {
	type head struct {
		order uint64
		key   indexKey
	}
	heads := make([]head, 0, len(spans))
	above := func(a, b head) bool { return a.order < b.order }
	for _, p := range spans {
		if order, ok := x.first(p.low, s.from); ok {
			heads = append(heads, head{order, p.low})
			siftUp(heads, above)
		}
	}
	for len(heads) > 0 {
		s.examined++
		if !s.candidate(heads[0].order, fn) {
			return
		}
		if order, ok := x.first(heads[0].key, heads[0].order+1); ok {
			heads[0].order = order
		} else {
			heads[0] = heads[len(heads)-1]
			heads = heads[:len(heads)-1]
		}
		siftDown(heads, above)
	}
}

// front offers the first entries as they lie, moves from behind them, and
// reports whether to go on.
func (s *search) front(fn found) bool {
	left := frontScan
	for r := range s.sp.visible(s.from) {
		if left == 0 {
			s.from = r.Order()
			return true
		}
		left--
		s.examined++
		if !s.offer(r, fn) {
			return false
		}
	}
	return false
}

// gather offers the entries of ranges, which the index holds by value: pass by
// pass it finds the lowest orders that lie ahead.
func (s *search) gather(r *route, fn found) {
	for keep := keepFirst; ; keep = min(8*keep, keepMost) {
		orders := s.lowest(r, keep)
		slices.Sort(orders)
		for _, order := range orders {
			if !s.candidate(order, fn) {
				return
			}
		}
		if len(orders) < keep {
			return
		}
		s.from = orders[len(orders)-1] + 1
	}
}

// lowest returns the lowest orders at or above from in the spans, at most keep.
func (s *search) lowest(r *route, keep int) []uint64 {
	var orders []uint64 // once full, a heap with the highest on top
	above := func(a, b uint64) bool { return a > b }
	take := func(order uint64) {
		s.examined++
		switch {
		case order < s.from:
		case len(orders) < keep:
			orders = append(orders, order)
			siftUp(orders, above)
		case order < orders[0]:
			orders[0] = order
			siftDown(orders, above)
		}
	}
	for _, p := range r.spans() {
		if !r.index.Ordered {
			panic("space: a range in an index that has no order")
		}
		high := pairtree.Triple{p.high.hi, p.high.lo, 1<<64 - 1}
		r.index.sorted.AscendFrom(pairtree.Triple{p.low.hi, p.low.lo, 0}, func(t pairtree.Triple) bool {
			if t[0] > high[0] || t[0] == high[0] && t[1] > high[1] {
				return false
			}
			take(t[2])
			return true
		})
	}
	return orders
}

// siftUp restores a heap whose last element is new.
func siftUp[T any](heap []T, above func(a, b T) bool) {
	for i := len(heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !above(heap[i], heap[up]) {
			return
		}
		heap[i], heap[up] = heap[up], heap[i]
		i = up
	}
}

// siftDown restores a heap whose first element is new.
func siftDown[T any](heap []T, above func(a, b T) bool) {
	for i := 0; ; {
		top := i
		for _, kid := range [...]int{2*i + 1, 2*i + 2} {
			if kid < len(heap) && above(heap[kid], heap[top]) {
				top = kid
			}
		}
		if top == i {
			return
		}
		heap[i], heap[top] = heap[top], heap[i]
		i = top
	}
}
