package msgp

import (
	"bytes"
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Values of different kinds, and numbers of different types, have one order.
func TestCompareLadder(t *testing.T) {
	// Each rung is above the one before; values of one rung are equal.
	ladder := [][]any{
		{nil},
		{false},
		{true},
		{math.Inf(-1)},
		{-math.MaxFloat64},
		{math.Nextafter(-1<<63, math.Inf(-1))},
		{int64(math.MinInt64), float64(-1 << 63)},
		{int64(math.MinInt64) + 1},
		{-1.5},
		{-1, -1.0},
		{-0.5},
		{0, 0.0, math.Copysign(0, -1)},
		{math.SmallestNonzeroFloat64},
		{1, 1.0},
		{1.5},
		{1<<53 - 1},
		{1 << 53, float64(1 << 53)},
		{1<<53 + 1},
		{1<<53 + 2, float64(1<<53 + 2)},
		{int64(math.MaxInt64)},
		{uint64(1 << 63), float64(1 << 63)},
		{uint64(math.MaxUint64)},
		{float64(1 << 64)},
		{math.Inf(1)},
		{""},
		{"a"},
		{"aa"},
		{"b"},
		{[]byte{}},
		{[]byte("a")},
		{[]byte("aa")},
		{time.Unix(-1, 0)},
		{time.Unix(0, 0)},
		{time.Unix(0, 1)},
		{time.Unix(1<<34, 0)},
		{[]any{}},
		{[]any{1}, []any{1.0}},
		{[]any{1, nil}},
		{[]any{2}},
		{[]any{[]any{}}},
		{map[string]any{}},
		{map[string]any{"a": 1}, map[string]any{"a": 1.0}},
		{map[string]any{"a": 1, "b": 0}},
		{map[string]any{"a": 2}},
	}
	for i, low := range ladder {
		for j, high := range ladder {
			for _, x := range low {
				for _, y := range high {
					want := min(max(i-j, -1), 1)
					if got := Compare(appended(t, x), appended(t, y)); got != want {
						t.Errorf("Compare(%#v, %#v) = %d, want %d", x, y, got, want)
					}
				}
			}
		}
	}
}

// Numbers compare as arithmetic without rounding says.
func TestCompareNumbersExactly(t *testing.T) {
	number := rapid.OneOf(
		rapid.Int64().AsAny(),
		rapid.Uint64().AsAny(),
		rapid.Float64().AsAny(),
		rapid.Map(rapid.Int64(), func(i int64) any { return float64(i) }),
		rapid.Map(rapid.Int64Range(1<<53-4, 1<<53+4), func(i int64) any { return float64(i) }),
		rapid.Int64Range(1<<53-4, 1<<53+4).AsAny(),
	)
	exact := func(v any) *big.Float {
		x := new(big.Float).SetPrec(1100)
		switch v := v.(type) {
		case int64:
			return x.SetInt64(v)
		case uint64:
			return x.SetUint64(v)
		}
		return x.SetFloat64(v.(float64))
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y := number.Draw(t, "x"), number.Draw(t, "y")
		if rapid.Bool().Draw(t, "near") {
			f, _ := exact(x).Float64()
			y = f // the same number rounded, or itself
		}
		if got, want := Compare(appended(t, x), appended(t, y)), exact(x).Cmp(exact(y)); got != want {
			t.Fatalf("Compare(%v, %v) = %d, want %d", x, y, got, want)
		}
	})
}

// Compare is a total order: antisymmetric, transitive, and 0 for equal bytes.
func TestCompareIsATotalOrder(t *testing.T) {
	small := rapid.OneOf(
		anyValue(2),
		rapid.SampledFrom([]any{nil, int64(0), 0.0, int64(1), 1.0, 0.5, "", "a", []byte("a"), []any{int64(1)}, []any{1.0, "a"}}),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := appended(t, small.Draw(t, "a")), appended(t, small.Draw(t, "b")), appended(t, small.Draw(t, "c"))
		ab, bc, ac := Compare(a, b), Compare(b, c), Compare(a, c)
		switch {
		case Compare(b, a) != -ab:
			t.Fatalf("not antisymmetric: % x, % x", a, b)
		case bytes.Equal(a, b) && ab != 0:
			t.Fatalf("%d for equal bytes % x", ab, a)
		case ab <= 0 && bc <= 0 && ac > 0, ab >= 0 && bc >= 0 && ac < 0, ab == 0 && ac != bc:
			t.Fatalf("not transitive: % x, % x, % x: %d %d %d", a, b, c, ab, bc, ac)
		}
	})
}

// Comparing what is no value gives some answer, soon and cheaply.
func TestCompareBombs(t *testing.T) {
	for name, bomb := range bombs() {
		other := bytes.Clone(bomb)
		order := 1
		if got := allocated(func() { order = Compare(bomb, other) }); order != 0 || got > 4<<10 {
			t.Errorf("%s: order %d after allocating %d bytes", name, order, got)
		}
	}
}

// Comparing allocates nothing.
func TestCompareDoesNotAllocate(t *testing.T) {
	a, b := ticket(t), ticket(t)
	b[len(b)-1]++
	order := 0
	if n := testing.AllocsPerRun(100, func() { order = Compare(a, b) }); order != -1 || n != 0 {
		t.Fatalf("order %d, %v allocations", order, n)
	}
}
