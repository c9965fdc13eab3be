package filter_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/filter"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The model of a transform works on decoded maps.
type model func(m map[string]any)

func get(m map[string]any, path string) (any, bool) {
	steps := strings.Split(path, ".")
	for _, s := range steps[:len(steps)-1] {
		inner, ok := m[s].(map[string]any)
		if !ok {
			return nil, false
		}
		m = inner
	}
	v, ok := m[steps[len(steps)-1]]
	return v, ok
}

func put(m map[string]any, path string, v any) bool {
	steps := strings.Split(path, ".")
	for _, s := range steps[:len(steps)-1] {
		inner, ok := m[s].(map[string]any)
		if !ok {
			if _, there := m[s]; there {
				return false
			}
			inner = map[string]any{}
			m[s] = inner
		}
		m = inner
	}
	m[steps[len(steps)-1]] = v
	return true
}

func remove(m map[string]any, path string) {
	steps := strings.Split(path, ".")
	for _, s := range steps[:len(steps)-1] {
		inner, ok := m[s].(map[string]any)
		if !ok {
			return
		}
		m = inner
	}
	delete(m, steps[len(steps)-1])
}

// copied returns what Decode would give of a value of its own.
func copied(v any) any {
	if m, ok := v.(map[string]any); ok {
		c := maps.Clone(m)
		for k := range c {
			c[k] = copied(c[k])
		}
		return c
	}
	return v
}

var paths = []string{"a", "b", "c", "m.a", "m.b", "m.n.a"}

// drawStep returns a step, and what it does to a decoded map; the model panics
// with errRefused where the step must refuse.
func drawStep(t *rapid.T) (string, model) {
	path := rapid.SampledFrom(paths)
	f := path.Draw(t, "field")
	switch rapid.IntRange(0, 5).Draw(t, "step") {
	case 0:
		return fmt.Sprintf("drop: [%s]", f), func(m map[string]any) { remove(m, f) }
	case 1:
		to := path.Filter(func(to string) bool {
			return to != f && !strings.HasPrefix(to, f+".") && !strings.HasPrefix(f, to+".")
		}).Draw(t, "to")
		return fmt.Sprintf("rename: {from: %s, to: %s}", f, to), func(m map[string]any) {
			if v, ok := get(m, f); ok {
				remove(m, f)
				mustPut(m, to, v)
			}
		}
	case 2:
		show := rapid.IntRange(0, 2).Draw(t, "show")
		return fmt.Sprintf("mask: {fields: [%s], show: %d}", f, show), func(m map[string]any) {
			v, ok := get(m, f)
			if !ok || v == nil {
				return
			}
			hidden := "***"
			if s, isText := v.(string); isText && show > 0 && len([]rune(s)) >= 2*show {
				hidden += string([]rune(s)[len([]rune(s))-show:])
			}
			mustPut(m, f, hidden)
		}
	case 3:
		n := rapid.IntRange(-200, 200).Draw(t, "n")
		return fmt.Sprintf("set: {field: %s, value: {x: %d}}", f, n), func(m map[string]any) {
			mustPut(m, f, map[string]any{"x": int64(n)})
		}
	case 4:
		from := path.Draw(t, "from")
		return fmt.Sprintf("set: {field: %s, copy: %s}", f, from), func(m map[string]any) {
			if v, ok := get(m, from); ok {
				mustPut(m, f, copied(v))
			} else {
				remove(m, f)
			}
		}
	}
	from := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "from")
	return fmt.Sprintf("set: {field: %s, template: '<${%s}$$>'}", f, from), func(m map[string]any) {
		v, _ := get(m, from)
		text := ""
		switch v := v.(type) {
		case nil:
		case string:
			text = v
		default:
			b, err := msgp.AppendValue(nil, v)
			if err != nil {
				panic(err)
			}
			json, err := msgp.AppendJSON(nil, b)
			if err != nil {
				panic(err)
			}
			text = string(json)
		}
		mustPut(m, f, "<"+text+"$>")
	}
}

// refusal is what the model panics with.
type refusal struct{}

func mustPut(m map[string]any, path string, v any) {
	if !put(m, path, v) {
		panic(refusal{})
	}
}

func drawFields(t *rapid.T) map[string]any {
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Custom(func(t *rapid.T) any { return rapid.Int64().Draw(t, "int") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.StringN(0, 6, -1).Draw(t, "text") }), rapid.Just[any](true), rapid.Just[any](1.5),
	)
	m := map[string]any{}
	for _, p := range paths {
		if rapid.Bool().Draw(t, "has "+p) {
			put(m, p, leaf.Draw(t, p))
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "flat") == 0 {
		m["m"] = leaf.Draw(t, "m")
	}
	return m
}

// Transforms do to encoded fields what a model does to decoded ones, and leave them
// in canonical form; where the model cannot, they refuse.
func TestTransformsAsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := "steps:\n"
		var models []model
		for range rapid.IntRange(0, 4).Draw(t, "steps") {
			step, do := drawStep(t)
			text += "  - " + step + "\n"
			models = append(models, do)
		}
		fields := drawFields(t)
		encoded, err := msgp.AppendValue(nil, fields)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(encoded)
		got, ok, err := pipe(t, text).Run(filter.Entry{Space: "s", Kind: space.KindFields, Fields: encoded})
		refused := run(models, fields)
		if refused != (err != nil) || !refused && !ok {
			t.Fatalf("%s%v: %v, refused by the model: %v", text, fields, err, refused)
		}
		if !slices.Equal(before, encoded) {
			t.Fatal("the fields were written to")
		}
		if refused {
			return
		}
		want, err := msgp.AppendValue(nil, fields)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || !msgp.IsCanonical(got) {
			t.Fatalf("%sgives %x, want %v", text, got, fields)
		}
	})
}

func run(models []model, fields map[string]any) (refused bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(refusal); !ok {
				panic(r)
			}
			refused = true
		}
	}()
	for _, do := range models {
		do(fields)
	}
	return false
}

// fataler is what tests of testing and rapid have in common.
type fataler interface {
	Helper()
	Fatal(...any)
}

func pipe(t fataler, text string) *filter.Pipe {
	t.Helper()
	c, err := filter.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	pipes, err := c.Pipes()
	if err != nil {
		t.Fatal(err)
	}
	if pipes[""] == nil {
		t.Fatal("there is no pipe without a branch")
	}
	return pipes[""]
}

// A sink behind a pipe holds exactly the entries that pass, as the pipe leaves
// them, whatever happened to them before: entries that come to pass, that no longer
// do, that are removed; folded or not, resynced or not.
func TestSinkHoldsWhatPasses(t *testing.T) {
	text := `
steps:
  - spaces: {except: [space-3]}
  - where: n < 5
    in: [space-1]
  - drop: [secret]
`
	for _, every := range []bool{false, true} {
		for seed := range uint64(20) {
			p := pipe(t, text)
			src := sinktest.NewSource(4, space.History{4})
			for id := range space.ID(3) {
				src.Define(id + 1)
			}
			memory := sinktest.NewMemory()
			sink := filter.Sink(memory, p, nil)
			pump, err := datapump.Open(datapump.Config{Name: "test", Sink: sink, EveryChange: every, BatchChanges: 7})
			if err != nil {
				t.Fatal(err)
			}
			if err := pump.Add(4, src); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, seed))
			for range 4 {
				for range 60 {
					change(rng, src)
				}
				pump.Notify(4)
				if err := pump.Flush(context.Background()); err != nil {
					t.Fatal(err)
				}
				holds(t, p, src, memory)
			}
			pump.Remove(4)
			for range 60 {
				change(rng, src)
			}
			src.Trim(src.Last())
			if err := pump.Add(4, src); err != nil {
				t.Fatal(err)
			}
			if err := pump.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			if pump.Status().Stats.Resyncs != 1 {
				t.Fatal("there was no resync")
			}
			holds(t, p, src, memory)
			pump.Close()
		}
	}
}

// change does something to one of a few entries, in commands of one or two.
func change(rng *rand.Rand, src *sinktest.Source) {
	c := space.Command{Independent: true}
	for range 1 + rng.IntN(2) {
		o := space.Op{Code: space.OpWrite, Space: space.ID(1 + rng.IntN(3)), Key: fmt.Appendf(nil, "key-%d", rng.IntN(6))}
		switch rng.IntN(6) {
		case 0:
			o.Code = space.OpTake
		case 1:
			o.Value = []byte("opaque")
		default:
			o.Kind = space.KindFields
			v, err := msgp.AppendValue(nil, map[string]any{"n": rng.IntN(10), "secret": "s"})
			if err != nil {
				panic(err)
			}
			o.Value = v
		}
		c.Ops = append(c.Ops, o)
	}
	src.Apply(c)
}

// holds compares the sink with what the pipe leaves of the source's content.
func holds(t *testing.T, p *filter.Pipe, src *sinktest.Source, memory *sinktest.Memory) {
	t.Helper()
	want := src.At(src.Last())
	delete(want, 3)
	for id, sp := range want {
		for key, encoded := range sp.ByKey {
			e, _, err := space.DecodeEntry([]byte(encoded))
			if err != nil {
				t.Fatal(err)
			}
			value, ok, err := p.Run(filter.Entry{Space: fmt.Sprintf("space-%d", id), Key: e.Key, Kind: e.Kind, Fields: e.Value})
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				delete(sp.ByKey, key)
				continue
			}
			e.Value = value
			want.Put(id, e)
		}
	}
	got, at := memory.Read(4)
	if at.Seq != src.Last() || got.String() != want.String() {
		t.Fatalf("the sink stands at %v with\n%s\nwant %d with\n%s", at, got, src.Last(), want)
	}
}
