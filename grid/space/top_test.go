package space

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// TestTopIsTheSortedSpace: the first entries by a field are those that sorting
// every match by value and age gives, by whatever index and in both directions.
func TestTopIsTheSortedSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(1, History{1})
		def := Definition{ID: 1, Name: "s", Shape: ShapeFields, ScanLimit: -1}
		if rapid.Bool().Draw(t, "indexed") {
			def.Indexes = allIndexes
		}
		applyOps(t, p, DefineCommand(&def))
		for i := range rapid.IntRange(0, 80).Draw(t, "writes") {
			applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "k%d", i%60), Kind: KindFields, Value: drawEntry(t)}}})
		}
		for range 5 {
			f := drawFilter(t)
			q := Top{
				Space: 1, By: rapid.SampledFrom([]string{"a", "b", "m.x"}).Draw(t, "by"), Descending: rapid.Bool().Draw(t, "descending"),
				Template: f.template, Limit: rapid.IntRange(1, 40).Draw(t, "limit"), Room: math.MaxInt,
			}
			if f.predicate != nil {
				q.Predicate = f.predicate.Append(nil)
			}
			got, code := p.MatchTop(nil, &q)
			if code != OK {
				t.Fatal(code)
			}
			if g, w := keysOf(got), keysOf(sortedMatches(p, &f, &q)); !slices.Equal(g, w) {
				t.Fatalf("%+v: %v, want %v", q, g, w)
			}
		}
	})
}

func keysOf(es []Entry) (keys []string) {
	for _, e := range es {
		keys = append(keys, string(e.Key))
	}
	return keys
}

func sortedMatches(p *Partition, f *filter, q *Top) (all []Entry) {
	p.Scan(1, 0, func(e Entry) bool {
		if _, ok := msgp.FieldPath(e.Value, q.By); ok && f.matches(e.Kind, e.Value) {
			all = append(all, e)
		}
		return true
	})
	slices.SortFunc(all, func(a, b Entry) int {
		x, _ := msgp.FieldPath(a.Value, q.By)
		y, _ := msgp.FieldPath(b.Value, q.By)
		c := msgp.Compare(x, y)
		if q.Descending {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.Order, b.Order))
	})
	return all[:min(len(all), q.Limit)]
}

// TestTopIsBounded: with an index it reads what it returns, also from many
// entries of one value; without, or with many texts that begin alike, it is
// refused at the scan limit.
func TestTopIsBounded(t *testing.T) {
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "s", ScanLimit: 10, Indexes: []Index{
		{Name: "n", Fields: []string{"n"}, Ordered: true}, {Name: "text", Fields: []string{"text"}, Ordered: true},
	}}
	applyOps(t, p, DefineCommand(&def))
	for i := range 200 {
		value := encodeValue(t, map[string]any{"n": int64(i / 100), "free": i, "text": fmt.Sprintf("the same beginning %d", i)})
		applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "%d", i), Kind: KindFields, Value: value}}})
	}
	for _, c := range []struct {
		by   string
		room int
		code Code
		want []string
	}{
		{"n", math.MaxInt, OK, []string{"100", "101", "102"}},
		{"n", 1, OK, []string{"100"}},
		{"free", math.MaxInt, CodeScanRefused, nil},
		{"text", math.MaxInt, CodeScanRefused, nil},
	} {
		got, code := p.MatchTop(nil, &Top{Space: 1, By: c.by, Descending: true, Limit: 3, Room: c.room})
		if code != c.code || !slices.Equal(keysOf(got), c.want) {
			t.Errorf("by %s: %v %v, want %v %v", c.by, code, keysOf(got), c.code, c.want)
		}
	}
	got, code := p.MatchTop(nil, &Top{Space: 1, By: "text", Descending: true, Limit: 2, Room: math.MaxInt, AllowScan: true})
	if want := []string{"99", "98"}; code != OK || !slices.Equal(keysOf(got), want) {
		t.Errorf("by text, allowed: %v %v, want %v", code, keysOf(got), want)
	}
}
