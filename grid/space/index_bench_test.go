package space

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// ticket is an entry of eight fields, some 130 bytes. One in 5000 has a given
// section and tier.
func ticket(i int) []byte {
	b, err := msgp.AppendValue(nil, map[string]any{
		"event": "evening-show", "section": fmt.Sprintf("section-%02d", i%100), "tier": int64(i / 100 % 50),
		"row": int64(i % 97), "seat": int64(i % 31), "price": float64(i%10_000) + 0.99, "status": "open", "holder": "nobody in particular",
	})
	if err != nil {
		panic(err)
	}
	return b
}

var ticketIndexes = []Index{
	{Name: "section-tier", Fields: []string{"section", "tier"}},
	{Name: "by-price", Fields: []string{"section", "price"}, Ordered: true},
	{Name: "row", Fields: []string{"row"}},
	{Name: "by-seat", Fields: []string{"seat"}, Ordered: true},
}

func tickets(b *testing.B, n int, indexes ...Index) *Partition {
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "tickets", Shape: ShapeFields, ScanLimit: -1, Indexes: indexes}
	applyOps(b, p, DefineCommand(&def))
	for i := range n {
		c := Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "ticket-%08d", i), Kind: KindFields, Value: ticket(i)}}}
		p.Apply(0, &c)
		if i%10_000 == 0 {
			trimAll(p)
		}
	}
	return p
}

func trimAll(p *Partition) {
	c := TrimCommand(Trim{Floor: 1 << 60})
	p.Apply(0, &c)
}

// BenchmarkTake takes one entry by what is asked of it and writes it back: with
// an index the cost must not grow with the number of entries. The last size
// needs 2 GB and half a minute to fill; name it to run it.
func BenchmarkTake(b *testing.B) {
	text := func(s string, args ...any) []byte {
		p, err := predicate.Parse(fmt.Sprintf(s, args...))
		if err != nil {
			b.Fatal(err)
		}
		return p.Append(nil)
	}
	kinds := []struct {
		name string
		ask  func(i int, o *Op)
	}{
		{"template", func(i int, o *Op) {
			o.Template, _ = msgp.AppendValue(nil, map[string]any{"section": fmt.Sprintf("section-%02d", i%100), "tier": int64(i / 100 % 50)})
		}},
		{"predicate", func(i int, o *Op) { o.Predicate = text("section = 'section-%02d' and tier = %d", i%100, i/100%50) }},
		{"one of four", func(i int, o *Op) {
			o.Predicate = text("section = 'section-%02d' and tier in (%d, 47, 48, 49)", i%100, i/100%47)
		}},
		{"range of price", func(i int, o *Op) {
			o.Predicate = text("section = 'section-%02d' and price >= %d and price < %d", i%100, i%10_000, i%10_000+1)
		}},
	}
	for _, n := range []int{10_000, 100_000, 1_000_000, 5_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 1_000_000 && testing.Short() {
				b.Skip("too large for a short run")
			}
			p := tickets(b, n, ticketIndexes[:2]...)
			for _, kind := range kinds {
				b.Run(kind.name, func(b *testing.B) { takeAndPutBack(b, p, kind.ask) })
			}
		})
	}
}

func takeAndPutBack(b *testing.B, p *Partition, ask func(int, *Op)) {
	asked := make([]Op, 1000)
	for i := range asked {
		asked[i] = Op{Code: OpTakeMatch, Space: 1}
		ask(i*7919, &asked[i])
	}
	i, taken := 0, 0
	for b.Loop() {
		i++
		r, _ := DecodeReply(p.Apply(0, &Command{Ops: asked[i%1000 : i%1000+1]}))
		if len(r.Results) == 1 && r.Results[0].Code == OK {
			taken++
			e := r.Results[0].Entries[0]
			p.Apply(0, &Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: e.Key, Kind: e.Kind, Value: e.Value}}})
		}
		if i%10_000 == 0 {
			trimAll(p)
		}
	}
	b.ReportMetric(float64(taken)/float64(i), "taken/op")
}

// BenchmarkIndexUpkeep is a write of a new entry, a rewrite that changes every
// indexed field and one that changes none, over 100 thousand entries.
func BenchmarkIndexUpkeep(b *testing.B) {
	const n = 100_000
	for _, indexes := range [][]Index{
		nil, ticketIndexes[:1], ticketIndexes[1:2], {ticketIndexes[0], ticketIndexes[2]}, {ticketIndexes[1], ticketIndexes[3]}, ticketIndexes,
	} {
		name := fmt.Sprintf("%d indexes", len(indexes))
		for _, x := range indexes {
			name += " " + x.Name
		}
		for _, kind := range []struct {
			name  string
			value func(i int) int
			shift int // of the values with each round over all entries
		}{{"changed", func(i int) int { return i*31 + 17 }, 1}, {"same", func(i int) int { return i }, 0}} {
			p := tickets(b, n, indexes...)
			values := make([][]byte, n)
			for i := range values {
				values[i] = ticket(kind.value(i))
			}
			b.Run(name+"/"+kind.name, func(b *testing.B) {
				keys, i := make([]byte, 0, 32), 0
				for b.Loop() {
					i++
					at := i * 7919 % n
					keys = fmt.Appendf(keys[:0], "ticket-%08d", at)
					p.Apply(0, &Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: keys, Kind: KindFields, Value: values[(at+i/n*kind.shift)%n]}}})
					if i%10_000 == 0 {
						trimAll(p)
					}
				}
				bytes := 0
				for _, x := range p.space(1).indexes {
					bytes += x.bytes()
				}
				b.ReportMetric(float64(bytes)/n, "index-B/entry")
			})
		}
	}
}

// BenchmarkMatching is the cost of one entry that is looked at: compared as it
// rests, by template and by predicate, and decoded first.
func BenchmarkMatching(b *testing.B) {
	values := make([][]byte, 1000)
	for i := range values {
		values[i] = ticket(i)
	}
	tmpl, _ := msgp.AppendValue(nil, map[string]any{"section": "section-99", "tier": int64(9)})
	q, err := predicate.Parse("section = 'section-99' and tier = 9")
	if err != nil {
		b.Fatal(err)
	}
	byTemplate, _ := newFilter(tmpl, nil)
	byPredicate, _ := newFilter(nil, q.Append(nil))
	decoded := func(v []byte) bool {
		m, _ := msgp.Decode(v)
		fields := m.(map[string]any)
		return fields["section"] == "section-99" && fields["tier"] == int64(9)
	}
	for _, kind := range []struct {
		name  string
		match func(v []byte) bool
	}{
		{"template", func(v []byte) bool { return byTemplate.matches(KindFields, v) }},
		{"predicate", func(v []byte) bool { return byPredicate.matches(KindFields, v) }},
		{"decoded", decoded},
	} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			i, found := 0, 0
			for b.Loop() {
				i++
				if kind.match(values[i%len(values)]) {
					found++
				}
			}
			if i > 2*len(values) && found == 0 {
				b.Fatal("nothing matches")
			}
		})
	}
	b.Run("filter read", func(b *testing.B) {
		b.ReportAllocs()
		var p Partition
		pred := q.Append(nil)
		for b.Loop() {
			if _, code := p.filter(tmpl, pred); code != OK {
				b.Fatal(code)
			}
		}
	})
}
