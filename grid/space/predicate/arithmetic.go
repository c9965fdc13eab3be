package predicate

import (
	"math"
	"math/bits"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// number is the value of a computation: an int64, a float64 or unknown.
type number struct {
	form numberForm
	i    int64
	f    float64
}

type numberForm uint8

const (
	unknownNumber numberForm = iota // no number, or none that can be had
	integerNumber
	floatNumber
)

func integer(i int64) number { return number{form: integerNumber, i: i} }

// float makes a number of f; what is not a number is unknown.
func float(f float64) number {
	if math.IsNaN(f) {
		return number{}
	}
	return number{form: floatNumber, f: f}
}

// widened returns the number as a float.
func (n number) widened() float64 {
	if n.form == integerNumber {
		return float64(n.i)
	}
	return n.f
}

// append appends the canonical form; unknown appends nothing.
func (n number) append(dst []byte) []byte {
	switch n.form {
	case integerNumber:
		return msgp.AppendInt(dst, n.i)
	case floatNumber:
		return msgp.AppendFloat(dst, n.f)
	}
	return dst
}

// maxInt64 is the greatest integer that can be computed with, encoded.
var maxInt64 = msgp.AppendInt(nil, math.MaxInt64)

// numberOf reads a canonical value. Other kinds than numbers, and integers
// above math.MaxInt64, are unknown.
func numberOf(v []byte) number {
	switch msgp.KindOf(v) {
	case msgp.Int:
		// Only the widest form, as long as this bound, can lie above it.
		if len(v) == len(maxInt64) && msgp.Compare(v, maxInt64) > 0 {
			return number{}
		}
		if i, _, err := msgp.ReadInt(v); err == nil {
			return integer(i)
		}
	case msgp.Float:
		if f, _, err := msgp.ReadFloat(v); err == nil {
			return float(f)
		}
	}
	return number{}
}

// compute applies a binary operator. An integer and a float meet as floats.
func compute(op termOp, a, b number) number {
	switch {
	case a.form == unknownNumber || b.form == unknownNumber:
		return number{}
	case a.form == integerNumber && b.form == integerNumber:
		return computeIntegers(op, a.i, b.i)
	}
	return computeFloats(op, a.widened(), b.widened())
}

// computeIntegers is unknown where the result does not fit.
func computeIntegers(op termOp, a, b int64) number {
	switch op {
	case termAdd:
		if sum := a + b; (sum > a) == (b > 0) {
			return integer(sum)
		}
	case termSub:
		if difference := a - b; (difference < a) == (b > 0) {
			return integer(difference)
		}
	case termMul:
		return multiply(a, b)
	case termDiv:
		if b != 0 && !(a == math.MinInt64 && b == -1) {
			return integer(a / b)
		}
	case termMod:
		if b != 0 {
			return integer(a % b)
		}
	}
	return number{}
}

// multiply works on magnitudes, where the overflow shows in the high word.
func multiply(a, b int64) number {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	switch {
	case high != 0 || low > 1<<63 || low == 1<<63 && !negative:
		return number{}
	case negative:
		return integer(-int64(low)) // also right for 1<<63, which wraps twice
	}
	return integer(int64(low))
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// computeFloats follows IEEE 754, except that a division by zero is unknown.
// Each result is rounded on its own, so that every machine gets the same.
func computeFloats(op termOp, a, b float64) number {
	switch op {
	case termAdd:
		return float(a + b)
	case termSub:
		return float(a - b)
	case termMul:
		return float(a * b)
	}
	if b == 0 {
		return number{}
	}
	if op == termMod {
		return float(math.Mod(a, b))
	}
	return float(a / b)
}

func negateNumber(n number) number {
	switch {
	case n.form == floatNumber:
		return float(-n.f)
	case n.form == integerNumber && n.i != math.MinInt64:
		return integer(-n.i)
	}
	return number{}
}
