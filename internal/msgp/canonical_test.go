package msgp

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each value has the one form that the package comment lays down.
func TestCanonicalTable(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"zero, nine bytes", "d3 0000000000000000", "00"},
		{"127 as uint8", "cc7f", "7f"},
		{"128 as int16", "d10080", "cc80"},
		{"255 as uint64", "cf00000000000000ff", "ccff"},
		{"256 as int16, no longer than canonical", "d10100", "cd0100"},
		{"65536 as int32, no longer than canonical", "d200010000", "ce00010000"},
		{"2^32 as int64, no longer than canonical", "d30000000100000000", "cf0000000100000000"},
		{"2^64-1", "cfffffffffffffffff", "cfffffffffffffffff"},
		{"-1 as int8", "d0ff", "ff"},
		{"-32 as int64", "d3ffffffffffffffe0", "e0"},
		{"-33", "d0df", "d0df"},
		{"-128 as int16", "d1ff80", "d080"},
		{"-129", "d1ff7f", "d1ff7f"},
		{"-32769 as int64", "d3ffffffffffff7fff", "d2ffff7fff"},
		{"-2^31-1", "d3ffffffff7fffffff", "d3ffffffff7fffffff"},
		{"float32", "ca3fc00000", "cb3ff8000000000000"},
		{"integral float stays a float", "ca40000000", "cb4000000000000000"},
		{"-0.0", "cb8000000000000000", "cb0000000000000000"},
		{"-0.0 in 32 bits", "ca80000000", "cb0000000000000000"},
		{"infinity", "ca7f800000", "cb7ff0000000000000"},
		{"long header, short string", "db0000000161", "a161"},
		{"string that is not UTF-8", "d901ff", "a1ff"},
		{"binary stays binary", "c6000000020102", "c4020102"},
		{"empty array", "dd00000000", "90"},
		{"empty map", "de0000", "80"},
		{"keys sorted, shorter first", "83 a3616161 01 a162 02 a161 03", "83 a161 03 a162 02 a3616161 01"},
		{"keys sorted at every depth", "82 a162 82 a179 01 a178 02 a161 91 82 a162 c0 a161 c0", "82 a161 91 82 a161 c0 a162 c0 a162 82 a178 02 a179 01"},
		{"integer keys among names", "83 ff 01 a161 02 d107d0 03", "83 a161 02 cd07d0 03 ff 01"},
		{"timestamp, smallest of three", "c70cff 00000000 000000006553f100", "d6ff6553f100"},
		{"timestamp, 34 bits", "c70cff 00000001 000000006553f100", "d7ff 000000046553f100"},
		{"timestamp before 1970", "c70cff 00000000 ffffffffffffffff", "c70cff 00000000 ffffffffffffffff"},
	}
	for _, tt := range tests {
		input, want := unhex(t, tt.input), unhex(t, tt.want)
		got, err := Canonical([]byte("kept"), input)
		if err != nil || !bytes.Equal(got, append([]byte("kept"), want...)) {
			t.Errorf("%s: Canonical = % x, %v; want % x", tt.name, got, err, want)
		}
		if IsCanonical(input) != bytes.Equal(input, want) {
			t.Errorf("%s: IsCanonical(% x) = %v", tt.name, input, IsCanonical(input))
		}
		if !IsCanonical(want) {
			t.Errorf("%s: its canonical form is not accepted as such", tt.name)
		}
	}
}

// What has no canonical form is refused, with its reason and nothing appended.
func TestCanonicalRefusals(t *testing.T) {
	large := AppendBytes(nil, make([]byte, MaxValue))
	tests := []struct {
		name  string
		input []byte
		want  error
	}{
		{"NaN", AppendFloat(nil, math.NaN()), ErrNaN},
		{"NaN in 32 bits", unhex(t, "91 ca7fc00000"), ErrNaN},
		{"key twice", unhex(t, "83 a161 01 a162 02 a161 03"), ErrDuplicateKey},
		{"key twice, in order", unhex(t, "82 a161 01 a161 01"), ErrDuplicateKey},
		{"key twice in two forms", unhex(t, "82 a161 01 d90161 02"), ErrDuplicateKey},
		{"integer key twice in two forms", unhex(t, "82 01 01 d001 02"), ErrDuplicateKey},
		{"nil key", unhex(t, "81 c0 01"), ErrKey},
		{"float key", unhex(t, "81 ca00000000 01"), ErrKey},
		{"array key", unhex(t, "81 90 01"), ErrKey},
		{"binary key", unhex(t, "81 c40161 01"), ErrKey},
		{"foreign extension", unhex(t, "d40500"), ErrType},
		{"timestamp of 1 byte", unhex(t, "d4ff00"), ErrInvalid},
		{"timestamp with 10^9 nanoseconds", unhex(t, "c70cff 3b9aca00 0000000000000000"), ErrInvalid},
		{"timestamp in the year 10000", unhex(t, "c70cff 00000000 0000003afff44180"), ErrRange},
		{"too deep", nested(MaxDepth + 1), ErrTooDeep},
		{"too large", large, ErrTooLarge},
		{"too large once floats are widened", manyFloat32(MaxValue / 9), ErrTooLarge},
		{"two values", unhex(t, "d001 02"), ErrTrailing},
		{"two canonical values", unhex(t, "01 02"), ErrTrailing},
		{"cut in a key", unhex(t, "81 a2"), ErrTruncated},
		{"nothing", nil, ErrTruncated},
		{"unassigned", unhex(t, "c1"), ErrInvalid},
	}
	for _, tt := range tests {
		got, err := Canonical([]byte("kept"), tt.input)
		if !errors.Is(err, tt.want) || string(got) != "kept" {
			t.Errorf("%s: Canonical = %s, %v; want %v", tt.name, describe(got), err, tt.want)
		}
		if IsCanonical(tt.input) {
			t.Errorf("%s: IsCanonical", tt.name)
		}
	}
}

func manyFloat32(n int) []byte {
	b := AppendArrayHeader(nil, n)
	for range n {
		b = append(b, codeFloat32, 0, 0, 0, 0)
	}
	return b
}

// The largest value that may be stored is MaxValue bytes long, whoever
// measures it.
func TestMaxValueIsExact(t *testing.T) {
	fits := AppendBytes(nil, make([]byte, MaxValue-5))
	over := AppendBytes(nil, make([]byte, MaxValue-4))
	if len(fits) != MaxValue || !IsCanonical(fits) || IsCanonical(over) {
		t.Fatalf("%d bytes: %v, %d bytes: %v", len(fits), IsCanonical(fits), len(over), IsCanonical(over))
	}
	for _, tt := range []struct {
		name string
		run  func(p []byte) error
	}{
		{"Canonical", func(p []byte) error { _, err := Canonical(nil, AppendBytes(nil, p)); return err }},
		{"AppendValue", func(p []byte) error { _, err := AppendValue(nil, p); return err }},
		{"Decode", func(p []byte) error { _, err := Decode(AppendBytes(nil, p)); return err }},
		{"FromJSON", func(p []byte) error {
			text := bytes.Repeat([]byte{'"'}, len(p)+2)
			copy(text[1:], bytes.Repeat([]byte{'x'}, len(p)))
			_, err := FromJSON(nil, text)
			return err
		}},
		{"SetField", func(p []byte) error {
			m := AppendBytes(AppendString(AppendMapHeader(nil, 1), "a"), p[:len(p)-5])
			_, err := SetField(nil, m, "b", []byte{codeNil}) // 11 bytes around what is 5 short of p
			if errors.Is(err, ErrTooLarge) {
				return err
			}
			return nil
		}},
	} {
		if err := tt.run(make([]byte, MaxValue-6)); err != nil {
			t.Errorf("%s refuses what fits: %v", tt.name, err)
		}
		if err := tt.run(make([]byte, MaxValue-4)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s of too much: %v, want ErrTooLarge", tt.name, err)
		}
	}
}

// However a value was encoded, its canonical bytes are the same, and
// canonicalising them again changes nothing.
func TestCanonicalIsOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(3).Draw(t, "value")
		want := appended(t, v)
		if !IsCanonical(want) {
			t.Fatalf("AppendValue's %s is not canonical", describe(want))
		}
		for name, src := range map[string][]byte{
			"own form": want, "scrambled": scramble(t, nil, v), "foreign": foreign(t, v),
		} {
			got, err := Canonical(nil, src)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s %s: Canonical = %s, %v; want %s", name, describe(src), describe(got), err, describe(want))
			}
		}
	})
}

// A canonical value means to another library what it means here.
func TestCanonicalKeepsTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		canonical, err := Canonical(nil, scramble(t, nil, anyValue(3).Draw(t, "value")))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := Decode(canonical)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := foreignDecode(canonical)
		if err != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("% x\nhere:  %#v\nthere: %#v, %v", canonical, ours, theirs, err)
		}
	})
}

// IsCanonical accepts exactly the fixed points of Canonical, also among
// bytes that were damaged at random.
func TestIsCanonicalMeansUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := appended(t, anyValue(2).Draw(t, "value"))
		if rapid.Bool().Draw(t, "damage") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		got, err := c14n(b)
		if want := err == nil && bytes.Equal(got, b); IsCanonical(b) != want {
			t.Fatalf("IsCanonical(%s) = %v, but Canonical gives %s, %v", describe(b), !want, describe(got), err)
		}
	})
}

// c14n is Canonical without its shortcut for what is canonical already.
func c14n(src []byte) ([]byte, error) {
	c := canonicalizer{src: src}
	if err := c.value(0); err != nil {
		return nil, err
	}
	if c.pos != len(src) {
		return nil, ErrTrailing
	}
	return c.dst, nil
}

// What is canonical already is copied without an allocation.
func TestCanonicalShortcutDoesNotAllocate(t *testing.T) {
	src, dst := ticket(t), make([]byte, 0, 1024)
	stamped := AppendTime(nil, time.Unix(1, 2))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Canonical(dst, src); err != nil {
			t.Fatal(err)
		}
		if _, err := Canonical(dst, stamped); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
