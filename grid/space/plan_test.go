package space

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// allIndexes holds indexes of every sort over the fields that drawn entries have.
var allIndexes = []Index{
	{Name: "a", Fields: []string{"a"}},
	{Name: "ab", Fields: []string{"a", "b"}},
	{Name: "deep", Fields: []string{"m.x", "a"}},
	{Name: "by-a", Fields: []string{"a"}, Ordered: true},
	{Name: "a-by-b", Fields: []string{"a", "b"}, Ordered: true},
	{Name: "ab-by-x", Fields: []string{"a", "b", "m.x"}, Ordered: true},
}

// drawField draws a value of few, some of which are equal without having the
// same bytes, or begin alike.
func drawField(t *rapid.T) any {
	if rapid.Bool().Draw(t, "frequent") {
		return rapid.SampledFrom([]any{int64(1), int64(3), "a"}).Draw(t, "value")
	}
	return rapid.SampledFrom([]any{
		nil, true, int64(0), int64(1), 1.0, int64(2), 2.5, int64(3), int64(-1),
		"a", "a\x00", "abcdefghijklm", "abcdefghijkln", []byte("a"), []any{int64(1)}, []any{1.0},
	}).Draw(t, "value")
}

func drawEntry(t *rapid.T) []byte {
	m := map[string]any{}
	for _, f := range []string{"a", "b", "c"} {
		if rapid.IntRange(0, 5).Draw(t, f) > 0 {
			m[f] = drawField(t)
		}
	}
	if rapid.Bool().Draw(t, "m") {
		m["m"] = map[string]any{"x": drawField(t)}
	}
	return encodeValue(t, m)
}

func encodeValue(t interface{ Fatal(...any) }, v any) []byte {
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawPredicate draws a predicate as text, or none.
func drawPredicate(t *rapid.T) string {
	part := func() string {
		field := rapid.SampledFrom([]string{"a", "b", "m.x"}).Draw(t, "field")
		value := rapid.SampledFrom([]string{"0", "1", "1.0", "2", "2.5", "-1", "'a'", "'abcdefghijklm'", "true"}).Draw(t, "constant")
		switch rapid.IntRange(0, 5).Draw(t, "form") {
		case 0:
			return fmt.Sprintf("%s in (1, 3, 'a', %s)", field, value)
		case 1:
			return fmt.Sprintf("%s between 0 and 2", field)
		case 2:
			return fmt.Sprintf("%s prefix 'abcdefghijkl'", field)
		case 3:
			return field + " is not null"
		}
		return field + rapid.SampledFrom([]string{" = ", " <> ", " < ", " <= ", " > ", " >= "}).Draw(t, "op") + value
	}
	text := part()
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		text = "(" + text + ")" + rapid.SampledFrom([]string{" and ", " and ", " or "}).Draw(t, "junction") + part()
	}
	return text
}

func drawFilter(t *rapid.T) filter {
	var template, pred []byte
	if rapid.Bool().Draw(t, "template") {
		m := map[string]any{}
		for _, f := range []string{"a", "b"} {
			if rapid.Bool().Draw(t, f) {
				m[f] = drawField(t)
			}
		}
		template = encodeValue(t, m)
	}
	if rapid.IntRange(0, 3).Draw(t, "predicate") > 0 {
		p, err := predicate.Parse(drawPredicate(t))
		if err != nil {
			t.Skip(err)
		}
		pred = p.Append(nil)
	}
	f, code := newFilter(template, pred)
	if code != OK {
		t.Fatal(code)
	}
	return f
}

// orders collects what a search finds.
func orders(limit int) (*[]uint64, func(arena.Record) bool) {
	found := new([]uint64)
	return found, func(r arena.Record) bool {
		*found = append(*found, r.Order())
		return len(*found) < limit
	}
}

// TestWhatIsFoundDoesNotDependOnThePlan: along every route that an index offers
// for a filter, the same entries are found in the same order as by looking at
// every entry, from any order number and up to any limit, also while entries are
// rewritten and an index is being built.
func TestWhatIsFoundDoesNotDependOnThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(1, History{1})
		early := rapid.IntRange(0, len(allIndexes)).Draw(t, "early")
		def := Definition{ID: 1, Name: "s", Shape: ShapeFields, Indexes: allIndexes[:early], ScanLimit: -1}
		applyOps(t, p, DefineCommand(&def))
		write := func() {
			for range rapid.IntRange(1, 60).Draw(t, "writes") {
				key := fmt.Appendf(nil, "k%d", rapid.IntRange(0, 80).Draw(t, "key"))
				o := Op{Code: OpWrite, Space: 1, Key: key, Kind: KindFields, Value: drawEntry(t)}
				switch rapid.IntRange(0, 9).Draw(t, "instead") {
				case 0:
					o = Op{Code: OpTake, Space: 1, Key: key}
				case 1:
					o = Op{Code: OpClaim, Space: 1, Key: key}
				case 2:
					o = Op{Code: OpNack, Token: Token{Number: Seq(rapid.IntRange(1, int(p.seq)).Draw(t, "token"))}}
				}
				applyOps(t, p, Command{Ops: []Op{o}, Independent: true})
			}
		}
		write()
		def.Indexes = allIndexes
		applyOps(t, p, DefineCommand(&def))
		write()
		for range 6 {
			compareRoutes(t, p.space(1), drawFilter(t), rapid.Uint64Range(0, 40).Draw(t, "from"), rapid.IntRange(1, 60).Draw(t, "limit"))
		}
	})
}

func compareRoutes(t *rapid.T, sp *entries, f filter, from uint64, limit int) {
	want, fn := orders(limit)
	(&search{sp: sp, f: &f, from: from}).scan(true, fn)
	for _, x := range sp.indexes {
		r, no := x.route(sp.seed, &f)
		if no != (obstacle{}) {
			continue
		}
		got, fn := orders(limit)
		(&search{sp: sp, f: &f, from: from}).follow(&r, fn)
		if !slices.Equal(*got, *want) {
			t.Fatalf("by index %s: %v, want %v", x.Name, *got, *want)
		}
	}
	got, fn := orders(limit)
	if code := sp.match(&f, from, true, fn); code != OK || !slices.Equal(*got, *want) {
		t.Fatalf("as planned: %v %v, want %v", code, *got, *want)
	}
}

func applyOps(t interface{ Fatal(...any) }, p *Partition, c Command) Reply {
	r, err := DecodeReply(p.Apply(0, &c))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWideRanges: a range with more candidates than are kept at once is found
// whole and in order, whether what matches lies in front or at the end.
func TestWideRanges(t *testing.T) {
	const n = 5000
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "s", Indexes: []Index{{Name: "by-n", Fields: []string{"n"}, Ordered: true}}}
	applyOps(t, p, DefineCommand(&def))
	for i := range n {
		value := encodeValue(t, map[string]any{"n": int64(i * 7919 % n), "late": i > n/2})
		applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "%d", i), Kind: KindFields, Value: value}}})
	}
	for _, text := range []string{"n >= 10", "n >= 10 and late", "n between 100 and 900", "n < 2000 and not late"} {
		pred, err := predicate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := newFilter(nil, pred.Append(nil))
		sp := p.space(1)
		want, fn := orders(n)
		(&search{sp: sp, f: &f}).scan(true, fn)
		got, fn := orders(n)
		if code := sp.match(&f, 0, false, fn); code != OK || !slices.Equal(*got, *want) {
			t.Fatalf("%s: %v, %d found, want %d", text, code, len(*got), len(*want))
		}
		if len(*want) < 500 {
			t.Fatalf("%s: %d match, too few to mean anything", text, len(*want))
		}
	}
}
