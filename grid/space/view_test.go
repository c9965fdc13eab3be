package space_test

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// What is gathered through an index is what a search finds, all of it or nothing;
// content that was cut and a long view show one moment.
func TestGatherAndContent(t *testing.T) {
	p := space.New(0, space.History{1})
	def := space.Definition{ID: 1, Name: "seats", Shape: space.ShapeFields, Indexes: []space.Index{
		{Name: "price", Fields: []string{"price"}, Ordered: true},
	}}
	apply(t, p, 1, space.DefineCommand(&def))
	write := func(i int) {
		value, err := msgp.AppendValue(nil, map[string]any{"price": i, "row": i % 7})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, p, 2, command(space.Op{Code: space.OpWrite, Space: 1, Key: fmt.Append(nil, i), Value: value, Kind: space.KindFields}))
	}
	const n = 3000
	for i := range n {
		write(i)
	}
	for _, c := range []struct {
		text  string
		want  int
		reach space.Reach
	}{
		{"price between 100 and 199", 100, space.Indexed},
		{"price between 100 and 199 and row = 3", 15, space.Indexed},
		{"price < 0", 0, space.Indexed},
		{"price > 100", 0, space.FarIndexed},
		{"row = 3", 0, space.Unindexed},
	} {
		pred, err := predicate.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := space.NewFilter(nil, pred.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		found, reach := p.Gather(nil, 1, &f)
		if len(found) != c.want || reach != c.reach {
			t.Errorf("%s: %d entries, reach %d", c.text, len(found), reach)
		}
		for _, e := range found {
			if !pred.Match(e.Value) {
				t.Errorf("%s: %s does not match", c.text, e.Key)
			}
		}
	}
	if _, err := space.NewFilter([]byte{0xc1}, nil); err == nil {
		t.Error("a template that is none passes")
	}
	content, code := p.Content(1)
	if code != space.OK {
		t.Fatal(code)
	}
	if _, code := p.Content(2); code != space.CodeNoSpace {
		t.Errorf("content of no space: %v", code)
	}
	same := p.ViewLong(func(steady func() bool) {
		if !steady() {
			t.Error("nothing has happened yet")
		}
		write(n)
		if steady() {
			t.Error("something has happened")
		}
	})
	if same {
		t.Error("a command went unseen")
	}
	count := 0
	content.Scan(func(space.Entry) bool { count++; return true })
	if count != n || p.Count(1) != n+1 {
		t.Errorf("%d entries in the content, %d now", count, p.Count(1))
	}
}
