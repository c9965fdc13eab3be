package space

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

const (
	// maxSpans bounds the lookups that one search makes in an index: members of
	// a list, and for several fields all combinations of them.
	maxSpans = predicate.MaxList
	// maxEstimate is how far candidates are counted. Beyond, indexes count as
	// equally bad.
	maxEstimate = 1024
)

// span is a range of keys of one index, both ends included.
type span struct{ low, high indexKey }

// point reports whether all entries of the span have one key, so that the index
// holds them in their order.
func (s span) point() bool { return s.low == s.high }

// route is a way through one index: spans that hold every entry that can match,
// apart from each other.
type route struct {
	index    *fieldIndex
	only     [1]span // the spans, if many is nil
	many     []span
	points   bool // every span is a point
	estimate int  // candidates, counted up to maxEstimate; -1 is not counted
}

func (r *route) spans() []span {
	if r.many == nil {
		return r.only[:]
	}
	return r.many
}

// obstacle is why an index cannot serve a filter; the zero obstacle is none.
type obstacle struct {
	text  string // with a verb for the field, if there is one
	field string
}

// String returns the reason in words.
func (o obstacle) String() string {
	if o.field == "" {
		return o.text
	}
	return fmt.Sprintf(o.text, o.field)
}

// plan returns the route for a filter, and false if every entry has to be looked
// at. With several usable indexes it takes the one that holds the fewest
// candidates, in doubt the one that has them in order, then the one with more
// fields, then the one defined first. What is found does not depend on it.
func (sp *entries) plan(f *filter) (best route, found bool) {
	if f.all() {
		return route{}, false
	}
	for _, x := range sp.indexes {
		r, no := x.route(sp.seed, f)
		if no == (obstacle{}) && (!found || better(&r, &best)) {
			best, found = r, true
		}
	}
	return best, found
}

func better(a, b *route) bool {
	a.count()
	b.count()
	return cmp.Or(
		cmp.Compare(a.estimate, b.estimate),
		-cmp.Compare(boolByte(a.points), boolByte(b.points)),
		-cmp.Compare(len(a.index.Fields), len(b.index.Fields)),
	) < 0
}

// count counts the candidates of a route, once.
func (r *route) count() int {
	if r.estimate >= 0 {
		return r.estimate
	}
	r.estimate = 0
	for _, s := range r.spans() {
		if r.estimate += r.index.count(s, maxEstimate-r.estimate); r.estimate >= maxEstimate {
			break
		}
	}
	return r.estimate
}

func (x *fieldIndex) count(s span, limit int) int {
	const last = 1<<64 - 1
	if x.Ordered {
		return x.sorted.Count(pairtree.Triple{s.low.hi, s.low.lo, 0}, pairtree.Triple{s.high.hi, s.high.lo, last}, limit)
	}
	return x.hashed.Count(pairtree.Pair{s.low.hi, 0}, pairtree.Pair{s.high.hi, last}, limit)
}

// The obstacles.
const (
	stillBuilding = "it is still being built"
	nothingAsked  = "nothing that it could serve is asked of %s"
	rangeUnserved = "a range is asked of %s, of which it serves single values only"
	tooManySpans  = "too many combinations of values are asked for"
)

// route returns the way through the index for a filter, or why there is none.
func (x *fieldIndex) route(seed maphash.Seed, f *filter) (route, obstacle) {
	r := route{index: x, points: true, estimate: -1}
	if !x.built() {
		return r, obstacle{text: stillBuilding}
	}
	// A template over all fields of a hash index is the frequent case.
	if !x.Ordered && f.template != nil {
		if k, ok := x.key(seed, f.template); ok {
			r.only[0] = span{k, k}
			return r, obstacle{}
		}
	}
	lists := make([][][]byte, 0, MaxIndexFields)
	combinations := 1
	for _, field := range x.equalFields() {
		b, ok := f.bound(field)
		if !ok {
			return r, obstacle{nothingAsked, field}
		}
		if b.Equal == nil {
			return r, obstacle{rangeUnserved, field}
		}
		lists = append(lists, b.Equal)
		if combinations *= len(b.Equal); combinations > maxSpans {
			return r, obstacle{text: tooManySpans}
		}
	}
	places := []span{{}}
	if x.Ordered {
		b, ok := f.bound(x.last())
		if !ok {
			return r, obstacle{nothingAsked, x.last()}
		}
		places = placeSpans(b)
	}
	if combinations*len(places) > maxSpans {
		return r, obstacle{text: tooManySpans}
	}
	r.combine(seed, lists, places)
	return r, obstacle{}
}

// placeSpans returns the ranges of places that a bound on the last field of an
// ordered index allows, ascending, as keys without their hash.
func placeSpans(b predicate.Bound) []span {
	if b.Equal == nil {
		low, high := place{}, lastPlace
		if b.Low != nil {
			if low = placeOf(b.Low); b.LowOpen && !low.shared() {
				low = low.next()
			}
		}
		if b.High != nil {
			if high = placeOf(b.High); b.HighOpen && !high.shared() {
				high = high.previous()
			}
		}
		return []span{{placedKey(0, low), placedKey(0, high)}}
	}
	spans := make([]span, 0, len(b.Equal))
	for _, v := range b.Equal {
		k := placedKey(0, placeOf(v))
		// Values ascend, and so do their places; 1 and 1.0 share one.
		if n := len(spans); n == 0 || spans[n-1].low != k {
			spans = append(spans, span{k, k})
		}
	}
	return spans
}

// combine makes the spans: one for each combination of a value from each list
// and a range of places. Those that collide are one.
func (r *route) combine(seed maphash.Seed, lists [][][]byte, places []span) {
	r.many = []span{}
	if slices.ContainsFunc(lists, func(list [][]byte) bool { return len(list) == 0 }) {
		return
	}
	for at := make([]int, len(lists)); ; {
		var h maphash.Hash
		h.SetSeed(seed)
		for i, list := range lists {
			hashValue(&h, list[at[i]])
		}
		for _, s := range places {
			r.points = r.points && s.point()
			if r.index.Ordered {
				over := uint64(r.index.orderedHash(&h)) << 32
				s.low.hi, s.high.hi = s.low.hi|over, s.high.hi|over
			} else {
				s.low.hi, s.high.hi = h.Sum64(), h.Sum64()
			}
			r.many = append(r.many, s)
		}
		if !advance(at, lists) {
			break
		}
	}
	if len(r.many) > 1 {
		slices.SortFunc(r.many, func(a, b span) int {
			return cmp.Or(cmp.Compare(a.low.hi, b.low.hi), cmp.Compare(a.low.lo, b.low.lo))
		})
		r.many = slices.Compact(r.many)
	}
}

// advance counts at, one digit for each list, up by one and reports whether it
// did not overflow.
func advance(at []int, lists [][][]byte) bool {
	for i := len(at) - 1; i >= 0; i-- {
		if at[i]++; at[i] < len(lists[i]) {
			return true
		}
		at[i] = 0
	}
	return false
}
