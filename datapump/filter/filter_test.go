package filter_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/filter"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// A sink behind a pipe that lets everything pass keeps the contract of a sink.
func TestContract(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Opened {
		m := sinktest.NewMemory()
		// After a restart of the sink nobody has told it the names.
		known := func(id space.ID) (string, bool) { return "space", id != 0 }
		return sinktest.Opened{Sink: filter.Sink(m, new(filter.Pipe), known), Read: m.Read}
	})
}

func fields(t *testing.T, json string) []byte {
	t.Helper()
	v, err := msgp.FromJSON(nil, []byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each step does what its documentation says.
func TestSteps(t *testing.T) {
	for _, x := range []struct{ steps, in, out string }{
		{"[]", `{"a":1}`, `{"a":1}`},
		{"[{where: a = 1}]", `{"a":1.0}`, `{"a":1.0}`},
		{"[{where: a = 1}]", `{"a":2}`, ""},
		{"[{where: a = 1}]", `{}`, ""},
		{"[{where: a = 1, in: [other]}]", `{"a":2}`, `{"a":2}`},
		{"[{spaces: {only: [other]}}]", `{}`, ""},
		{"[{spaces: {except: [other]}}]", `{}`, `{}`},
		{"[{rename: {from: a, to: b.c}}]", `{"a":1}`, `{"b":{"c":1}}`},
		{`[{rename: {from: '"a.b"', to: c}}]`, `{"a.b":1,"a":{"b":2}}`, `{"a":{"b":2},"c":1}`},
		{"[{rename: {from: x, to: b}}]", `{"b":1}`, `{"b":1}`},
		{"[{rename: {from: a, to: b}}]", `{"a":null,"b":1}`, `{"b":null}`},
		{"[{keep: [a, m.x]}]", `{"a":1,"b":2,"m":{"x":1,"y":2}}`, `{"a":1,"m":{"x":1}}`},
		{"[{keep: [z]}]", `{"a":1}`, `{}`},
		{"[{drop: [a, m.x, z.z, b.c]}]", `{"a":1,"b":2,"m":{"x":1,"y":2}}`, `{"b":2,"m":{"y":2}}`},
		{"[{mask: {fields: [a], show: 4}}]", `{"a":"4111111111111111"}`, `{"a":"***1111"}`},
		{"[{mask: {fields: [a], show: 4}}]", `{"a":"1234567"}`, `{"a":"***"}`},
		{"[{mask: {fields: [a, b, c, d]}}]", `{"a":7,"b":null,"c":{"x":1}}`, `{"a":"***","b":null,"c":"***"}`},
		{"[{mask: {fields: [a], show: 2}}]", `{"a":"zürich"}`, `{"a":"***ch"}`},
		{"[{set: {field: a, value: [1, x, null]}}]", `{}`, `{"a":[1,"x",null]}`},
		{"[{set: {field: a, value: null}}]", `{"a":1}`, `{"a":null}`},
		{"[{set: {field: a, value: 2026-01-02T03:04:05Z}}]", `{}`, `{"a":{"$time":"2026-01-02T03:04:05Z"}}`},
		{"[{set: {field: a, copy: m}}]", `{"m":{"x":1}}`, `{"a":{"x":1},"m":{"x":1}}`},
		{"[{set: {field: a, copy: z}}]", `{"a":1}`, `{}`},
		{"[{set: {field: t, template: '${$space}/${$key}: ${a} ${m.x} ${z}$$'}}]", `{"a":"x","m":{"x":1.5}}`, `{"a":"x","m":{"x":1.5},"t":"s/k: x 1.5 $"}`},
	} {
		p := pipe(t, "steps: "+x.steps)
		got, ok, err := p.Run(filter.Entry{Space: "s", Key: []byte("k"), Kind: space.KindFields, Fields: fields(t, x.in)})
		switch {
		case err != nil:
			t.Errorf("%s: %v", x.steps, err)
		case ok != (x.out != ""):
			t.Errorf("%s: passing is %v", x.steps, ok)
		case ok && !slices.Equal(got, fields(t, x.out)):
			text, _ := msgp.AppendJSON(nil, got)
			t.Errorf("%s makes %s of %s, want %s", x.steps, text, x.in, x.out)
		}
	}
}

// Bytes have no fields that a mask could hide: they do not pass it.
func TestBytesPassNoMask(t *testing.T) {
	e := filter.Entry{Space: "s", Fields: []byte("card 4111")}
	if _, ok, err := pipe(t, "steps: [{mask: {fields: [card]}}]").Run(e); ok || err != nil {
		t.Errorf("passing is %v, %v", ok, err)
	}
	if v, ok, err := pipe(t, "steps: [{mask: {fields: [card]}, in: [other]}]").Run(e); !ok || err != nil || string(v) != "card 4111" {
		t.Errorf("in another space passing is %v, %v", ok, err)
	}
}

// A change that a transform cannot carry out is refused by its number, and its
// letter holds nothing of it.
func TestTransformRefuses(t *testing.T) {
	memory := sinktest.NewMemory()
	sink := filter.Sink(memory, pipe(t, "steps: [{set: {field: a.b, value: 1}}]"), nil)
	src := sinktest.NewSource(4, space.History{4})
	src.Define(1)
	src.Apply(space.Command{Ops: []space.Op{{Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: fields(t, `{"a":"hidden"}`)}}})
	if _, err := sink.Fence(t.Context(), src.Fence()); err != nil {
		t.Fatal(err)
	}
	err := sink.Apply(t.Context(), &datapump.Batch{Sections: []datapump.Section{src.Section(0, 2)}})
	var refused *datapump.RefusedError
	if !errors.As(err, &refused) || refused.Seq != 2 || refused.Partition != 4 {
		t.Fatalf("the batch is answered with %v", err)
	}
	pump, err := datapump.Open(datapump.Config{Name: "test", Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	defer pump.Close()
	if err := pump.Add(4, src); err != nil {
		t.Fatal(err)
	}
	if err := pump.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	letters, err := sink.List(t.Context(), datapump.LetterID{}, 9)
	if err != nil || len(letters) != 1 || strings.Contains(string(letters[0].Change), "hidden") || !strings.Contains(letters[0].Reason, "no map") {
		t.Fatalf("the letters are %+v, %v", letters, err)
	}
	if err := sink.Replay(t.Context(), letters[0].ID()); err != nil {
		t.Fatal(err)
	}
	if c, _ := memory.Read(4); c.Len() != 0 {
		t.Errorf("the sink holds\n%s", c)
	}
}

// A space whose name nobody knows is not let through, and passes once it is known.
func TestUnknownSpace(t *testing.T) {
	src := sinktest.NewSource(4, space.History{4})
	src.Define(1)
	src.Put(1, "a", "1")
	names := map[space.ID]string{}
	known := func(id space.ID) (string, bool) { n, ok := names[id]; return n, ok }
	memory := sinktest.NewMemory()
	first := filter.Sink(memory, new(filter.Pipe), known)
	if _, err := first.Fence(t.Context(), src.Fence()); err != nil {
		t.Fatal(err)
	}
	if err := first.Apply(t.Context(), &datapump.Batch{Sections: []datapump.Section{src.Section(0, 2)}}); err != nil {
		t.Fatal(err)
	}
	src.Put(1, "a", "2")
	again := filter.Sink(memory, new(filter.Pipe), known)
	b := &datapump.Batch{Sections: []datapump.Section{src.Section(2, 3)}}
	if err := again.Apply(t.Context(), b); !errors.Is(err, filter.ErrUnknownSpace) {
		t.Fatalf("the batch is answered with %v", err)
	}
	names[1] = "space-1"
	if err := again.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// Branches share the steps before them.
func TestBranches(t *testing.T) {
	c, err := filter.Parse([]byte("steps: [{drop: [x]}]\nbranches: {big: [{where: n >= 5}], all: []}"))
	if err != nil {
		t.Fatal(err)
	}
	pipes, err := c.Pipes()
	if err != nil || len(pipes) != 2 {
		t.Fatalf("%v, %v", pipes, err)
	}
	e := filter.Entry{Space: "s", Kind: space.KindFields, Fields: fields(t, `{"n":1,"x":1}`)}
	if _, ok, _ := pipes["big"].Run(e); ok {
		t.Error("a small one passes the branch of big ones")
	}
	if v, ok, _ := pipes["all"].Run(e); !ok || !slices.Equal(v, fields(t, `{"n":1}`)) {
		t.Errorf("the other branch has %x, %v", v, ok)
	}
}

// A configuration that cannot mean what it says is refused, with the step that is
// wrong.
func TestConfigRefused(t *testing.T) {
	for _, x := range []struct{ text, says string }{
		{"stepps: []", "field stepps not found"},
		{"steps: [{masks: {fields: [a]}}]", "field masks not found"},
		{"steps: [{}]", "0 things"},
		{"steps: [{drop: [a], keep: [b]}]", "2 things"},
		{"steps: [{drop: []}]", "names no field"},
		{"steps: [{mask: {fields: [a], show: -1}}]", "negative"},
		{"steps: [{where: 'a ='}]", "branch \"\", step 1"},
		{"steps: [{rename: {from: a, to: a.b}}]", "lies in the other"},
		{"steps: [{rename: {from: a}}]", "field \"\""},
		{"steps: [{set: {field: a}}]", "exactly one of"},
		{"steps: [{set: {field: a, value: .nan}}]", "NaN"},
		{"steps: [{set: {field: a, template: '${b'}}]", "not closed"},
		{"steps: [{set: {field: a, template: '$b'}}]", "neither"},
		{"steps: []\n---\nsteps: []", "more than one document"},
		{"steps: [" + strings.Repeat("{drop: [a]},", filter.MaxSteps+1) + "]", "65 steps"},
		{strings.Repeat(" ", filter.MaxConfigBytes+1), "at most"},
	} {
		c, err := filter.Parse([]byte(x.text))
		if err == nil {
			_, err = c.Pipes()
		}
		if err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%.60q is answered with %v, want %q", x.text, err, x.says)
		}
	}
}

// No text makes the decoder panic, and what it takes runs without panic and leaves
// canonical fields.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "steps: [{drop: [a.b]}]", "steps: [{spaces: {only: [a]}}, {where: 'a = 1 and b prefix ''x'''}]",
		"steps: [{mask: {fields: [a], show: 1}, in: [s]}]\nbranches: {x: [{keep: [m]}], y: []}",
		"steps: [{set: {field: a, value: {x: [1, 2.5, null, !!binary aGk=]}}}, {set: {field: b, copy: a.x}}, {set: {field: c, template: '${b}$$'}}]",
		"steps: [{rename: {from: a, to: m.b}}]", "a: &a [*a]", "steps: &x [{drop: [a]}]\nbranches: {x: *x, y: *x}",
	} {
		f.Add([]byte(s))
	}
	value, err := msgp.FromJSON(nil, []byte(`{"a":"text","b":[1,2],"m":{"a":{"b":1}},"n":null}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := filter.Parse(text)
		if err != nil {
			return
		}
		pipes, err := c.Pipes()
		if err != nil {
			return
		}
		for _, p := range pipes {
			v, ok, err := p.Run(filter.Entry{Space: "s", Key: []byte("k"), Kind: space.KindFields, Fields: value})
			if err == nil && ok && !msgp.IsCanonical(v) {
				t.Fatalf("the value is not canonical: %x", v)
			}
		}
	})
}
