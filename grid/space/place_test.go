package space

import (
	"cmp"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

func comparePlaces(a, b place) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) }

// drawAny draws a value of any kind, often close to others and to the edges of
// its kind.
func drawAny(t *rapid.T, depth int) any {
	kinds := 9
	if depth == 0 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]any{nil, false, true}).Draw(t, "word")
	case 1:
		near := rapid.SampledFrom([]int64{0, 1 << 53, -1 << 53, math.MaxInt64 - 2000, math.MinInt64 + 2000}).Draw(t, "near")
		return near + rapid.Int64Range(-2000, 2000).Draw(t, "int")
	case 2:
		near := rapid.SampledFrom([]uint64{1 << 63, math.MaxUint64 - 4000, 1 << 54}).Draw(t, "near")
		return near + rapid.Uint64Range(0, 4000).Draw(t, "uint")
	case 3:
		near := rapid.SampledFrom([]float64{0, 1, 1 << 53, 1 << 63, 1 << 64, -1 << 63, math.Inf(1), math.Inf(-1), math.MaxFloat64, 19.99}).Draw(t, "near")
		for range rapid.IntRange(0, 3).Draw(t, "steps") {
			near = math.Nextafter(near, rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1)}).Draw(t, "to"))
		}
		return near
	case 4:
		return rapid.StringOfN(rapid.SampledFrom([]rune{0, 'a', 'b'}), 0, 14, -1).Draw(t, "text")
	case 5:
		return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 15, 16, 255}), 0, 14).Draw(t, "bytes")
	case 6:
		sec := rapid.SampledFrom([]int64{0, 1, 1 << 33, -1 << 34, 253402300799, -62167219200}).Draw(t, "sec")
		return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).UTC()
	case 7:
		list := make([]any, rapid.IntRange(0, 2).Draw(t, "len"))
		for i := range list {
			list[i] = drawAny(t, depth-1)
		}
		return list
	}
	m := map[string]any{}
	for range rapid.IntRange(0, 2).Draw(t, "len") {
		m[rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")] = drawAny(t, depth-1)
	}
	return m
}

// TestPlacesGrowWithValues: a value is never placed above a greater one, equal
// values share a place, and a place that is not shared belongs to one value.
func TestPlacesGrowWithValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var encoded [][]byte
		values := []any{math.Copysign(0, -1), 0.0, int64(math.MaxInt64), 1.0 * (1 << 63), uint64(math.MaxUint64), 1.0 * (1 << 64), "", []byte{}}
		for range 16 {
			values = append(values, drawAny(t, 1))
		}
		for _, v := range values {
			if b, err := msgp.AppendValue(nil, v); err == nil {
				encoded = append(encoded, b)
			}
		}
		for _, a := range encoded {
			for _, b := range encoded {
				comparePlaced(t, a, b)
			}
		}
	})
}

func comparePlaced(t *rapid.T, a, b []byte) {
	p, q := placeOf(a), placeOf(b)
	values, places := msgp.Compare(a, b), comparePlaces(p, q)
	switch {
	case values == 0 && places != 0, values*places < 0:
		t.Fatalf("%x and %x compare %d, their places %x and %x %d", a, b, values, p, q, places)
	case places == 0 && values != 0 && !(p.shared() && q.shared()):
		t.Fatalf("%x and %x differ and share the place %x", a, b, p)
	case lastPlace.less(p):
		t.Fatalf("%x lies behind the last place", a)
	}
}

// TestPlacesAllocateNothing: an index computes one for every write.
func TestPlacesAllocateNothing(t *testing.T) {
	values := [][]byte{
		msgp.AppendInt(nil, -5), msgp.AppendFloat(nil, 19.99), msgp.AppendString(nil, "section-0815"),
		msgp.AppendTime(nil, time.Unix(1_800_000_000, 5)), msgp.AppendBool(nil, true), msgp.AppendBytes(nil, []byte("b")),
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, v := range values {
			placeOf(v)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
