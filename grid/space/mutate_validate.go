package space

import (
	"fmt"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// validate checks what can be said of a mutation without the entry. Apply relies
// on it for canonical form only: see Command.Validate.
func (m *Mutation) validate() *Error {
	if m.Code < MutSet || m.Code > MutHighest || len(m.Field) > MaxKeyBytes {
		return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("unknown mutation %d, or a field name over %d bytes", m.Code, MaxKeyBytes)}
	}
	if m.Field == "" && (m.Code == MutUnset || m.Code >= MutPush) {
		return m.refuse(CodeInvalid, "it works on a field only", "name the field")
	}
	if err := m.validatePath(); err != nil {
		return err
	}
	if m.takesValue() {
		if !msgp.IsCanonical(m.Arg) {
			return m.refuse(CodeInvalid, "the argument is not canonical msgpack", "")
		}
		outer := 1 + len(m.Path)
		if m.Code == MutPush || m.Code == MutInsert {
			outer++
		}
		if m.Field != "" && msgp.CheckIn(m.Arg, outer) != nil {
			return m.refuse(CodeTooLarge, fmt.Sprintf("the result would be nested more than %d deep", msgp.MaxDepth), "keep it flatter, or in several entries")
		}
	}
	return m.validateBounds()
}

// takesValue reports whether Arg is a msgpack value, not raw bytes.
func (m *Mutation) takesValue() bool {
	switch m.Code {
	case MutSet, MutDefault:
		return m.Field != ""
	case MutUnset, MutAppend, MutSetRange:
		return false
	}
	return true
}

func (m *Mutation) validatePath() *Error {
	switch {
	case len(m.Path) > 0 && m.Field == "":
		return m.refuse(CodeInvalid, "a path below no field", "name the field where the path begins")
	case len(m.Path) > maxPathSteps:
		return m.refuse(CodeTooLarge, fmt.Sprintf("a path of %d steps", len(m.Path)), fmt.Sprintf("at most %d", maxPathSteps))
	}
	for _, step := range m.Path {
		if len(step) > MaxKeyBytes {
			return m.refuse(CodeTooLarge, "a name in the path is too long", fmt.Sprintf("at most %d bytes", MaxKeyBytes))
		}
	}
	return nil
}

func (m *Mutation) validateBounds() *Error {
	if m.Min == nil && m.Max == nil {
		return nil
	}
	if m.Code != MutAdd && m.Code != MutAddFloat {
		return m.refuse(CodeInvalid, "only an addition has bounds", "")
	}
	for _, limit := range [][]byte{m.Min, m.Max} {
		if k := msgp.KindOf(limit); limit != nil && (k != msgp.Int && k != msgp.Float || !msgp.IsCanonical(limit)) {
			return m.refuse(CodeInvalid, "a bound is not a canonical number", "")
		}
	}
	if m.Min != nil && m.Max != nil && msgp.Compare(m.Min, m.Max) > 0 {
		return m.refuse(CodeInvalid, "the lower bound is above the upper", "")
	}
	return nil
}

func (m *Mutation) refuse(code Code, detail, hint string) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf("mutation of %q: %s", m.Field, detail), Hint: hint}
}
