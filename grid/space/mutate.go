package space

import (
	"errors"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

const (
	// maxMutated bounds the bytes that the mutations of one command read and write
	// together, since each of them goes through a whole value: at most some tenths
	// of a second of work come out of one command, however small it is.
	maxMutated = 128 << 20
	// searchWeight is how many times its bytes a value counts for if elements are
	// looked for in it: a comparison takes so much longer than a copy.
	searchWeight = 8
)

// fewEdits is how many fields are set one by one before it pays to sort them and
// to go through the value once for all.
const fewEdits = 3

// mutate applies mutations to a value, in order, and returns the new value,
// which lies in the scratch buffer, and the number of fields and elements that
// they added or removed. Each mutation sees what those before it did. On any
// code but OK nothing has changed.
func (pr *prepared) mutate(kind Kind, value []byte, ms []Mutation) ([]byte, int, Code) {
	if len(ms) == 0 {
		return nil, 0, CodeInvalid
	}
	// Behind base lie the value so far and, while a mutation runs, the next one.
	base, count := len(pr.values), 0
	for len(ms) > 0 {
		start, done := len(pr.values), 1
		var out []byte
		var n int
		var code Code
		if edits := pr.editsIn(kind, ms); len(edits) > fewEdits {
			var err error
			out, n, err = msgp.EditFields(pr.values, value, edits)
			code, done = editCode(err), len(edits)
		} else {
			out, n, code = ms[0].apply(pr.values, kind, value)
		}
		if c := ms[0].Code; c == MutInsert || c == MutRemove {
			pr.mutated += searchWeight * len(value)
		}
		if pr.mutated += len(value) + max(len(out)-start, 0); code == OK && len(out)-start > MaxValueBytes || pr.mutated > maxMutated {
			code = CodeTooLarge
		}
		if code != OK {
			pr.values = pr.values[:base]
			return nil, 0, code
		}
		end := base + copy(out[base:], out[start:])
		pr.values = out[:end]
		value = out[base:end:end]
		count += n
		ms = ms[done:]
	}
	return value, count, OK
}

// editsIn returns the first mutations as edits, as many as set whole fields, or
// remove them, and nothing else. (Both together would count otherwise than one
// after the other.) The result is scratch.
func (pr *prepared) editsIn(kind Kind, ms []Mutation) []msgp.FieldEdit {
	pr.edits = pr.edits[:0]
	for i := range ms {
		m := &ms[i]
		set := m.Code == MutSet && m.Arg != nil
		whole := kind == KindFields && m.Field != "" && len(m.Field) <= MaxKeyBytes && len(m.Path) == 0
		if !whole || !set && m.Code != MutUnset || m.Code != ms[0].Code {
			break
		}
		e := msgp.FieldEdit{Name: m.Field}
		if set {
			e.Value = m.Arg
		}
		pr.edits = append(pr.edits, e)
	}
	return pr.edits
}

// apply appends the value that m makes of value, and returns how many fields or
// elements it added or removed. value does not lie behind the end of dst. On any
// code but OK, what is returned beside it means nothing.
func (m *Mutation) apply(dst []byte, kind Kind, value []byte) ([]byte, int, Code) {
	switch {
	case kind == KindBytes && m.Field == "" && len(m.Path) == 0:
		out, code := m.applyWhole(dst, value)
		return out, 0, code
	case kind == KindBytes:
		return nil, 0, CodeWrongKind
	case m.Field == "" || len(m.Field) > MaxKeyBytes:
		return nil, 0, CodeInvalid
	}
	at, err := msgp.Locate(value, m.Field, m.Path)
	if err != nil {
		return nil, 0, editCode(err)
	}
	return m.applyAt(dst, value, &at)
}

// applyAt is apply for a place in a value of fields.
func (m *Mutation) applyAt(dst, value []byte, at *msgp.Place) ([]byte, int, Code) {
	old, present := at.Value()
	created, removed := 1, 0
	if present {
		created, removed = 0, 1
	}
	switch m.Code {
	case MutUnset:
		return at.Unset(dst), removed, OK
	case MutAdd, MutAddFloat:
		out, code := m.addAt(dst, at)
		return out, created, code
	case MutAppend, MutSetRange:
		out, code := m.textAt(dst, at)
		return out, created, code
	case MutPush, MutInsert, MutRemove:
		return m.elementAt(dst, value, at)
	case MutSet, MutDefault, MutLowest, MutHighest:
		if present && msgp.KindOf(old) != msgp.Nil && !m.replaces(old) {
			return append(dst, value...), 0, OK
		}
		out, err := at.Set(dst, m.Arg)
		return out, created, editCode(err)
	}
	return nil, 0, CodeInvalid
}

// replaces reports whether Arg takes the place of the value that is there.
func (m *Mutation) replaces(old []byte) bool {
	switch m.Code {
	case MutSet:
		return true
	case MutLowest:
		return msgp.Compare(old, m.Arg) > 0
	case MutHighest:
		return msgp.Compare(old, m.Arg) < 0
	}
	return false
}

// elementAt adds an element to the array in a place, or removes some.
func (m *Mutation) elementAt(dst, value []byte, at *msgp.Place) ([]byte, int, Code) {
	if m.Code == MutRemove {
		out, n, err := at.Remove(dst, m.Arg)
		return out, n, editCode(err)
	}
	if m.Code == MutInsert {
		has, err := at.Contains(m.Arg)
		if err != nil || has {
			return append(dst, value...), 0, editCode(err)
		}
	}
	out, err := at.Push(dst, m.Arg)
	return out, 1, editCode(err)
}

// editCode returns the code for a refusal by msgp.
func editCode(err error) Code {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, msgp.ErrTooDeep), errors.Is(err, msgp.ErrTooLarge):
		return CodeTooLarge
	case errors.Is(err, msgp.ErrType):
		return CodeWrongKind
	case errors.Is(err, msgp.ErrRange):
		return CodeRange
	}
	return CodeInvalid
}
