package predicate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// A predicate reads as written here, and back from its own text.
func TestNormalForm(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`a=1`, `a = 1`},
		{`A = 1 AND a = 2`, `A = 1 and a = 2`},
		{`1 < a`, `a > 1`},
		{`1.0 = a`, `a = 1`},
		{`a = 1.5e0`, `a = 1.5`},
		{`a = 1e19`, `a = 10000000000000000000`},
		{`a < 1e300`, `a < 1e+300`},
		{`a = -0.0`, `a = 0`},
		{`a in (-2.0, -9223372036854775808.0, -1e19)`, `a in (-1e+19, -9223372036854775808, -2)`},
		{`a + 1.0 = 2`, `a + 1.0 = 2`},
		{`a = 2 * 3 - 1`, `a = 5`},
		{`a = 7 / 2`, `a = 3`},
		{`a = -7 / 2`, `a = -3`},
		{`a = -7 % 4`, `a = -3`},
		{`a = 7 / 2.0`, `a = 3.5`},
		{`a = -9223372036854775808`, `a = -9223372036854775808`},
		{`a = 18446744073709551615`, `a = 18446744073709551615`},
		{`a - (b - c) - 1 > 0`, `a - (b - c) - 1 > 0`},
		{`(a + b) * c > 0`, `(a + b) * c > 0`},
		{`a + (b * c) > 0`, `a + b * c > 0`},
		{`a - -5 > - b`, `a - -5 > -b`},
		{`-(-a) > 0`, `-(-a) > 0`},
		{`- - a > 0`, `-(-a) > 0`},
		{`a between 1 and 2 and b`, `a >= 1 and a <= 2 and b = true`},
		{`a not between 1 and 2`, `a < 1 or a > 2`},
		{`not (a = 1 or b > 2 and c is null)`, `a <> 1 and (b <= 2 or c is not null)`},
		{`not a`, `a <> true`},
		{`(a = 1 and (b = 2 and c = 3)) and d = 4`, `a = 1 and b = 2 and c = 3 and d = 4`},
		{`a = 1 or (b = 2 or c = 3)`, `a = 1 or b = 2 or c = 3`},
		{`a = 1 and true`, `a = 1`},
		{`a = 1 or 1 = 1.0`, `true`},
		{`a = 1 and 'x' = 'y'`, `false`},
		{`2 in (1, 2) and a = 1`, `a = 1`},
		{`a in (3, 1, 2.0, 2)`, `a in (1, 2, 3)`},
		{`a not in ('b', 'a')`, `a not in ('a', 'b')`},
		{`a in (1)`, `a = 1`},
		{`a not in (-1)`, `a <> -1`},
		{`a in [2, 1]`, `a in (1, 2)`},
		{`a prefix 'x' and b not prefix x'FF'`, `a prefix 'x' and b not prefix x'ff'`},
		{`a like 'abc%'`, `a prefix 'abc'`},
		{`a like 'abc'`, `a = 'abc'`},
		{`a not like '%'`, `a not prefix ''`},
		{`a like ''`, `a = ''`},
		{`a contains 1.0`, `a contains 1`},
		{`a not contains b`, `a not contains b`},
		{`a IS NOT NULL`, `a is not null`},
		{`a = 'it''s'`, `a = 'it''s'`},
		{`a = TS '2026-11-22T11:00:00.5+01:00'`, `a = ts '2026-11-22T10:00:00.5Z'`},
		{`a = float '-inf'`, `a = float '-Inf'`},
		{`a = [1, -2.0, 'x', null, [true]]`, `a = [1, -2.0, 'x', null, [true]]`},
		{`a = {row: 1, 'b':true, "c d": [], 7: x'', -1:null}`, `a = {7: x'', 'b': true, 'c d': [], 'row': 1, -1: null}`},
		{`seat.row = 1`, `seat.row = 1`},
		{`"seat.row" = 1`, `"seat.row" = 1`},
		{`"a""b".c.in = 1`, `"a""b".c."in" = 1`},
		{`"" = 1`, `"" = 1`},
		{`"not" and "ts" = ts`, `"not" = true and ts = ts`},
		{`x = x'00' and float = float '1'`, `x = x'00' and float = 1`},
		{"\ta\n=\r1 ", `a = 1`},
	} {
		p := parsed(t, c.text)
		if got := p.String(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		checkRoundTrips(t, p)
	}
}

// The three values: what a condition is for a field that has the value, has
// another one, or has none that it can be compared with.
func TestThreeValues(t *testing.T) {
	const a, u, f = "true", "unknown", "false"
	for _, c := range []struct {
		text string
		want string
		x    any // of the field x; y is always absent, n is nil
	}{
		{`x = 1`, a, 1},
		{`x = 1`, a, 1.0},
		{`x = 1`, f, 2},
		{`x = 1`, f, "1"},
		{`x <> 1`, a, "1"},
		{`x < 1`, u, "0"},
		{`x < 'b'`, a, "a"},
		{`x < true`, a, false},
		{`y = 1`, u, 0}, {`n = 1`, u, 0}, {`y <> 1`, u, 0}, {`y < 1`, u, 0},
		{`y = y`, u, 0}, {`y <> n`, u, 0}, {`x = y`, u, 0}, {`x = x`, a, 0},
		{`y is null`, a, 0}, {`n is null`, a, 0}, {`x is null`, f, 0}, {`y is not null`, f, 0},
		{`x / 0 is null`, a, 1}, {`x / 0 = 1`, u, 1}, {`x % 0 = 1`, u, 1}, {`x / 0.0 = 1`, u, 1},
		{`x + 1 > 0`, u, int64(math.MaxInt64)}, {`x + 1 > 0`, u, "1"}, {`x - 1 > 0`, u, uint64(math.MaxUint64)},
		{`-x > 0`, u, int64(math.MinInt64)}, {`x / -1 > 0`, u, int64(math.MinInt64)}, {`x % -1 = 0`, a, int64(math.MinInt64)},
		{`x * 2 > 0`, u, int64(1 << 62)}, {`x * -2 = -9223372036854775808`, a, int64(1 << 62)},
		{`x * 2.0 > 0`, a, int64(1 << 62)}, {`x - x = 0`, u, math.Inf(1)},
		{`x = 9007199254740993`, f, float64(1 << 53)}, {`x < 9007199254740993`, a, float64(1 << 53)},
		{`x in (1, 2)`, a, 2.0}, {`x in (1, 2)`, f, "1"}, {`y in (1, 2)`, u, 0}, {`y not in (1, 2)`, u, 0},
		{`x prefix 'a'`, a, "ab"}, {`x prefix 'a'`, f, "b"}, {`x prefix 'a'`, u, []byte("a")}, {`x prefix 'a'`, u, 1}, {`y prefix ''`, u, 0},
		{`x contains 1`, a, []any{"1", 1.0}}, {`x contains 1`, f, []any{nil}}, {`x contains 1`, u, 1}, {`x contains y`, u, []any{nil}},
		{`x contains [1]`, a, []any{[]any{1.0}}},
		{`x = [1, null]`, a, []any{1.0, nil}}, {`x = [1]`, f, []any{1, 2}}, {`x < x`, u, []any{1}}, {`x = {a: 1}`, a, map[string]any{"a": 1}},
		{`x`, a, true}, {`x`, f, false}, {`x`, f, 1}, {`y`, u, 0},
		{`y = 1 and false`, f, 0}, {`y = 1 and true`, u, 0}, {`y = 1 or true`, a, 0}, {`y = 1 or false`, u, 0},
		{`y = 1 and x = 1`, f, 2}, {`y = 1 and x = 1`, u, 1}, {`y = 1 or x = 1`, a, 1}, {`y = 1 or x = 1`, u, 2},
	} {
		p := parsed(t, c.text)
		not, err := Not(p)
		if err != nil {
			t.Fatal(err)
		}
		b := encodedEntry(t, map[string]any{"x": c.x, "n": nil})
		got := u
		if p.Match(b) {
			got = a
		} else if not.Match(b) {
			got = f
		}
		if got != c.want {
			t.Errorf("%s for x = %v is %s, want %s", c.text, c.x, got, c.want)
		}
	}
}

// What is wrong is refused where it is, with a way out.
func TestRefusals(t *testing.T) {
	type args []any
	for _, c := range []struct {
		text string
		args args
		at   int
		says string // part of the message
	}{
		{``, nil, 0, "the end where a value"},
		{`a = `, nil, 4, "the end where a value"},
		{`a = 1 b`, nil, 6, `"b" where the end`},
		{`a == 1`, nil, 2, "write ="},
		{`a = 1 && b = 2`, nil, 6, "write `and`"},
		{`a = 1 || b = 2`, nil, 6, "write `or`"},
		{`!a`, nil, 0, "write `not`"},
		{"`a` = 1", nil, 0, "double quotes"},
		{`größe = 1`, nil, 2, "double quotes"},
		{`a = 'x`, nil, 4, "never closed"},
		{`"a = 1`, nil, 0, "never closed"},
		{`a = 1x`, nil, 4, "not a number"},
		{`a = 1.`, nil, 4, "not a number"},
		{`a = 1e`, nil, 4, "not a number"},
		{`a = 1.e5`, nil, 4, "not a number"},
		{`a = 99999999999999999999`, nil, 4, "99999999999999999999.0"},
		{`a = 1e999`, nil, 4, "float '+Inf'"},
		{`a = float 'NaN'`, nil, 4, "NaN"},
		{`a = x'0'`, nil, 4, "hexadecimal"},
		{`a = ts '2026-13-01T00:00:00Z'`, nil, 4, "no time"},
		{`a = + 1`, nil, 4, "a value"},
		{`a = null`, nil, 2, "`is null`"},
		{`null <> a`, nil, 5, "`is null`"},
		{`a in (1, null)`, nil, 2, "is null"},
		{`a contains null`, nil, 2, "never found"},
		{`null is null`, nil, 5, "name of a field"},
		{`a + null = 1`, nil, 2, "compute with numbers"},
		{`a + 'x' = 1`, nil, 2, "compute with numbers"},
		{`a = 1 / 0`, nil, 6, "divided by zero"},
		{`a = 9223372036854775807 + 1`, nil, 24, "out of range"},
		{`a < [1]`, nil, 2, "has no order"},
		{`1 < 'x'`, nil, 2, "have no order"},
		{`a < b < c`, nil, 6, "join conditions"},
		{`a = 1 = 1`, nil, 6, "join conditions"},
		{`(a = 1) + 1 > 2`, nil, 1, "a condition where a value"},
		{`(a = 1) = true`, nil, 1, "a condition where a value"},
		{`a + 1`, nil, 0, "compare it with something"},
		{`'a'`, nil, 0, "compare it with something"},
		{`a = 1 and 2`, nil, 10, "compare it with something"},
		{`a in 1`, nil, 5, "behind `in`"},
		{`a in ()`, nil, 6, "a value"},
		{`a in (b)`, nil, 6, "x = a or x = b"},
		{`a in (1`, nil, 7, "where ) should be"},
		{`a prefix b`, nil, 2, "a prefix is a constant"},
		{`a prefix 1`, nil, 2, "a prefix is a constant"},
		{`'ab' prefix 'a'`, nil, 5, "only a field"},
		{`'ab' contains 'a'`, nil, 5, "only a field"},
		{`a like '%b'`, nil, 2, "`prefix`"},
		{`a like 'a_'`, nil, 2, "`prefix`"},
		{`a like 1`, nil, 2, "a pattern is a string"},
		{`a is 1`, nil, 5, "`null` or `not null`"},
		{`a not 1`, nil, 6, "`in`, `between`"},
		{`a between 1 or 2`, nil, 12, "where `and` should be"},
		{`in = 1`, nil, 0, "put in double quotes"},
		{`a. = 1`, nil, 3, "a name"},
		{`lower(a) = 'x'`, nil, 5, "looks like a function"},
		{`(a = 1`, nil, 6, "where ) should be"},
		{`a = 1)`, nil, 5, "where the end should be"},
		{`a = {1.5: 1}`, nil, 5, "a key"},
		{`a = {b: 1, b: 2}`, nil, 4, "same key twice"},
		{`a = [1, b]`, nil, 8, "a value"},
		{`a = [-b]`, nil, 6, "a number"},
		{`a = ?`, nil, 4, "0 arguments"},
		{`a = ?`, args{nil}, 4, "`is null`"},
		{`a = ?`, args{math.NaN()}, 4, "NaN"},
		{`a = ?`, args{struct{}{}}, 4, "cannot be stored"},
		{`a = ?`, args{1, 2}, 5, "argument 2 is not used"},
		{`a = 1`, args{1}, 5, "argument 1 is not used"},
		{`a = ? or b = $1`, args{1}, 13, "two sorts"},
		{`a = $2`, args{1}, 4, "1 arguments"},
		{`a = $0`, args{1}, 4, "first is $1"},
		{`a = $x`, args{1}, 4, "first is $1"},
		{`a = $2`, args{1, 2}, 6, "argument 1 is not used"},
		{`a = $`, args{1}, 4, "without a name"},
		{`a = :b`, args{1}, 4, "map[string]any"},
		{`a = :b`, args{map[string]any{"c": 1}}, 4, "no argument is named b"},
	} {
		_, err := Parse(c.text, c.args...)
		refusal, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("Parse(%s, %v): %v, want a refusal", c.text, c.args, err)
			continue
		}
		if refusal.Offset != c.at || !strings.Contains(refusal.Error(), c.says) {
			t.Errorf("Parse(%s, %v):\n got %v\nwant it at byte %d, saying %s", c.text, c.args, err, c.at, c.says)
		}
	}
}

// Arguments are constants, by place, by number and by name.
func TestArguments(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text string
		args []any
		want string
	}{
		{`a = ? and b < ?`, []any{1, now}, `a = 1 and b < ts '2026-11-22T10:00:00Z'`},
		{`a = $2 and b = $1 and c = $2`, []any{"x", true}, `a = true and b = 'x' and c = true`},
		{`a = :v and b = {k::v}`, []any{map[string]any{"v": 1, "w": 2}}, `a = 1 and b = {'k': 1}`},
		{`a = ?`, []any{map[string]any{"v": 1}}, `a = {'v': 1}`},
		{`a in ?`, []any{[]int{2, 1}}, `a in (1, 2)`},
		{`a in (0, ?, ?)`, []any{[]int{2, 1}, 9}, `a in (0, 1, 2, 9)`},
		{`a in ([1], ?)`, []any{[]any{[]int{2}}}, `a in ([1], [2])`},
		{`a in ? or b = 1`, []any{[]string{}}, `b = 1`},
		{`a not in ?`, []any{[]string{}}, `true`},
		{`a > -?`, []any{5}, `a > -5`},
		{`a prefix ?`, []any{[]byte{1}}, `a prefix x'01'`},
		{`a like ?`, []any{"b%"}, `a prefix 'b'`},
		{`? and a = 1`, []any{true}, `a = 1`},
	} {
		if got := parsed(t, c.text, c.args...).String(); got != c.want {
			t.Errorf("%s with %v is %s, want %s", c.text, c.args, got, c.want)
		}
	}
}

// Predicates that say the same in other words have the same bytes.
func TestEqualPredicatesHaveEqualBytes(t *testing.T) {
	a := parsed(t, `a = 1 and (b > 2 and c is null)`)
	b := parsed(t, `1.0 = a and not b <= 4 / 2 and c is null`)
	if !bytes.Equal(a.Append(nil), b.Append(nil)) {
		t.Errorf("%v and %v differ", a, b)
	}
	if dst := a.Append([]byte("before")); !bytes.Equal(dst, append([]byte("before"), a.Append(nil)...)) {
		t.Error("Append does not append")
	}
}

// The encoding is fixed: what is in logs and stores must stay readable.
func TestEncodingIsStable(t *testing.T) {
	p := parsed(t, `(a.b = 'x' or c not in (1, 2)) and -d % 3 > 1.5 and e is not null and f contains g and h prefix 'i'`)
	const want = "0103050402052002a161a16221a1780c2001a16302010209262720" +
		"01a164210321cb3ff80000000000000e2001a165112001a1662001a1670f2001a16821a169"
	if got := fmt.Sprintf("%x", p.Append(nil)); got != want {
		t.Errorf("%v is encoded as\n%s, want\n%s", p, got, want)
	}
}

// Decode refuses what Append would not write, and never panics.
func TestDecodeIsStrict(t *testing.T) {
	good := parsed(t, `a in (1, 2) and b.c + 1 > 2 or d prefix 'x'`).Append(nil)
	for i := range good {
		if _, err := Decode(good[:i]); err == nil {
			t.Errorf("cut after %d bytes it is accepted", i)
		}
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if p, err := Decode(b); err == nil && !bytes.Equal(p.Append(nil), b) {
				t.Errorf("%x is accepted as %v, which is %x", b, p, p.Append(nil))
			}
		}
	}
	field := []byte{byte(termField), 1, 0xa1, 'a'}
	constant := func(v any) []byte {
		b, err := msgp.AppendValue([]byte{byte(termConstant)}, v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	leaf := func(op condOp, parts ...[]byte) []byte {
		return slices.Concat(append([][]byte{{byte(op)}}, parts...)...)
	}
	eq := leaf(opEq, field, constant(1))
	for name, b := range map[string][]byte{
		"nothing":                nil,
		"another version":        append([]byte{2}, eq...),
		"trailing bytes":         leaf(1, eq, []byte{0}),
		"unknown condition":      {1, 99},
		"unknown term":           {1, byte(opIsNull), 99},
		"null constant":          leaf(1, leaf(opEq, field, constant(nil))),
		"constant on the left":   leaf(1, leaf(opEq, constant(1), field)),
		"two constants":          leaf(1, leaf(opEq, constant(1), constant(1))),
		"integral float":         leaf(1, leaf(opEq, field, constant(1.0))),
		"wide integer":           leaf(1, leaf(opEq, field, []byte{byte(termConstant), 0xd0, 1})),
		"NaN":                    leaf(1, leaf(opEq, field, []byte{byte(termConstant), 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1})),
		"order on a list":        leaf(1, leaf(opLt, field, constant([]any{}))),
		"prefix of a number":     leaf(1, leaf(opPrefix, field, constant(1))),
		"prefix of a constant":   leaf(1, leaf(opPrefix, constant("ab"), constant("a"))),
		"constant computation":   leaf(1, leaf(opEq, field, leaf(condOp(termAdd), constant(1), constant(1)))),
		"computation with text":  leaf(1, leaf(opEq, field, leaf(condOp(termAdd), field, constant("1")))),
		"null of a constant":     leaf(1, leaf(opIsNull, constant(1))),
		"empty and":              leaf(1, []byte{byte(opAnd), 0}),
		"and of one":             leaf(1, []byte{byte(opAnd), 1}, eq),
		"and in and":             leaf(1, []byte{byte(opAnd), 2}, eq, []byte{byte(opAnd), 2}, eq, eq),
		"true in and":            leaf(1, []byte{byte(opAnd), 2}, eq, []byte{byte(opAlways)}),
		"empty list":             leaf(1, leaf(opIn, field, []byte{0})),
		"list of one":            leaf(1, leaf(opIn, field, []byte{1, 7})),
		"unsorted list":          leaf(1, leaf(opIn, field, []byte{2, 7, 6})),
		"list with a repetition": leaf(1, leaf(opIn, field, []byte{2, 7, 7})),
		"path without steps":     leaf(1, leaf(opIsNull, []byte{byte(termField), 0})),
		"wide count":             leaf(1, []byte{byte(opAnd), 0xcc, 2}, eq, eq),
		"boastful count":         leaf(1, []byte{byte(opAnd), 0xcd, 4, 0}, eq, eq),
		"deep nesting":           leaf(1, leaf(opIsNull, bytes.Repeat([]byte{byte(termNeg)}, MaxDepth), field)),
	} {
		if p, err := Decode(b); err == nil {
			t.Errorf("%s is accepted as %v", name, p)
		} else if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: %T, want *Error", name, err)
		}
	}
}

// A hostile encoding is refused where it passes a limit, not after all of it has
// been built.
func TestDecodeStopsAtTheLimits(t *testing.T) {
	field := []byte{byte(termField), 1, 0xa1, 'a'}
	null := append([]byte{byte(opIsNull)}, field...)
	for name, c := range map[string]struct {
		encoding []byte
		at       int
	}{
		"bytes":       {make([]byte, MaxEncoded+1), 0},
		"deep terms":  {append([]byte{1, byte(opIsNull)}, bytes.Repeat([]byte{byte(termNeg)}, 10_000)...), 1 + MaxDepth},
		"deep levels": {append([]byte{1}, bytes.Repeat([]byte{byte(opAnd), 1}, 10_000)...), 1 + 2*MaxDepth},
		"nodes":       {append([]byte{1, byte(opOr), 0xcd, 0x03, 0xff}, bytes.Repeat(null, 1023)...), 5 + len(null)*((MaxNodes-1)/2) + 1},
		"members":     {append([]byte{1, byte(opIn), byte(termField), 1, 0xa1, 'a', 0xcd, 0x10, 0x01}, make([]byte, 5000)...), 6},
		"steps":       {append([]byte{1, byte(opIsNull), byte(termField), maxSteps + 1}, bytes.Repeat([]byte{0xa1, 'a'}, maxSteps+1)...), 3},
	} {
		_, err := Decode(c.encoding)
		if refusal, ok := errors.AsType[*Error](err); !ok || refusal.Offset != c.at {
			t.Errorf("%s: %v, want it at byte %d", name, err, c.at)
		}
	}
}

// The cost counts nodes, steps of paths, halvings of lists and searches.
func TestCost(t *testing.T) {
	for _, c := range []struct {
		text string
		cost int
	}{
		{`true`, 1},
		{`a = 1`, 2},
		{`a = b`, 3},
		{`a.b.c = 1`, 4},
		{`a is null`, 2},
		{`a in (1, 2)`, 4},
		{`a in (1, 2, 3, 4, 5, 6, 7)`, 5},
		{`a + 1 > -b`, 5},
		{`a contains 1`, 66},
		{`a = 1 and (b = 2 or c = 3)`, 8},
	} {
		if got := parsed(t, c.text).Cost(); got != c.cost {
			t.Errorf("%s costs %d, want %d", c.text, got, c.cost)
		}
	}
}

// Matching allocates nothing, whatever is asked.
func TestMatchDoesNotAllocate(t *testing.T) {
	b := encodedEntry(t, map[string]any{
		"i": 7, "f": 1.5, "s": "text", "t": time.Unix(5, 5), "l": []any{1, "x", []any{2}}, "m": map[string]any{"x": 1 << 40},
		"u": uint64(math.MaxUint64), "a-name-of-more-than-thirty-two-bytes": 1,
	})
	members := make([]int, 3000)
	for i := range members {
		members[i] = 2 * i
	}
	for _, p := range []*Predicate{
		parsed(t, `i = 7 and f < 2 and s <> 'other' and t > ts '1970-01-01T00:00:00Z'`),
		parsed(t, `i in ? or s prefix 'te'`, members),
		parsed(t, `l contains 'y' or l contains [2]`),
		parsed(t, `-i * m.x + f / 2 - u % 3 is null`),
		parsed(t, `i * f > m.x - 1e30 and u + 1 is null`),
		parsed(t, `m = {x: 1099511627776} and "a-name-of-more-than-thirty-two-bytes" = 1`),
	} {
		if !p.Match(b) {
			t.Errorf("%v does not match", p)
		}
		if n := testing.AllocsPerRun(100, func() { p.Match(b) }); n != 0 {
			t.Errorf("%.40s…: %v allocations", p, n)
		}
	}
}

// Anything may be handed to Match; what is no map has no fields.
func TestMatchOfWhatIsNoMap(t *testing.T) {
	p := parsed(t, `a is null and not (b is not null)`)
	for _, b := range [][]byte{nil, {}, {0xc0}, {0xc1}, {0x93, 1, 2, 3}, {0xdf, 0xff, 0xff, 0xff, 0xff}, {0x81, 0xa1}, {0x81, 0xa1, 'a', 0xdb}} {
		if !p.Match(b) {
			t.Errorf("%x has fields", b)
		}
	}
}

// Each limit is enforced, and at the limit all is well.
func TestLimits(t *testing.T) {
	repeat := func(part, joint string, n int) string {
		return strings.TrimSuffix(strings.Repeat(part+joint, n), joint)
	}
	members := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = i
		}
		return list
	}
	keys := make([]string, MaxList)
	for i := range keys {
		keys[i] = fmt.Sprintf("%027d", i) // with its header 28 bytes
	}
	for _, c := range []struct {
		name string
		text string
		args []any
		says string // "" if it is accepted
	}{
		{"nodes", repeat("a = 1", " or ", (MaxNodes-1)/3), nil, ""},
		{"nodes", repeat("a = 1", " or ", (MaxNodes-1)/3+1), nil, "conditions and terms"},
		{"terms", repeat("a", " and ", MaxNodes+1), nil, "conditions and terms"},
		{"members", "a in ?", []any{members(MaxList)}, ""},
		{"members", "a in ?", []any{members(MaxList + 1)}, "a list of"},
		{"members", "a in (?, -1)", []any{members(MaxList)}, "a list of"},
		{"keys", "a in ?", []any{keys}, ""},
		{"bytes", "a = ?", []any{strings.Repeat("x", MaxEncoded-20)}, ""},
		{"bytes", "a = ?", []any{strings.Repeat("x", MaxEncoded)}, "more than 131072"},
		{"bytes", "a = ? or a = ?", []any{strings.Repeat("x", MaxEncoded/2), strings.Repeat("y", MaxEncoded/2)}, "more than 131072"},
		{"text", "a = 1" + strings.Repeat(" ", MaxText-5), nil, ""},
		{"text", "a = 1" + strings.Repeat(" ", MaxText-4), nil, "a text of"},
		{"parentheses", strings.Repeat("(", maxNesting) + "a = 1" + strings.Repeat(")", maxNesting), nil, ""},
		{"parentheses", strings.Repeat("(", MaxText/2), nil, "nested"},
		{"not", strings.Repeat("not ", MaxText/4-2) + "a", nil, "nested"},
		{"signs", strings.Repeat("- ", MaxDepth-2) + "a > 0", nil, ""},
		{"signs", strings.Repeat("- ", MaxDepth-1) + "a > 0", nil, "nested"},
		{"brackets", "a = " + strings.Repeat("[", msgp.MaxDepth) + strings.Repeat("]", msgp.MaxDepth), nil, ""},
		{"brackets", "a = " + strings.Repeat("[", msgp.MaxDepth+1) + strings.Repeat("]", msgp.MaxDepth+1), nil, "nested"},
		{"brackets", "a = " + strings.Repeat("[", MaxText/2), nil, "nested"},
		{"steps", repeat("a", ".", maxSteps) + " = 1", nil, ""},
		{"steps", repeat("a", ".", maxSteps+1) + " = 1", nil, "a path has"},
		{"cost", repeat("a contains 1", " or ", MaxCost/66), nil, ""},
		{"cost", repeat("a contains 1", " or ", MaxCost/66+1), nil, "a cost of"},
		{"densest text", "a = ?", []any{make([]bool, MaxEncoded-20)}, ""},
		{"densest names", repeat(`"`+strings.Repeat(`""`, 120)+`" is null`, " or ", 1000/2), nil, ""},
	} {
		p, err := Parse(c.text, c.args...)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %.200v", c.name, err)
				continue
			}
			checkRoundTrips(t, p)
			continue
		}
		if refusal, ok := errors.AsType[*Error](err); !ok || !strings.Contains(refusal.Detail, c.says) {
			t.Errorf("%s: %.200v, want %s", c.name, err, c.says)
		}
	}
}

// Paths come sorted, once each, in the form in which Bound and the constructors
// take them.
func TestPaths(t *testing.T) {
	p := parsed(t, `b = 1 and a.b + c > 2 and ("x.y".z is null or b contains a) and "say ""hi""" = "first name" and "" = "in"`)
	want := []string{`""`, `"say ""hi"""`, `"x.y".z`, "a", "a.b", "b", "c", "first name", "in"}
	if got := p.Paths(); !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	for _, path := range want {
		eq, err := Eq(path, 1)
		if err != nil {
			t.Errorf("Eq(%s): %v", path, err)
			continue
		}
		if got := eq.Paths(); !slices.Equal(got, []string{path}) {
			t.Errorf("Eq(%s) looks at %q", path, got)
		}
		if b, ok := eq.Bound(path); !ok || len(b.Equal) == 0 {
			t.Errorf("Eq(%s) has bound %v", path, b)
		}
	}
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `"a`, `"a"b`, strings.Repeat("a.", 99) + "a"} {
		if p, err := Eq(path, 1); err == nil {
			t.Errorf("Eq(%s) is %v", path, p)
		}
	}
}

// The constructors say the same as text.
func TestConstructors(t *testing.T) {
	must := func(p *Predicate, err error) *Predicate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		got  *Predicate
		want string
	}{
		{must(Eq("a.b", 1)), `a.b = 1`},
		{must(Ne("a", "x")), `a <> 'x'`},
		{must(Lt("a", 1.5)), `a < 1.5`},
		{must(Le("a", 1)), `a <= 1`},
		{must(Gt("a", 1)), `a > 1`},
		{must(Ge("a", 1)), `a >= 1`},
		{must(In("a", 2, 1, 2.0)), `a in (1, 2)`},
		{must(In("a")), `false`},
		{must(IsNull("a")), `a is null`},
		{must(Not(must(IsNull("a")))), `a is not null`},
		{must(And()), `true`},
		{must(Or()), `false`},
		{must(And(must(Eq("a", 1)), must(Or(must(Eq("b", 1)), must(Eq("c", 1)))))), `a = 1 and (b = 1 or c = 1)`},
	} {
		if c.got.String() != c.want {
			t.Errorf("%v, want %s", c.got, c.want)
		}
		checkRoundTrips(t, c.got)
	}
	for name, err := range map[string]error{
		"nil":      second(Eq("a", nil)),
		"nil in":   second(In("a", 1, nil)),
		"NaN":      second(Lt("a", math.NaN())),
		"list":     second(Lt("a", []int{1})),
		"channel":  second(Eq("a", make(chan int))),
		"no field": second(Eq("", 1)),
	} {
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func second[A any](_ A, err error) error { return err }
