package space

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// seats returns a partition with 1000 seats in ten sections.
func seats(t testing.TB) *Partition {
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "seats", Shape: ShapeFields, ScanLimit: 100, Indexes: []Index{
		{Name: "by-section", Fields: []string{"section", "price"}, Ordered: true},
		{Name: "section", Fields: []string{"section"}},
		{Name: "place", Fields: []string{"at.row", "at.number"}},
	}}
	applyOps(t, p, DefineCommand(&def))
	for i := range 1000 {
		value := encodeValue(t, map[string]any{
			"section": string(rune('A' + i%10)), "price": int64(i / 10), "free": i%2 == 0, "at": map[string]any{"row": i / 20, "number": i % 20},
		})
		applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "%d", i), Kind: KindFields, Value: value}}})
	}
	return p
}

func explain(t testing.TB, p *Partition, template map[string]any, text string, limit int) Explanation {
	var tmpl, pred []byte
	if template != nil {
		tmpl = encodeValue(t, template)
	}
	if text != "" {
		q, err := predicate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		pred = q.Append(nil)
	}
	e, code := p.Explain(1, tmpl, pred, limit, false)
	if code != OK {
		t.Fatal(code)
	}
	return e
}

// TestExplain: what is said is what a person needs to know who sees a slow query
// for the first time.
func TestExplain(t *testing.T) {
	p := seats(t)
	for _, c := range []struct {
		template map[string]any
		text     string
		limit    int
		want     string
	}{
		{map[string]any{"section": "A"}, "price >= 10 and price < 20 and price * 2 > 21", 100, `
takes from index "by-section" (section = "A", price ordered: 10 <= price < 20), the best of 2 indexes that can serve it
examined 10 entries of 10 expected, 9 matched
does not use index "section": it expects 100 entries
does not use index "place": nothing that it could serve is asked of at.row`},
		{nil, "section in ('B', 'C') and price > 95", 100, `
takes from index "by-section" (section in ("B", "C"), price ordered: 95 < price), the best of 2 indexes that can serve it
examined 8 entries of 8 expected, 8 matched
does not use index "section": it expects 200 entries
does not use index "place": nothing that it could serve is asked of at.row`},
		{map[string]any{"at": map[string]any{"row": 7, "number": 3}}, "", 1, `
takes from index "place" (at.row = 7, at.number = 3), the only index that can serve it
examined 1 entries of 1 expected, 1 matched
does not use index "by-section": nothing that it could serve is asked of section
does not use index "section": nothing that it could serve is asked of section`},
		{map[string]any{"free": false}, "", 400, `
looks at every entry of space "seats": no index can serve it
examined 201 entries of 1000 expected, 100 matched
refused at the limit of 100 entries examined in vain: declare an index on these fields, or allow the scan
does not use index "by-section": nothing that it could serve is asked of section
does not use index "section": nothing that it could serve is asked of section
does not use index "place": nothing that it could serve is asked of at.row`},
		{nil, "at.row > 2 and at.number = 1 and section >= 'B'", 1, `
looks at every entry of space "seats": no index can serve it
examined 62 entries of 1000 expected, 1 matched
does not use index "by-section": a range is asked of section, of which it serves single values only
does not use index "section": a range is asked of section, of which it serves single values only
does not use index "place": a range is asked of at.row, of which it serves single values only`},
	} {
		if got := "\n" + explain(t, p, c.template, c.text, c.limit).String(); got != c.want {
			t.Errorf("%v %s:%s\nwant%s", c.template, c.text, got, c.want)
		}
	}
}

// TestExplanationsMerge: partitions that do the same are one line, and numbers
// add up.
func TestExplanationsMerge(t *testing.T) {
	p, empty := seats(t), New(2, History{1})
	def := p.Definitions()[0]
	def.Indexes = nil
	applyOps(t, empty, DefineCommand(&def))
	var all Explanation
	for _, p := range []*Partition{p, empty, p} {
		all.Merge(explain(t, p, map[string]any{"section": "A", "price": 7}, "", 10))
	}
	const want = `takes from index "by-section" (section = "A", price = 7), the best of 2 indexes that can serve it, in 2 of 3 partitions
examined 2 entries of 2 expected, 2 matched
looks at every entry of space "seats": the space has no index, in 1 of 3 partitions
examined 0 entries of 0 expected, 0 matched
does not use index "section": it expects 100 entries, in 2 of 3 partitions
does not use index "place": nothing that it could serve is asked of at.row, in 2 of 3 partitions`
	if got := all.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
