package msgp

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A Place changes the one value that its path leads to, and the result is what
// changing the decoded map and encoding it again gives.
func TestPlaceAgreesWithDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := anyFields(3).Draw(t, "fields")
		m := appended(t, root)
		path := drawPath(t, root)
		p, err := Locate(m, path[0], path[1:])
		old, found, want := follow(root, path)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Fatalf("Locate(%q): %v, want %v", path, err, want)
		}
		if err != nil {
			return
		}
		value, ok := p.Value()
		if ok != found || found && !bytes.Equal(value, appended(t, old)) {
			t.Fatalf("Value of %q = % x, %v; want %#v, %v", path, value, ok, old, found)
		}
		arg := anyValue(1).Draw(t, "argument")
		if list, ok := old.([]any); ok && len(list) > 0 && rapid.Bool().Draw(t, "an element") {
			arg = list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
		}
		checkPlace(t, &p, root, path, arg)
	})
}

// checkPlace compares what each method appends with the same change of root.
func checkPlace(t *rapid.T, p *Place, root map[string]any, path []string, arg any) {
	prefix := []byte("before")
	check := func(what string, out []byte, want any) {
		if !bytes.HasPrefix(out, prefix) || !bytes.Equal(out[len(prefix):], appended(t, want)) {
			t.Fatalf("%s of %q with %#v in %#v:\n got % x\nwant % x", what, path, arg, root, out[len(prefix):], appended(t, want))
		}
	}
	encoded := appended(t, arg)
	old, found, _ := follow(root, path)
	check("unset", p.Unset(slices.Clone(prefix)), edited(root, path, nil, true))
	if out, err := p.Set(slices.Clone(prefix), encoded); err != nil {
		t.Fatal(err)
	} else {
		check("set", out, edited(root, path, arg, false))
	}
	text, err := p.SetText(slices.Clone(prefix), Bytes, []byte("he"), nil, []byte("llo"))
	if err != nil {
		t.Fatal(err)
	}
	check("text", text, edited(root, path, []byte("hello"), false))

	list, isList := old.([]any)
	pushed, pushErr := p.Push(slices.Clone(prefix), encoded)
	contains, containsErr := p.Contains(encoded)
	removed, n, removeErr := p.Remove(slices.Clone(prefix), encoded)
	if found && !isList && old != nil {
		for _, err := range []error{pushErr, containsErr, removeErr} {
			if !errors.Is(err, ErrType) {
				t.Fatalf("an array edit of %#v: %v", old, err)
			}
		}
		if !bytes.Equal(pushed, prefix) || !bytes.Equal(removed, prefix) {
			t.Fatal("a refused edit has an effect")
		}
		return
	}
	if err := errors.Join(pushErr, containsErr, removeErr); err != nil {
		t.Fatal(err)
	}
	check("push", pushed, edited(root, path, append(slices.Clone(list), arg), false))
	left := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return Compare(appended(t, v), encoded) == 0 })
	if contains != (len(left) < len(list)) || n != len(list)-len(left) {
		t.Fatalf("%#v in %#v: contains %v, removed %d", arg, list, contains, n)
	}
	if isList {
		check("remove", removed, edited(root, path, left, false))
	} else {
		check("remove", removed, root)
	}
}

// drawPath draws a path that often leads somewhere.
func drawPath(t *rapid.T, root map[string]any) []string {
	var path []string
	var at any = root
	for range rapid.IntRange(1, 4).Draw(t, "steps") {
		step := rapid.SampledFrom([]string{"a", "b", "0", "1", "07", "-1", "99", "name"}).Draw(t, "step")
		if rapid.IntRange(0, 4).Draw(t, "there") > 0 {
			switch v := at.(type) {
			case map[string]any:
				if len(v) > 0 {
					step = rapid.SampledFrom(slices.Sorted(maps.Keys(v))).Draw(t, "name")
				}
			case []any:
				if len(v) > 0 {
					step = strconv.Itoa(rapid.IntRange(0, len(v)-1).Draw(t, "position"))
				}
			}
		}
		path = append(path, step)
		at = child(at, step)
	}
	return path
}

func child(v any, step string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[step]
	case map[any]any:
		return v[step]
	case []any:
		if n, err := strconv.Atoi(step); err == nil && n >= 0 && n < len(v) && strconv.Itoa(n) == step {
			return v[n]
		}
	}
	return nil
}

// follow is Locate on Go values.
func follow(v any, path []string) (value any, found bool, err error) {
	for i, step := range path {
		found = true
		if v == nil && i > 0 {
			return nil, false, nil
		}
		switch c := v.(type) {
		case map[string]any:
			v, found = c[step]
		case map[any]any:
			v, found = c[step]
		case []any:
			n, bad := strconv.Atoi(step)
			if bad != nil || strconv.Itoa(n) != step || n < 0 {
				return nil, false, ErrType
			}
			if n >= len(c) {
				return nil, false, ErrRange
			}
			v = c[n]
		default:
			return nil, false, ErrType
		}
		if !found {
			return nil, false, nil
		}
	}
	return v, true, nil
}

// edited returns a copy of v with the value at the path set, or unset.
func edited(v any, path []string, value any, unset bool) any {
	if len(path) == 0 {
		return value
	}
	if v == nil && unset {
		return nil
	}
	step, last := path[0], len(path) == 1
	switch c := v.(type) {
	case []any:
		n, _ := strconv.Atoi(step)
		c = slices.Clone(c)
		if last && unset {
			return slices.Delete(c, n, n+1)
		}
		c[n] = edited(c[n], path[1:], value, unset)
		return c
	case map[any]any:
		c = maps.Clone(c)
		if last && unset {
			delete(c, step)
		} else if _, ok := c[step]; ok || !unset {
			c[step] = edited(c[step], path[1:], value, unset)
		}
		return c
	}
	fields, _ := v.(map[string]any) // nil: to be made
	if fields = maps.Clone(fields); fields == nil {
		fields = map[string]any{}
	}
	if last && unset {
		delete(fields, step)
	} else if _, ok := fields[step]; ok || !unset {
		fields[step] = edited(fields[step], path[1:], value, unset)
	}
	return fields
}

// What a place refuses, and that nothing is appended then.
func TestPlaceRefuses(t *testing.T) {
	m := appended(t, map[string]any{"s": "text", "list": []any{1, []any{2}}, "in": map[string]any{"n": nil}})
	locate := []struct {
		path string
		want error
	}{
		{"s.x", ErrType}, {"s.0", ErrType}, {"in.n.x", nil}, {"in.n.0.y", nil}, {"list.x", ErrType}, {"list.01", ErrType}, {"list.-1", ErrType},
		{"list.", ErrType}, {"list.2", ErrRange}, {"list.9999999", ErrRange}, {"list.99999999", ErrType}, {"list.1.1", ErrRange}, {"list.0.0", ErrType},
		{strings.Repeat("x.", MaxDepth) + "x", ErrTooDeep},
	}
	for _, tt := range locate {
		path := strings.Split(tt.path, ".")
		if _, err := Locate(m, path[0], path[1:]); !errors.Is(err, tt.want) {
			t.Errorf("Locate(%q): %v, want %v", tt.path, err, tt.want)
		}
	}
	for _, no := range [][]byte{nil, {codeNil}, {0xc1}, unhex(t, "82 a161 01"), unhex(t, "81 a173 d9ff")} {
		if p, err := Locate(no, "s", nil); err == nil {
			t.Errorf("Locate in % x: %+v", no, p)
		}
	}

	deep := strings.Split(strings.Repeat("x.", MaxDepth-1)+"x", ".")
	p, err := Locate(m, deep[0], deep[1:])
	if err != nil {
		t.Fatal(err)
	}
	dst := []byte("dst")
	for what, edit := range map[string]func() ([]byte, error){
		"a container too deep":  func() ([]byte, error) { return p.Set(dst, []byte{codeFixArray}) },
		"an element too deep":   func() ([]byte, error) { return p.Push(dst, []byte{1}) },
		"two values":            func() ([]byte, error) { return p.Set(dst, []byte{1, 2}) },
		"no value":              func() ([]byte, error) { return p.Set(dst, nil) },
		"half a value":          func() ([]byte, error) { return p.Set(dst, unhex(t, "a2 61")) },
		"a text too long":       func() ([]byte, error) { return p.SetText(dst, String, make([]byte, MaxValue), []byte{1}) },
		"a result that is long": func() ([]byte, error) { return p.SetText(dst, String, make([]byte, MaxValue-8)) },
	} {
		if out, err := edit(); err == nil || !bytes.Equal(out, dst) {
			t.Errorf("%s: % x, %v", what, out, err)
		}
	}
	// What just fits does, and is a value that Check accepts.
	out, err := p.Set(nil, []byte{1})
	if err != nil || Check(out) != nil || !IsCanonical(out) {
		t.Fatalf("the deepest value: %v, %v", err, Check(out))
	}
}

// Removing elements takes the shorter header, whatever width the count had.
func TestRemoveShortensTheHeader(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 300, 65535, 65536} {
		list := make([]any, n)
		for i := range list {
			list[i] = int64(i % 2)
		}
		for _, arg := range []int64{0, 1, 2} {
			m := appended(t, map[string]any{"a": list, "z": "end"})
			p, err := Locate(m, "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			out, removed, err := p.Remove(nil, AppendInt(nil, arg))
			left := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == arg })
			if err != nil || removed != n-len(left) || !bytes.Equal(out, appended(t, map[string]any{"a": left, "z": "end"})) {
				t.Fatalf("%d elements without %d: %d removed, %v", n, arg, removed, err)
			}
		}
	}
}

// Whatever the bytes and the path, an edit is refused or leaves a well-formed
// map, a canonical one if it was before.
func FuzzPlace(f *testing.F) {
	m := appended(f, map[string]any{"a": []any{1, map[string]any{"b": 1.5}}, "c": "d"})
	f.Add(m, "a.1.b", []byte{7})
	f.Add(m, "a", []byte{1})
	f.Add(m, "x.y.z", unhex(f, "91 01"))
	f.Fuzz(func(t *testing.T, m []byte, path string, arg []byte) {
		steps := strings.Split(path, ".")
		p, err := Locate(m, steps[0], steps[1:])
		if err != nil {
			return
		}
		if Check(m) != nil {
			return
		}
		canonical := IsCanonical(m)
		outs := [][]byte{p.Unset(nil)}
		for _, edit := range []func([]byte, []byte) ([]byte, error){p.Set, p.Push, func(dst, v []byte) ([]byte, error) {
			out, _, err := p.Remove(dst, v)
			return out, err
		}} {
			if out, err := edit(nil, arg); err == nil {
				outs = append(outs, out)
			}
		}
		for _, out := range outs {
			if err := Check(out); err != nil {
				t.Fatalf("% x with % x at %q becomes % x: %v", m, arg, path, out, err)
			}
			if canonical && IsCanonical(arg) && !IsCanonical(out) {
				t.Fatalf("% x with % x at %q becomes % x", m, arg, path, out)
			}
		}
	})
}

func BenchmarkPlaceSet(b *testing.B) {
	m := appended(b, map[string]any{"seat": map[string]any{"row": int64(7), "price": 12.5}, "name": "hall", "sold": int64(12)})
	value, dst, path := AppendFloat(nil, 91.5), make([]byte, 0, 512), []string{"price"}
	b.ReportAllocs()
	for b.Loop() {
		p, err := Locate(m, "seat", path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = p.Set(dst, value); err != nil {
			b.Fatal(err)
		}
	}
}

// Many edits at once come to what they come to one after the other.
func TestEditFieldsAgreesWithSingleEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields(1).Draw(t, "fields")
		m := appended(t, fields)
		names := append(slices.Sorted(maps.Keys(fields)), "a", "b", "ab", strings.Repeat("z", 40))
		want := m
		var edits []FieldEdit
		for range rapid.IntRange(0, 30).Draw(t, "edits") {
			e := FieldEdit{Name: rapid.SampledFrom(names).Draw(t, "name")}
			var err error
			if rapid.Bool().Draw(t, "set") {
				e.Value = appended(t, anyValue(0).Draw(t, "value"))
				want, err = SetField(nil, want, e.Name, e.Value)
			} else {
				want, err = UnsetField(nil, want, e.Name)
			}
			if err != nil {
				t.Fatal(err)
			}
			edits = append(edits, e)
		}
		changed := 0
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			_, before := Field(m, name)
			if _, after := Field(want, name); before != after {
				changed++
			}
		}
		got, n, err := EditFields([]byte("before"), m, edits)
		if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) || n != changed {
			t.Fatalf("%d changed, %v\n got % x\nwant % x, %d changed", n, err, got, want, changed)
		}
	})
	for _, bad := range [][]byte{{}, {1, 2}, {codeFixArray | 1}, slices.Repeat([]byte{codeFixArray | 1}, MaxDepth)} {
		if out, _, err := EditFields([]byte("dst"), nil, []FieldEdit{{Name: "a", Value: []byte{1}}, {Name: "b", Value: bad}}); err == nil || string(out) != "dst" {
			t.Errorf("% x is set: % x", bad, out)
		}
	}
	large := AppendBytes(nil, make([]byte, MaxValue/2))
	if out, _, err := EditFields(nil, nil, []FieldEdit{{Name: "a", Value: large}, {Name: "b", Value: large}}); !errors.Is(err, ErrTooLarge) || out != nil {
		t.Errorf("too much is set: %v", err)
	}
}
