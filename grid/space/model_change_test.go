package space_test

import (
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// modelMutate is what mutations mean, on decoded values: it returns the new
// value and how many fields and elements were added or removed.
func modelMutate(kind space.Kind, value []byte, ms []space.Mutation) ([]byte, int, space.Code) {
	count := 0
	for _, m := range ms {
		if kind == space.KindBytes {
			if m.Field != "" {
				return nil, 0, space.CodeWrongKind
			}
			out, code := modelWhole(value, m)
			if code != space.OK {
				return nil, 0, code
			}
			value = out
			continue
		}
		if m.Field == "" {
			return nil, 0, space.CodeInvalid
		}
		out, n, code := modelAt(decode(value), append([]string{m.Field}, m.Path...), m)
		if code != space.OK {
			return nil, 0, code
		}
		if value = encode(out); len(value) > space.MaxValueBytes {
			return nil, 0, space.CodeTooLarge
		}
		count += n
	}
	return value, count, space.OK
}

func modelWhole(value []byte, m space.Mutation) ([]byte, space.Code) {
	switch m.Code {
	case space.MutSet:
		return m.Arg, space.OK
	case space.MutDefault:
		if len(value) > 0 {
			return value, space.OK
		}
		return m.Arg, space.OK
	case space.MutAppend:
		return slices.Concat(value, m.Arg), space.OK
	case space.MutSetRange:
		return modelSetRange(value, m), space.OK
	case space.MutAdd, space.MutAddFloat:
		var old any
		if len(value) > 0 {
			old = string(value)
		}
		sum, code := modelAdd(old, old != nil, m)
		if code != space.OK {
			return nil, code
		}
		return []byte(modelText(sum)), space.OK
	}
	return nil, space.CodeInvalid
}

func modelSetRange(old []byte, m space.Mutation) []byte {
	if len(m.Arg) == 0 {
		return old
	}
	b := make([]byte, max(len(old), int(m.Offset)+len(m.Arg)))
	copy(b, old)
	copy(b[m.Offset:], m.Arg)
	return b
}

// modelAt carries a mutation out on the child that the path names, of v or below.
func modelAt(v any, path []string, m space.Mutation) (any, int, space.Code) {
	step, last := path[0], len(path) == 1
	switch c := v.(type) {
	case []any:
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || strconv.Itoa(i) != step {
			return nil, 0, space.CodeWrongKind
		}
		if i >= len(c) {
			return nil, 0, space.CodeRange
		}
		c = slices.Clone(c)
		switch {
		case last && m.Code == space.MutUnset:
			return slices.Delete(c, i, i+1), 1, space.OK
		case last:
			out, n, _, code := modelHere(c[i], true, m)
			c[i] = out
			return c, n, code
		}
		old := c[i]
		if old == nil {
			if old = map[string]any{}; m.Code == space.MutUnset || m.Code == space.MutRemove {
				return c, 0, space.OK
			}
		}
		out, n, code := modelAt(old, path[1:], m)
		c[i] = out
		return c, n, code
	case map[string]any:
		c = maps.Clone(c)
		old, present := c[step]
		switch {
		case last && m.Code == space.MutUnset:
			delete(c, step)
			if present {
				return c, 1, space.OK
			}
			return c, 0, space.OK
		case last:
			out, n, keep, code := modelHere(old, present, m)
			if keep {
				c[step] = out
			}
			return c, n, code
		case old == nil && (m.Code == space.MutUnset || m.Code == space.MutRemove):
			return c, 0, space.OK
		case old == nil:
			old = map[string]any{}
		}
		out, n, code := modelAt(old, path[1:], m)
		c[step] = out
		return c, n, code
	}
	return nil, 0, space.CodeWrongKind
}

// modelHere returns what a mutation other than unset makes of a value, and
// whether there is one afterwards.
func modelHere(old any, present bool, m space.Mutation) (out any, n int, keep bool, code space.Code) {
	created := 0
	if !present {
		created = 1
	}
	if m.Code == space.MutRemove && old == nil {
		return old, 0, present, space.OK
	}
	present = old != nil
	switch m.Code {
	case space.MutSet:
		return decode(m.Arg), created, true, space.OK
	case space.MutDefault:
		if present {
			return old, 0, true, space.OK
		}
		return decode(m.Arg), created, true, space.OK
	case space.MutLowest, space.MutHighest:
		if present {
			c := msgp.Compare(m.Arg, encode(old))
			if m.Code == space.MutLowest && c >= 0 || m.Code == space.MutHighest && c <= 0 {
				return old, 0, true, space.OK
			}
		}
		return decode(m.Arg), created, true, space.OK
	case space.MutAdd, space.MutAddFloat:
		sum, code := modelAdd(old, present, m)
		switch old.(type) {
		case string:
			return modelText(sum), 0, true, code
		case []byte:
			return []byte(modelText(sum)), 0, true, code
		}
		return sum, created, true, code
	case space.MutAppend, space.MutSetRange:
		change := func(b []byte) []byte {
			if m.Code == space.MutAppend {
				return slices.Concat(b, m.Arg)
			}
			return modelSetRange(b, m)
		}
		switch v := old.(type) {
		case string:
			return string(change([]byte(v))), created, true, space.OK
		case []byte:
			return append([]byte{}, change(v)...), 0, true, space.OK
		}
		if present {
			return nil, 0, false, space.CodeWrongKind
		}
		return string(change(nil)), created, true, space.OK
	}
	return modelElement(old, present, m)
}

func modelElement(old any, present bool, m space.Mutation) (out any, n int, keep bool, code space.Code) {
	list, ok := old.([]any)
	if present && !ok {
		return nil, 0, false, space.CodeWrongKind
	}
	left := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return msgp.Compare(encode(v), m.Arg) == 0 })
	switch {
	case m.Code == space.MutRemove:
		return left, len(list) - len(left), present, space.OK
	case m.Code == space.MutInsert && len(left) < len(list):
		return old, 0, true, space.OK
	}
	return append(slices.Clone(list), decode(m.Arg)), 1, true, space.OK
}

// modelAdd returns an int64 or float64.
func modelAdd(old any, present bool, m space.Mutation) (any, space.Code) {
	var sum any
	if m.Code == space.MutAdd {
		n := new(big.Int)
		switch v := old.(type) {
		case int64:
			n.SetInt64(v)
		case uint64:
			return nil, space.CodeRange
		case string, []byte:
			text := reflect.ValueOf(v).Convert(reflect.TypeFor[string]()).String()
			parsed, err := strconv.ParseInt(text, 10, 64)
			if err != nil || strconv.FormatInt(parsed, 10) != text {
				return nil, space.CodeWrongKind
			}
			n.SetInt64(parsed)
		default:
			if present {
				return nil, space.CodeWrongKind
			}
		}
		if n.Add(n, big.NewInt(decode(m.Arg).(int64))); !n.IsInt64() {
			return nil, space.CodeRange
		}
		sum = n.Int64()
	} else {
		f := 0.0
		switch v := old.(type) {
		case int64:
			f = float64(v)
		case float64:
			f = v
		case uint64:
			return nil, space.CodeRange
		case string, []byte:
			parsed, err := strconv.ParseFloat(reflect.ValueOf(v).Convert(reflect.TypeFor[string]()).String(), 64)
			if err != nil || math.IsNaN(parsed) || math.IsInf(parsed, 0) {
				return nil, space.CodeWrongKind
			}
			f = parsed
		default:
			if present {
				return nil, space.CodeWrongKind
			}
		}
		if f += decode(m.Arg).(float64); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, space.CodeRange
		}
		sum = f
	}
	if m.Min != nil && msgp.Compare(encode(sum), m.Min) < 0 || m.Max != nil && msgp.Compare(encode(sum), m.Max) > 0 {
		return nil, space.CodeRange
	}
	return sum, space.OK
}

func modelText(sum any) string {
	switch v := sum.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// changeMatch changes the first entries that match, or none of them.
func (m *model) changeMatch(s *modelSpace, o *space.Op, touched *[]modelKey) space.Result {
	found := m.match(s, o, nil)
	if found.Code != space.OK {
		return found
	}
	r := space.Result{Count: len(found.Entries)}
	for _, e := range found.Entries {
		value, _, code := modelMutate(e.Kind, e.Value, o.Mutations)
		if code != space.OK {
			return space.Result{Code: code}
		}
		e.Value, e.Version = value, unnumbered
		if m.txns.guarded(o.Space, e) {
			return space.Result{Code: space.CodeLocked}
		}
		s.entries[string(e.Key)] = e
		*touched = append(*touched, modelKey{o.Space, string(e.Key)})
		if o.Flags&space.FlagReturn != 0 {
			r.Entries = append(r.Entries, e)
		}
	}
	return r
}

var mutationFields = []string{"a", "b", "c", "a.b"}

// drawAnyMutation draws a mutation of any sort, its argument often such that it
// meets what is there.
func drawAnyMutation(t *rapid.T, fields bool) space.Mutation {
	m := space.Mutation{Code: space.MutationCode(rapid.IntRange(1, 12).Draw(t, "mutation"))}
	if fields {
		m.Field = rapid.SampledFrom(mutationFields).Draw(t, "field")
		m.Path = rapid.SliceOfN(rapid.SampledFrom(append(mutationFields, "0", "1", "2", "-1", "01")), 0, 3).Draw(t, "path")
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
		m.Arg = encode(drawValue(t, 1))
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

// drawValue draws a value nested up to depth, from few enough values that equal
// ones meet.
func drawValue(t *rapid.T, depth int) any {
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
			list[i] = drawValue(t, depth-1)
		}
		return list
	}
	m := map[string]any{}
	for _, name := range mutationFields {
		if rapid.Bool().Draw(t, "has "+name) {
			m[name] = drawValue(t, depth-1)
		}
	}
	return m
}
