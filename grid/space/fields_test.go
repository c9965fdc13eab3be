package space

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// TestFiltersAreHeldAgainstDeclaredFields: what could match nothing is refused
// loudly, with the field and the known ones by name; what could match passes.
func TestFiltersAreHeldAgainstDeclaredFields(t *testing.T) {
	def := Definition{ID: 1, Name: "seats", Fields: []Field{
		{"section", predicate.String}, {"price", predicate.Number}, {"row", predicate.Int}, {"at.x", predicate.Float},
		{"extra", predicate.Map}, {"tags", predicate.List}, {`"dotted.name"`, predicate.Bool},
	}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		template map[string]any
		text     string
		refused  string // part of the error, or nothing
	}{
		{map[string]any{"section": "A", "price": 1.5, "row": int64(3)}, "", ""},
		{map[string]any{"at": map[string]any{"x": 1}}, "", ""},
		{map[string]any{"dotted.name": true, "extra": map[string]any{"any": 1}, "row": nil}, "", ""},
		{nil, `section = 'A' and price < 10 and at.x > 1 and extra.anything.below = 2 and "dotted.name"`, ""},
		{nil, "tags contains 'x' or row is null", ""},
		{map[string]any{"sektion": "A"}, "", "sektion"},
		{map[string]any{"row": "3"}, "", "row"},
		{map[string]any{"at": 3}, "", "at"},
		{map[string]any{"dotted": true}, "", "dotted"},
		{nil, "prize < 10", "prize"},
		{nil, "price < 'ten'", "price"},
		{nil, "at.z = 1", "at.z"},
	} {
		var tmpl, pred []byte
		if c.template != nil {
			tmpl = encodeValue(t, c.template)
		}
		if c.text != "" {
			p, err := predicate.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			pred = p.Append(nil)
		}
		err := def.CheckFilter(tmpl, pred)
		if (err == nil) != (c.refused == "") {
			t.Errorf("%v %s: %v", c.template, c.text, err)
		}
		if err != nil && (codeOf(err) != CodeInvalid || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "section string")) {
			t.Errorf("%v %s: the error does not say %q and the known fields: %v", c.template, c.text, c.refused, err)
		}
		if err := (&Definition{Name: "open"}).CheckFilter(tmpl, pred); err != nil {
			t.Errorf("without declared fields: %v", err)
		}
	}
	if err := def.CheckFilter([]byte{0xc1}, nil); codeOf(err) != CodeInvalid {
		t.Errorf("what is no template: %v", err)
	}
}

// TestDefinitionsThatCannotWorkAreRefused, and those that can survive their
// binary form.
func TestDefinitionsThatCannotWorkAreRefused(t *testing.T) {
	good := Definition{
		ID: 1, Name: "s", Routing: "a", Fields: []Field{{"a", predicate.String}, {"b.c", predicate.Any}},
		Indexes: []Index{{"x", []string{"a", "b.c"}, false}, {"y", []string{"a", "b.c"}, true}},
	}
	back, err := DecodeDefinition(AppendDefinition(nil, &good))
	if err != nil || !bytes.Equal(AppendDefinition(nil, &back), AppendDefinition(nil, &good)) || len(back.Fields) != 2 || !back.Indexes[1].Ordered {
		t.Fatalf("%+v, %v", back, err)
	}
	clone := good.Clone()
	if clone.Fields[0].Path = "z"; good.Fields[0].Path != "a" {
		t.Fatal("a clone shares its fields")
	}
	for what, change := range map[string]func(*Definition){
		"":                       func(*Definition) {},
		"declared twice":         func(d *Definition) { d.Fields[1].Path = "a" },
		"unknown type":           func(d *Definition) { d.Fields[1].Type = 99 },
		"1 to 128 bytes":         func(d *Definition) { d.Fields[1].Path = "" },
		"opaque bytes":           func(d *Definition) { *d = Definition{ID: 1, Name: "s", Shape: ShapeBytes, Fields: d.Fields} },
		`"y" repeats index "x"`:  func(d *Definition) { d.Indexes[1].Ordered = false },
		"field names are not em": func(d *Definition) { d.Indexes[1].Fields[1] = "b..c" },
		"at most 256":            func(d *Definition) { d.Fields = make([]Field, 257) },
	} {
		d := good.Clone()
		change(&d)
		if err := d.Validate(); (err == nil) != (what == "") || err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v", what, err)
		}
	}
}

// TestKeysFollowTheRoutingField: an entry lies under a key whose tag is the text
// of the routing field, also after it was changed.
func TestKeysFollowTheRoutingField(t *testing.T) {
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "orders", Routing: "who"}
	applyOps(t, p, DefineCommand(&def))
	for _, c := range []struct {
		key  string
		kind Kind
		who  any
		ok   bool
	}{
		{"order:{anna}:1", KindFields, "anna", true},
		{"{7}", KindFields, int64(7), true},
		{"{-7}x", KindFields, int64(-7), true},
		{"order:{anna}:1", KindFields, "bert", false},
		{"anna", KindFields, "anna", false},
		{"{}", KindFields, "", false},
		{"{1.5}", KindFields, 1.5, false},
		{"{anna}", KindBytes, "anna", false},
	} {
		o := Op{Code: OpWrite, Space: 1, Key: []byte(c.key), Kind: c.kind, Value: encodeValue(t, map[string]any{"who": c.who})}
		err := def.CheckRouting(o.Key, o.Kind, o.Value)
		r := applyOps(t, p, Command{Ops: []Op{o}, Independent: true})
		if (err == nil) != c.ok || (r.Results[0].Code == OK) != c.ok {
			t.Errorf("%s with %v: %v, %v", c.key, c.who, r.Results[0].Code, err)
		}
		if err != nil && (codeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "who")) {
			t.Errorf("%s with %v: %v", c.key, c.who, err)
		}
	}
	set := func(field string, v any) Code {
		o := Op{Code: OpChange, Space: 1, Key: []byte("{7}"), Mutations: []Mutation{{Code: MutSet, Field: field, Arg: encodeValue(t, v)}}}
		return applyOps(t, p, Command{Ops: []Op{o}, Independent: true}).Results[0].Code
	}
	if code := set("who", int64(8)); code != CodeInvalid {
		t.Errorf("an entry was changed away from its key: %v", code)
	}
	if code := set("other", int64(8)); code != OK {
		t.Error(code)
	}
}

// TestConditions: an operation on a key takes effect only on an entry that its
// template and its predicate hold of.
func TestConditions(t *testing.T) {
	key := []byte("k")
	held := func(text string) []byte {
		p, err := predicate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return p.Append(nil)
	}
	value := encodeValue(t, map[string]any{"n": int64(5), "s": "x"})
	for _, o := range []Op{
		{Code: OpWrite, Kind: KindFields, Value: value}, {Code: OpTake}, {Code: OpTake, Flags: FlagReturn}, {Code: OpRenew}, {Code: OpCheck}, {Code: OpRead},
		{Code: OpChange, Mutations: []Mutation{{Code: MutAdd, Field: "n", Arg: msgp.AppendInt(nil, 1)}}},
	} {
		for _, c := range []struct {
			template map[string]any
			text     string
			present  bool
			want     Code
		}{
			{map[string]any{"s": "x"}, "n >= 5", true, OK},
			{map[string]any{"s": "y"}, "n >= 5", true, CodeUnmet},
			{map[string]any{"s": "x"}, "n > 5", true, CodeUnmet},
			{nil, "missing = 1", true, CodeUnmet},
			{nil, "n = 5", false, CodeNotFound},
			{map[string]any{"s": "x"}, "", false, CodeNotFound},
		} {
			p := New(1, History{1})
			applyOps(t, p, DefineCommand(&Definition{ID: 1, Name: "s"}))
			if c.present {
				applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: key, Kind: KindFields, Value: value}}})
			}
			before := p.Image().Digest().Content
			o.Space, o.Key, o.Template, o.Predicate = 1, key, nil, nil
			if c.template != nil {
				o.Template = encodeValue(t, c.template)
			}
			if c.text != "" {
				o.Predicate = held(c.text)
			}
			command := Command{Ops: []Op{o}}
			if err := command.Validate(); err != nil {
				t.Fatal(err)
			}
			r := applyOps(t, p, command)
			if got := r.Results[0].Code; got != c.want {
				t.Errorf("operation %d with %v %s: %v, want %v", o.Code, c.template, c.text, got, c.want)
			}
			if c.want != OK && p.Image().Digest().Content != before {
				t.Errorf("operation %d with %v %s has an effect though it failed", o.Code, c.template, c.text)
			}
		}
	}
	insert := Command{Ops: []Op{{Code: OpWrite, Mode: ModeInsert, Key: key, Predicate: held("n = 1")}}}
	garbage := Command{Ops: []Op{{Code: OpTakeMatch, Predicate: []byte("n = 1")}}}
	for _, c := range []Command{insert, garbage} {
		if err := c.Validate(); codeOf(err) != CodeInvalid {
			t.Errorf("%+v is accepted: %v", c.Ops[0], err)
		}
	}
}
