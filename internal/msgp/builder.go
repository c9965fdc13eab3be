package msgp

import (
	"bytes"
	"slices"
)

// builder appends one canonical value to dst. Its scalars come from the
// Append functions; what it adds is the order of map keys.
//
// Pairs are appended as they come, and a note is taken of where each lies.
// When a map closes and its notes turn out unsorted, the pairs are copied in
// order behind the map and from there down over it: one scratch area, dst's
// own, for every map at every depth.
type builder struct {
	dst   []byte
	base  int    // where the value starts in dst
	pairs []pair // of all maps that are open, the innermost last
}

// pair says where a key and its value lie, as offsets from builder.base.
// int32 is enough: a builder's user stops soon after MaxValue.
type pair struct{ key, val, end int32 }

// openedMap remembers the state at the start of a map's pairs.
type openedMap struct {
	body  int // offset from base of the first pair
	first int // index of its note
}

func newBuilder(dst []byte) builder { return builder{dst: dst, base: len(dst)} }

// size returns the bytes appended so far.
func (b *builder) size() int { return len(b.dst) - b.base }

// openMap begins the pairs of a map. For each pair the user calls key,
// appends the key, calls val, appends the value, calls pair.
func (b *builder) openMap() openedMap {
	return openedMap{body: b.size(), first: len(b.pairs)}
}

func (b *builder) key() {
	if b.pairs == nil {
		b.pairs = make([]pair, 0, 16) // enough for most entries
	}
	b.pairs = append(b.pairs, pair{key: int32(b.size())})
}

// val and pair speak of the innermost map's latest note: maps inside the key
// or value have been closed and have taken theirs away.
func (b *builder) val()  { b.pairs[len(b.pairs)-1].val = int32(b.size()) }
func (b *builder) pair() { b.pairs[len(b.pairs)-1].end = int32(b.size()) }

// closeMap sorts the pairs noted since m was opened and leaves them, and
// nothing else, from m.body on.
func (b *builder) closeMap(m openedMap) error {
	pairs := b.pairs[m.first:]
	b.pairs = b.pairs[:m.first]
	value := b.dst[b.base:]
	slices.SortFunc(pairs, func(x, y pair) int {
		return bytes.Compare(value[x.key:x.val], value[y.key:y.val])
	})
	inPlace := true
	next := int32(m.body)
	for i, p := range pairs {
		if i > 0 && bytes.Equal(value[p.key:p.val], value[pairs[i-1].key:pairs[i-1].val]) {
			return ErrDuplicateKey
		}
		inPlace = inPlace && p.key == next
		next = p.end
	}
	if inPlace {
		b.dst = b.dst[:b.base+int(next)]
		return nil
	}
	b.rearrange(m.body, pairs)
	return nil
}

func (b *builder) rearrange(body int, pairs []pair) {
	tail := len(b.dst)
	for _, p := range pairs {
		b.dst = append(b.dst, b.dst[b.base+int(p.key):b.base+int(p.end)]...)
	}
	n := copy(b.dst[b.base+body:], b.dst[tail:])
	b.dst = b.dst[:b.base+body+n]
}

// setCount writes the header of a container of n children, whose place at
// offset at was kept by one byte. fix and code16 are as in appendCount.
// A longer header pushes the body aside.
func (b *builder) setCount(at, n int, fix, code16 byte) {
	var room [5]byte
	header := appendCount(room[:0], n, fix, code16)
	b.dst = slices.Replace(b.dst, b.base+at, b.base+at+1, header...)
}
