package form

import (
	"encoding/json"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// MaxMutations bounds the mutations of one change: a record has tens of fields,
// not thousands, and each mutation rewrites it.
const MaxMutations = 256

// mutation is one change of an entry as JSON says it. It is about a field, whose
// name stands as it is, or about what a path leads to, as grid.Mutation has it.
// Without either it is about the whole value of an entry of bytes.
type mutation struct {
	Op     string          `json:"op"`
	Field  string          `json:"field"`
	Path   string          `json:"path"`
	Offset uint32          `json:"offset"`
	Value  json.RawMessage `json:"value"`
	Min    json.RawMessage `json:"min"`
	Max    json.RawMessage `json:"max"`
}

var mutationCodes = map[string]space.MutationCode{
	"set": space.MutSet, "unset": space.MutUnset, "default": space.MutDefault, "add": space.MutAdd,
	"add_float": space.MutAddFloat, "append": space.MutAppend, "set_range": space.MutSetRange,
	"push": space.MutPush, "insert": space.MutInsert, "remove": space.MutRemove,
	"lowest": space.MutLowest, "highest": space.MutHighest,
}

const mutationNames = "set, unset, default, add, add_float, append, set_range, push, insert, remove, lowest or highest"

// ParseMutations reads a JSON array of mutations, which take effect in order and
// together.
func ParseMutations(body []byte) ([]space.Mutation, error) {
	var list []mutation
	if err := decodeStrict(body, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > MaxMutations {
		return nil, refuse("", "a change has 1 to %d mutations, not %d", MaxMutations, len(list))
	}
	ms := make([]space.Mutation, len(list))
	for i := range list {
		var err error
		if ms[i], err = list[i].encode(); err != nil {
			return nil, fmt.Errorf("mutation %d: %w", i+1, err)
		}
	}
	return ms, nil
}

// encode turns the mutation into the space's form, whose argument is canonical
// msgpack where it is a value, and raw bytes where it is appended or laid over.
func (m *mutation) encode() (space.Mutation, error) {
	code, ok := mutationCodes[m.Op]
	if !ok {
		return space.Mutation{}, refuse(mutationNames, "unknown op %q", m.Op)
	}
	out := space.Mutation{Code: code, Field: m.Field, Offset: m.Offset}
	if err := m.locate(&out); err != nil {
		return out, err
	}
	if err := m.bound(&out); err != nil {
		return out, err
	}
	if code == space.MutUnset {
		return out, nil
	}
	if len(m.Value) == 0 {
		return out, refuse("", "%s needs a value", m.Op)
	}
	value, err := msgp.FromJSON(nil, m.Value)
	if err != nil {
		return out, err
	}
	out.Arg, err = m.argument(code, value)
	return out, err
}

// locate fills in what a path leads to.
func (m *mutation) locate(out *space.Mutation) error {
	if m.Path == "" {
		return nil
	}
	if m.Field != "" {
		return refuse("a path begins with a field", "a mutation has a field or a path, not both")
	}
	steps, err := grid.SplitPath(m.Path)
	if err != nil {
		return err
	}
	out.Field, out.Path = steps[0], steps[1:]
	return nil
}

// bound fills in the bounds of an addition.
func (m *mutation) bound(out *space.Mutation) (err error) {
	for _, b := range []struct {
		text json.RawMessage
		to   *[]byte
	}{{m.Min, &out.Min}, {m.Max, &out.Max}} {
		if len(b.text) == 0 {
			continue
		}
		if out.Code != space.MutAdd && out.Code != space.MutAddFloat {
			return refuse("min and max are for add and add_float", "%s has no bounds", m.Op)
		}
		if *b.to, err = msgp.FromJSON(nil, b.text); err != nil {
			return err
		}
		if k := msgp.KindOf(*b.to); k != msgp.Int && k != msgp.Float {
			return refuse("", "a bound is a number")
		}
	}
	return nil
}

// argument returns the argument of a mutation whose value is given.
func (m *mutation) argument(code space.MutationCode, value []byte) ([]byte, error) {
	kind := msgp.KindOf(value)
	switch code {
	case space.MutAdd:
		if kind != msgp.Int {
			return nil, refuse("add_float takes any number", "add needs an integer")
		}
	case space.MutAddFloat:
		return asFloat(value, kind)
	case space.MutAppend, space.MutSetRange:
		return rawText(value, kind)
	case space.MutSet, space.MutDefault:
		if m.Field == "" && m.Path == "" {
			return rawText(value, kind)
		}
	}
	return value, nil
}

func asFloat(value []byte, kind msgp.Kind) ([]byte, error) {
	if kind == msgp.Float {
		return value, nil
	}
	i, _, err := msgp.ReadInt(value)
	if err != nil {
		return nil, refuse("", "add_float needs a number")
	}
	return msgp.AppendFloat(nil, float64(i)), nil
}

// rawText returns what a string or binary holds.
func rawText(value []byte, kind msgp.Kind) (b []byte, err error) {
	switch kind {
	case msgp.String:
		b, _, err = msgp.ReadString(value)
	case msgp.Bytes:
		b, _, err = msgp.ReadBytes(value)
	default:
		err = refuse("", "the value must be a string or {\"$bytes\": …}")
	}
	return b, err
}

// Changes returns mutations as the parts of a change.
func Changes(ms []space.Mutation) []grid.ChangePart {
	parts := make([]grid.ChangePart, len(ms))
	for i := range ms {
		parts[i] = grid.WriteOption(func(op *space.Op) { op.Mutations = append(op.Mutations, ms[i]) })
	}
	return parts
}
