package msgp

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// Check accepts exactly one well-formed value and says what is wrong with
// anything else, and where.
func TestCheckTable(t *testing.T) {
	tests := []struct {
		name   string
		input  []byte
		want   error
		offset int
	}{
		{"nil", unhex(t, "c0"), nil, 0},
		{"every integer width", unhex(t, "99 7f ff ccff cd0100 ce00010000 cf0000000100000000 d080 d18000 d280000000"), nil, 0},
		{"both floats", unhex(t, "92 ca3f800000 cb3ff0000000000000"), nil, 0},
		{"strings of every header", unhex(t, "94 a161 d90161 da000161 db0000000161"), nil, 0},
		{"binary of every header", unhex(t, "93 c40161 c5000161 c60000000161"), nil, 0},
		{"containers of every header", unhex(t, "96 90 dc0000 dd00000000 80 de0000 df00000000"), nil, 0},
		{"extensions of every header", unhex(t, "98 d40100 d5010000 d60100000000 d7010000000000000000 d80100000000000000000000000000000000 c70101ff c8000101ff c90000000101ff"), nil, 0},
		{"a container key", unhex(t, "81 90 c0"), nil, 0},
		{"as deep as allowed", nested(MaxDepth), nil, 0},
		{"one deeper", nested(MaxDepth + 1), ErrTooDeep, MaxDepth},
		{"an empty container one deeper", append(bytes.Repeat([]byte{0x91}, MaxDepth), 0x80), ErrTooDeep, MaxDepth},
		{"nothing", nil, ErrTruncated, 0},
		{"unassigned", unhex(t, "92 01 c1"), ErrInvalid, 2},
		{"two values", unhex(t, "01 02"), ErrTrailing, 1},
		{"string cut", unhex(t, "a36162"), ErrTruncated, 0},
		{"integer cut", unhex(t, "91 cd01"), ErrTruncated, 1},
		{"header cut", unhex(t, "da01"), ErrTruncated, 0},
		{"extension without its type", unhex(t, "c700"), ErrTruncated, 0},
		{"map without its last value", unhex(t, "82 a161 01 a162"), ErrTruncated, 6},
		{"last element cut", unhex(t, "92 a161 a3"), ErrTruncated, 3},
	}
	for _, tt := range tests {
		err := Check(tt.input)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Check = %v, want %v", tt.name, err, tt.want)
			continue
		}
		var at *Error
		if tt.want != nil && (!errors.As(err, &at) || at.Offset != tt.offset) {
			t.Errorf("%s: %v, want it at byte %d", tt.name, err, tt.offset)
		}
	}
}

// Every prefix of a value is cut short, and Skip finds the value's end
// whatever follows.
func TestSkipFindsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := scramble(t, nil, anyValue(3).Draw(t, "value"))
		if err := Check(v); err != nil {
			t.Fatalf("Check(%s): %v", describe(v), err)
		}
		cut := rapid.IntRange(0, len(v)-1).Draw(t, "cut")
		if err := Check(v[:cut]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d of %d: %v, want ErrTruncated", cut, len(v), err)
		}
		tail := rapid.SliceOf(rapid.Byte()).Draw(t, "tail")
		rest, err := Skip(append(v[:len(v):len(v)], tail...))
		if err != nil || !bytes.Equal(rest, tail) {
			t.Fatalf("Skip left % x, %v; want % x", rest, err, tail)
		}
	})
}

// bombs are small or plain inputs that kill decoders which believe them.
func bombs() map[string][]byte {
	return map[string][]byte{
		"array of 2^32-1":               {0xdd, 0xff, 0xff, 0xff, 0xff},
		"map of 2^32-1":                 {0xdf, 0xff, 0xff, 0xff, 0xff},
		"map of 2^31":                   {0xdf, 0x80, 0, 0, 0, 0xc0},
		"20 million elements":           {0xdd, 0x01, 0x31, 0x2d, 0x00},
		"string of 4 GiB":               {0xdb, 0xff, 0xff, 0xff, 0xff},
		"binary of 4 GiB":               {0xc6, 0xff, 0xff, 0xff, 0xff},
		"extension of 4 GiB":            {0xc9, 0xff, 0xff, 0xff, 0xff, 0xff},
		"array of 65535":                {0xdc, 0xff, 0xff},
		"6 MB of nested arrays":         bytes.Repeat([]byte{0x91}, 6<<20),
		"6 MB of nested maps":           bytes.Repeat([]byte{0x81, 0xa0}, 3<<20),
		"nested arrays of all there is": nestedBombs(),
	}
}

// nestedBombs is 256 KiB in which 15 enclosing arrays each claim as many
// elements as bytes remain, so that each count alone is believable.
func nestedBombs() []byte {
	b := make([]byte, 0, 1<<18)
	for range 15 {
		n := cap(b) - len(b) - 5
		b = append(b, codeArray32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, make([]byte, cap(b)-len(b))...)
}

// A bomb is refused by everything that takes untrusted bytes, and at the
// price of an error value, not of what it declares.
func TestBombsAreRefusedCheaply(t *testing.T) {
	const allowed = 4 << 10
	for name, bomb := range bombs() {
		for _, d := range []struct {
			name string
			run  func() error
		}{
			{"Check", func() error { return Check(bomb) }},
			{"Skip", func() error { _, err := Skip(bomb); return err }},
			{"Canonical", func() error { _, err := Canonical(nil, bomb); return err }},
			{"Decode", func() error { _, err := Decode(bomb); return err }},
			{"AppendJSON", func() error { _, err := AppendJSON(nil, bomb); return err }},
		} {
			limit := uint64(allowed)
			if d.name == "Canonical" {
				// It writes before it has seen the end, at most what it was given, in a dst that doubles.
				limit += 8 * uint64(min(len(bomb), MaxValue))
			}
			var err error
			if got := allocated(func() { err = d.run() }); err == nil || got > limit {
				t.Errorf("%s(%s) = %v, allocating %d bytes; want an error within %d", d.name, name, err, got, limit)
			}
		}
		if IsCanonical(bomb) {
			t.Errorf("IsCanonical(%s)", name)
		}
		if _, ok := Field(bomb, "a"); ok {
			t.Errorf("Field(%s) found something", name)
		}
	}
}

// Checking a good value allocates nothing.
func TestCheckDoesNotAllocate(t *testing.T) {
	v := ticket(t)
	deep := nested(MaxDepth)
	if n := testing.AllocsPerRun(100, func() {
		if Check(v) != nil || Check(deep) != nil || !IsCanonical(v) {
			t.Fatal("not accepted")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
