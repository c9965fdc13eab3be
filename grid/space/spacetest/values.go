package spacetest

import (
	"fmt"
	"math"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

var fieldNames = []string{"a", "b", "c", "a.b"}

// DrawFields draws the fields of an entry or of a template, few and with few
// values, so that equal ones meet.
func DrawFields(t *rapid.T) map[string]any {
	m := map[string]any{}
	for _, f := range fieldNames[:3] {
		if rapid.Bool().Draw(t, f) {
			m[f] = int64(rapid.IntRange(0, 2).Draw(t, "value"))
		}
	}
	return m
}

// DrawPredicate draws the binary form of a predicate over the fields that
// DrawFields draws, now and then none.
func DrawPredicate(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "no predicate") {
		return nil
	}
	text := DrawCondition(t)
	p, err := predicate.Parse(text)
	if err != nil {
		panic(fmt.Sprintf("spacetest: %s: %v", text, err))
	}
	return p.Append(nil)
}

// DrawCondition draws the text of a predicate over the fields that DrawFields
// draws.
func DrawCondition(t *rapid.T) string {
	part := func() string {
		field := rapid.SampledFrom(fieldNames[:3]).Draw(t, "field")
		op := rapid.SampledFrom([]string{"=", "<>", "<", ">=", "in"}).Draw(t, "op")
		if op == "in" {
			return field + " in (0, 2)"
		}
		return fmt.Sprint(field, op, rapid.IntRange(0, 2).Draw(t, "constant"))
	}
	text := part()
	if rapid.Bool().Draw(t, "two") {
		text += rapid.SampledFrom([]string{" and ", " or "}).Draw(t, "junction") + part()
	}
	return text
}

// DrawMutation draws a mutation of any sort, of fields or of a whole value of
// bytes, its argument often such that it meets what is there.
func DrawMutation(t *rapid.T, fields bool) space.Mutation {
	m := space.Mutation{Code: space.MutationCode(rapid.IntRange(1, 12).Draw(t, "mutation"))}
	if fields {
		m.Field = rapid.SampledFrom(fieldNames).Draw(t, "field")
		m.Path = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "a.b", "0", "1", "2", "-1", "01"}), 0, 3).Draw(t, "path")
	}
	switch m.Code {
	case space.MutAdd:
		m.Arg = encode(drawInt(t))
	case space.MutAddFloat:
		m.Arg = encode(drawFloat(t))
	case space.MutAppend, space.MutSetRange:
		m.Arg = []byte(rapid.SampledFrom([]string{"", "7", "x", "text"}).Draw(t, "text"))
		m.Offset = uint32(rapid.IntRange(0, 6).Draw(t, "offset"))
	case space.MutUnset:
	default:
		m.Arg = encode(DrawValue(t, 1))
		if !fields {
			m.Arg = []byte(rapid.SampledFrom([]string{"", "7", "-1.5", "text"}).Draw(t, "text"))
		}
	}
	if m.Code == space.MutAdd || m.Code == space.MutAddFloat {
		if rapid.IntRange(0, 2).Draw(t, "lower") == 0 {
			m.Min = encode(drawNumber(t))
		}
		if rapid.IntRange(0, 2).Draw(t, "upper") == 0 {
			m.Max = encode(drawNumber(t))
		}
	}
	return m
}

// drawMutations draws one to three mutations, most of which an entry that
// DrawFields drew, or a decimal text, can take.
func drawMutations(t *rapid.T, kind space.Kind) (ms []space.Mutation) {
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		if rapid.IntRange(0, 3).Draw(t, "any") == 0 {
			ms = append(ms, DrawMutation(t, kind == space.KindFields))
			continue
		}
		m := space.Mutation{Code: space.MutAdd, Arg: encode(int64(rapid.IntRange(-3, 3).Draw(t, "arg")))}
		if kind == space.KindFields {
			m.Code = rapid.SampledFrom([]space.MutationCode{space.MutSet, space.MutUnset, space.MutAdd}).Draw(t, "mutation")
			m.Field = rapid.SampledFrom(fieldNames[:3]).Draw(t, "field")
		}
		ms = append(ms, m)
	}
	return ms
}

func drawInt(t *rapid.T) int64 {
	return rapid.OneOf(rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 200, -200})).Draw(t, "integer")
}

func drawFloat(t *rapid.T) float64 {
	return rapid.SampledFrom([]float64{0, 1, -1.5, 2.25, 1e300, math.MaxFloat64, -math.MaxFloat64, math.Inf(1)}).Draw(t, "float")
}

func drawNumber(t *rapid.T) any {
	if rapid.Bool().Draw(t, "integral") {
		return drawInt(t)
	}
	return drawFloat(t)
}

// DrawValue draws a value nested up to depth, from few enough values that equal
// ones meet.
func DrawValue(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 6+min(depth, 1)*5).Draw(t, "value") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return drawFloat(t)
	case 3:
		return rapid.SampledFrom([]string{"", "7", "-3", "1.5", "text", "9223372036854775807", "007"}).Draw(t, "string")
	case 4:
		return []byte(rapid.SampledFrom([]string{"", "7", "x"}).Draw(t, "bytes"))
	case 5:
		return uint64(math.MaxUint64)
	case 6:
		return drawInt(t)
	case 7, 8:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "elements"))
		for i := range list {
			list[i] = DrawValue(t, depth-1)
		}
		return list
	}
	m := map[string]any{}
	for _, name := range fieldNames {
		if rapid.Bool().Draw(t, "has "+name) {
			m[name] = DrawValue(t, depth-1)
		}
	}
	return m
}
