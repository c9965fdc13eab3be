package space

import "github.com/spacegrid/spacegrid/internal/msgp"

// textAt changes the string or bytes in a place, or makes a string.
func (m *Mutation) textAt(dst []byte, at *msgp.Place) ([]byte, Code) {
	old, present := at.Value()
	kind := msgp.KindOf(old)
	switch {
	case !present, kind == msgp.Nil:
		kind = msgp.String
	case kind != msgp.String && kind != msgp.Bytes:
		return nil, CodeWrongKind
	}
	before, gap, after, code := m.text(textOf(old))
	if code != OK {
		return nil, code
	}
	out, err := at.SetText(dst, kind, before, gap, m.Arg, after)
	return out, editCode(err)
}

// text returns what stays of a text before and after Arg, and the gap between
// the text's end and Arg.
func (m *Mutation) text(old []byte) (before, gap, after []byte, code Code) {
	if m.Code == MutAppend || len(m.Arg) == 0 {
		return old, nil, nil, OK
	}
	offset := int(min(m.Offset, MaxValueBytes+1))
	end := offset + len(m.Arg)
	switch {
	case end > MaxValueBytes:
		return nil, nil, nil, CodeTooLarge
	case offset > len(old):
		gap = make([]byte, offset-len(old))
	}
	return old[:min(offset, len(old))], gap, old[min(end, len(old)):], OK
}

// textOf returns the bytes of a string or of bytes, a part of v.
func textOf(v []byte) []byte {
	if s, _, err := msgp.ReadString(v); err == nil {
		return s
	}
	b, _, _ := msgp.ReadBytes(v)
	return b
}

// applyWhole appends what the mutation makes of an entry of bytes. Numbers are
// decimal text in it, and nothing is 0.
func (m *Mutation) applyWhole(dst, value []byte) ([]byte, Code) {
	switch m.Code {
	case MutSet:
		return append(dst, m.Arg...), OK
	case MutDefault:
		if len(value) > 0 {
			return append(dst, value...), OK
		}
		return append(dst, m.Arg...), OK
	case MutAdd, MutAddFloat:
		var decimal []byte
		if len(value) > 0 {
			decimal = value
		}
		var room numberRoom
		sum, code := m.sum(room[:0], nil, decimal)
		if code != OK {
			return nil, code
		}
		return appendDecimal(dst, sum), OK
	case MutAppend, MutSetRange:
		before, gap, after, code := m.text(value)
		if code != OK {
			return nil, code
		}
		return append(append(append(append(dst, before...), gap...), m.Arg...), after...), OK
	}
	return nil, CodeInvalid
}
