package spacetest

import (
	"bytes"

	"github.com/spacegrid/spacegrid/grid/space"
)

// define notes a definition: entries stay as they are, and it is a change if it
// differs.
func (m *Model) define(o *space.Op) space.Reply {
	def, err := space.DecodeDefinition(o.Value)
	if err != nil {
		return m.reply(space.CodeInvalid)
	}
	s := m.spaces[o.Space]
	if s == nil {
		s = &table{entries: map[string]space.Entry{}, nextOrder: 1, claims: map[space.Seq]claim{}}
		m.spaces[o.Space] = s
	}
	if !bytes.Equal(o.Value, space.AppendDefinition(nil, &s.def)) {
		s.def = def
		m.seq++
	}
	return m.reply(space.OK)
}

// conditioned is the result of an operation in view of its condition: on an entry
// that does not meet it, and without an entry, there is no effect.
func conditioned(o *space.Op, before map[space.ID]*table, r space.Result) space.Result {
	if len(o.Key) == 0 || len(o.Template) == 0 && len(o.Predicate) == 0 {
		return r
	}
	// A change meets its condition before it is computed.
	if r.Code != space.OK && (o.Code != space.OpChange || r.Code != space.CodeWrongKind && r.Code != space.CodeRange && r.Code != space.CodeInvalid && r.Code != space.CodeLocked) {
		return r
	}
	e, ok := before[o.Space].entries[string(o.Key)]
	switch {
	case !ok:
		return space.Result{Code: space.CodeNotFound}
	case !space.MatchesBoth(o.Template, o.Predicate, e.Kind, e.Value):
		return space.Result{Code: space.CodeUnmet}
	}
	return r
}
