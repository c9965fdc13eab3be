package msgp

import (
	"encoding/binary"
	"math"
)

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, codeNil) }

// AppendBool appends true or false.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, codeTrue)
	}
	return append(dst, codeFalse)
}

// AppendInt appends an integer in its smallest form.
func AppendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(dst, uint64(v))
	case v >= minFixInt:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, codeInt8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, codeInt16), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, codeInt32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeInt64), uint64(v))
}

// AppendUint appends an integer in its smallest form. AppendUint(7) and
// AppendInt(7) append the same byte.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v <= maxFixInt:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, codeUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeUint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, codeUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeUint64), v)
}

func appendInteger(dst []byte, i integer) []byte {
	if i.negative {
		return AppendInt(dst, int64(i.bits))
	}
	return AppendUint(dst, i.bits)
}

// AppendFloat appends a 64-bit float, -0.0 as 0.0. NaN is appended as it is,
// and refused by everything that asks for canonical form.
func AppendFloat(dst []byte, v float64) []byte {
	if v == 0 {
		v = 0 // drops the sign of zero
	}
	return binary.BigEndian.AppendUint64(append(dst, codeFloat64), math.Float64bits(v))
}

// AppendString appends a string; s may be text or its bytes.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(AppendStringHeader(dst, len(s)), s...)
}

// AppendStringHeader appends the header of a string whose n bytes the caller
// appends next. n must be below 1<<32.
func AppendStringHeader(dst []byte, n int) []byte {
	switch {
	case n <= maxFixString:
		return append(dst, codeFixString|byte(n))
	case n <= math.MaxUint8:
		return append(dst, codeString8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeString16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeString32), uint32(n))
}

// AppendBytes appends binary; a nil p is binary of length 0.
func AppendBytes(dst, p []byte) []byte {
	return append(appendBytesHeader(dst, len(p)), p...)
}

func appendBytesHeader(dst []byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, codeBin8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, codeBin16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeBin32), uint32(n))
}

// AppendArrayHeader appends the header of an array whose n elements the
// caller appends next. n must lie in [0, 1<<32).
func AppendArrayHeader(dst []byte, n int) []byte {
	return appendCount(dst, n, codeFixArray, codeArray16)
}

// AppendMapHeader appends the header of a map whose pairs the caller appends
// next, key and value in turn, for a canonical map in the order of the
// encoded keys. pairs must lie in [0, 1<<32).
func AppendMapHeader(dst []byte, pairs int) []byte {
	return appendCount(dst, pairs, codeFixMap, codeMap16)
}

// appendCount appends a container's header. The 32-bit form's first byte
// follows the 16-bit form's.
func appendCount(dst []byte, n int, fix, code16 byte) []byte {
	switch {
	case n <= maxFixCount:
		return append(dst, fix|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, code16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, code16+1), uint32(n))
}
