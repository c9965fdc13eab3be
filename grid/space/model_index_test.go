package space_test

import (
	"bytes"
	"fmt"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// drawPredicate draws the binary form of a predicate over the fields of drawn
// entries, now and then none.
func drawPredicate(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "no predicate") {
		return nil
	}
	part := func() string {
		field := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "field")
		op := rapid.SampledFrom([]string{"=", "<>", "<", ">=", "in"}).Draw(t, "op")
		if op == "in" {
			return field + " in (0, 2)"
		}
		return fmt.Sprint(field, op, rapid.IntRange(0, 2).Draw(t, "constant"))
	}
	text := part()
	if rapid.Bool().Draw(t, "two") {
		text += rapid.SampledFrom([]string{" and ", " or "}).Draw(t, "junction") + part()
	}
	p, err := predicate.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Append(nil)
}

// drawDefinition draws a definition of a space with other indexes.
func drawDefinition(t *rapid.T, r *run) space.Command {
	def := r.model.spaces[space.ID(rapid.IntRange(1, 2).Draw(t, "defined"))].def.Clone()
	def.Indexes = nil
	for _, x := range []space.Index{
		{Name: "a", Fields: []string{"a"}}, {Name: "cb", Fields: []string{"c", "b"}},
		{Name: "by-b", Fields: []string{"b"}, Ordered: true}, {Name: "a-by-c", Fields: []string{"a", "c"}, Ordered: true},
	} {
		if rapid.Bool().Draw(t, x.Name) {
			def.Indexes = append(def.Indexes, x)
		}
	}
	return space.DefineCommand(&def)
}

// define notes a definition: entries stay as they are, and it is a change if it
// differs.
func (m *model) define(o *space.Op) space.Reply {
	def, err := space.DecodeDefinition(o.Value)
	if err != nil {
		return m.reply(space.CodeInvalid)
	}
	s := m.spaces[o.Space]
	if !bytes.Equal(o.Value, space.AppendDefinition(nil, &s.def)) {
		s.def = def
		m.seq++
	}
	return m.reply(space.OK)
}

// conditioned is the result of an operation in view of its condition: on an entry
// that does not meet it, and without an entry, there is no effect.
func conditioned(o *space.Op, before map[space.ID]*modelSpace, r space.Result) space.Result {
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
