package space

import (
	"bytes"
	"math"
	"strconv"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Arithmetic works on numbers and on decimal text alike, and keeps what it
// finds: a number written as text by one door stays text.

// numberRoom holds any number, encoded or as decimal text: the longest is a
// float without exponent, of some 330 bytes.
type numberRoom [352]byte

// addAt adds Arg to the number in a place, or to nothing.
func (m *Mutation) addAt(dst []byte, at *msgp.Place) ([]byte, Code) {
	old, present := at.Value()
	kind := msgp.KindOf(old)
	var decimal []byte
	switch kind {
	case msgp.String, msgp.Bytes:
		decimal, old = textOf(old), nil
		if len(decimal) == 0 {
			return nil, CodeWrongKind
		}
	case msgp.Int, msgp.Float:
	case msgp.Nil:
		old = nil
	default:
		if present {
			return nil, CodeWrongKind
		}
	}
	var room numberRoom
	sum, code := m.sum(room[:0], old, decimal)
	if code != OK {
		return nil, code
	}
	if decimal == nil {
		out, err := at.Set(dst, sum)
		return out, editCode(err)
	}
	var text numberRoom
	out, err := at.SetText(dst, kind, appendDecimal(text[:0], sum))
	return out, editCode(err)
}

// sum appends, encoded, Arg added to a number, which is given encoded or as
// decimal text, or not at all: then it is 0.
func (m *Mutation) sum(dst, number, decimal []byte) ([]byte, Code) {
	var code Code
	if m.Code == MutAdd {
		dst, code = m.sumInt(dst, number, decimal)
	} else {
		dst, code = m.sumFloat(dst, number, decimal)
	}
	if code == OK {
		code = m.within(dst)
	}
	return dst, code
}

func (m *Mutation) sumInt(dst, number, decimal []byte) ([]byte, Code) {
	delta, rest, err := msgp.ReadInt(m.Arg)
	if err != nil || len(rest) != 0 {
		return dst, CodeInvalid
	}
	v, code := int64(0), OK
	switch {
	case decimal != nil:
		v, code = parseInt(decimal)
	case msgp.KindOf(number) == msgp.Float:
		code = CodeWrongKind
	case number != nil:
		if v, _, err = msgp.ReadInt(number); err != nil {
			code = CodeRange
		}
	}
	if code == OK {
		v, code = addInt(v, delta)
	}
	return msgp.AppendInt(dst, v), code
}

func (m *Mutation) sumFloat(dst, number, decimal []byte) ([]byte, Code) {
	delta, rest, err := msgp.ReadFloat(m.Arg)
	if err != nil || len(rest) != 0 {
		return dst, CodeInvalid
	}
	v, code := 0.0, OK
	switch {
	case decimal != nil:
		v, code = parseFloat(decimal)
	case msgp.KindOf(number) == msgp.Float:
		v, _, _ = msgp.ReadFloat(number)
	case number != nil:
		n, _, err := msgp.ReadInt(number)
		if err != nil {
			code = CodeRange
		}
		v = float64(n)
	}
	if v += delta; code == OK && (math.IsNaN(v) || math.IsInf(v, 0)) {
		code = CodeRange
	}
	return msgp.AppendFloat(dst, v), code
}

// within reports whether a result respects Min and Max. Numbers are compared
// exactly, integers and floats alike.
func (m *Mutation) within(sum []byte) Code {
	for _, limit := range [][]byte{m.Min, m.Max} {
		if k := msgp.KindOf(limit); limit != nil && k != msgp.Int && k != msgp.Float {
			return CodeInvalid
		}
	}
	if m.Min != nil && msgp.Compare(sum, m.Min) < 0 || m.Max != nil && msgp.Compare(sum, m.Max) > 0 {
		return CodeRange
	}
	return OK
}

func addInt(a, b int64) (int64, Code) {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return 0, CodeRange
	}
	return sum, OK
}

// appendDecimal appends an encoded number as text. A float is written the way
// Redis clients expect: without an exponent, and without a fraction when it is
// whole.
func appendDecimal(dst, number []byte) []byte {
	if msgp.KindOf(number) == msgp.Float {
		v, _, _ := msgp.ReadFloat(number)
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	}
	v, _, _ := msgp.ReadInt(number)
	return strconv.AppendInt(dst, v, 10)
}

// parseInt reads the decimal form that FormatInt writes and no other: no plus
// sign, no leading zero, no space.
func parseInt(b []byte) (int64, Code) {
	const digits = 20
	if len(b) == 0 || len(b) > digits {
		return 0, CodeWrongKind
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	var room [digits]byte
	if err != nil || !bytes.Equal(strconv.AppendInt(room[:0], v, 10), b) {
		return 0, CodeWrongKind
	}
	return v, OK
}

// parseFloat reads all that appendDecimal writes, and more.
func parseFloat(b []byte) (float64, Code) {
	if len(b) == 0 || len(b) > len(numberRoom{}) {
		return 0, CodeWrongKind
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, CodeWrongKind
	}
	return v, OK
}
