package space

import (
	"math"
	"strconv"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// mutate applies mutations to a value and returns the new value, which aliases
// the scratch buffer, and the number of fields created or removed. On any code
// but OK nothing has changed. Arithmetic works on integers and on decimal text
// alike, and keeps what it found: a field written as text by one door stays text.
func (pr *prepared) mutate(kind Kind, value []byte, ms []Mutation) ([]byte, int, Code) {
	if len(ms) == 0 {
		return nil, 0, CodeInvalid
	}
	count := 0
	for i := range ms {
		m := &ms[i]
		var code Code
		if kind == KindFields {
			var n int
			value, n, code = pr.mutateField(value, m)
			count += n
		} else {
			value, code = pr.mutateWhole(value, m)
		}
		if code != OK {
			return nil, 0, code
		}
		if len(value) > MaxValueBytes {
			return nil, 0, CodeTooLarge
		}
	}
	return value, count, OK
}

func (pr *prepared) mutateWhole(value []byte, m *Mutation) ([]byte, Code) {
	if m.Field != "" {
		return nil, CodeWrongKind
	}
	start := len(pr.values)
	var code Code
	switch m.Code {
	case MutSet:
		pr.values = append(pr.values, m.Arg...)
	case MutDefault:
		if len(value) > 0 {
			return value, OK
		}
		pr.values = append(pr.values, m.Arg...)
	case MutAdd:
		var sum int64
		if sum, code = addText(value, m.Arg); code == OK {
			pr.values = strconv.AppendInt(pr.values, sum, 10)
		}
	case MutAddFloat:
		var sum float64
		if sum, code = addFloatText(value, m.Arg); code == OK {
			pr.values = appendFloatText(pr.values, sum)
		}
	case MutAppend:
		pr.values = append(append(pr.values, value...), m.Arg...)
	case MutSetRange:
		pr.values, code = appendSetRange(pr.values, value, m)
	default:
		return nil, CodeInvalid
	}
	return pr.values[start:len(pr.values):len(pr.values)], code
}

func (pr *prepared) mutateField(value []byte, m *Mutation) ([]byte, int, Code) {
	if m.Field == "" || len(m.Field) > MaxKeyBytes {
		return nil, 0, CodeInvalid
	}
	old, present := msgp.Field(value, m.Field)
	created := 1
	if present {
		created = 0
	}
	var arg []byte
	code := OK
	switch m.Code {
	case MutUnset:
		if !present {
			return value, 0, OK
		}
		start := len(pr.values)
		out, err := msgp.UnsetField(pr.values, value, m.Field)
		if err != nil {
			return nil, 0, CodeInvalid
		}
		pr.values = out
		return out[start:len(out):len(out)], 1, OK
	case MutSet:
		arg = m.Arg
	case MutDefault:
		if present {
			return value, 0, OK
		}
		arg = m.Arg
	case MutAdd:
		arg, code = addToField(old, present, m.Arg)
	case MutAddFloat:
		arg, code = addFloatToField(old, present, m.Arg)
	case MutAppend:
		arg, code = appendToField(old, present, m.Arg)
	default:
		code = CodeInvalid
	}
	if code != OK {
		return nil, 0, code
	}
	start := len(pr.values)
	out, err := msgp.SetField(pr.values, value, m.Field, arg)
	if err != nil {
		return nil, 0, CodeInvalid
	}
	pr.values = out
	return out[start:len(out):len(out)], created, OK
}

// addToField adds the integer arg to a field: an integer, text that is an
// integer, or nothing.
func addToField(old []byte, present bool, arg []byte) ([]byte, Code) {
	delta, rest, err := msgp.ReadInt(arg)
	if err != nil || len(rest) != 0 {
		return nil, CodeInvalid
	}
	if !present {
		return msgp.AppendInt(nil, delta), OK
	}
	switch msgp.KindOf(old) {
	case msgp.Int:
		v, _, err := msgp.ReadInt(old)
		if err != nil {
			return nil, CodeRange
		}
		sum, code := addInt(v, delta)
		return msgp.AppendInt(nil, sum), code
	case msgp.String, msgp.Bytes:
		text := textOf(old)
		v, code := parseInt(text)
		if code != OK {
			return nil, code
		}
		sum, code := addInt(v, delta)
		return msgp.AppendString(nil, strconv.FormatInt(sum, 10)), code
	}
	return nil, CodeWrongKind
}

func addFloatToField(old []byte, present bool, arg []byte) ([]byte, Code) {
	delta, rest, err := msgp.ReadFloat(arg)
	if err != nil || len(rest) != 0 {
		return nil, CodeInvalid
	}
	v, text := 0.0, false
	if present {
		switch msgp.KindOf(old) {
		case msgp.Float:
			v, _, _ = msgp.ReadFloat(old)
		case msgp.Int:
			n, _, err := msgp.ReadInt(old)
			if err != nil {
				return nil, CodeRange
			}
			v = float64(n)
		case msgp.String, msgp.Bytes:
			var code Code
			if v, code = parseFloat(textOf(old)); code != OK {
				return nil, code
			}
			text = true
		default:
			return nil, CodeWrongKind
		}
	}
	sum := v + delta
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil, CodeRange
	}
	if text {
		return msgp.AppendString(nil, appendFloatText(nil, sum)), OK
	}
	return msgp.AppendFloat(nil, sum), OK
}

func appendToField(old []byte, present bool, arg []byte) ([]byte, Code) {
	if !present {
		return msgp.AppendString(nil, arg), OK
	}
	switch msgp.KindOf(old) {
	case msgp.String:
		return msgp.AppendString(nil, string(textOf(old))+string(arg)), OK
	case msgp.Bytes:
		return msgp.AppendBytes(nil, append(textOf(old), arg...)), OK
	}
	return nil, CodeWrongKind
}

// textOf returns a copy of the bytes of a msgpack string or of bytes.
func textOf(v []byte) []byte {
	if s, _, err := msgp.ReadString(v); err == nil {
		return append([]byte(nil), s...)
	}
	b, _, _ := msgp.ReadBytes(v)
	return append([]byte(nil), b...)
}

func addText(value, arg []byte) (int64, Code) {
	delta, rest, err := msgp.ReadInt(arg)
	if err != nil || len(rest) != 0 {
		return 0, CodeInvalid
	}
	if len(value) == 0 {
		return delta, OK
	}
	v, code := parseInt(value)
	if code != OK {
		return 0, code
	}
	return addInt(v, delta)
}

func addFloatText(value, arg []byte) (float64, Code) {
	delta, rest, err := msgp.ReadFloat(arg)
	if err != nil || len(rest) != 0 {
		return 0, CodeInvalid
	}
	v := 0.0
	if len(value) > 0 {
		var code Code
		if v, code = parseFloat(value); code != OK {
			return 0, code
		}
	}
	sum := v + delta
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, CodeRange
	}
	return sum, OK
}

func addInt(a, b int64) (int64, Code) {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return 0, CodeRange
	}
	return sum, OK
}

// parseInt reads the decimal form that FormatInt writes and no other: no plus
// sign, no leading zero, no space.
func parseInt(b []byte) (int64, Code) {
	const digits = 20
	if len(b) == 0 || len(b) > digits {
		return 0, CodeWrongKind
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || strconv.FormatInt(v, 10) != string(b) {
		return 0, CodeWrongKind
	}
	return v, OK
}

func parseFloat(b []byte) (float64, Code) {
	const digits = 64
	if len(b) == 0 || len(b) > digits {
		return 0, CodeWrongKind
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, CodeWrongKind
	}
	return v, OK
}

// appendFloatText writes a float the way Redis clients expect: without an
// exponent, and without a fraction when it is whole.
func appendFloatText(dst []byte, v float64) []byte {
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

func appendSetRange(dst, value []byte, m *Mutation) ([]byte, Code) {
	end := int(m.Offset) + len(m.Arg)
	if m.Offset > MaxValueBytes || end > MaxValueBytes {
		return dst, CodeTooLarge
	}
	if len(m.Arg) == 0 {
		return append(dst, value...), OK
	}
	start := len(dst)
	dst = append(dst, value...)
	for len(dst)-start < end {
		dst = append(dst, 0)
	}
	copy(dst[start+int(m.Offset):], m.Arg)
	return dst, OK
}
