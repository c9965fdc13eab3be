package web

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// maxMutations bounds the mutations of one change: a record has tens of fields,
// not thousands, and each mutation rewrites it.
const maxMutations = 256

// mutation is one change of an entry as JSON says it. Without a field it is
// about the whole value of an entry of bytes.
type mutation struct {
	Op     string          `json:"op"`
	Field  string          `json:"field"`
	Offset uint32          `json:"offset"`
	Value  json.RawMessage `json:"value"`
}

var mutationCodes = map[string]space.MutationCode{
	"set": space.MutSet, "unset": space.MutUnset, "default": space.MutDefault, "add": space.MutAdd,
	"add_float": space.MutAddFloat, "append": space.MutAppend, "set_range": space.MutSetRange,
}

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
		return space.Mutation{}, invalid(fmt.Sprintf("unknown op %q", m.Op), "set, unset, default, add, add_float, append or set_range")
	}
	out := space.Mutation{Code: code, Field: m.Field, Offset: m.Offset}
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
	kind := msgp.KindOf(value)
	switch code {
	case space.MutAdd:
		if kind != msgp.Int {
			return out, invalid("add needs an integer", "add_float takes any number")
		}
		out.Arg = value
	case space.MutAddFloat:
		out.Arg, err = asFloat(value, kind)
	case space.MutAppend, space.MutSetRange:
		out.Arg, err = rawText(value, kind)
	default:
		if out.Arg = value; m.Field == "" {
			out.Arg, err = rawText(value, kind)
		}
	}
	return out, err
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
