package pairtree

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A set of triples is walked both ways, counted and searched like a sorted slice.
func TestTriplesAreSorted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var set Set[Triple]
		var sorted []Triple
		width := rapid.SampledFrom([]uint64{1, 2, 40, 1 << 63}).Draw(rt, "width")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		draw := func() Triple {
			k := Triple{rnd.Uint64N(width), rnd.Uint64N(width), rnd.Uint64N(3000)}
			if len(sorted) > 0 && rnd.IntN(2) == 0 {
				k = sorted[rnd.IntN(len(sorted))]
			}
			return k
		}
		for range rapid.IntRange(0, 4000).Draw(rt, "keys") {
			k := draw()
			i, there := slices.BinarySearchFunc(sorted, k, compareTriples)
			if rnd.IntN(4) == 0 {
				if set.Delete(k) != there {
					rt.Fatalf("delete %v: want %v", k, there)
				}
				if there {
					sorted = slices.Delete(sorted, i, i+1)
				}
				continue
			}
			if set.Insert(k) == there {
				rt.Fatalf("insert %v: want %v", k, !there)
			}
			if !there {
				sorted = slices.Insert(sorted, i, k)
			}
		}
		for range 20 {
			checkWalks(rt, &set, sorted, draw(), draw(), rnd.IntN(100))
		}
		checkWalks(rt, &set, sorted, Triple{}, Triple{1<<64 - 1, 1<<64 - 1, 1<<64 - 1}, len(sorted)+1)
	})
}

func checkWalks(rt *rapid.T, set *Set[Triple], sorted []Triple, low, high Triple, limit int) {
	from, there := slices.BinarySearchFunc(sorted, low, compareTriples)
	up := sorted[from:]
	var got []Triple
	set.AscendFrom(low, func(k Triple) bool { got = append(got, k); return true })
	if !slices.Equal(got, up) {
		rt.Fatalf("up from %v: %v, want %v", low, got, up)
	}
	if k, ok := set.First(low); ok != (len(up) > 0) || ok && k != up[0] || set.Has(low) != there {
		rt.Fatalf("first from %v: %v %v, has %v", low, k, ok, set.Has(low))
	}
	to, there := slices.BinarySearchFunc(sorted, high, compareTriples)
	if there {
		to++
	}
	down := slices.Clone(sorted[:to])
	slices.Reverse(down)
	got = nil
	set.DescendFrom(high, func(k Triple) bool { got = append(got, k); return true })
	if !slices.Equal(got, down) {
		rt.Fatalf("down from %v: %v, want %v", high, got, down)
	}
	if n, want := set.Count(low, high, limit), min(max(to-from, 0), limit); n != want {
		rt.Fatalf("%d keys from %v to %v, at most %d; want %d", n, low, high, limit, want)
	}
}

func compareTriples(a, b Triple) int { return slices.Compare(a[:], b[:]) }
