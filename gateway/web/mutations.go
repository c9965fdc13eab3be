package web

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// maxMutations bounds the mutations of one change: a record has tens of fields,
// not thousands, and each mutation rewrites it.
const maxMutations = 256

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

// parseMutations reads the body of a PATCH: an array of mutations, which take
// effect in order and together.
func parseMutations(body []byte) ([]space.Mutation, error) {
	var list []mutation
	if err := decodeStrict(body, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxMutations {
		return nil, invalid(fmt.Sprintf("a change has 1 to %d mutations, not %d", maxMutations, len(list)), "")
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
		return space.Mutation{}, invalid(fmt.Sprintf("unknown op %q", m.Op), mutationNames)
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
		return out, invalid(m.Op+" needs a value", "")
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
		return invalid("a mutation has a field or a path, not both", "a path begins with a field")
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
			return invalid(m.Op+" has no bounds", "min and max are for add and add_float")
		}
		if *b.to, err = msgp.FromJSON(nil, b.text); err != nil {
			return err
		}
		if k := msgp.KindOf(*b.to); k != msgp.Int && k != msgp.Float {
			return invalid("a bound is a number", "")
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
			return nil, invalid("add needs an integer", "add_float takes any number")
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
		return nil, invalid("add_float needs a number", "")
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
		err = invalid("the value must be a string or {\"$bytes\": …}", "")
	}
	return b, err
}

// changeEntry applies mutations to the entry under the key of the path and
// answers with the entry made. ?create=1 starts from nothing if there is none.
func (s *Server) changeEntry(w http.ResponseWriter, r *http.Request) error {
	res, err := s.do(r, space.Op{Code: space.OpChange, Flags: space.FlagReturn}, func(op *space.Op) error {
		body, err := readBody(r)
		if err != nil {
			return err
		}
		if op.Mutations, err = parseMutations(body); err != nil {
			return err
		}
		if r.URL.Query().Get("create") == "1" {
			op.Flags |= space.FlagCreate
			if op.Kind = space.KindBytes; op.Mutations[0].Field != "" {
				op.Kind = space.KindFields
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	made := res.Entries[0]
	made.Version = res.Version
	return writeEntryBody(w, http.StatusOK, &made)
}
