package space

import (
	"math"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// place is where a value stands in an ordered index: 96 bits that grow with the
// value in the order of msgp.Compare. Values that compare equal have one place;
// values that do not may share one too, since it holds the beginning of a text
// only. So a range of values lies within a range of places, and what is found
// there is compared again.
//
// From the top: 3 bits of kind, 92 of content, 1 that is set unless the place
// belongs to one value alone. Numbers and timestamps have places of their own,
// strings and bytes up to 11 bytes; lists and maps have one place for each kind.
type place struct {
	hi uint32
	lo uint64
}

// lastPlace is at or above every value's.
var lastPlace = place{math.MaxUint32, math.MaxUint64}

// Kinds in the order of msgp.Compare, as they stand in a place.
const (
	placeNil = iota
	placeBool
	placeNumber
	placeString
	placeBytes
	placeTime
	placeArray
	placeMap
)

// shared reports whether values that differ may have this place.
func (p place) shared() bool { return p.lo&1 != 0 }

func (p place) less(q place) bool { return p.hi < q.hi || p.hi == q.hi && p.lo < q.lo }

// next and previous return the adjacent place, of a value or not. There is none
// beyond the first and the last.
func (p place) next() place {
	if p == lastPlace {
		return p
	}
	if p.lo++; p.lo == 0 {
		p.hi++
	}
	return p
}

func (p place) previous() place {
	if p == (place{}) {
		return p
	}
	if p.lo--; p.lo == math.MaxUint64 {
		p.hi--
	}
	return p
}

// placed puts a place together from a kind and 92 bits of content, of which hi
// holds the upper 64 and lo the lower 28.
func placed(kind uint32, hi uint64, lo uint32, shared bool) place {
	p := place{hi: kind<<29 | uint32(hi>>35), lo: hi<<29 | uint64(lo)<<1}
	if shared {
		p.lo |= 1
	}
	return p
}

// placeOf returns the place of a canonical value. It does not allocate.
func placeOf(v []byte) place {
	switch msgp.KindOf(v) {
	case msgp.Bool:
		b, _, _ := msgp.ReadBool(v)
		return placed(placeBool, uint64(boolByte(b)), 0, false)
	case msgp.Int:
		if i, _, err := msgp.ReadInt(v); err == nil && i < 0 {
			f := float64(i)
			return placeOfNumber(f, i-int64(f))
		}
		u, _, _ := msgp.ReadUint(v)
		f := float64(u)
		if f == 1<<64 { // rounded up to what no uint64 holds
			return placeOfNumber(f, int64(u))
		}
		return placeOfNumber(f, int64(u-uint64(f)))
	case msgp.Float:
		f, _, _ := msgp.ReadFloat(v)
		return placeOfNumber(f, 0)
	case msgp.String:
		s, _, _ := msgp.ReadString(v)
		return placeOfText(placeString, s)
	case msgp.Bytes:
		b, _, _ := msgp.ReadBytes(v)
		return placeOfText(placeBytes, b)
	case msgp.Ext:
		t, _, err := msgp.ReadTime(v)
		if err != nil {
			return placed(placeTime, 0, 0, true)
		}
		return placeOfTime(t)
	case msgp.Array:
		return placed(placeArray, 0, 0, true)
	case msgp.Map:
		return placed(placeMap, 0, 0, true)
	}
	return place{}
}

// placeOfNumber places the number f + rest, of which f is the nearest float: by
// f, and by rest among the integers that are nearest to the same one.
func placeOfNumber(f float64, rest int64) place {
	const middle = 1 << 27 // rest lies within 1 << 11 of 0
	if math.IsNaN(f) {
		return placed(placeNumber, 0, 0, true)
	}
	bits := math.Float64bits(f + 0) // adding turns -0 into 0
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return placed(placeNumber, bits, uint32(middle+rest), false)
}

func placeOfText(kind uint32, s []byte) place {
	var hi uint64
	var lo uint32
	for i := range min(len(s), 8) {
		hi |= uint64(s[i]) << (56 - 8*i)
	}
	for i := 8; i < min(len(s), 11); i++ {
		lo |= uint32(s[i]) << (20 - 8*(i-8))
	}
	if len(s) > 11 {
		lo |= uint32(s[11] >> 4)
	}
	// Text that ends in a zero byte looks like the shorter text without it.
	return placed(kind, hi, lo, len(s) > 11 || len(s) > 0 && s[len(s)-1] == 0)
}

func placeOfTime(t time.Time) place {
	const limit = 1 << 61 // in seconds; 36 times the age of the universe
	switch sec := t.Unix(); {
	case sec <= -limit:
		return placed(placeTime, 0, 0, true)
	case sec >= limit:
		return placed(placeTime, math.MaxUint64, 1<<28-1, true)
	default:
		n := uint64(t.Nanosecond()) // 30 bits, of which 2 go above
		return placed(placeTime, uint64(sec+limit)<<2|n>>28, uint32(n&(1<<28-1)), false)
	}
}
