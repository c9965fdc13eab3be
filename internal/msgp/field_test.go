package msgp

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Field finds the bytes of the one field asked for, and nothing else.
func TestFieldTable(t *testing.T) {
	long, longer := strings.Repeat("n", 32), strings.Repeat("n", 300)
	m := appended(t, map[any]any{
		"": 1, "a": 2, "b": []any{1, map[string]any{"a": 9}}, "bb": nil, 7: 3, -7: 4, 70000: 5, long: 6, longer: 7,
		"in": map[string]any{"side": map[string]any{"x": "y"}},
	})
	tests := []struct{ name, want string }{
		{"", "01"}, {"a", "02"}, {"b", "92 01 81 a161 09"}, {"bb", "c0"}, {long, "06"}, {longer, "07"},
		{"c", ""}, {"ab", ""}, {"aaaaaaaaa", ""}, {long + "n", ""}, {long[1:], ""}, {longer + "n", ""}, {"\x07", ""},
	}
	for _, tt := range tests {
		got, ok := Field(m, tt.name)
		if ok != (tt.want != "") || !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("Field(%q) = % x, %v; want %s", tt.name, got, ok, tt.want)
		}
	}
	paths := []struct{ path, want string }{
		{"a", "02"}, {"in.side.x", "a179"}, {"in.side", "81 a178 a179"}, {"in.no.x", ""}, {"a.b", ""}, {"in.", ""}, {"", "01"},
	}
	for _, tt := range paths {
		got, ok := FieldPath(m, tt.path)
		if ok != (tt.want != "") || !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("FieldPath(%q) = % x, %v; want %s", tt.path, got, ok, tt.want)
		}
	}
	for _, no := range [][]byte{nil, {codeNil}, {codeFixArray}, unhex(t, "91 81a16101")} {
		if v, ok := Field(no, "a"); ok {
			t.Errorf("Field(% x) = % x", no, v)
		}
	}
}

// Field, FieldPath and EachField see what decoding the map would show.
func TestFieldsAgreeWithDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields(2).Draw(t, "fields")
		m := appended(t, fields)
		names := append(slices.Collect(maps.Keys(fields)), rapid.StringN(0, 40, -1).Draw(t, "other"))
		for _, name := range names {
			want, has := fields[name]
			got, ok := Field(m, name)
			if ok != has || ok && !bytes.Equal(got, appended(t, want)) {
				t.Fatalf("Field(%q) = % x, %v; want %#v, %v", name, got, ok, want, has)
			}
			inner, _ := want.(map[string]any)
			for in, want := range inner {
				got, ok := FieldPath(m, name+"."+in)
				if !ok || !bytes.Equal(got, appended(t, want)) {
					t.Fatalf("FieldPath(%q.%q) = % x, %v; want %#v", name, in, got, ok, want)
				}
			}
		}
		rebuilt, last := map[string]any{}, ""
		for name, value := range EachField(m) {
			v, err := Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			if n := string(name); len(rebuilt) > 0 && (len(n) < len(last) || len(n) == len(last) && n <= last) {
				t.Fatalf("%q after %q", n, last)
			}
			last = string(name)
			rebuilt[last] = v
		}
		if want, _ := Decode(m); !reflect.DeepEqual(any(rebuilt), want) {
			t.Fatalf("EachField gives %#v, want %#v", rebuilt, want)
		}
	})
}

// A map cut anywhere yields no field beyond the cut, nor half of one, and
// nothing else that reads it takes it for a value.
func TestCutMaps(t *testing.T) {
	m := appended(t, map[any]any{
		"a": 1, "bb": "text", "cc": []any{1, map[string]any{"a": "b"}}, "ddd": strings.Repeat("x", 40), 1: 2, 300: 3, -1: 4,
		strings.Repeat("n", 40): 1.5, strings.Repeat("o", 300): []byte("raw"), "time": time.Unix(1, 1),
	})
	whole := map[string][]byte{}
	for name, value := range EachField(m) {
		whole[string(name)] = value
	}
	for cut := range m {
		part := slices.Clone(m[:cut])[:cut:cut]
		for name, value := range whole {
			pair := append(AppendString(nil, name), value...)
			end := bytes.Index(m, pair) + len(pair)
			got, ok := Field(part, name)
			if ok && (end > cut || !bytes.Equal(got, value)) {
				t.Fatalf("cut at %d: Field(%q) = % x, %v", cut, name, got, ok)
			}
		}
		if IsCanonical(part) {
			t.Errorf("cut at %d: canonical", cut)
		}
		for name, err := range map[string]error{
			"Check":       Check(part),
			"Canonical":   second(Canonical(nil, part)),
			"Decode":      second(Decode(part)),
			"AppendJSON":  second(AppendJSON(nil, part)),
			"MergeFields": second(MergeFields(nil, m, append([]byte{m[0]}, part[min(1, cut):]...))),
		} {
			if !errors.Is(err, ErrTruncated) {
				t.Errorf("cut at %d: %s = %v", cut, name, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Setting, unsetting and merging fields of the bytes gives what doing so to
// the decoded map and encoding it again would.
func TestEditsAgreeWithDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields(2).Draw(t, "fields")
		m := appended(t, fields)
		if rapid.Bool().Draw(t, "integer key") {
			// An integer key among the names stays where it is.
			mixed := map[any]any{}
			for k, v := range fields {
				mixed[k] = v
			}
			mixed[rapid.SampledFrom([]int64{3, -3, 300, -300}).Draw(t, "key")] = true
			m = appended(t, mixed)
		}
		names := append(slices.Collect(maps.Keys(fields)), rapid.StringN(0, 40, -1).Draw(t, "other"))
		name := rapid.SampledFrom(names).Draw(t, "name")
		value := anyValue(1).Draw(t, "value")
		patch := anyFields(1).Draw(t, "patch")

		decoded := func() map[any]any {
			v, err := Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			all := map[any]any{}
			for _, k := range reflect.ValueOf(v).MapKeys() {
				all[k.Interface()] = reflect.ValueOf(v).MapIndex(k).Interface()
			}
			return all
		}
		check := func(what string, got []byte, err error, want map[any]any) {
			t.Helper()
			if exact := append([]byte("kept"), appended(t, want)...); err != nil || !bytes.Equal(got, exact) {
				t.Fatalf("%s %q of % x\ngot  % x, %v\nwant % x", what, name, m, got, err, exact)
			}
		}
		want := decoded()
		want[name] = value
		got, err := SetField([]byte("kept"), m, name, appended(t, value))
		check("SetField", got, err, want)

		want = decoded()
		delete(want, name)
		got, err = UnsetField([]byte("kept"), m, name)
		check("UnsetField", got, err, want)

		want = decoded()
		for k, v := range patch {
			want[k] = v
		}
		got, err = MergeFields([]byte("kept"), m, appended(t, patch))
		check("MergeFields", got, err, want)
	})
}

// An edit refuses what would not be a canonical map, and then changes nothing.
func TestEditRefusals(t *testing.T) {
	m := appended(t, map[string]any{"a": 1})
	tests := []struct {
		name string
		run  func(dst []byte) ([]byte, error)
		want error
	}{
		{"set in an array", func(dst []byte) ([]byte, error) { return SetField(dst, []byte{0x90}, "a", []byte{1}) }, ErrType},
		{"set nothing", func(dst []byte) ([]byte, error) { return SetField(dst, m, "a", nil) }, ErrTruncated},
		{"set two values", func(dst []byte) ([]byte, error) { return SetField(dst, m, "a", []byte{1, 2}) }, ErrTrailing},
		{"set too deep", func(dst []byte) ([]byte, error) { return SetField(dst, m, "a", nested(MaxDepth)) }, ErrTooDeep},
		{"set in a cut map", func(dst []byte) ([]byte, error) { return SetField(dst, m[:3], "b", []byte{1}) }, ErrTruncated},
		{"set beside a foreign key", func(dst []byte) ([]byte, error) { return SetField(dst, unhex(t, "81 c0 01"), "b", []byte{1}) }, ErrKey},
		{"unset in an array", func(dst []byte) ([]byte, error) { return UnsetField(dst, []byte{0x90}, "a") }, ErrType},
		{"unset in a cut map", func(dst []byte) ([]byte, error) { return UnsetField(dst, m[:3], "b") }, ErrTruncated},
		{"merge into an array", func(dst []byte) ([]byte, error) { return MergeFields(dst, []byte{0x90}, m) }, ErrType},
		{"merge an array", func(dst []byte) ([]byte, error) { return MergeFields(dst, m, []byte{0x90}) }, ErrType},
		{"merge a cut map", func(dst []byte) ([]byte, error) { return MergeFields(dst, m, m[:3]) }, ErrTruncated},
		{"merge to too much", func(dst []byte) ([]byte, error) {
			half := make([]byte, MaxValue/2)
			return MergeFields(dst, appended(t, map[string]any{"a": half}), appended(t, map[string]any{"b": half}))
		}, ErrTooLarge},
	}
	for _, tt := range tests {
		got, err := tt.run([]byte("kept"))
		if !errors.Is(err, tt.want) || string(got) != "kept" {
			t.Errorf("%s: %s, %v; want %v", tt.name, describe(got), err, tt.want)
		}
	}
}

// A field may be set in, unset from and merged into the empty map, which may
// be written as no bytes at all.
func TestEditsOfNothing(t *testing.T) {
	one := appended(t, map[string]any{"a": 1})
	for _, empty := range [][]byte{nil, {codeFixMap}} {
		if got, err := SetField(nil, empty, "a", []byte{1}); err != nil || !bytes.Equal(got, one) {
			t.Errorf("SetField = % x, %v", got, err)
		}
		if got, err := UnsetField(nil, empty, "a"); err != nil || !bytes.Equal(got, []byte{codeFixMap}) {
			t.Errorf("UnsetField = % x, %v", got, err)
		}
		if got, err := MergeFields(nil, empty, one); err != nil || !bytes.Equal(got, one) {
			t.Errorf("MergeFields = % x, %v", got, err)
		}
	}
}

// Reading and editing fields allocates nothing but dst.
func TestFieldsDoNotAllocate(t *testing.T) {
	m, dst := ticket(t), make([]byte, 0, 1024)
	patch := appended(t, map[string]any{"price": 91.5, "row": 28})
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := Field(m, "updated"); !ok {
			t.Fatal("no field")
		}
		if _, ok := FieldPath(m, "updated.never"); ok {
			t.Fatal("a field of an integer")
		}
		total := 0
		for name, value := range EachField(m) {
			total += len(name) + len(value)
		}
		if total == 0 {
			t.Fatal("no fields")
		}
		if _, err := SetField(dst, m, "price", []byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := UnsetField(dst, m, "price"); err != nil {
			t.Fatal(err)
		}
		if _, err := MergeFields(dst, m, patch); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
