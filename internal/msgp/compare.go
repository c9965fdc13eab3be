package msgp

import (
	"bytes"
	"cmp"
	"math"
)

// Compare orders two canonical values, for ordered indexes and for queries:
//
//	nil < bool < numbers < strings < bytes < timestamps < arrays < maps
//
// false is below true. Numbers compare by value, exactly, whatever their
// types: no integer is rounded to a float. So the integer 1 and the float
// 1.0 compare equal although their bytes differ; an index that needs them
// apart adds [bytes.Compare]. Strings and binary compare bytewise. Arrays
// compare element by element, maps pair by pair in the order of their keys,
// and a proper prefix comes first.
//
// The result is -1, 0 or 1. Malformed or overdeep values get some answer, in
// which NaN is the lowest number. Compare does not allocate.
func Compare(a, b []byte) int {
	var l, r cursor
	l.b, r.b = a, b
	return compareNext(&l, &r, 0)
}

// cursor walks through encoded values.
type cursor struct {
	b   []byte
	pos int
}

// next reads a head and steps behind it: into a container, past a scalar.
func (c *cursor) next() (h head, v []byte, ok bool) {
	h, err := readHead(c.b, c.pos)
	if err != nil {
		return h, nil, false
	}
	v = c.b[c.pos:h.end]
	c.pos = h.end
	return h, v, true
}

// compareNext compares the values at two cursors. If they are equal it
// leaves both cursors behind them.
func compareNext(l, r *cursor, depth int) int {
	lh, lv, lok := l.next()
	rh, rv, rok := r.next()
	if !lok || !rok || depth > MaxDepth {
		c := bytes.Compare(l.b[l.pos:], r.b[r.pos:])
		l.pos, r.pos = len(l.b), len(r.b) // so that every enclosing loop ends too
		return c
	}
	if c := cmp.Compare(rank(lh.kind), rank(rh.kind)); c != 0 {
		return c
	}
	lp, rp := l.b[lh.body:lh.end], r.b[rh.body:rh.end]
	switch lh.kind {
	case Int, Float:
		return compareNumbers(lv, rv)
	case String, Bytes:
		return bytes.Compare(lp, rp)
	case Ext:
		return compareTimestamps(lp, rp)
	case Array, Map:
		for range min(lh.items, rh.items) {
			if l.pos == len(l.b) || r.pos == len(r.b) {
				break
			}
			if c := compareNext(l, r, depth+1); c != 0 {
				return c
			}
		}
		return cmp.Compare(lh.items, rh.items)
	}
	return bytes.Compare(lv, rv) // false is encoded below true
}

// rank is the place of a kind in the order. The kinds are declared in it,
// but for floats, which are numbers, and timestamps, which precede containers.
func rank(k Kind) int {
	switch k {
	case Float:
		return rank(Int)
	case Ext:
		return rank(Array) - 1
	case Array, Map:
		return int(k) + 1
	}
	return int(k)
}

// compareNumbers compares two encoded numbers of either kind.
func compareNumbers(a, b []byte) int {
	aFloat, bFloat := KindOf(a) == Float, KindOf(b) == Float
	switch {
	case aFloat && bFloat:
		return cmp.Compare(floatAt(a), floatAt(b))
	case aFloat:
		return -compareIntegerFloat(integerAt(b), floatAt(a))
	case bFloat:
		return compareIntegerFloat(integerAt(a), floatAt(b))
	}
	return compareIntegers(integerAt(a), integerAt(b))
}

func compareIntegers(a, b integer) int {
	switch {
	case a.negative && b.negative:
		return cmp.Compare(int64(a.bits), int64(b.bits))
	case a.negative:
		return -1
	case b.negative:
		return 1
	}
	return cmp.Compare(a.bits, b.bits)
}

// compareIntegerFloat compares without rounding i: f is cut to its integral
// part, which fits an integer once f's range is known, and only if those are
// equal does the fraction decide.
func compareIntegerFloat(i integer, f float64) int {
	switch {
	case math.IsNaN(f):
		return 1
	case f >= 1<<64:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := math.Trunc(f)
	var w integer
	if whole < 0 {
		w = integer{bits: uint64(int64(whole)), negative: true}
	} else {
		w = integer{bits: uint64(whole)}
	}
	if c := compareIntegers(i, w); c != 0 {
		return c
	}
	return cmp.Compare(whole, f)
}

// compareTimestamps compares the payloads of two extensions. Those that are
// no timestamps come first, in bytewise order.
func compareTimestamps(a, b []byte) int {
	x, xerr := timestampPayload(a)
	y, yerr := timestampPayload(b)
	switch {
	case xerr != nil && yerr != nil:
		return bytes.Compare(a, b)
	case xerr != nil:
		return -1
	case yerr != nil:
		return 1
	}
	return cmp.Or(cmp.Compare(x.sec, y.sec), cmp.Compare(x.nsec, y.nsec))
}
