package predicate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// What a predicate demands of the field a, as far as a bound can say it.
func TestBound(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`a = 'x'`, `in ('x')`},
		{`a = 1`, `in (1, 1.0)`},
		{`a = 9007199254740993`, `in (9007199254740993)`},
		{`a = 18446744073709551615`, `in (18446744073709551615)`},
		{`a = 1.5`, `in (1.5)`},
		{`a in (2, 'x', 1.5)`, `in (1.5, 2, 2.0, 'x')`},
		{`a = [1]`, `[[1], [1]]`},
		{`a in (7, [1], {b: 1})`, `[7, {'b': 1}]`},
		{`a < 5`, `[float '-Inf', 5)`},
		{`a >= 5`, `[5, float '+Inf']`},
		{`a > 'x'`, `('x', x'')`},
		{`a <= x'07'`, `[x'', x'07']`},
		{`a > ts '2026-01-01T00:00:00Z'`, `(ts '2026-01-01T00:00:00Z', [])`},
		{`a < ts '2026-01-01T00:00:00Z'`, `[ts '0000-01-01T00:00:00Z', ts '2026-01-01T00:00:00Z')`},
		{`a > false`, `(false, true]`},
		{`a > x'07'`, `(x'07', ts '0000-01-01T00:00:00Z')`},
		{`5 > a`, `[float '-Inf', 5)`},
		{`a between 1 and 5`, `[1, 5]`},
		{`a > 1 and a > 3 and a <= 7 and a < 7`, `(3, 7)`},
		{`a in (1, 5, 9) and a > 1 and b = 2`, `in (5, 5.0, 9, 9.0)`},
		{`a = 1 and a = 2`, `in ()`},
		{`a > 5 and a < 5`, `in ()`},
		{`a >= 5 and a <= 5`, `[5, 5]`},
		{`a > 5 and a < 'x'`, `in ()`},
		{`a prefix 'ab'`, `['ab', 'ac')`},
		{`a prefix ''`, `['', x'')`},
		{"a prefix 'a\xff\xff'", "['a\xff\xff', 'b')"},
		{"a prefix '\xff'", "['\xff', x'')"},
		{`a prefix x'ff'`, `[x'ff', ts '0000-01-01T00:00:00Z')`},
		{`a prefix x'0aff'`, `[x'0aff', x'0b')`},
		{`a is not null`, `(null, …)`},
		{`not a > 5`, `[float '-Inf', 5]`},
		{`not (a <> 'x' or b = 1)`, `in ('x')`},
		{`a = 'x' or a = 'y' and b = 1`, `in ('x', 'y')`},
		{`a = 'x' or a > 'y'`, `['x', x'')`},
		{`a < 1 or a = 7`, `[float '-Inf', 7.0]`},
		{`a between 1 and 2 or a between 8 and 9`, `[1, 9]`},
		{`a > 1 or a is not null`, `(null, …)`},
		{`(a = 1 and a = 2) or a > 5`, `(5, float '+Inf']`},
		{`a > 5 or (a = 1 and a = 2)`, `(5, float '+Inf']`},
		{`a > 5 or a >= 5`, `[5, float '+Inf']`},
		{`a < 'x' or a <= 'x'`, `['', 'x']`},
		{`false`, `in ()`},
		{`a = 'x' or b = 1`, ``},
		{`a <> 1`, ``},
		{`a not in (1, 2)`, ``},
		{`a is null`, ``},
		{`a = b`, ``},
		{`a + 1 = 2`, ``},
		{`b = 1`, ``},
		{`a.c = 1`, ``},
		{`"a.c" = 1`, ``},
		{`a contains 1`, ``},
		{`not a prefix 'x'`, ``},
		{`true`, ``},
	} {
		b, ok := parsed(t, c.text).Bound("a")
		if got := boundText(b); ok && got != c.want || ok == (c.want == "") {
			t.Errorf("%s bounds a: %v %s, want %s", c.text, ok, got, c.want)
		}
	}
}

// boundText writes a bound as a list or an interval.
func boundText(b Bound) string {
	value := func(v []byte) string {
		var w writer
		w.value(v)
		return w.b.String()
	}
	if b.Equal != nil {
		var members []string
		for _, v := range b.Equal {
			members = append(members, value(v))
		}
		return "in (" + strings.Join(members, ", ") + ")"
	}
	text := map[bool]string{false: "[", true: "("}[b.LowOpen]
	if b.Low == nil {
		text = "(…"
	} else {
		text += value(b.Low)
	}
	if b.High == nil {
		return text + ", …)"
	}
	return text + ", " + value(b.High) + map[bool]string{false: "]", true: ")"}[b.HighOpen]
}

// A list too long to look up one by one becomes a range.
func TestBoundOfLongListsIsARange(t *testing.T) {
	halves := [3][]string{}
	for i := range 3 * MaxList {
		halves[i%3] = append(halves[i%3], fmt.Sprintf("%05d", i))
	}
	p := parsed(t, `a in ?`, halves[0])
	for _, half := range halves[1:] {
		var err error
		if p, err = Or(p, parsed(t, `a in ?`, half)); err != nil {
			t.Fatal(err)
		}
	}
	b, ok := p.Bound("a")
	if want := fmt.Sprintf("['00000', '%05d']", 3*MaxList-1); !ok || boundText(b) != want {
		t.Errorf("%v %s, want %s", ok, boundText(b), want)
	}
}

// Check lets pass what can be true and something else, and refuses the rest.
func TestCheck(t *testing.T) {
	fields := map[string]Type{
		"any": Any, "bool": Bool, "int": Int, "float": Float, "number": Number, "string": String,
		"bytes": Bytes, "time": Time, "list": List, "map": Map, "map.x": Any,
	}
	known := func(path string) (Type, bool) {
		declared, ok := fields[path]
		return declared, ok
	}
	for _, c := range []struct {
		text string
		says string // "" if it passes
	}{
		{`any = 1 and any < 'x' and any contains 2 and any prefix 'x' and any + 1 > 2`, ""},
		{`int = 1 or int > 1.5 or float = 1 or number = 1.5 or int = float`, ""},
		{`bool and time > ts '2026-01-01T00:00:00Z' and bytes prefix x'00' and list contains 'x' and map = {x: 1}`, ""},
		{`string in ('a', 'b') and string is not null and list = [1] and map.x = 1`, ""},
		{`int + float * number > 0 and list contains int + 1`, ""},
		{`strng = 'x'`, "no field strng"},
		{`any = strng`, "no field strng"},
		{`bool = 1 or not (list contains strng)`, "bool and number"},
		{`string = "text"`, "single quotes"},
		{`map.y = 1`, "no field map.y"},
		{`string = 1`, "string and number"},
		{`string <> 1`, "string and number"},
		{`not string < 1`, "string and number"},
		{`string = int`, "string and int"},
		{`string`, "string and bool"},
		{`int = 1.5`, "fraction"},
		{`int in (1, 1.5)`, "fraction"},
		{`int in (1, 'x')`, "int and string"},
		{`int prefix 'x'`, "int and string"},
		{`string prefix x'00'`, "string and bytes"},
		{`string contains 'x'`, "only a list contains"},
		{`list < any`, "no order"},
		{`any >= map`, "no order"},
		{`string + 1 > 2`, "string + 1 computes with string"},
		{`-time is null`, "computes with time"},
		{`int + 1 = 'x'`, "number and string"},
	} {
		err := parsed(t, c.text).Check(known)
		if c.says == "" && err == nil {
			continue
		}
		if refusal, ok := err.(*Error); !ok || c.says == "" || refusal.Offset != -1 || !strings.Contains(refusal.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.text, err, c.says)
		}
	}
}

// FuzzParse: no text makes Parse panic, and what it accepts comes back from
// text and bytes.
func FuzzParse(f *testing.F) {
	for _, m := range measured {
		f.Add(m.text)
	}
	f.Add(`not (a.b = -1 or "c d" not in (1, 'x', x'00')) and e contains {f: [ts '2026-11-22T10:00:00Z', null]}`)
	f.Add(`a + 1 * -b / 2 % 3 - 4.5e1 between -9223372036854775808 and 18446744073709551615 or c is not null`)
	f.Add(`a like 'x%' or b prefix 'it''s' or float = float '-Inf' or $1 < :x or ? = {a:true}`)
	fields, err := msgp.AppendValue(nil, map[string]any{"a": 1, "b": "x", "e": []any{1, "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if refusal := err.(*Error); refusal.Offset < 0 || refusal.Offset > len(text) || refusal.Detail == "" {
				t.Fatalf("%q: %+v", text, refusal)
			}
			return
		}
		checkRoundTrips(t, p)
		checkUse(t, p, fields)
	})
}

// FuzzDecode: no bytes make Decode panic, what it accepts is what Append
// writes, and it can be asked of any bytes.
func FuzzDecode(f *testing.F) {
	fields, err := msgp.AppendValue(nil, map[string]any{"status": "open", "price": 30.5, "position": map[string]any{"x": 11}})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range measured {
		f.Add(parsed(f, m.text).Append(nil), fields)
	}
	f.Add(parsed(f, `-a % 2 + b * 3 > 1.5 and not (c contains [1] or d.e prefix 'x') and f in (1, 'x')`).Append(nil), fields)
	f.Fuzz(func(t *testing.T, encoding, fields []byte) {
		p, err := Decode(encoding)
		if err != nil {
			if refusal := err.(*Error); refusal.Offset < 0 || refusal.Offset > len(encoding) || refusal.Detail == "" {
				t.Fatalf("%x: %+v", encoding, refusal)
			}
			return
		}
		if again := p.Append(nil); string(again) != string(encoding) {
			t.Fatalf("%x decodes to %v, which is %x", encoding, p, again)
		}
		checkRoundTrips(t, p)
		checkUse(t, p, fields)
	})
}

// checkUse asks everything that can be asked. An entry is never matched by a
// predicate and by its negation.
func checkUse(t *testing.T, p *Predicate, fields []byte) {
	not, err := Not(p)
	if err != nil {
		t.Fatalf("Not(%v): %v", p, err)
	}
	if p.Match(fields) && not.Match(fields) {
		t.Fatalf("%v and its negation match %x", p, fields)
	}
	for _, path := range p.Paths() {
		p.Bound(path)
		if eq, err := Eq(path, 1); err != nil || eq.Paths()[0] != path {
			t.Fatalf("the path %s of %v leads to %v, %v", path, p, eq, err)
		}
	}
	if err := p.Check(func(string) (Type, bool) { return Any, true }); err != nil {
		t.Fatalf("%v on undeclared fields: %v", p, err)
	}
}
