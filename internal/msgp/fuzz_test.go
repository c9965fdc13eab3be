package msgp

import (
	"bytes"
	"testing"
)

func seed(f *testing.F) {
	for _, s := range []string{
		"", "c0", "c1", "90", "80", "92 01 cb3ff8000000000000", "82 a161 01 a162 92 c3 c40100", "82 a162 01 a161 02",
		"d6ff6553f100", "d7ff0000000400000000", "c70cff00000000ffffffffffffffff", "ca7fc00000", "dfffffffff", "d90161", "82 01 c0 ff c0",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(ticket(f))
	f.Add(nested(MaxDepth + 1))
}

// withinMeans fails if f allocates more than factor times the input, plus
// what errors and the test's own machinery take.
func withinMeans(t *testing.T, what string, input []byte, factor uint64, f func()) {
	t.Helper()
	if got, limit := allocated(f), factor*uint64(len(input))+64<<10; got > limit {
		t.Fatalf("%s allocates %d bytes for %d", what, got, len(input))
	}
}

// No input makes a reader panic, and what Check accepts can be skipped,
// looked into and compared.
func FuzzCheck(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Check(b)
		rest, skipErr := Skip(b)
		if (err == nil) != (skipErr == nil && len(rest) == 0) {
			t.Fatalf("Check: %v, Skip: %d left, %v", err, len(rest), skipErr)
		}
		for name := range EachField(b) {
			_, _ = Field(b, string(name))
		}
		_, _ = FieldPath(b, "a.b.c")
		_, _ = Field(b, "a name that is longer than 31 bytes")
		if Compare(b, b) != 0 {
			t.Fatal("a value differs from itself")
		}
		for _, name := range []string{"", "b"} {
			if m, err := SetField(nil, b, name, []byte{codeNil}); err == nil && IsCanonical(b) && !IsCanonical(m) {
				t.Fatalf("SetField gives % x", m)
			}
			if m, err := UnsetField(nil, b, name); err == nil && IsCanonical(b) && !IsCanonical(m) {
				t.Fatalf("UnsetField gives % x", m)
			}
		}
		if m, err := MergeFields(nil, b, b); err == nil && IsCanonical(b) && !bytes.Equal(m, b) {
			t.Fatalf("merged with itself: % x", m)
		}
	})
}

// Canonical gives canonical bytes or an error, within its means.
func FuzzCanonical(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got []byte
		var err error
		withinMeans(t, "Canonical", b, 128, func() { got, err = Canonical(nil, b) })
		if err != nil {
			return
		}
		if Check(b) != nil {
			t.Fatalf("% x is not well-formed", b)
		}
		again, err := c14n(got)
		if err != nil || !IsCanonical(got) || !bytes.Equal(got, again) {
			t.Fatalf("% x gives % x gives % x, %v", b, got, again, err)
		}
		text, err := AppendJSON(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := FromJSON(nil, text); err != nil || !bytes.Equal(back, got) {
			t.Fatalf("% x to %s to % x, %v", got, text, back, err)
		}
	})
}

// FromJSON gives canonical bytes for JSON and an error for anything else,
// within its means.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{
		"", "null", `{"a":[1,2.5,"\u00fc\ud83d\ude00"],"b":{"c":-1e9}}`, `{"$bytes":"aGk="}`, `{"$time":"2026-01-02T03:04:05Z"}`,
		`{"$map":[[1,2],["a",{"$map":[]}]]}`, `{"$float":"-Inf"}`, `{"$string":"/w=="}`, `[18446744073709551615,-0.0,1e400]`, "[[[[[[[[[[[[[[[[[[",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got []byte
		var err error
		withinMeans(t, "FromJSON", text, 128, func() { got, err = FromJSON(nil, text) })
		if err == nil && !IsCanonical(got) {
			t.Fatalf("%q gives % x", text, got)
		}
		agreeWithStandardLibrary(t, text)
	})
}

// Decode gives a value that encodes to the same canonical bytes, or an
// error, within its means.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		var err error
		withinMeans(t, "Decode", b, 256, func() { v, err = Decode(b) })
		want, canonicalErr := Canonical(nil, b)
		if err != nil {
			if canonicalErr == nil {
				t.Fatalf("Decode: %v, though it has a canonical form", err)
			}
			return
		}
		if got, err := AppendValue(nil, v); canonicalErr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("% x decoded and appended: % x, %v; want % x", b, got, err, want)
		}
	})
}
