package pairtree

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func compare(a, b Pair) int {
	return slices.Compare(a[:], b[:])
}

// model is a tree beside a sorted slice.
type model struct {
	tree  Tree
	pairs []Pair
}

func (m *model) insert(p Pair) error {
	i, there := slices.BinarySearchFunc(m.pairs, p, compare)
	if !there {
		m.pairs = slices.Insert(m.pairs, i, p)
	}
	if got := m.tree.Insert(p[0], p[1]); got == there {
		return fmt.Errorf("insert %v: %v, want %v", p, got, !there)
	}
	return nil
}

func (m *model) delete(p Pair) error {
	i, there := slices.BinarySearchFunc(m.pairs, p, compare)
	if there {
		m.pairs = slices.Delete(m.pairs, i, i+1)
	}
	if got := m.tree.Delete(p[0], p[1]); got != there {
		return fmt.Errorf("delete %v: %v, want %v", p, got, there)
	}
	return nil
}

func (m *model) check(from Pair) error {
	if m.tree.Len() != len(m.pairs) {
		return fmt.Errorf("%d pairs, want %d", m.tree.Len(), len(m.pairs))
	}
	all := pairsFrom(&m.tree, Pair{})
	if !slices.Equal(all, m.pairs) {
		return fmt.Errorf("walk gives %v, want %v", all, m.pairs)
	}
	i, there := slices.BinarySearchFunc(m.pairs, from, compare)
	if got := m.tree.Has(from[0], from[1]); got != there {
		return fmt.Errorf("has %v: %v, want %v", from, got, there)
	}
	if all = pairsFrom(&m.tree, from); !slices.Equal(all, m.pairs[i:]) {
		return fmt.Errorf("walk from %v gives %v, want %v", from, all, m.pairs[i:])
	}
	hi, lo, ok := m.tree.Min()
	if ok != (len(m.pairs) > 0) || ok && m.pairs[0] != (Pair{hi, lo}) {
		return fmt.Errorf("min is %d %d %v", hi, lo, ok)
	}
	return audit(&m.tree)
}

func pairsFrom(tree *Tree, from Pair) (all []Pair) {
	tree.AscendFrom(from[0], from[1], func(hi, lo uint64) bool {
		all = append(all, Pair{hi, lo})
		return true
	})
	return all
}

// audit checks the shape: keys divide what is below them, leaves are chained in
// order, no node is empty but a root, and each node is either used or free.
func audit(t *Tree) error {
	if t.leaves.made == 0 {
		return nil
	}
	var leaves, branches, pairs int
	var chain []uint32
	var walk func(id uint32, level int, low, high *Pair) error
	walk = func(id uint32, level int, low, high *Pair) error {
		if level == t.height {
			l := t.leaves.at(id)
			leaves++
			pairs += int(l.n)
			chain = append(chain, id)
			if l.n == 0 && t.height > 0 {
				return fmt.Errorf("leaf %d is empty", id)
			}
			for i, p := range l.keys[:l.n] {
				if low != nil && less(&p, low) || high != nil && !less(&p, high) || i > 0 && !less(&l.keys[i-1], &p) {
					return fmt.Errorf("pair %v is out of place", p)
				}
			}
			return nil
		}
		b := t.branches.at(id)
		branches++
		if b.n < 2 || b.n > fanout {
			return fmt.Errorf("branch %d has %d children", id, b.n)
		}
		if low != nil && b.keys[0] != *low {
			return fmt.Errorf("branch %d begins at %v, known as %v", id, b.keys[0], *low)
		}
		for i := range int(b.n) {
			lo, hi := low, high
			if i > 0 {
				lo = &b.keys[i]
			}
			if i+1 < int(b.n) {
				hi = &b.keys[i+1]
			}
			if err := walk(b.kids[i], level+1, lo, hi); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(t.root, 0, nil, nil); err != nil {
		return err
	}
	for i, id := range chain {
		want := none
		if i+1 < len(chain) {
			want = chain[i+1]
		}
		if got := t.leaves.at(id).next; got != want {
			return fmt.Errorf("leaf %d leads to %d, want %d", id, got, want)
		}
	}
	if pairs != t.len || leaves+len(t.leaves.free) != int(t.leaves.made) || branches+len(t.branches.free) != int(t.branches.made) {
		return fmt.Errorf("%d pairs, %d leaves, %d branches, account says %d, %d - %d, %d - %d", pairs, leaves, branches,
			t.len, t.leaves.made, len(t.leaves.free), t.branches.made, len(t.branches.free))
	}
	return nil
}

// A tree answers like a sorted slice without doubles, whatever comes and goes.
func TestTreeIsASortedSet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var m model
		his := rapid.SampledFrom([]uint64{1, 3, 200, 1 << 63}).Draw(rt, "his")
		los := rapid.SampledFrom([]uint64{2, 500, 1 << 63}).Draw(rt, "los")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		pair := func() Pair { return Pair{rnd.Uint64N(his), rnd.Uint64N(los)} }
		next := uint64(0)
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"insert": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1500).Draw(rt, "n") {
					must(m.insert(pair()))
				}
			},
			"rising": func(rt *rapid.T) {
				hi := rnd.Uint64N(his)
				for range rapid.IntRange(1, 1500).Draw(rt, "n") {
					next++
					must(m.insert(Pair{hi, next}))
				}
			},
			"delete any": func(rt *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(rt, "n") {
					must(m.delete(pair()))
				}
			},
			"delete there": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1500).Draw(rt, "n") {
					if len(m.pairs) > 0 {
						must(m.delete(m.pairs[rnd.IntN(len(m.pairs))]))
					}
				}
			},
			"delete low": func(rt *rapid.T) {
				for range rapid.IntRange(1, 1500).Draw(rt, "n") {
					if len(m.pairs) > 0 {
						must(m.delete(m.pairs[0]))
					}
				}
			},
			"clear": func(rt *rapid.T) {
				if rnd.IntN(8) == 0 {
					m.tree.Clear()
					m.pairs = nil
				}
			},
			"": func(rt *rapid.T) {
				from := pair()
				if len(m.pairs) > 0 && rnd.IntN(2) == 0 {
					from = m.pairs[rnd.IntN(len(m.pairs))]
				}
				must(m.check(from))
			},
		})
	})
}

// A walk may end early, and one from beyond the last pair yields nothing.
func TestWalkEnds(t *testing.T) {
	var tree Tree
	if all := pairsFrom(&tree, Pair{}); all != nil {
		t.Fatalf("an empty tree yields %v", all)
	}
	for i := range uint64(100) {
		tree.Insert(1, i)
	}
	n := 0
	tree.AscendFrom(1, 20, func(_, lo uint64) bool {
		n++
		return lo < 69
	})
	if n != 50 {
		t.Fatalf("%d pairs, want 50", n)
	}
	if all := pairsFrom(&tree, Pair{1, 100}); all != nil {
		t.Fatalf("%v from beyond the last pair", all)
	}
}

// Pairs take the memory that was promised, in each way of coming and going.
func TestMemory(t *testing.T) {
	const n = 100_000
	cases := map[string]struct {
		fill  func(tree *Tree)
		limit int // bytes a pair
	}{
		"rising": {func(tree *Tree) {
			for i := range uint64(n) {
				tree.Insert(i, i)
			}
		}, 18},
		"rising behind a few": {func(tree *Tree) {
			for i := range uint64(n) {
				tree.Insert(i%100, i)
			}
		}, 20},
		"at random": {func(tree *Tree) {
			for range n {
				tree.Insert(rand.Uint64(), 0)
			}
		}, 27},
		"a queue": {func(tree *Tree) {
			for i := range uint64(20 * n) {
				tree.Insert(i, i)
				if i >= n {
					tree.Delete(i-n, i-n)
				}
			}
		}, 19},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var tree Tree
			c.fill(&tree)
			if got := tree.Bytes(); got > c.limit*tree.Len() {
				t.Errorf("%.1f bytes a pair, want at most %d", float64(got)/float64(tree.Len()), c.limit)
			}
			if err := audit(&tree); err != nil {
				t.Error(err)
			}
			for !drained(&tree) {
			}
			if tree.Bytes() != 0 {
				t.Errorf("an emptied tree takes %d bytes", tree.Bytes())
			}
		})
	}
	var tree Tree
	tree.Insert(1, 1)
	if tree.Bytes() > 600 {
		t.Errorf("one pair takes %d bytes", tree.Bytes())
	}
}

func drained(tree *Tree) bool {
	hi, lo, ok := tree.Min()
	tree.Delete(hi, lo)
	return !ok
}

func BenchmarkInsert(b *testing.B) {
	const n = 1_000_000
	fill := map[string]func(i int) (uint64, uint64){
		"random":   func(i int) (uint64, uint64) { return uint64(i) * 0x9e3779b97f4a7c15, uint64(i) },
		"rising":   func(i int) (uint64, uint64) { return uint64(i), uint64(i) },
		"5000 his": func(i int) (uint64, uint64) { return uint64(i*7919) % 5000, uint64(i) },
	}
	for name, pair := range fill {
		b.Run(name, func(b *testing.B) {
			took := make([]time.Duration, 0, n)
			for b.Loop() {
				var tree Tree
				took = took[:0]
				for i := range n {
					was := time.Now()
					tree.Insert(pair(i))
					took = append(took, time.Since(was))
				}
				b.ReportMetric(float64(tree.Bytes())/n, "B/pair")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/insert")
			b.ReportMetric(float64(slices.Max(took).Microseconds()), "µs-worst")
		})
	}
}

// BenchmarkReplace deletes one pair of a million and inserts another, at random.
func BenchmarkReplace(b *testing.B) {
	const n = 1_000_000
	var tree Tree
	pairs := make([]Pair, n)
	for i := range pairs {
		pairs[i] = Pair{rand.Uint64(), uint64(i)}
		tree.Insert(pairs[i][0], pairs[i][1])
	}
	for b.Loop() {
		p := &pairs[rand.IntN(n)]
		tree.Delete(p[0], p[1])
		p[0] = rand.Uint64()
		tree.Insert(p[0], p[1])
	}
}
