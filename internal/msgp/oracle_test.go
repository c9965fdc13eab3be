package msgp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// unhex reads test bytes written as hexadecimal with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// anyValue draws a Go value of those that Decode returns, nested up to depth.
func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64().AsAny(),
		rapid.Int64Range(-70000, 70000).AsAny(),
		rapid.Uint64Min(math.MaxInt64 + 1).AsAny(),
		anyFloat().AsAny(),
		rapid.String().AsAny(),
		rapid.StringN(20, 300, 700).AsAny(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return string(b) }),
		rapid.SliceOf(rapid.Byte()).AsAny(),
		anyTime().AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(depth - 1) })
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(inner, 0, 20).AsAny(),
		anyFields(depth).AsAny(),
		rapid.Map(rapid.MapOfN(rapid.Int64(), inner, 1, 5), func(m map[int64]any) any {
			mixed := map[any]any{"name": nil}
			for k, v := range m {
				mixed[k] = v
			}
			return mixed
		}),
	)...)
}

// anyFields draws the fields of an entry, sometimes more than a short header
// can count and with names longer than a short header can measure.
func anyFields(depth int) *rapid.Generator[map[string]any] {
	name := rapid.OneOf(
		rapid.StringMatching(`[a-d]{0,3}`),
		rapid.StringMatching(`[a-z]{30,34}`),
		rapid.SampledFrom([]string{"$bytes", "$map", "$time", "\xff"}),
	)
	inner := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(max(depth-1, 0)) })
	return rapid.MapOfN(name, inner, 0, 20)
}

// anyFloat leaves out NaN, which cannot be stored, and draws -0.0 as well.
func anyFloat() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.Int32(), func(i int32) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1e21, 1e-7, 1 << 53, 1 << 63, 1 << 64}),
	)
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		sec := rapid.OneOf(rapid.Int64Range(minInstant, maxInstant), rapid.Int64Range(0, 1<<34+5)).Draw(t, "sec")
		nsec := rapid.SampledFrom([]int64{0, 1, 500_000_000, 999_999_999}).Draw(t, "nsec")
		return time.Unix(sec, nsec).UTC()
	})
}

// appended is AppendValue, which must succeed.
func appended(t interface {
	Helper()
	Fatalf(string, ...any)
}, v any) []byte {
	t.Helper()
	b, err := AppendValue(nil, v)
	if err != nil {
		t.Fatalf("AppendValue(%#v): %v", v, err)
	}
	return b
}

// foreign encodes v with another library, the way its users would: wide
// integers and maps in random order.
func foreign(t *rapid.T, v any) []byte {
	var out bytes.Buffer
	enc := msgpack.NewEncoder(&out)
	enc.UseCompactInts(rapid.Bool().Draw(t, "compact ints"))
	enc.UseCompactFloats(false)
	if err := enc.Encode(v); err != nil {
		t.Fatalf("foreign encoder: %v", err)
	}
	return out.Bytes()
}

// foreignDecode decodes with another library and brings the result to the
// types that Decode returns.
func foreignDecode(b []byte) (any, error) {
	dec := msgpack.NewDecoder(bytes.NewReader(b))
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	v, err := dec.DecodeInterface()
	return plain(v), err
}

func plain(v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case float32:
		return float64(v)
	case time.Time:
		return v.UTC()
	case *time.Time:
		return v.UTC()
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[any]any:
		mixed, named := map[any]any{}, map[string]any{}
		for k, e := range v {
			mixed[plain(k)] = plain(e)
			if s, ok := k.(string); ok {
				named[s] = plain(e)
			}
		}
		if len(named) == len(mixed) {
			return named
		}
		return mixed
	}
	return v
}

// scramble encodes v in forms of random width and maps in Go's random order:
// valid MessagePack that is hardly ever canonical.
func scramble(t *rapid.T, dst []byte, v any) []byte {
	wide := rapid.IntRange(0, 3).Draw(t, "width")
	switch v := v.(type) {
	case int64:
		return scrambleInt(dst, v, wide)
	case float64:
		if f := float32(v); float64(f) == v && wide > 0 {
			return binary.BigEndian.AppendUint32(append(dst, codeFloat32), math.Float32bits(f))
		}
		return binary.BigEndian.AppendUint64(append(dst, codeFloat64), math.Float64bits(v))
	case string:
		return append(scrambleCount(dst, len(v), wide, codeString8, codeString16), v...)
	case []byte:
		return append(scrambleCount(dst, len(v), wide, codeBin8, codeBin16), v...)
	case time.Time:
		dst = append(dst, codeExt8, 12, timestampType)
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.Nanosecond()))
		return binary.BigEndian.AppendUint64(dst, uint64(v.Unix()))
	case []any:
		dst = scrambleCount(dst, len(v), max(wide, 2), 0, codeArray16)
		for _, e := range v {
			dst = scramble(t, dst, e)
		}
		return dst
	case map[string]any:
		dst = scrambleCount(dst, len(v), max(wide, 2), 0, codeMap16)
		for k, e := range v {
			dst = scramble(t, scramble(t, dst, k), e)
		}
		return dst
	case map[any]any:
		dst = scrambleCount(dst, len(v), max(wide, 2), 0, codeMap16)
		for k, e := range v {
			dst = scramble(t, scramble(t, dst, k), e)
		}
		return dst
	}
	return append(dst, appended(t, v)...)
}

func scrambleInt(dst []byte, v int64, wide int) []byte {
	switch {
	case wide == 1 && v >= 0:
		return binary.BigEndian.AppendUint64(append(dst, codeUint64), uint64(v))
	case wide == 2 && v == int64(int32(v)):
		return binary.BigEndian.AppendUint32(append(dst, codeInt32), uint32(v))
	case wide == 3 && v == int64(int16(v)):
		return binary.BigEndian.AppendUint16(append(dst, codeInt16), uint16(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeInt64), uint64(v))
}

func scrambleCount(dst []byte, n, wide int, code8, code16 byte) []byte {
	switch {
	case wide <= 1 && n <= math.MaxUint8:
		return append(dst, code8, byte(n))
	case wide <= 2 && n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, code16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, code16+1), uint32(n))
}

// nested returns depth arrays of one element around a 0.
func nested(depth int) []byte {
	return append(bytes.Repeat([]byte{codeFixArray | 1}, depth), 0)
}

func describe(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("% x… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("% x", b)
}
