package predicate

import (
	"fmt"
	"strings"
	"testing"
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
		{`a > 1 and a is not null`, `(1, float '+Inf']`},
		{`a is not null and a > 1`, `(1, float '+Inf']`},
		{`a is not null and a is not null`, `(null, …)`},
		{`a = 1 and a is not null`, `in (1, 1.0)`},
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
