package predicate

import (
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// tickets are entries as a ticket shop would keep them, some 170 bytes each.
func tickets(t testing.TB, n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		b, err := msgp.AppendValue(nil, map[string]any{
			"event":    fmt.Sprintf("concert-%d", i%50),
			"section":  string(rune('A' + i%12)),
			"row":      i % 40,
			"number":   i % 30,
			"price":    float64(20+i%90) + 0.5,
			"status":   []string{"open", "held", "sold", "void"}[i%4],
			"held":     i%4 == 1,
			"holder":   fmt.Sprintf("customer-%06d", i),
			"changed":  time.Unix(1_790_000_000+int64(i), 0),
			"tags":     []any{"aisle", "front", i % 7},
			"position": map[string]any{"x": i % 100, "y": i % 80},
		})
		if err != nil {
			t.Fatal(err)
		}
		entries[i] = b
	}
	return entries
}

// measured are predicates of one, two and four conditions, and the same as a
// program would ask it of a decoded entry.
var measured = []struct {
	name, text string
	decoded    func(map[string]any) bool
}{
	{"1", `status = 'open'`, func(e map[string]any) bool { return e["status"] == "open" }},
	{"2", `status = 'open' and price < 60`, func(e map[string]any) bool {
		price, ok := e["price"].(float64)
		return e["status"] == "open" && ok && price < 60
	}},
	{"4", `status in ('open', 'held') and price between 30 and 60 and position.x >= 10`, func(e map[string]any) bool {
		price, ok := e["price"].(float64)
		position, _ := e["position"].(map[string]any)
		x, xok := position["x"].(int64)
		return (e["status"] == "open" || e["status"] == "held") && ok && price >= 30 && price <= 60 && xok && x >= 10
	}},
}

// BenchmarkMatch is the cost for one entry of 1000 that are looked at in turn.
func BenchmarkMatch(b *testing.B) {
	entries := tickets(b, 1000)
	for _, m := range measured {
		p := parsed(b, m.text)
		b.Run(m.name+"/encoded", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Match(entries[i])
				if i++; i == len(entries) {
					i = 0
				}
			}
		})
		b.Run(m.name+"/decoded", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				v, err := msgp.Decode(entries[i])
				if err != nil {
					b.Fatal(err)
				}
				m.decoded(v.(map[string]any))
				if i++; i == len(entries) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkMatchOther is the cost of what the language has besides.
func BenchmarkMatchOther(b *testing.B) {
	entries := tickets(b, 1000)
	members := make([]string, 1000)
	for i := range members {
		members[i] = fmt.Sprintf("customer-%06d", 3*i)
	}
	for _, m := range []struct {
		name string
		p    *Predicate
	}{
		{"in-1000", parsed(b, `holder in ?`, members)},
		{"prefix", parsed(b, `holder prefix 'customer-0001'`)},
		{"contains", parsed(b, `tags contains 'front'`)},
		{"computed", parsed(b, `position.x * 2 + position.y > 100`)},
		{"null", parsed(b, `refunded is null`)},
		{"time", parsed(b, `changed >= ts '2026-09-21T15:00:00Z'`)},
		{"range", parsed(b, `row between 10 and 20`)},
	} {
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.p.Match(entries[i])
				if i++; i == len(entries) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		parsed(b, measured[2].text)
	}
}

func BenchmarkDecode(b *testing.B) {
	encoding := parsed(b, measured[2].text).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(encoding); err != nil {
			b.Fatal(err)
		}
	}
}

func parsed(t testing.TB, text string, args ...any) *Predicate {
	t.Helper()
	p, err := Parse(text, args...)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return p
}

// What is measured is the same question: encoded and decoded agree.
func TestMeasuredPredicatesAgree(t *testing.T) {
	for _, m := range measured {
		p := parsed(t, m.text)
		matches := 0
		for _, e := range tickets(t, 1000) {
			v, err := msgp.Decode(e)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(e); got != m.decoded(v.(map[string]any)) {
				t.Fatalf("%s: %v of %v", m.text, got, v)
			} else if got {
				matches++
			}
		}
		if matches == 0 || matches == 1000 {
			t.Errorf("%s matches %d of 1000 entries: it measures nothing", m.text, matches)
		}
	}
}
