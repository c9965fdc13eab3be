package spacetest

import (
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Mutate is what mutations mean, computed on decoded values: it returns the new
// value and how many fields and elements were added or removed, or why the
// mutations are refused.
func Mutate(kind space.Kind, value []byte, ms []space.Mutation) ([]byte, int, space.Code) {
	count := 0
	for _, m := range ms {
		if kind == space.KindBytes {
			if m.Field != "" {
				return nil, 0, space.CodeWrongKind
			}
			out, code := mutateWhole(value, m)
			if code != space.OK {
				return nil, 0, code
			}
			value = out
			continue
		}
		if m.Field == "" {
			return nil, 0, space.CodeInvalid
		}
		out, n, code := mutateAt(decode(value), append([]string{m.Field}, m.Path...), m)
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

func mutateWhole(value []byte, m space.Mutation) ([]byte, space.Code) {
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
		return setRange(value, m), space.OK
	case space.MutAdd, space.MutAddFloat:
		var old any
		if len(value) > 0 {
			old = string(value)
		}
		sum, code := addTo(old, old != nil, m)
		if code != space.OK {
			return nil, code
		}
		return []byte(numberText(sum)), space.OK
	}
	return nil, space.CodeInvalid
}

func setRange(old []byte, m space.Mutation) []byte {
	if len(m.Arg) == 0 {
		return old
	}
	b := make([]byte, max(len(old), int(m.Offset)+len(m.Arg)))
	copy(b, old)
	copy(b[m.Offset:], m.Arg)
	return b
}

// mutateAt carries a mutation out on the child that the path names, of v or below.
func mutateAt(v any, path []string, m space.Mutation) (any, int, space.Code) {
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
			out, n, _, code := mutateHere(c[i], true, m)
			c[i] = out
			return c, n, code
		}
		old := c[i]
		if old == nil {
			if old = map[string]any{}; m.Code == space.MutUnset || m.Code == space.MutRemove {
				return c, 0, space.OK
			}
		}
		out, n, code := mutateAt(old, path[1:], m)
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
			out, n, keep, code := mutateHere(old, present, m)
			if keep {
				c[step] = out
			}
			return c, n, code
		case old == nil && (m.Code == space.MutUnset || m.Code == space.MutRemove):
			return c, 0, space.OK
		case old == nil:
			old = map[string]any{}
		}
		out, n, code := mutateAt(old, path[1:], m)
		c[step] = out
		return c, n, code
	}
	return nil, 0, space.CodeWrongKind
}

// mutateHere returns what a mutation other than unset makes of a value, and
// whether there is one afterwards.
func mutateHere(old any, present bool, m space.Mutation) (out any, n int, keep bool, code space.Code) {
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
		sum, code := addTo(old, present, m)
		switch old.(type) {
		case string:
			return numberText(sum), 0, true, code
		case []byte:
			return []byte(numberText(sum)), 0, true, code
		}
		return sum, created, true, code
	case space.MutAppend, space.MutSetRange:
		change := func(b []byte) []byte {
			if m.Code == space.MutAppend {
				return slices.Concat(b, m.Arg)
			}
			return setRange(b, m)
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
	return mutateElement(old, present, m)
}

func mutateElement(old any, present bool, m space.Mutation) (out any, n int, keep bool, code space.Code) {
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

// addTo returns an int64 or float64.
func addTo(old any, present bool, m space.Mutation) (any, space.Code) {
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

func numberText(sum any) string {
	switch v := sum.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// changeMatch changes the first entries that match, or none of them.
func (m *Model) changeMatch(s *table, o *space.Op, touched *[]place) space.Result {
	found := m.match(s, o, nil)
	if found.Code != space.OK {
		return found
	}
	r := space.Result{Count: len(found.Entries)}
	for _, e := range found.Entries {
		value, _, code := Mutate(e.Kind, e.Value, o.Mutations)
		if code != space.OK {
			return space.Result{Code: code}
		}
		e.Value, e.Version = value, unnumbered
		if m.txns.guarded(o.Space, e) {
			return space.Result{Code: space.CodeLocked}
		}
		s.put(string(e.Key), e)
		*touched = append(*touched, place{o.Space, string(e.Key)})
		if o.Flags&space.FlagReturn != 0 {
			r.Entries = append(r.Entries, e)
		}
	}
	return r
}
