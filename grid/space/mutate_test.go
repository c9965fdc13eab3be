package space_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// change writes a value and changes it, and returns the answer and what is
// stored then.
func change(t testing.TB, p *space.Partition, kind space.Kind, value []byte, ms ...space.Mutation) (space.Result, []byte) {
	t.Helper()
	write := space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: kind, Value: value}
	if r := apply(t, p, 1, command(write)); r.Code != space.OK {
		t.Fatal(r.Code)
	}
	c := command(space.Op{Code: space.OpChange, Space: 1, Key: []byte("k"), Mutations: ms})
	c.Independent = true
	// Not by way of the wire, which has bounds of its own.
	r, err := space.DecodeReply(p.Apply(1, &c))
	if err != nil {
		t.Fatal(err)
	}
	e, code := p.Get(1, []byte("k"))
	if code != space.OK || e.Kind != kind {
		t.Fatalf("after the change: %v, kind %v", code, e.Kind)
	}
	return r.Results[0], e.Value
}

// TestMutationsEqualModel: whatever is changed in whatever value, the result is
// that of changing the decoded value, canonical again; what is refused has
// changed nothing.
func TestMutationsEqualModel(t *testing.T) {
	p := newPartition(t)
	rapid.Check(t, func(rt *rapid.T) {
		kind, value := space.KindBytes, []byte(rapid.SampledFrom([]string{"", "0", "41", "-1.5", "text"}).Draw(rt, "bytes"))
		if rapid.IntRange(0, 7).Draw(rt, "fields") > 0 {
			fields := map[string]any{}
			for _, name := range []string{"a", "b", "c", "a.b"} {
				if rapid.IntRange(0, 3).Draw(rt, "has "+name) > 0 {
					fields[name] = spacetest.DrawValue(rt, 3)
				}
			}
			kind, value = space.KindFields, encode(fields)
		}
		var ms []space.Mutation
		for range rapid.IntRange(1, 4).Draw(rt, "mutations") {
			ms = append(ms, spacetest.DrawMutation(rt, kind == space.KindFields || rapid.IntRange(0, 9).Draw(rt, "named") == 0))
		}
		if kind == space.KindFields && rapid.Bool().Draw(rt, "a run") {
			code := rapid.SampledFrom([]space.MutationCode{space.MutSet, space.MutUnset}).Draw(rt, "of")
			for range rapid.IntRange(1, 9).Draw(rt, "more") {
				name := rapid.SampledFrom(append([]string{"a", "b", "c", "a.b"}, "", "d", "longer")).Draw(rt, "field")
				ms = append(ms, space.Mutation{Code: code, Field: name, Arg: encode(spacetest.DrawValue(rt, 1))})
			}
		}
		want, count, code := spacetest.Mutate(kind, value, ms)
		got, stored := change(t, p, kind, value, ms...)
		if code != space.OK {
			want, count = value, 0
		}
		if got.Code != code || got.Count != count || !bytes.Equal(stored, want) {
			rt.Fatalf("%x with %+v:\n got %v, %d, %x\nwant %v, %d, %x", value, ms, got.Code, got.Count, stored, code, count, want)
		}
		if kind == space.KindFields && !msgp.IsCanonical(stored) {
			rt.Fatalf("%x is not canonical", stored)
		}
	})
}

// at returns a mutation of what a path with dots leads to.
func at(code space.MutationCode, path string, arg any) space.Mutation {
	steps := strings.Split(path, ".")
	m := space.Mutation{Code: code, Field: steps[0], Path: steps[1:]}
	if arg != nil {
		m.Arg = encode(arg)
	}
	return m
}

func bounded(m space.Mutation, lower, upper any) space.Mutation {
	if lower != nil {
		m.Min = encode(lower)
	}
	if upper != nil {
		m.Max = encode(upper)
	}
	return m
}

// TestMutationTable says what mutations do, by example.
func TestMutationTable(t *testing.T) {
	base := map[string]any{"stock": int64(3), "price": 2.5, "text": "7", "list": []any{int64(1), 2.0, "x"}, "in": map[string]any{"n": int64(1)}, "nil": nil}
	tests := []struct {
		name  string
		m     space.Mutation
		path  string // of the value looked at afterwards
		want  any    // nil: absent
		count int
		code  space.Code
	}{
		{"add below the bound", bounded(at(space.MutAdd, "stock", int64(-3)), int64(0), nil), "stock", int64(0), 0, space.OK},
		{"add over the lower bound", bounded(at(space.MutAdd, "stock", int64(-4)), int64(0), nil), "stock", int64(3), 0, space.CodeRange},
		{"add over the upper bound", bounded(at(space.MutAdd, "stock", int64(1)), nil, 3.5), "stock", int64(3), 0, space.CodeRange},
		{"a new field respects bounds", bounded(at(space.MutAdd, "new", int64(1)), int64(2), nil), "new", nil, 0, space.CodeRange},
		{"text respects bounds", bounded(at(space.MutAdd, "text", int64(1)), nil, int64(8)), "text", "8", 0, space.OK},
		{"an integer is not added to a float", at(space.MutAdd, "price", int64(1)), "price", 2.5, 0, space.CodeWrongKind},
		{"a float is added to an integer", at(space.MutAddFloat, "stock", 0.5), "stock", 3.5, 0, space.OK},
		{"maps are made on the way", at(space.MutSet, "x.y.z", "v"), "x.y.z", "v", 1, space.OK},
		{"nothing is made to unset", at(space.MutUnset, "x.y.z", nil), "x", nil, 0, space.OK},
		{"nothing is made to remove", at(space.MutRemove, "x.y", int64(1)), "x", nil, 0, space.OK},
		{"not through a number", at(space.MutSet, "stock.x", "v"), "stock", int64(3), 0, space.CodeWrongKind},
		{"not by name into an array", at(space.MutSet, "list.x", "v"), "list.0", int64(1), 0, space.CodeWrongKind},
		{"an element is replaced", at(space.MutSet, "list.1", "v"), "list.1", "v", 0, space.OK},
		{"there is no such element", at(space.MutSet, "list.3", "v"), "list.2", "x", 0, space.CodeRange},
		{"nor to unset", at(space.MutUnset, "list.3", nil), "list.2", "x", 0, space.CodeRange},
		{"an element is unset", at(space.MutUnset, "list.0", nil), "list.0", 2.0, 1, space.OK},
		{"push", at(space.MutPush, "list", "y"), "list.3", "y", 1, space.OK},
		{"push makes the array", at(space.MutPush, "in.log", "y"), "in.log.0", "y", 1, space.OK},
		{"push onto a map", at(space.MutPush, "in", "y"), "in.n", int64(1), 0, space.CodeWrongKind},
		{"insert what is there as another number", at(space.MutInsert, "list", int64(2)), "list", []any{int64(1), 2.0, "x"}, 0, space.OK},
		{"insert what is not", at(space.MutInsert, "list", int64(3)), "list.3", int64(3), 1, space.OK},
		{"remove by value", at(space.MutRemove, "list", int64(2)), "list", []any{int64(1), "x"}, 1, space.OK},
		{"lowest below", at(space.MutLowest, "stock", 2.5), "stock", 2.5, 0, space.OK},
		{"lowest above", at(space.MutLowest, "stock", int64(4)), "stock", int64(3), 0, space.OK},
		{"lowest equal", at(space.MutLowest, "stock", 3.0), "stock", int64(3), 0, space.OK},
		{"highest equal", at(space.MutHighest, "stock", 3.0), "stock", int64(3), 0, space.OK},
		{"highest above", at(space.MutHighest, "stock", "a string"), "stock", "a string", 0, space.OK},
		{"highest of nothing", at(space.MutHighest, "in.best", "a"), "in.best", "a", 1, space.OK},
		{"nil is no number yet", at(space.MutAdd, "nil", int64(2)), "nil", int64(2), 0, space.OK},
		{"nil is no array yet", at(space.MutPush, "nil", int64(2)), "nil.0", int64(2), 1, space.OK},
		{"nil is no map yet", at(space.MutSet, "nil.x.y", int64(2)), "nil.x.y", int64(2), 1, space.OK},
		{"nil is the default's", at(space.MutDefault, "nil", int64(2)), "nil", int64(2), 0, space.OK},
		{"nothing is below nil", at(space.MutLowest, "nil", int64(2)), "nil", int64(2), 0, space.OK},
		{"a name with a dot is one name", space.Mutation{Code: space.MutSet, Field: "in.n", Arg: encode("v")}, "in.n", int64(1), 1, space.OK},
		{"the deepest path", at(space.MutSet, strings.Repeat("d.", msgp.MaxDepth-1)+"d", int64(1)), strings.Repeat("d.", msgp.MaxDepth-1) + "d", int64(1), 1, space.OK},
		{"a path too deep", at(space.MutSet, strings.Repeat("d.", msgp.MaxDepth)+"d", int64(1)), "d", nil, 0, space.CodeTooLarge},
		{"a value too deep", at(space.MutSet, strings.Repeat("d.", msgp.MaxDepth-1)+"d", []any{}), "d", nil, 0, space.CodeTooLarge},
		{"an element too deep", at(space.MutPush, strings.Repeat("d.", msgp.MaxDepth-1)+"d", int64(1)), "d", nil, 0, space.CodeTooLarge},
		{"a value too large", at(space.MutSet, "in.n", strings.Repeat("x", space.MaxValueBytes-40)), "in.n", int64(1), 0, space.CodeTooLarge},
		{"a range too far", space.Mutation{Code: space.MutSetRange, Field: "text", Offset: 1 << 31, Arg: []byte("x")}, "text", "7", 0, space.CodeTooLarge},
		{"a bound that is no number", bounded(at(space.MutAdd, "stock", int64(1)), "0", nil), "stock", int64(3), 0, space.CodeInvalid},
		{"an argument that is no integer", at(space.MutAdd, "stock", "1"), "stock", int64(3), 0, space.CodeInvalid},
		{"no argument", at(space.MutSet, "stock", nil), "stock", int64(3), 0, space.CodeInvalid},
	}
	p := newPartition(t)
	for _, tt := range tests {
		got, stored := change(t, p, space.KindFields, encode(base), tt.m)
		v, ok := value(stored, tt.path)
		if got.Code != tt.code || got.Count != tt.count || ok != (tt.want != nil) || ok && fmt.Sprintf("%#v", v) != fmt.Sprintf("%#v", tt.want) {
			t.Errorf("%s: %v, count %d, %s is %#v; want %v, %d, %#v", tt.name, got.Code, got.Count, tt.path, v, tt.code, tt.count, tt.want)
		}
		if tt.code != space.OK && !bytes.Equal(stored, encode(base)) {
			t.Errorf("%s: refused, and yet %x", tt.name, stored)
		}
	}
}

// value returns what a path with dots leads to.
func value(m []byte, path string) (any, bool) {
	steps := strings.Split(path, ".")
	at, err := msgp.Locate(m, steps[0], steps[1:])
	if err != nil {
		return nil, false
	}
	v, ok := at.Value()
	if !ok {
		return nil, false
	}
	return decode(v), true
}

// TestMutationsAreValidated before they are proposed, with the reason.
func TestMutationsAreValidated(t *testing.T) {
	deep := strings.Repeat("d.", msgp.MaxDepth-1) + "d"
	tests := []struct {
		m    space.Mutation
		want string // in the error; "" is valid
	}{
		{at(space.MutSet, deep, int64(1)), ""},
		{bounded(at(space.MutAddFloat, "a.0", 1.0), int64(-1), 1.5), ""},
		{space.Mutation{Code: space.MutAppend, Arg: []byte("raw \xff")}, ""},
		{at(space.MutSet, deep+".d", int64(1)), "path of 16 steps"},
		{at(space.MutSet, deep, []any{}), "nested"},
		{at(space.MutInsert, deep, int64(1)), "nested"},
		{space.Mutation{Code: space.MutSet, Path: []string{"a"}, Arg: encode("x")}, "below no field"},
		{space.Mutation{Code: space.MutPush, Arg: []byte{1}}, "a field only"},
		{at(space.MutSet, "a."+strings.Repeat("x", space.MaxKeyBytes+1), int64(1)), "too long"},
		{space.Mutation{Code: space.MutPush, Field: "a", Arg: []byte{0xcc, 1}}, "canonical"},
		{space.Mutation{Code: space.MutHighest + 1, Field: "a", Arg: []byte{1}}, "unknown mutation"},
		{bounded(at(space.MutSet, "a", int64(1)), int64(0), nil), "only an addition"},
		{bounded(at(space.MutAdd, "a", int64(1)), "x", nil), "not a canonical number"},
		{bounded(at(space.MutAdd, "a", int64(1)), 2.5, int64(2)), "above the upper"},
	}
	for _, tt := range tests {
		for _, code := range []space.OpCode{space.OpChange, space.OpChangeMatch} {
			c := command(space.Op{Code: code, Space: 1, Key: []byte("k"), Mutations: []space.Mutation{tt.m}})
			err := c.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v, want %q", tt.m, err, tt.want)
			}
		}
	}
	c := command(space.Op{Code: space.OpChangeMatch, Space: 1})
	if err := c.Validate(); !errors.Is(err, space.ErrInvalid) {
		t.Errorf("a change without mutations: %v", err)
	}
}

// TestChangeMatchIsAllOrNothing: one entry that does not take the mutations
// keeps all others as they are, and the entries that an independent command
// changes otherwise are its own affair.
func TestChangeMatchIsAllOrNothing(t *testing.T) {
	p := newPartition(t)
	for i, n := range []any{int64(5), int64(9), "text", int64(1)} {
		c := command(space.Op{Code: space.OpWrite, Space: 2, Key: fmt.Append(nil, i), Kind: space.KindFields, Value: encode(map[string]any{"a": int64(1), "n": n})})
		apply(t, p, 1, c)
	}
	before := p.Image().Digest()
	add := space.Op{
		Code: space.OpChangeMatch, Flags: space.FlagReturn, Space: 2, Limit: 10,
		Template: encode(map[string]any{"a": int64(1)}), Mutations: []space.Mutation{bounded(at(space.MutAdd, "n", int64(1)), nil, int64(9))},
	}
	if r := apply(t, p, 1, command(add)); r.Code != space.CodeAborted || r.Results[0].Code != space.CodeRange || p.Image().Digest() != before {
		t.Fatalf("%+v", r)
	}
	add.Mutations[0].Max = nil
	if r := apply(t, p, 1, command(add)); r.Results[0].Code != space.CodeWrongKind || p.Image().Digest() != before {
		t.Fatalf("%+v", r)
	}
	add.Limit = 2
	r := apply(t, p, 1, command(add))
	if r.Code != space.OK || r.Results[0].Count != 2 || len(r.Results[0].Entries) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []int64{6, 10} {
		returned := r.Results[0].Entries[i]
		stored, _ := p.Get(2, fmt.Append(nil, i))
		if n, _ := msgp.Field(stored.Value, "n"); !bytes.Equal(n, encode(want)) || spacetest.FormatEntry(stored) != spacetest.FormatEntry(returned) {
			t.Errorf("entry %d: %x, returned %s, stored %s", i, n, spacetest.FormatEntry(returned), spacetest.FormatEntry(stored))
		}
	}
	add.Template = encode(map[string]any{"a": int64(7)})
	if r := apply(t, p, 1, command(add)); r.Results[0].Code != space.CodeNotFound {
		t.Fatalf("without a match: %+v", r)
	}
}

// TestMutationsOfOneCommandAreBounded: a small command cannot ask for hours of
// copying.
func TestMutationsOfOneCommandAreBounded(t *testing.T) {
	p := newPartition(t)
	large := encode(map[string]any{"n": int64(0), "x": make([]byte, space.MaxValueBytes-100)})
	apply(t, p, 1, command(space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: large}))
	add := space.Op{Code: space.OpChange, Space: 1, Key: []byte("k"), Mutations: slices.Repeat([]space.Mutation{at(space.MutAdd, "n", int64(1))}, 1000)}
	if r := apply(t, p, 1, command(add)); r.Results[0].Code != space.CodeTooLarge {
		t.Fatal(r.Results[0].Code)
	}
	search := add
	search.Mutations = slices.Repeat([]space.Mutation{at(space.MutRemove, "none", int64(1))}, 20)
	if r := apply(t, p, 1, command(search)); r.Results[0].Code != space.CodeTooLarge {
		t.Fatalf("20 searches of the largest value: %v", r.Results[0].Code)
	}
	// Fields that are set, or removed, in one go are no more work than one.
	set, unset := add, add
	set.Mutations, unset.Mutations = nil, nil
	for i := range 1000 {
		set.Mutations = append(set.Mutations, space.Mutation{Code: space.MutSet, Field: fmt.Sprint("f", i), Arg: []byte{0}})
		unset.Mutations = append(unset.Mutations, space.Mutation{Code: space.MutUnset, Field: fmt.Sprint("f", i)})
	}
	set.Mutations = append(set.Mutations, space.Mutation{Code: space.MutSet, Field: "x", Arg: []byte{0}})
	if r := apply(t, p, 1, command(set, unset)); r.Code != space.OK || r.Results[0].Count != 1000 || r.Results[1].Count != 1000 {
		t.Fatalf("%+v", r)
	}
	apply(t, p, 1, command(space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: large}))
	add.Mutations = add.Mutations[:20]
	if r := apply(t, p, 1, command(add)); r.Code != space.OK {
		t.Fatal(r.Results[0].Code)
	}
	e, _ := p.Get(1, []byte("k"))
	if n, _ := msgp.Field(e.Value, "n"); !bytes.Equal(n, encode(int64(20))) {
		t.Fatalf("n is %x", n)
	}
}

// FuzzMutation: no mutation of any canonical value, valid or not, is fatal, and
// what comes out is canonical.
func FuzzMutation(f *testing.F) {
	v := encode(map[string]any{"a": []any{int64(1), map[string]any{"b": 1.5}}, "c": "d"})
	f.Add(v, uint8(4), "a.0", []byte{1}, uint32(0), []byte{0}, []byte(nil))
	f.Add(v, uint8(8), "x.y", encode([]any{}), uint32(0), []byte(nil), []byte(nil))
	f.Add(v, uint8(7), "c", []byte("x"), uint32(9), []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, v []byte, code uint8, path string, arg []byte, offset uint32, lower, upper []byte) {
		write := command(space.Op{Code: space.OpWrite, Space: 2, Key: []byte("k"), Kind: space.KindFields, Value: v})
		if write.Validate() != nil {
			return
		}
		p := newPartition(t)
		apply(t, p, 1, write)
		steps := strings.Split(path, ".")
		m := space.Mutation{Code: space.MutationCode(code & 15), Field: steps[0], Path: steps[1:], Arg: arg, Offset: offset, Min: lower, Max: upper}
		c := command(space.Op{Code: space.OpChange, Space: 2, Key: []byte("k"), Mutations: []space.Mutation{m, m}})
		valid := c.Validate() == nil
		p.Apply(1, &c)
		e, found := p.Get(2, []byte("k"))
		if found != space.OK || valid && !msgp.IsCanonical(e.Value) || len(e.Value) > space.MaxValueBytes {
			t.Fatalf("%x with %+v becomes %x", v, m, e.Value)
		}
	})
}
