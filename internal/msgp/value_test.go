package msgp

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type (
	color  string
	labels map[color]int8
)

// Go values of any of the supported types have the encoding that the plain
// value has.
func TestAppendValueTable(t *testing.T) {
	seven, at := 7, time.Unix(5, 0)
	pointer := &seven
	tests := []struct {
		value any
		want  string
	}{
		{nil, "c0"},
		{int8(-1), "ff"}, {int16(-1), "ff"}, {int32(-1), "ff"}, {uint(1), "01"}, {uint8(200), "ccc8"}, {uint16(200), "ccc8"}, {uint32(200), "ccc8"},
		{float32(1.5), "cb3ff8000000000000"}, {math.Copysign(0, -1), "cb0000000000000000"},
		{color("red"), "a3726564"}, {time.Second, "ce3b9aca00"},
		{&pointer, "07"}, {(*int)(nil), "c0"}, {&at, "d6ff00000005"},
		{[]byte(nil), "c0"}, {[]any(nil), "c0"}, {map[string]any(nil), "c0"}, {[]int(nil), "c0"}, {map[string]int(nil), "c0"},
		{[]byte{}, "c400"}, {[2]byte{1, 2}, "c4020102"}, {[]int{1, 2}, "920102"}, {[1]bool{true}, "91c3"}, {[]time.Time{at}, "91d6ff00000005"},
		{labels{"bb": 2, "a": 1}, "82 a161 01 a26262 02"},
		{map[int]string{2: "b", -1: "a", 1: ""}, "83 01 a0 02 a162 ff a161"},
		{map[any]any{"a": 1, uint8(3): nil}, "82 03 c0 a161 01"},
		{[]any{map[string][]int{"a": {1}}}, "91 81 a161 91 01"},
	}
	for _, tt := range tests {
		want := append([]byte("kept"), unhex(t, tt.want)...)
		if got, err := AppendValue([]byte("kept"), tt.value); err != nil || !bytes.Equal(got, want) {
			t.Errorf("AppendValue(%#v) = % x, %v; want % x", tt.value, got, err, want)
		}
	}
}

// A value nests as deep as MaxDepth says, however it was typed.
func TestAppendValueDepth(t *testing.T) {
	plain, typed := any(0), any(0)
	for range MaxDepth {
		plain, typed = []any{plain}, [1]any{typed}
	}
	for _, v := range []any{plain, typed} {
		if got, err := AppendValue(nil, v); err != nil || !bytes.Equal(got, nested(MaxDepth)) {
			t.Errorf("as deep as allowed: % x, %v", got, err)
		}
		for _, deeper := range []any{[]any{v}, []any{map[string]any{}, v}, map[string]any{"a": v}, map[int]any{1: v}, []any{[]any{}, v}} {
			if _, err := AppendValue(nil, deeper); !errors.Is(err, ErrTooDeep) {
				t.Errorf("deeper: %v", err)
			}
		}
	}
}

// What cannot be stored is refused, even if it contains itself.
func TestAppendValueRefusals(t *testing.T) {
	ring := []any{nil}
	ring[0] = ring
	type self *self
	var loop self
	loop = &loop
	tree := any(0)
	for range MaxDepth {
		tree = []any{tree, tree, tree, tree, tree, tree, tree, tree}
	}
	tests := []struct {
		name  string
		value any
		want  error
	}{
		{"struct", struct{ A int }{1}, ErrType},
		{"channel", []any{make(chan int)}, ErrType},
		{"complex", complex(1, 1), ErrType},
		{"NaN", []any{math.NaN()}, ErrNaN},
		{"NaN in 32 bits", []float32{float32(math.NaN())}, ErrNaN},
		{"bool key", map[bool]int{true: 1}, ErrKey},
		{"nil key", map[any]any{nil: 1}, ErrKey},
		{"array key", map[[1]int]int{{1}: 1}, ErrKey},
		{"one key in two types", map[any]any{1: 1, int8(1): 2}, ErrDuplicateKey},
		{"year 10000", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), ErrRange},
		{"array in itself", ring, ErrTooDeep},
		{"pointer to itself", loop, ErrTooDeep},
		{"long string", strings.Repeat("x", MaxValue), ErrTooLarge},
		{"long array", make([]int, MaxValue), ErrTooLarge},
		{"shared branches", tree, ErrTooLarge},
	}
	for _, tt := range tests {
		if got, err := AppendValue([]byte("kept"), tt.value); !errors.Is(err, tt.want) || string(got) != "kept" {
			t.Errorf("%s: %s, %v; want %v", tt.name, describe(got), err, tt.want)
		}
	}
}

// Decode returns the plain Go value, whatever the encoding.
func TestDecodeTable(t *testing.T) {
	tests := []struct {
		input string
		want  any
	}{
		{"c0", nil}, {"c3", true}, {"d1ffff", int64(-1)}, {"cf7fffffffffffffff", int64(math.MaxInt64)}, {"cf8000000000000000", uint64(1 << 63)},
		{"ca3fc00000", 1.5}, {"d90161", "a"}, {"c400", []byte{}}, {"90", []any{}}, {"de0000", map[string]any{}},
		{"d6ff00000005", time.Unix(5, 0).UTC()},
		{"82 a162 91c0 a161 02", map[string]any{"a": int64(2), "b": []any{nil}}},
		{"82 a162 01 01 02", map[any]any{"b": int64(1), int64(1): int64(2)}},
	}
	for _, tt := range tests {
		if got, err := Decode(unhex(t, tt.input)); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Decode(%s) = %#v, %v; want %#v", tt.input, got, err, tt.want)
		}
	}
	for input, want := range map[string]error{
		"": ErrTruncated, "92 01": ErrTruncated, "01 02": ErrTrailing, "c1": ErrInvalid, "91 d40500": ErrType,
		"82 a161 01 d90161 02": ErrDuplicateKey, "82 01 01 d001 02": ErrDuplicateKey, "81 c0 01": ErrKey, "81 90 01": ErrKey, "82 01 01 80 01": ErrKey,
	} {
		if got, err := Decode(unhex(t, input)); !errors.Is(err, want) {
			t.Errorf("Decode(%s) = %#v, %v; want %v", input, got, err, want)
		}
	}
}

// Decoding what AppendValue wrote gives the value back.
func TestDecodeInvertsAppendValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(3).Draw(t, "value")
		if got, err := Decode(appended(t, v)); err != nil || !reflect.DeepEqual(got, plain(v)) {
			t.Fatalf("%#v, %v\nwant %#v", got, err, v)
		}
	})
}

// The Read functions return what was appended and leave what follows it, and
// refuse every other kind.
func TestReadInvertsAppend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(1).Draw(t, "value")
		tail := []byte{0xaa, 0xbb}
		b := append(scramble(t, nil, v), tail...)
		kind := KindOf(b)
		got := map[Kind]any{}
		rests := map[Kind][]byte{}
		note := func(k Kind, x any, rest []byte, err error) {
			if err == nil {
				got[k], rests[k] = x, rest
			} else if k == kind && !errors.Is(err, ErrRange) || !errors.Is(err, ErrType) && k != kind {
				t.Fatalf("%v read as %v: %v", kind, k, err)
			}
		}
		rest, err := ReadNil(b)
		note(Nil, nil, rest, err)
		flag, rest, err := ReadBool(b)
		note(Bool, flag, rest, err)
		unsigned, rest, err := ReadUint(b)
		note(Int, unsigned, rest, err)
		if signed, rest, err := ReadInt(b); err == nil {
			note(Int, signed, rest, err)
		}
		float, rest, err := ReadFloat(b)
		note(Float, float, rest, err)
		text, rest, err := ReadString(b)
		note(String, string(text), rest, err)
		raw, rest, err := ReadBytes(b)
		note(Bytes, append([]byte{}, raw...), rest, err)
		at, rest, err := ReadTime(b)
		note(Ext, at, rest, err)
		n, rest, err := ReadArrayHeader(b)
		note(Array, n, rest, err)
		n, rest, err = ReadMapHeader(b)
		note(Map, n, rest, err)
		if len(got) != 1 {
			t.Fatalf("%v read as %v", kind, got)
		}
		if kind == Array || kind == Map {
			if want := reflect.ValueOf(v).Len(); got[kind] != want {
				t.Fatalf("%v of %v, want %d", kind, got[kind], want)
			}
			return
		}
		if !reflect.DeepEqual(got[kind], v) || !bytes.Equal(rests[kind], tail) {
			t.Fatalf("read %#v leaving % x, want %#v", got[kind], rests[kind], v)
		}
	})
}

// A header is read only if as many children can follow.
func TestReadHeadersBelieveWhatFits(t *testing.T) {
	for _, input := range []string{"81 a0", "8f 0000", "de0001 00", "df80000000 00"} {
		if n, _, err := ReadMapHeader(unhex(t, input)); !errors.Is(err, ErrTruncated) {
			t.Errorf("ReadMapHeader(%s) = %d, %v", input, n, err)
		}
	}
	for _, input := range []string{"91", "9f 00", "dc0002 00", "ddffffffff 00"} {
		if n, _, err := ReadArrayHeader(unhex(t, input)); !errors.Is(err, ErrTruncated) {
			t.Errorf("ReadArrayHeader(%s) = %d, %v", input, n, err)
		}
	}
}

// Decoding takes memory in proportion to its input, also where Go's own
// overhead is worst.
func TestDecodeWithinMeans(t *testing.T) {
	const n = 1 << 16
	for name, element := range map[string][]byte{
		"nils": {codeNil}, "empty maps": {0x80}, "maps of one": {0x81, 0xa0, codeNil}, "mixed maps of one": {0x81, 0, codeNil}, "empty arrays": {0x90}, "strings": {0xa1, 'x'},
	} {
		input := append(AppendArrayHeader(nil, n), bytes.Repeat(element, n)...)
		var err error
		if got := allocated(func() { _, err = Decode(input) }); err != nil || got > uint64(160*len(input)) {
			t.Errorf("%s: %d bytes for %d, %v", name, got, len(input), err)
		}
	}
}

// ReadInt and ReadUint refuse what does not fit instead of wrapping it.
func TestReadIntegersInRange(t *testing.T) {
	if _, _, err := ReadInt(AppendUint(nil, 1<<63)); !errors.Is(err, ErrRange) {
		t.Errorf("ReadInt(2^63): %v", err)
	}
	if _, _, err := ReadUint([]byte{0xff}); !errors.Is(err, ErrRange) {
		t.Errorf("ReadUint(-1): %v", err)
	}
}
