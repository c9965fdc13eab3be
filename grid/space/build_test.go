package space

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// TestAnIndexIsBuiltStepByStep: an index that is added to a space with many
// entries is built by the commands that follow, a bounded step each, while
// entries come, change and go; nobody uses it before it is done; a partition
// that goes through an export at every step does the same; and in the end it
// finds what looking at every entry finds.
func TestAnIndexIsBuiltStepByStep(t *testing.T) {
	const n = 3000
	p := New(1, History{1})
	def := Definition{ID: 1, Name: "s", ScanLimit: -1, Indexes: []Index{{Name: "b", Fields: []string{"b"}}}}
	applyOps(t, p, DefineCommand(&def))
	write := func(i, a int) Command {
		value := encodeValue(t, map[string]any{"a": a % 40, "b": i % 7, "text": fmt.Sprint("the text of ", a%90)})
		return Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "k%d", i), Kind: KindFields, Value: value}}}
	}
	for i := range n {
		applyOps(t, p, write(i, i))
	}
	def.Indexes = append(def.Indexes, Index{Name: "a", Fields: []string{"a"}}, Index{Name: "by-text", Fields: []string{"a", "text"}, Ordered: true})
	applyOps(t, p, DefineCommand(&def))
	shadow := throughExport(t, p)
	rnd := rand.New(rand.NewPCG(1, 2))
	steps := 0
	for next := uint64(0); p.Building(); steps++ {
		if e := explain(t, p, map[string]any{"a": int64(3)}, "", 1); e.Ways[0].Index != "" {
			t.Fatalf("an unfinished index is used:\n%v", e)
		}
		at := p.Status().Building
		if len(at) == 0 || at[0].Next <= next && at[0].Index == "a" {
			t.Fatalf("step %d: the status says %+v, %d before", steps, at, next)
		}
		next = at[0].Next
		c := write(rnd.IntN(n+200), rnd.IntN(n))
		if steps%3 == 1 {
			c = Command{Ops: []Op{{Code: OpTake, Space: 1, Key: fmt.Appendf(nil, "k%d", rnd.IntN(n))}}, Independent: true}
		}
		if steps == 4 { // the definition changes on the way: one index goes, one comes, one stays where it is
			def.Indexes = []Index{def.Indexes[2], {Name: "renamed", Fields: []string{"b"}}, {Name: "by-a", Fields: []string{"a"}, Ordered: true}}
			c = DefineCommand(&def)
			next = 0
		}
		applyOps(t, p, c)
		applyOps(t, shadow, c)
		if shadow = throughExport(t, shadow); p.Image().Digest() != shadow.Image().Digest() {
			t.Fatalf("step %d: digests differ", steps)
		}
	}
	if most := 3*n/buildStep + 8; steps < 6 || steps > most {
		t.Fatalf("built in %d steps, want 6 to %d", steps, most)
	}
	if shadow.Building() || len(p.Status().Building) != 0 {
		t.Fatalf("not done: %+v", p.Status().Building)
	}
	for _, p := range []*Partition{p, shadow} {
		for _, x := range p.space(1).indexes {
			if got, want := indexed(x), expected(p.space(1), x); !slices.Equal(got, want) {
				t.Fatalf("index %s holds %d entries, want %d", x.Name, len(got), len(want))
			}
		}
	}
}

func throughExport(t *testing.T, p *Partition) *Partition {
	t.Helper()
	var b bytes.Buffer
	if err := p.Image().Export(&b); err != nil {
		t.Fatal(err)
	}
	p, err := Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// indexed returns what an index holds: keys and orders, sorted.
func indexed(x *fieldIndex) (all [][3]uint64) {
	x.sorted.AscendFrom(pairtree.Triple{}, func(k pairtree.Triple) bool { all = append(all, k); return true })
	x.hashed.AscendFrom(pairtree.Pair{}, func(k pairtree.Pair) bool { all = append(all, [3]uint64{k[0], 0, k[1]}); return true })
	return all
}

// expected returns what an index should hold.
func expected(sp *entries, x *fieldIndex) (all [][3]uint64) {
	for r := range sp.table.Ascend(0) {
		if k, ok := x.key(sp.seed, r.Value()); ok {
			all = append(all, [3]uint64{k.hi, k.lo, r.Order()})
		}
	}
	slices.SortFunc(all, func(a, b [3]uint64) int { return slices.Compare(a[:], b[:]) })
	return all
}

// TestTicksBuild: a leader that only ticks finishes an index, in larger steps.
func TestTicksBuild(t *testing.T) {
	p := seats(t)
	def := p.Definitions()[0]
	for i := range 4000 {
		applyOps(t, p, Command{Ops: []Op{{Code: OpWrite, Space: 1, Key: fmt.Appendf(nil, "more%d", i), Kind: KindFields, Value: encodeValue(t, map[string]any{"free": true})}}})
	}
	def.Indexes = append(def.Indexes, Index{Name: "free", Fields: []string{"free"}})
	applyOps(t, p, DefineCommand(&def))
	ticks := 0
	for ; p.Building(); ticks++ {
		applyOps(t, p, TickCommand())
	}
	if ticks != 2 {
		t.Fatalf("5000 entries in %d ticks", ticks)
	}
	if e := explain(t, p, map[string]any{"free": true}, "", 5); e.Ways[0].Index != "free" || e.Ways[0].Matched != 5 {
		t.Fatal(e)
	}
}
