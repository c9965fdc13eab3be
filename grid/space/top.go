package space

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Top asks for the first entries of a space by the value of a field instead of
// by age: the cheapest seats, the highest bids.
type Top struct {
	Space      ID
	By         string // the path of the field; entries without it are passed over
	Descending bool
	Template   []byte // as in Op
	Predicate  []byte // as in Op
	Limit      int    // at most so many entries; positive
	Room       int    // stop when the keys and values found have so many bytes, the last one going beyond; positive
	AllowScan  bool   // no limit on entries examined
}

// MatchTop appends to dst the first Limit entries that match, in the order of
// msgp.Compare of their values of the field By, or the reverse; of entries whose
// values are equal the one with the lower order number comes first, either way.
//
// An ordered index whose last field is By serves it if the filter demands one
// value of each field before, and then reads little more than it returns.
// Otherwise every entry is looked at, and more than the definition's scan limit
// is refused with CodeScanRefused. Only the goroutine that applies may call it.
func (p *Partition) MatchTop(dst []Entry, q *Top) ([]Entry, Code) {
	sp := p.space(q.Space)
	if sp == nil {
		return dst, CodeNoSpace
	}
	if q.Limit <= 0 || q.Room <= 0 || q.By == "" {
		return dst, CodeInvalid
	}
	f, code := p.filter(q.Template, q.Predicate)
	if code != OK {
		return dst, code
	}
	t := topSearch{p: p, sp: sp, q: q, f: &f, examine: 1<<63 - 1}
	if !q.AllowScan {
		t.examine = q.Limit + min(sp.def.scanLimit(), 1<<62)
	}
	if x, s, ok := sp.topRoute(&f, q.By); ok {
		t.walk(x, s)
	} else {
		t.scan()
	}
	if t.refused {
		return dst, CodeScanRefused
	}
	room := q.Room
	for i := 0; i < len(t.found) && room > 0; i++ {
		dst = append(dst, t.found[i])
		room -= len(t.found[i].Key) + len(t.found[i].Value)
	}
	return dst, OK
}

// topRoute returns an index that holds what matches in the order of a field, and
// the range of it.
func (sp *entries) topRoute(f *filter, by string) (*fieldIndex, span, bool) {
	for _, x := range sp.indexes {
		if !x.Ordered || !x.built() || x.last() != by {
			continue
		}
		var h maphash.Hash
		h.SetSeed(sp.seed)
		single := true
		for _, field := range x.equalFields() {
			b, ok := f.bound(field)
			if single = ok && len(b.Equal) == 1; !single {
				break
			}
			hashValue(&h, b.Equal[0])
		}
		if !single {
			continue
		}
		hash := x.orderedHash(&h)
		s := span{placedKey(hash, place{}), placedKey(hash, lastPlace)}
		if b, ok := f.bound(by); ok {
			spans := placeSpans(b)
			if len(spans) == 0 {
				s.low, s.high = s.high, s.low // no value can match: an empty range
			} else {
				s.low.lo, s.low.hi = spans[0].low.lo, s.low.hi&^(1<<32-1)|spans[0].low.hi
				last := spans[len(spans)-1].high
				s.high.lo, s.high.hi = last.lo, s.high.hi&^(1<<32-1)|last.hi
			}
		}
		return x, s, true
	}
	return nil, span{}, false
}

// topSearch finds the first entries by the value of a field.
type topSearch struct {
	p       *Partition
	sp      *entries
	q       *Top
	f       *filter
	found   []Entry // in their final order
	values  [][]byte
	examine int // entries that may still be examined
	refused bool
}

// full reports whether nothing behind what is found is asked for.
func (t *topSearch) full() bool { return t.refused || len(t.found) >= t.q.Limit }

// candidate returns an entry if it matches and has the field. It counts.
func (t *topSearch) candidate(r arena.Record) (e Entry, value []byte, ok bool) {
	if t.examine--; t.examine < 0 {
		t.refused = true
		return Entry{}, nil, false
	}
	if t.p.gone(t.sp, r) || Kind(r.Kind()) != KindFields || !t.f.matches(KindFields, r.Value()) {
		return Entry{}, nil, false
	}
	value, ok = msgp.FieldPath(r.Value(), t.q.By)
	return entryOf(r), value, ok
}

// walk reads the index place by place.
func (t *topSearch) walk(x *fieldIndex, s span) {
	k, ok := x.nextPlace(s, s, t.q.Descending, true)
	for ; ok && !t.full(); k, ok = x.nextPlace(s, span{k, k}, t.q.Descending, false) {
		t.place(x, k)
	}
}

// nextPlace returns the key behind those of the span at, or with first the first
// key, within the span all, in either direction.
func (x *fieldIndex) nextPlace(all, at span, descending, first bool) (k indexKey, ok bool) {
	const last = 1<<64 - 1
	if !descending {
		from := pairtree.Triple{at.low.hi, at.low.lo, 0}
		if !first {
			from[2] = last // no entry has this order
		}
		t, found := x.sorted.First(from)
		return indexKey{t[0], t[1]}, found && (t[0] < all.high.hi || t[0] == all.high.hi && t[1] <= all.high.lo)
	}
	from := pairtree.Triple{at.high.hi, at.high.lo, last}
	if !first {
		from[2] = 0 // nor this
	}
	x.sorted.DescendFrom(from, func(t pairtree.Triple) bool {
		k, ok = indexKey{t[0], t[1]}, t[0] > all.low.hi || t[0] == all.low.hi && t[1] >= all.low.lo
		return false
	})
	return k, ok
}

// place adds the entries of one place. They lie in their order; where the place
// is shared by different values it is read whole, and the best are kept.
func (t *topSearch) place(x *fieldIndex, k indexKey) {
	shared := k.lo&1 != 0
	start := len(t.found)
	x.sorted.AscendFrom(pairtree.Triple{k.hi, k.lo, 0}, func(key pairtree.Triple) bool {
		if key[0] != k.hi || key[1] != k.lo || t.refused {
			return false
		}
		r, ok := t.sp.table.ByOrder(key[2])
		if !ok {
			panic("space: index names an entry that is not there")
		}
		e, value, ok := t.candidate(r)
		switch {
		case !ok:
		case shared:
			t.insert(start, e, value)
		default:
			t.found, t.values = append(t.found, e), append(t.values, value)
		}
		return shared || !t.full()
	})
}

// scan looks at every entry.
func (t *topSearch) scan() {
	for r := range t.sp.visible(0) {
		if e, value, ok := t.candidate(r); ok {
			t.insert(0, e, value)
		}
		if t.refused {
			return
		}
	}
}

// insert puts an entry where it belongs among those found from start on, and
// lets go of the last one if there are too many.
func (t *topSearch) insert(start int, e Entry, value []byte) {
	at, _ := slices.BinarySearchFunc(t.values[start:], value, func(have, value []byte) int {
		c := msgp.Compare(have, value)
		if t.q.Descending {
			c = -c
		}
		return cmp.Or(c, -1) // entries come by order: behind its equals
	})
	at += start
	if at == t.q.Limit {
		return
	}
	t.found, t.values = slices.Insert(t.found, at, e), slices.Insert(t.values, at, value)
	if len(t.found) > t.q.Limit {
		t.found, t.values = t.found[:t.q.Limit], t.values[:t.q.Limit]
	}
}
