package aggregate

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
)

// exact is a sum of numbers without any rounding: a fixed-point number wide
// enough for the lowest bit of the smallest float and for the highest of 2^63 of
// the largest. Limb i stands for limbs[i] * 2^(32*(base+i) - originBits). Only the
// limbs between the lowest and the highest used are there; prices take three.
//
// Limbs are signed and wider than their digit, so that an addition touches two
// or three and propagates nothing; carry does that once in a while. The idea is
// that of the small superaccumulator (R. M. Neal, "Fast exact summation using
// small and large superaccumulators", 2015).
type exact struct {
	limbs []int64
	base  int
	// room is how many more additions the limbs take before a carry.
	room int
	// floats says that the sum is to be a float, and the others that an infinite
	// value is among the summands.
	floats, posInf, negInf bool
}

const (
	limbBits   = 32
	limbMask   = 1<<limbBits - 1
	originLimb = 34 // 2^0 is the lowest bit of this limb; 2^-1074 is bit 14 of the lowest
	originBits = originLimb * limbBits
	maxLimbs   = 70 // (1088 + 1024 + 63) / 32, and room for carries
	// limbRoom additions of digits below 2^32 stay below 2^62.
	limbRoom = 1 << 30
)

// addInt adds an integer: v, or if negative its two's complement reading.
func (x *exact) addInt(v uint64, negative bool) {
	if negative {
		v = -v
	}
	x.add(originLimb, v&limbMask, v>>limbBits, 0, negative)
}

// addFloat adds a float that is a number.
func (x *exact) addFloat(f float64) {
	x.floats = true
	if math.IsInf(f, 0) {
		x.posInf, x.negInf = x.posInf || f > 0, x.negInf || f < 0
		return
	}
	b := math.Float64bits(f)
	mantissa, exponent := b&(1<<52-1), int(b>>52&0x7ff)
	if exponent == 0 {
		exponent = 1
	} else {
		mantissa |= 1 << 52
	}
	at := exponent - 1075 + originBits // bit of the mantissa's lowest; 14 at least
	shift := uint(at % limbBits)
	x.add(at/limbBits, mantissa<<shift&limbMask, mantissa>>(limbBits-shift)&limbMask, mantissa>>(64-shift), math.Signbit(f))
}

// add adds, or subtracts, three digits from a limb upwards.
func (x *exact) add(limb int, low, mid, high uint64, subtract bool) {
	top := limb + 1
	if high != 0 {
		top++
	}
	x.widen(limb, top+1)
	if x.room == 0 {
		x.carry()
	}
	x.room--
	sign := int64(1)
	if subtract {
		sign = -1
	}
	l := x.limbs[limb-x.base:]
	l[0] += sign * int64(low)
	l[1] += sign * int64(mid)
	if high != 0 {
		l[2] += sign * int64(high)
	}
}

// widen makes the limbs reach from one to before another.
func (x *exact) widen(from, to int) {
	if x.limbs == nil {
		x.limbs, x.base, x.room = make([]int64, to-from), from, limbRoom
		return
	}
	if from >= x.base && to <= x.base+len(x.limbs) {
		return
	}
	from, to = min(from, x.base), max(to, x.base+len(x.limbs))
	limbs := make([]int64, to-from)
	copy(limbs[x.base-from:], x.limbs)
	x.limbs, x.base = limbs, from
}

// carry brings every limb but the highest into [0, 2^32), and that one close.
func (x *exact) carry() {
	if len(x.limbs) == 0 {
		return
	}
	c := int64(0)
	last := len(x.limbs) - 1
	for i, l := range x.limbs[:last] {
		l += c
		x.limbs[i], c = l&limbMask, l>>limbBits
	}
	top := x.limbs[last] + c
	x.limbs[last] = top
	if top > limbMask || top < -limbMask {
		x.limbs[last] = top & limbMask
		x.limbs = append(x.limbs, top>>limbBits)
	}
	x.room = limbRoom - 1 // as if what is there had been added
}

// merge adds another sum, which is only brought into its carried form.
func (x *exact) merge(y *exact) {
	x.floats, x.posInf, x.negInf = x.floats || y.floats, x.posInf || y.posInf, x.negInf || y.negInf
	if len(y.limbs) == 0 {
		return
	}
	x.widen(y.base, y.base+len(y.limbs))
	x.carry()
	y.carry()
	x.widen(y.base, y.base+len(y.limbs))
	for i, l := range y.limbs {
		x.limbs[y.base-x.base+i] += l
	}
	x.room -= 2
}

// parts returns the sum's one form: whether it is negative, and the digits of
// its magnitude from limb base up, neither the lowest nor the highest 0.
func (x *exact) parts() (negative bool, base int, digits []uint32) {
	x.carry()
	n := len(x.limbs)
	for n > 0 && x.limbs[n-1] == 0 {
		n--
	}
	if n == 0 {
		return false, originLimb, nil
	}
	negative = x.limbs[n-1] < 0
	digits = make([]uint32, n)
	c := int64(0)
	for i, l := range x.limbs[:n] {
		if negative {
			l = -l
		}
		l += c
		digits[i], c = uint32(l&limbMask), l>>limbBits
	}
	base = x.base
	for len(digits) > 0 && digits[len(digits)-1] == 0 {
		digits = digits[:len(digits)-1]
	}
	for len(digits) > 0 && digits[0] == 0 {
		digits, base = digits[1:], base+1
	}
	if len(digits) == 0 {
		return false, originLimb, nil
	}
	return negative, base, digits
}

// rational returns the sum as i * 2^exponent.
func (x *exact) rational() (i *big.Int, exponent int) {
	negative, base, digits := x.parts()
	b := make([]byte, 0, 4*len(digits))
	for _, digit := range slices.Backward(digits) {
		b = binary.BigEndian.AppendUint32(b, digit)
	}
	i = new(big.Int).SetBytes(b)
	if negative {
		i.Neg(i)
	}
	return i, (base - originLimb) * limbBits
}

// infinite returns the sum of infinite values, if there are any: nil when both
// signs cancel out to nothing.
func (x *exact) infinite() (v any, is bool) {
	switch {
	case x.posInf && x.negInf:
		return nil, true
	case x.posInf:
		return math.Inf(1), true
	case x.negInf:
		return math.Inf(-1), true
	}
	return nil, false
}

// value returns the sum: an int64, else a uint64, else a *big.Int if all were
// integers, otherwise the nearest float64.
func (x *exact) value() any {
	if v, is := x.infinite(); is {
		return v
	}
	i, exponent := x.rational()
	if x.floats {
		f, _ := new(big.Float).SetMantExp(new(big.Float).SetInt(i), exponent).Float64()
		return f
	}
	i.Lsh(i, uint(exponent)) // integers have no digit below 2^0
	switch {
	case i.IsInt64():
		return i.Int64()
	case i.IsUint64():
		return i.Uint64()
	}
	return i
}

// mean returns the float64 nearest to the sum divided by n.
func (x *exact) mean(n uint64) any {
	if v, is := x.infinite(); is {
		return v
	}
	i, exponent := x.rational()
	divisor := new(big.Int).SetUint64(n)
	if exponent >= 0 {
		i.Lsh(i, uint(exponent))
	} else {
		divisor.Lsh(divisor, uint(-exponent))
	}
	f, _ := new(big.Rat).SetFrac(i, divisor).Float64()
	return f
}

// Flags of an encoded sum.
const (
	exactFloats = 1 << iota
	exactPosInf
	exactNegInf
	exactNegative
)

func (x *exact) append(dst []byte) []byte {
	negative, base, digits := x.parts()
	var flags byte
	for i, set := range [...]bool{x.floats, x.posInf, x.negInf, negative} {
		if set {
			flags |= 1 << i
		}
	}
	dst = append(dst, flags, byte(base), byte(len(digits)))
	for _, d := range digits {
		dst = binary.LittleEndian.AppendUint32(dst, d)
	}
	return dst
}

func (d *decoder) exact() *exact {
	flags, base, n := d.byte(), int(d.byte()), int(d.byte())
	b := d.take(4 * n)
	if flags >= exactNegative<<1 || base+n > maxLimbs || n == 0 && flags&exactNegative != 0 {
		d.fail()
	}
	// Integers alone have no part below 1, and infinity is a float.
	if flags&exactFloats == 0 && (n > 0 && base < originLimb || flags&(exactPosInf|exactNegInf) != 0) {
		d.fail()
	}
	x := &exact{floats: flags&exactFloats != 0, posInf: flags&exactPosInf != 0, negInf: flags&exactNegInf != 0}
	if d.failed || n == 0 {
		return x
	}
	x.widen(base, base+n)
	for i := range n {
		x.limbs[i] = int64(binary.LittleEndian.Uint32(b[4*i:]))
		if flags&exactNegative != 0 {
			x.limbs[i] = -x.limbs[i]
		}
	}
	x.room = limbRoom - 1
	return x
}
