package space

import (
	"iter"
	"sync/atomic"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// hiddenMark in the kind of a record says that a claim hides the entry. It is
// part of the record because Get, which runs beside Apply, must see it.
const hiddenMark = 1 << 7

func isHidden(r arena.Record) bool { return r.Kind()&hiddenMark != 0 }

func kindOf(r arena.Record) Kind { return Kind(r.Kind() &^ hiddenMark) }

// hiddenRuns lets walks over a space pass claimed entries in one step, however
// many there are: it keeps the runs of orders, first to last, in which no entry
// is visible and at least one is hidden. Between two runs there is a visible
// entry, so a walk takes no more steps over runs than over entries.
//
// It is derived from the records and belongs to the goroutine that applies; only
// count may be read by others.
type hiddenRuns struct {
	// runs holds (complement of first, last): a walk upwards from the complement
	// of an order begins with the run that starts nearest below it.
	runs  pairtree.Tree
	count atomic.Int64 // hidden entries
}

// below returns the run that begins nearest at or below an order.
func (h *hiddenRuns) below(order uint64) (first, last uint64, ok bool) {
	h.runs.AscendFrom(^order, 0, func(hi, lo uint64) bool {
		first, last, ok = ^hi, lo, true
		return false
	})
	return first, last, ok
}

// next returns the entry at or above an order.
func (sp *entries) next(order uint64) (arena.Record, bool) {
	for r := range sp.table.Ascend(order) {
		return r, true
	}
	return arena.Record{}, false
}

// noteHidden is called when the record at an order has become hidden.
func (sp *entries) noteHidden(order uint64) {
	h := sp.hidden
	h.count.Add(1)
	first, last := order, order
	if f, l, ok := h.below(order); ok {
		if r, _ := sp.next(l + 1); r.Order() == order {
			h.runs.Delete(^f, l)
			first = f
		}
	}
	if r, ok := sp.next(order + 1); ok && isHidden(r) {
		f, l, _ := h.below(r.Order())
		h.runs.Delete(^f, l)
		last = l
	}
	h.runs.Insert(^first, last)
}

// noteShown is called when the record at an order is hidden no more, or has been
// removed while it was.
func (sp *entries) noteShown(order uint64) {
	h := sp.hidden
	h.count.Add(-1)
	first, last, _ := h.below(order)
	h.runs.Delete(^first, last)
	if _, ok := sp.table.ByOrder(order); !ok {
		if r, ok := sp.next(first); ok && r.Order() <= last {
			h.runs.Insert(^first, last)
		}
		return
	}
	if r, _ := sp.next(first); r.Order() < order {
		h.runs.Insert(^first, order-1)
	}
	if r, ok := sp.next(order + 1); ok && r.Order() <= last {
		h.runs.Insert(^(order + 1), last)
	}
}

// noteRemoved is called when a visible record has been removed: it may have been
// the last between two runs.
func (sp *entries) noteRemoved(order uint64) {
	h := sp.hidden
	first, last, ok := h.below(order)
	if !ok {
		return
	}
	r, ok := sp.next(last + 1)
	if !ok || !isHidden(r) {
		return
	}
	f, l, _ := h.below(r.Order())
	h.runs.Delete(^first, last)
	h.runs.Delete(^f, l)
	h.runs.Insert(^first, l)
}

// visible yields the entries that no claim hides, in their order, from the given
// order on. Only the goroutine that applies may walk, and it must not hide or
// show entries meanwhile.
func (sp *entries) visible(from uint64) iter.Seq[arena.Record] {
	return func(yield func(arena.Record) bool) {
		for again := true; again; {
			again = false
			for r := range sp.table.Ascend(from) {
				if isHidden(r) {
					_, last, _ := sp.hidden.below(r.Order())
					from, again = last+1, true
					break
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}
