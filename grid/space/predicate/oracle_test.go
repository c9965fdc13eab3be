package predicate

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The oracle says what a predicate means, as plainly as Go can: a syntax tree
// as it was written, decided by three-valued logic over decoded Go values, with
// big numbers. It shares no code with the package.

type truthValue int

const (
	no truthValue = iota
	unknown
	yes
)

func (v truthValue) String() string { return [...]string{"false", "unknown", "true"}[v] }

func truthOf(v bool) truthValue {
	if v {
		return yes
	}
	return no
}

// condition is a condition as somebody writes it, and source an operand. Their
// text collects the arguments of its question marks.
type (
	condition interface {
		text(args *[]any) string
		decide(entry map[string]any) truthValue
	}
	source interface {
		text(args *[]any) string
		value(entry map[string]any) any // nil for null and unknown
	}
)

type (
	joined struct {
		word  string
		parts []condition
	}
	negated   struct{ of condition }
	comparing struct {
		op          string
		left, right source
	}
	between struct {
		of, low, high source
	}
	membershipOf struct {
		of   source
		list []any
	}
	null   struct{ of source }
	begins struct {
		of     source
		prefix any
	}
	contains struct{ of, element source }
	alone    struct{ of source }
)

type (
	field    []string
	literal  struct{ v any }
	argument struct{ v any }
	computed struct {
		op          string
		left, right source
	}
	minus struct{ of source }
)

func (c joined) text(args *[]any) string {
	var parts []string
	for _, p := range c.parts {
		parts = append(parts, "("+p.text(args)+")")
	}
	return strings.Join(parts, " "+c.word+" ")
}

func (c joined) decide(e map[string]any) truthValue {
	result := c.parts[0].decide(e)
	for _, p := range c.parts[1:] {
		if c.word == "and" {
			result = min(result, p.decide(e))
		} else {
			result = max(result, p.decide(e))
		}
	}
	return result
}

func (c negated) text(args *[]any) string { return "not (" + c.of.text(args) + ")" }
func (c negated) decide(e map[string]any) truthValue {
	return yes - c.of.decide(e)
}

func (c comparing) text(args *[]any) string {
	return c.left.text(args) + " " + c.op + " " + c.right.text(args)
}
func (c comparing) decide(e map[string]any) truthValue {
	return compareValues(c.op, c.left.value(e), c.right.value(e))
}

func (c between) text(args *[]any) string {
	return c.of.text(args) + " BETWEEN " + c.low.text(args) + " AND " + c.high.text(args)
}
func (c between) decide(e map[string]any) truthValue {
	v := c.of.value(e)
	return min(compareValues(">=", v, c.low.value(e)), compareValues("<=", v, c.high.value(e)))
}

func (c membershipOf) text(args *[]any) string {
	of := c.of.text(args)
	var members []string
	for _, v := range c.list {
		members = append(members, literalText(v))
	}
	return of + " in (" + strings.Join(members, ", ") + ")"
}
func (c membershipOf) decide(e map[string]any) truthValue {
	result := no
	for _, v := range c.list {
		result = max(result, compareValues("=", c.of.value(e), v))
	}
	return result
}

func (c null) text(args *[]any) string             { return c.of.text(args) + " is null" }
func (c null) decide(e map[string]any) truthValue  { return truthOf(c.of.value(e) == nil) }
func (c alone) text(args *[]any) string            { return c.of.text(args) }
func (c alone) decide(e map[string]any) truthValue { return compareValues("=", c.of.value(e), true) }
func (c begins) text(args *[]any) string           { return c.of.text(args) + " prefix " + literalText(c.prefix) }
func (c contains) text(args *[]any) string {
	return c.of.text(args) + " contains " + c.element.text(args)
}

func (c begins) decide(e map[string]any) truthValue {
	switch v := c.of.value(e).(type) {
	case string:
		if p, ok := c.prefix.(string); ok {
			return truthOf(strings.HasPrefix(v, p))
		}
	case []byte:
		if p, ok := c.prefix.([]byte); ok {
			return truthOf(bytes.HasPrefix(v, p))
		}
	}
	return unknown
}

func (c contains) decide(e map[string]any) truthValue {
	list, ok := c.of.value(e).([]any)
	want := c.element.value(e)
	if !ok || want == nil {
		return unknown
	}
	for _, v := range list {
		if same(v, want) {
			return yes
		}
	}
	return no
}

func (f field) text(*[]any) string {
	var steps []string
	for _, step := range f {
		steps = append(steps, `"`+strings.ReplaceAll(step, `"`, `""`)+`"`)
	}
	return strings.Join(steps, ".")
}

func (f field) value(e map[string]any) any {
	var v any = e
	for _, step := range f {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	return v
}

func (l literal) text(*[]any) string        { return literalText(l.v) }
func (l literal) value(map[string]any) any  { return l.v }
func (a argument) text(args *[]any) string  { *args = append(*args, a.v); return "?" }
func (a argument) value(map[string]any) any { return a.v }
func (m minus) text(args *[]any) string     { return "-(" + m.of.text(args) + ")" }
func (c computed) text(args *[]any) string {
	return "(" + c.left.text(args) + " " + c.op + " " + c.right.text(args) + ")"
}

func (m minus) value(e map[string]any) any {
	return calculate("-", int64(0), m.of.value(e))
}

func (c computed) value(e map[string]any) any {
	return calculate(c.op, c.left.value(e), c.right.value(e))
}

// calculate computes integers as big integers, everything else as floats.
func calculate(op string, a, b any) any {
	x, xok := a.(int64)
	y, yok := b.(int64)
	if xok && yok {
		r, p, q := new(big.Int), big.NewInt(x), big.NewInt(y)
		switch op {
		case "+":
			r.Add(p, q)
		case "-":
			r.Sub(p, q)
		case "*":
			r.Mul(p, q)
		default:
			if y == 0 {
				return nil
			}
			if r.Quo(p, q); op == "%" {
				r.Rem(p, q)
			}
		}
		if !r.IsInt64() {
			return nil
		}
		return r.Int64()
	}
	f, fok := toFloat(a)
	g, gok := toFloat(b)
	if !fok || !gok {
		return nil
	}
	var r float64
	switch op {
	case "+":
		r = f + g
	case "-":
		r = f - g
	case "*":
		r = f * g
	default:
		if g == 0 {
			return nil
		}
		if r = f / g; op == "%" {
			r = math.Mod(f, g)
		}
	}
	if math.IsNaN(r) {
		return nil
	}
	return r
}

func toFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// compareValues is a comparison under three values.
func compareValues(op string, a, b any) truthValue {
	if a == nil || b == nil {
		return unknown
	}
	switch op {
	case "=":
		return truthOf(same(a, b))
	case "<>":
		return truthOf(!same(a, b))
	}
	order, ok := orderOf(a, b)
	if !ok {
		return unknown
	}
	switch op {
	case "<":
		return truthOf(order < 0)
	case "<=":
		return truthOf(order <= 0)
	case ">":
		return truthOf(order > 0)
	}
	return truthOf(order >= 0)
}

// orderOf compares values of one kind that has an order.
func orderOf(a, b any) (int, bool) {
	switch x := a.(type) {
	case bool:
		y, ok := b.(bool)
		if x == y {
			return 0, ok
		} else if y {
			return -1, ok
		}
		return 1, ok
	case string:
		y, ok := b.(string)
		return strings.Compare(x, y), ok
	case []byte:
		y, ok := b.([]byte)
		return bytes.Compare(x, y), ok
	case time.Time:
		y, ok := b.(time.Time)
		return x.Compare(y), ok
	}
	x, y := bigNumber(a), bigNumber(b)
	if x == nil || y == nil {
		return 0, false
	}
	return x.Cmp(y), true
}

// bigNumber returns a number exactly, nil for other values.
func bigNumber(v any) *big.Float {
	f := new(big.Float).SetPrec(200)
	switch v := v.(type) {
	case int64:
		return f.SetInt64(v)
	case uint64:
		return f.SetUint64(v)
	case float64:
		return f.SetFloat64(v)
	}
	return nil
}

// same is equality of any two values.
func same(a, b any) bool {
	switch x := a.(type) {
	case nil:
		return b == nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k := range x {
			if v, ok := y[k]; !ok || !same(x[k], v) {
				return false
			}
		}
		return true
	}
	order, ok := orderOf(a, b)
	return ok && order == 0
}

// literalText writes a value the way a person would.
func literalText(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case []byte:
		return fmt.Sprintf("X'%x'", v)
	case time.Time:
		return "TS'" + v.Format(time.RFC3339Nano) + "'"
	case float64:
		if math.IsInf(v, 0) {
			return fmt.Sprintf("float '%v'", v)
		}
		return fmt.Sprintf("%.17e", v)
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, literalText(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for k, e := range v {
			parts = append(parts, literalText(k)+":"+literalText(e))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(v)
}

// What the generators draw is narrow, so that fields and constants meet often.

var someFields = []field{{"a"}, {"b"}, {"c"}, {"m", "x"}, {"m", "and"}, {"a.b"}, {"m", "x", "y"}}

func anyOrdered() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64Range(-3, 3), func(i int64) any { return i }),
		rapid.Map(rapid.Int64Range(-3, 3), func(i int64) any { return float64(i) / 2 }),
		rapid.SampledFrom([]any{
			int64(math.MaxInt64), int64(math.MinInt64), int64(1 << 53), int64(1<<53 + 1), uint64(1 << 63), uint64(math.MaxUint64),
			float64(1 << 53), float64(1 << 63), -float64(1 << 63), float64(1 << 64), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324,
		}),
		rapid.SampledFrom([]any{"", "a", "ab", "b", "\xff", "\xff\xff", "a\xff", "it's", strings.Repeat("long", 20)}),
		rapid.SampledFrom([]any{[]byte{}, []byte("a"), []byte("ab"), []byte{0xff}}),
		rapid.SampledFrom([]any{true, false}),
		rapid.SampledFrom([]any{
			time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0).UTC(), time.Unix(1, 1).UTC(),
			time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		}),
	)
}

func anyConstant() *rapid.Generator[any] {
	inside := rapid.OneOf(anyOrdered(), rapid.Just[any](nil))
	return rapid.OneOf(anyOrdered(), anyOrdered(),
		rapid.Map(rapid.SliceOfN(inside, 0, 2), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"x", "y", "and"}), inside, 0, 2), func(m map[string]any) any { return m }),
	)
}

func anyEntry() *rapid.Generator[map[string]any] {
	value := rapid.OneOf(anyConstant(), anyConstant(), rapid.Just[any](nil))
	return rapid.Custom(func(t *rapid.T) map[string]any {
		e := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "a.b", "other"}), value, 0, 5).Draw(t, "fields")
		if rapid.Bool().Draw(t, "nested") {
			e["m"] = rapid.MapOfN(rapid.SampledFrom([]string{"x", "and", "y"}), value, 0, 3).Draw(t, "m")
		}
		return e
	})
}

func anyNumber() *rapid.Generator[any] {
	return anyOrdered().Filter(func(v any) bool { return bigNumber(v) != nil })
}

func draws[T any, U any](g *rapid.Generator[T], f func(T) U) *rapid.Generator[U] {
	return rapid.Map(g, f)
}

func anyConstantSource(values *rapid.Generator[any]) *rapid.Generator[source] {
	return rapid.OneOf(
		draws(values, func(v any) source { return literal{v} }),
		draws(values, func(v any) source { return argument{v} }),
	)
}

func anyFieldSource() *rapid.Generator[source] {
	return draws(rapid.SampledFrom(someFields), func(f field) source { return f })
}

// anyComputed draws what looks at a field at least once.
func anyComputed(depth int) *rapid.Generator[source] {
	if depth == 0 {
		return anyFieldSource()
	}
	return rapid.Custom(func(t *rapid.T) source {
		inner := anyComputed(depth - 1)
		switch rapid.IntRange(0, 4).Draw(t, "operand") {
		case 0:
			return minus{inner.Draw(t, "of")}
		case 1, 2:
			op := rapid.SampledFrom([]string{"+", "-", "*", "/", "%"}).Draw(t, "op")
			other := rapid.OneOf(inner, anyConstantSource(anyNumber())).Draw(t, "other")
			if rapid.Bool().Draw(t, "turned") {
				return computed{op, other, inner.Draw(t, "of")}
			}
			return computed{op, inner.Draw(t, "of"), other}
		}
		return anyFieldSource().Draw(t, "field")
	})
}

func anyLeaf() *rapid.Generator[condition] {
	return rapid.Custom(func(t *rapid.T) condition {
		of := anyComputed(2)
		switch rapid.IntRange(0, 9).Draw(t, "leaf") {
		case 0:
			return null{of.Draw(t, "of")}
		case 1:
			return begins{anyFieldSource().Draw(t, "of"), rapid.SampledFrom([]any{"", "a", "\xff", "it'", []byte("a"), []byte{0xff}}).Draw(t, "prefix")}
		case 2:
			return contains{anyFieldSource().Draw(t, "of"), rapid.OneOf(anyConstantSource(anyConstant()), of).Draw(t, "element")}
		case 3, 4:
			return membershipOf{of.Draw(t, "of"), rapid.SliceOfN(anyConstant(), 1, 6).Draw(t, "list")}
		case 5:
			return between{of.Draw(t, "of"), anyConstantSource(anyOrdered()).Draw(t, "low"), rapid.OneOf(anyConstantSource(anyOrdered()), of).Draw(t, "high")}
		case 6:
			return alone{anyFieldSource().Draw(t, "of")}
		}
		op := rapid.SampledFrom([]string{"=", "<>", "<", "<=", ">", ">="}).Draw(t, "op")
		constants := anyOrdered()
		if op == "=" || op == "<>" {
			constants = anyConstant()
		}
		left, right := of.Draw(t, "left"), rapid.OneOf(anyConstantSource(constants), anyConstantSource(constants), of).Draw(t, "right")
		if rapid.Bool().Draw(t, "turned") {
			left, right = right, left
		}
		return comparing{op, left, right}
	})
}

func anyCondition(depth int) *rapid.Generator[condition] {
	if depth == 0 {
		return anyLeaf()
	}
	return rapid.Custom(func(t *rapid.T) condition {
		inner := anyCondition(depth - 1)
		switch rapid.IntRange(0, 3).Draw(t, "condition") {
		case 0:
			return negated{inner.Draw(t, "of")}
		case 1:
			return anyLeaf().Draw(t, "leaf")
		}
		word := rapid.SampledFrom([]string{"and", "or"}).Draw(t, "word")
		return joined{word, rapid.SliceOfN(inner, 1, 4).Draw(t, "parts")}
	})
}

// written parses a condition as it is written.
func written(t *rapid.T, c condition) *Predicate {
	var args []any
	text := c.text(&args)
	p, err := Parse(text, args...)
	if err != nil {
		t.Fatalf("Parse(%s, %v): %v", text, args, err)
	}
	return p
}

func encodedEntry(t interface{ Fatal(...any) }, e map[string]any) []byte {
	b, err := msgp.AppendValue(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decodedEntry is the entry as any reader would see it.
func decodedEntry(t *rapid.T, b []byte) map[string]any {
	v, err := msgp.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("an entry decoded to %v", reflect.TypeOf(v))
	}
	return m
}
