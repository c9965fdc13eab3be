package msgp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// readKind reads the head at the start of b, which must be of kind want.
func readKind(b []byte, want Kind) (head, error) {
	h, err := readHead(b, 0)
	if err != nil {
		return head{}, err
	}
	if h.kind != want {
		return head{}, failAt(0, fmt.Errorf("%w: %v, not %v", ErrType, h.kind, want))
	}
	return h, nil
}

// ReadMapHeader reads the header of a map of pairs key-value pairs, which
// follow in rest. rest holds at least two bytes for each pair.
func ReadMapHeader(b []byte) (pairs int, rest []byte, err error) {
	h, err := readKind(b, Map)
	if err != nil {
		return 0, nil, err
	}
	return h.items / 2, b[h.end:], nil
}

// ReadArrayHeader reads the header of an array of n elements, which follow
// in rest. rest holds at least one byte for each element.
func ReadArrayHeader(b []byte) (n int, rest []byte, err error) {
	h, err := readKind(b, Array)
	if err != nil {
		return 0, nil, err
	}
	return h.items, b[h.end:], nil
}

// ReadString reads a string. s is a sub-slice of b and may be any bytes:
// MessagePack does not enforce UTF-8.
func ReadString(b []byte) (s, rest []byte, err error) {
	h, err := readKind(b, String)
	if err != nil {
		return nil, nil, err
	}
	return b[h.body:h.end:h.end], b[h.end:], nil
}

// ReadBytes reads binary. p is a sub-slice of b.
func ReadBytes(b []byte) (p, rest []byte, err error) {
	h, err := readKind(b, Bytes)
	if err != nil {
		return nil, nil, err
	}
	return b[h.body:h.end:h.end], b[h.end:], nil
}

// ReadInt reads an integer of any width; ErrRange if it is above
// math.MaxInt64. A float is not an integer, even an integral one.
func ReadInt(b []byte) (v int64, rest []byte, err error) {
	h, err := readKind(b, Int)
	if err != nil {
		return 0, nil, err
	}
	i := integerAt(b)
	if !i.negative && i.bits > math.MaxInt64 {
		return 0, nil, failAt(0, fmt.Errorf("%w: %d does not fit int64", ErrRange, i.bits))
	}
	return int64(i.bits), b[h.end:], nil
}

// ReadUint reads an integer of any width; ErrRange if it is negative.
func ReadUint(b []byte) (v uint64, rest []byte, err error) {
	h, err := readKind(b, Int)
	if err != nil {
		return 0, nil, err
	}
	i := integerAt(b)
	if i.negative {
		return 0, nil, failAt(0, fmt.Errorf("%w: %d does not fit uint64", ErrRange, int64(i.bits)))
	}
	return i.bits, b[h.end:], nil
}

// ReadFloat reads a float of either width. An integer is not a float; a
// caller that takes both asks [KindOf] first.
func ReadFloat(b []byte) (v float64, rest []byte, err error) {
	h, err := readKind(b, Float)
	if err != nil {
		return 0, nil, err
	}
	return floatAt(b), b[h.end:], nil
}

// ReadBool reads true or false.
func ReadBool(b []byte) (v bool, rest []byte, err error) {
	h, err := readKind(b, Bool)
	if err != nil {
		return false, nil, err
	}
	return b[0] == codeTrue, b[h.end:], nil
}

// ReadNil reads nil.
func ReadNil(b []byte) (rest []byte, err error) {
	h, err := readKind(b, Nil)
	if err != nil {
		return nil, err
	}
	return b[h.end:], nil
}

// ReadTime reads a timestamp in any of its forms. The result is in UTC.
func ReadTime(b []byte) (t time.Time, rest []byte, err error) {
	h, err := readKind(b, Ext)
	if err != nil {
		return time.Time{}, nil, err
	}
	i, err := timestampPayload(b[h.body:h.end])
	if err != nil {
		return time.Time{}, nil, failAt(0, err)
	}
	return i.time(), b[h.end:], nil
}

// integer is an int64 or a uint64: the 64 bits, and whether they are to be
// read as a negative int64.
type integer struct {
	bits     uint64
	negative bool
}

// integerAt reads the integer at the start of b, whose head has been read.
func integerAt(b []byte) integer {
	var signed int64
	switch c := b[0]; {
	case c <= maxFixInt:
		return integer{bits: uint64(c)}
	case c == codeUint8:
		return integer{bits: uint64(b[1])}
	case c == codeUint16:
		return integer{bits: uint64(binary.BigEndian.Uint16(b[1:]))}
	case c == codeUint32:
		return integer{bits: uint64(binary.BigEndian.Uint32(b[1:]))}
	case c == codeUint64:
		return integer{bits: binary.BigEndian.Uint64(b[1:])}
	case c == codeInt8:
		signed = int64(int8(b[1]))
	case c == codeInt16:
		signed = int64(int16(binary.BigEndian.Uint16(b[1:])))
	case c == codeInt32:
		signed = int64(int32(binary.BigEndian.Uint32(b[1:])))
	case c == codeInt64:
		signed = int64(binary.BigEndian.Uint64(b[1:]))
	default:
		signed = int64(int8(c))
	}
	return integer{bits: uint64(signed), negative: signed < 0}
}

// floatAt reads the float at the start of b, whose head has been read.
func floatAt(b []byte) float64 {
	if b[0] == codeFloat32 {
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:])))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
}
