package aggregate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// entry is an entry of a test: nil fields are opaque bytes.
type entry struct {
	key    string
	fields map[string]any
}

func (e *entry) encoded(t testing.TB) []byte {
	t.Helper()
	if e.fields == nil {
		return nil
	}
	b, err := msgp.AppendValue(nil, e.fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func partialOf(t testing.TB, s *Spec, entries []entry) *Partial {
	t.Helper()
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := p.Add([]byte(entries[i].key), entries[i].encoded(t)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func resultOf(t testing.TB, p *Partial) *Result {
	t.Helper()
	r, err := p.Result()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines shows a result as a test compares it.
func lines(r *Result) string {
	var b strings.Builder
	for i := range r.Rows {
		for _, v := range append(slices.Clone(r.Rows[i].Groups), r.Rows[i].Values...) {
			if best, ok := v.([]Ranked); ok {
				for j := range best {
					fmt.Fprintf(&b, "%s=%v ", best[j].Key, best[j].By())
				}
				b.WriteString("| ")
				continue
			}
			b.WriteString(show(v) + " | ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// show writes equal numbers alike, whatever their types.
func show(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

var seats = []entry{
	{"1", map[string]any{"section": "A", "price": 10, "seat": map[string]any{"row": 1}, "buyer": "ann"}},
	{"2", map[string]any{"section": "A", "price": 30, "seat": map[string]any{"row": 2}, "buyer": nil}},
	{"3", map[string]any{"section": "B", "price": 2.5, "seat": map[string]any{"row": 1}, "buyer": "bob"}},
	{"4", map[string]any{"section": "B", "price": 2, "seat": map[string]any{"row": 1.0}, "buyer": "ann"}},
	{"5", map[string]any{"price": 7}},
	{"6", nil},
}

// A specification by example: null is passed over, counts of nothing are 0 and
// everything else of nothing is null, rows are in the order of their groups.
func TestAggregate(t *testing.T) {
	for _, c := range []struct {
		name string
		spec Spec
		want string
	}{
		{"counts", Spec{Columns: []Column{Count(), CountOf("section"), CountOf("buyer"), CountOf("absent")}}, "6 | 4 | 3 | 0 | \n"},
		{"numbers", Spec{Columns: []Column{Sum("price"), Avg("price"), Min("price"), Max("price")}}, "51.5 | 10.3 | 2 | 30 | \n"},
		{"of nothing", Spec{Columns: []Column{Sum("absent"), Avg("absent"), Min("absent"), Max("absent"), Distinct("absent"), Top(2, "absent")}}, "<nil> | <nil> | <nil> | <nil> | 0 | | \n"},
		{"words", Spec{Columns: []Column{Min("buyer"), Max("section"), Distinct("buyer")}}, "ann | B | 2 | \n"},
		{"groups", Spec{GroupBy: []string{"section"}, Columns: []Column{Count(), Sum("price")}}, "<nil> | 2 | 7 | \nA | 2 | 40 | \nB | 2 | 4.5 | \n"},
		{"equal numbers are one group", Spec{GroupBy: []string{"seat.row"}, Columns: []Column{Count()}}, "<nil> | 2 | \n1 | 3 | \n2 | 1 | \n"},
		{"two paths", Spec{GroupBy: []string{"section", "seat.row"}, Columns: []Column{Count()}}, "<nil> | <nil> | 2 | \nA | 1 | 1 | \nA | 2 | 1 | \nB | 1 | 2 | \n"},
		{"ordered and cut", Spec{GroupBy: []string{"section"}, Columns: []Column{Sum("price").As("taken")}, OrderBy: []Order{{"taken", true}}, Limit: 2}, "A | 40 | \n<nil> | 7 | \n"},
		{"ordered by a group", Spec{GroupBy: []string{"section"}, Columns: []Column{Count()}, OrderBy: []Order{{"count", true}, {"section", true}}}, "B | 2 | \nA | 2 | \n<nil> | 2 | \n"},
		{"the dearest", Spec{Columns: []Column{Top(2, "price"), Bottom(3, "price")}}, "2=30 1=10 | 4=2 3=2.5 5=7 | \n"},
		{"the dearest of each", Spec{GroupBy: []string{"section"}, Columns: []Column{Top(1, "price")}}, "<nil> | 5=7 | \nA | 2=30 | \nB | 3=2.5 | \n"},
		{"equal ones by key", Spec{Columns: []Column{Top(2, "seat.row"), Bottom(2, "seat.row")}}, "2=2 1=1 | 1=1 3=1 | \n"},
		{"having", Spec{GroupBy: []string{"section"}, Columns: []Column{Sum("price"), Top(1, "price")}, Having: above{"sum_price", 5}}, "<nil> | 7 | 5=7 | \nA | 40 | 2=30 | \n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(resultOf(t, partialOf(t, &c.spec, seats))); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
	if got := lines(resultOf(t, partialOf(t, &Spec{GroupBy: []string{"x"}, Columns: []Column{Count()}}, nil))); got != "" {
		t.Errorf("groups of nothing: %s", got)
	}
}

// above is a condition: the field is a number above the bound.
type above struct {
	name  string
	bound int64
}

func (a above) Match(fields []byte) bool {
	v, ok := msgp.Field(fields, a.name)
	return ok && msgp.Compare(v, msgp.AppendInt(nil, a.bound)) > 0
}

// Integers of any size add up exactly; only a sum with floats in it is a float,
// and it is the nearest one.
func TestSumsAreExact(t *testing.T) {
	tiny := math.SmallestNonzeroFloat64
	huge := math.MaxFloat64
	for _, c := range []struct {
		values []any
		sum    any
		mean   any
	}{
		{[]any{math.MaxInt64, 1}, uint64(1 << 63), float64(1 << 62)},
		{[]any{math.MinInt64, -1}, new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)), -float64(1 << 62)},
		{[]any{uint64(math.MaxUint64), uint64(math.MaxUint64), math.MinInt64, math.MinInt64, math.MinInt64, math.MinInt64}, int64(-2), -1.0 / 3},
		{[]any{uint64(math.MaxUint64), 1}, new(big.Int).Lsh(big.NewInt(1), 64), float64(1 << 63)},
		{[]any{1, -1}, int64(0), 0.0},
		{[]any{-1, 1.0}, 0.0, 0.0},
		{[]any{0.1, 0.2, -0.3}, 0.1 + 0.2 - 0.3 - (0.1 + 0.2 - 0.3) + 2.7755575615628914e-17, 9.25185853854297e-18},
		{[]any{1e100, 1, -1e100}, 1.0, 1.0 / 3},
		{[]any{huge, huge, -huge}, huge, huge / 3},
		{[]any{huge, huge}, math.Inf(1), huge},
		{[]any{tiny, tiny, tiny}, 3 * tiny, tiny},
		{[]any{huge, tiny, -huge}, tiny, 0.0},
		{[]any{math.MaxInt64, 0.5}, float64(1 << 63), float64(1 << 62)},
		{[]any{1 << 53, 1.0}, float64(1 << 53), float64(1<<52) + 0.5},
		{[]any{1 << 53, 1.0, tiny}, float64(1<<53 + 2), 3002399751580331.0},
		{[]any{math.Inf(1), 5}, math.Inf(1), math.Inf(1)},
		{[]any{math.Inf(-1), 5.5}, math.Inf(-1), math.Inf(-1)},
		{[]any{math.Inf(-1), math.Inf(1)}, nil, nil},
	} {
		s := Spec{Columns: []Column{Sum("v"), Avg("v")}}
		var entries []entry
		for i, v := range c.values {
			entries = append(entries, entry{fmt.Sprint(i), map[string]any{"v": v}})
		}
		for turn := range 2 {
			row := resultOf(t, partialOf(t, &s, entries)).Rows[0]
			if fmt.Sprintf("%T %v", row.Values[0], row.Values[0]) != fmt.Sprintf("%T %v", c.sum, c.sum) {
				t.Errorf("%v: the sum is %T %v, want %v", c.values, row.Values[0], row.Values[0], c.sum)
			}
			if row.Values[1] != c.mean {
				t.Errorf("%v: the mean is %v, want %v", c.values, row.Values[1], c.mean)
			}
			if slices.Reverse(entries); turn == 1 {
				break
			}
		}
	}
}

// More additions than limbs have room for are carried in time.
func TestSumsCarry(t *testing.T) {
	var x exact
	for i := range 100 {
		x.addInt(math.MaxUint64, false)
		x.addFloat(-1e300)
		if i%7 == 0 {
			x.room = 0 // as after a thousand million additions
		}
	}
	for range 100 {
		x.addFloat(1e300)
	}
	x.floats = false
	want := new(big.Int).Mul(big.NewInt(100), new(big.Int).SetUint64(math.MaxUint64))
	if got := x.value(); got.(*big.Int).Cmp(want) != 0 {
		t.Errorf("%v, want %v", got, want)
	}
}

func drawEntries(t *rapid.T) []entry {
	value := rapid.OneOf(
		rapid.Just(any(nil)),
		rapid.Map(rapid.Int64Range(-3, 3), func(i int64) any { return i }),
		rapid.Map(rapid.Int64Range(-3, 3), func(i int64) any { return float64(i)/2 + 0 }),
		rapid.Map(rapid.Int64(), func(i int64) any { return i }),
		rapid.Map(rapid.Uint64(), func(i uint64) any { return i }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f + 0 }), // no negative zero
	)
	word := rapid.SampledFrom([]any{nil, "a", "b", "c", true, 1, 1.0, []byte("x"), []any{1, "y"}})
	n := rapid.IntRange(0, 40).Draw(t, "entries")
	entries := make([]entry, n)
	for i := range entries {
		entries[i].key = fmt.Sprint("k", i)
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			continue
		}
		entries[i].fields = map[string]any{
			"v": value.Draw(t, "v"), "g": word.Draw(t, "g"), "in": map[string]any{"w": word.Draw(t, "w")},
		}
	}
	return entries
}

// naive computes what the specification of the property tests asks for from
// decoded values, the slow and obvious way.
func naive(entries []entry) string {
	type state struct {
		count, values int64
		ints          *big.Int
		rat           *big.Rat
		float         bool
		min, max      any
		distinct      []any
	}
	groups := map[string]*state{}
	var names []any
	less := func(a, b any) bool { return msgp.Compare(canonical(a), canonical(b)) < 0 }
	same := func(a, b any) bool { return msgp.Compare(canonical(a), canonical(b)) == 0 }
	for _, e := range entries {
		g := e.fields["g"]
		if f, ok := g.(float64); ok {
			g = int64(f) // the groups drawn are whole
		}
		name := fmt.Sprintf("%T%v", g, g)
		if i, ok := g.(int); ok {
			g = int64(i)
			name = fmt.Sprintf("%T%v", g, g)
		}
		st := groups[name]
		if st == nil {
			st = &state{ints: new(big.Int), rat: new(big.Rat)}
			groups[name] = st
			names = append(names, g)
		}
		st.count++
		if in, ok := e.fields["in"].(map[string]any); ok && in["w"] != nil {
			if !slices.ContainsFunc(st.distinct, func(v any) bool { return same(v, in["w"]) }) {
				st.distinct = append(st.distinct, in["w"])
			}
		}
		v := e.fields["v"]
		if v == nil {
			continue
		}
		st.values++
		switch v := v.(type) {
		case int64:
			st.rat.Add(st.rat, new(big.Rat).SetInt64(v))
		case uint64:
			st.rat.Add(st.rat, new(big.Rat).SetUint64(v))
		case float64:
			st.float = true
			st.rat.Add(st.rat, new(big.Rat).SetFloat64(v))
		}
		if st.min == nil || less(v, st.min) {
			st.min = v
		}
		if st.max == nil || less(st.max, v) {
			st.max = v
		}
	}
	slices.SortFunc(names, func(a, b any) int { return msgp.Compare(canonical(a), canonical(b)) })
	var b strings.Builder
	for _, g := range names {
		st := groups[fmt.Sprintf("%T%v", g, g)]
		var sum, avg any
		if st.values > 0 {
			f, _ := st.rat.Float64()
			if sum = any(f); !st.float {
				sum = st.rat.Num()
			}
			avg, _ = new(big.Rat).Quo(st.rat, new(big.Rat).SetInt64(st.values)).Float64()
		}
		for _, v := range []any{g, st.count, st.values, sum, avg, st.min, st.max, int64(len(st.distinct))} {
			b.WriteString(show(v) + " | ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Whatever the entries, however they are spread over partials, in whatever order
// these are merged and whether they travelled in between: the answer is that of a
// naive computation on decoded values.
func TestMergedPartialsAgreeWithNaive(t *testing.T) {
	s := Spec{GroupBy: []string{"g"}, Columns: []Column{
		Count(), CountOf("v"), Sum("v"), Avg("v"), Min("v"), Max("v"), Distinct("in.w"),
	}}
	rapid.Check(t, func(rt *rapid.T) {
		entries := drawEntries(rt)
		want := naive(entries)
		got := lines(resultOf(t, spread(t, rt, &s, entries)))
		if got != want {
			rt.Fatalf("got\n%swant\n%s", got, want)
		}
	})
}

// spread feeds entries to several partials in a drawn order and merges them in
// another.
func spread(t testing.TB, rt *rapid.T, s *Spec, entries []entry) *Partial {
	shuffled := rapid.Permutation(entries).Draw(rt, "order")
	parts := make([]*Partial, rapid.IntRange(1, 5).Draw(rt, "partials"))
	for i := range parts {
		parts[i] = partialOf(t, s, nil)
	}
	for i := range shuffled {
		p := parts[rapid.IntRange(0, len(parts)-1).Draw(rt, "of")]
		if err := p.Add([]byte(shuffled[i].key), shuffled[i].encoded(t)); err != nil {
			rt.Fatal(err)
		}
	}
	for len(parts) > 1 {
		i := rapid.IntRange(1, len(parts)-1).Draw(rt, "merged")
		q := parts[i]
		if rapid.Bool().Draw(rt, "sent") {
			b := q.Append(nil)
			if len(b) > q.bytes+16 {
				rt.Fatalf("%d bytes encoded, %d accounted", len(b), q.bytes)
			}
			var err error
			if q, err = DecodePartial(s, b); err != nil {
				rt.Fatal(err)
			}
			if !bytes.Equal(q.Append(nil), b) {
				rt.Fatal("a decoded partial encodes differently")
			}
		}
		if err := parts[0].Merge(q); err != nil {
			rt.Fatal(err)
		}
		parts = slices.Delete(parts, i, i+1)
	}
	return parts[0]
}

// Partials of the same entries have the same bytes, whatever way they came about.
func TestMergeIsAssociativeAndCommutative(t *testing.T) {
	s := Spec{GroupBy: []string{"in.w", "g"}, Columns: []Column{
		Count(), Sum("v"), Avg("v"), Min("v"), Max("v"), Distinct("v"), Top(3, "v"), Bottom(2, "v"),
	}}
	rapid.Check(t, func(rt *rapid.T) {
		entries := drawEntries(rt)
		whole := partialOf(t, &s, entries).Append(nil)
		if got := spread(t, rt, &s, entries).Append(nil); !bytes.Equal(got, whole) {
			rt.Fatalf("merged\n%x\nat once\n%x", got, whole)
		}
	})
}

// At a limit a partial fails with what to do; it never leaves something out.
func TestLimits(t *testing.T) {
	add := func(s Spec, n int, fields func(i int) map[string]any) error {
		p, err := New(&s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			e := entry{fmt.Sprint(i), fields(i)}
			if err := p.Add([]byte(e.key), e.encoded(t)); err != nil {
				if i < n-1 {
					t.Fatalf("entry %d of %d: %v", i, n, err)
				}
				return err
			}
		}
		return nil
	}
	number := func(i int) map[string]any { return map[string]any{"v": i} }
	long := func(i int) map[string]any { return map[string]any{"v": fmt.Sprint(i, strings.Repeat("x", 1<<20-200))} }
	for name, err := range map[string]error{
		"groups":   add(Spec{GroupBy: []string{"v"}, Columns: []Column{Count()}}, MaxGroups+1, number),
		"distinct": add(Spec{Columns: []Column{Distinct("v")}}, MaxDistinct+1, number),
		"bytes":    add(Spec{Columns: []Column{Top(MaxTop, "v")}}, 17, long),
	} {
		var e *space.Error
		if !errors.As(err, &e) || e.Code != space.CodeTooLarge || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := add(Spec{GroupBy: []string{"v"}, Columns: []Column{Count()}}, MaxGroups, number); err != nil {
		t.Error(err)
	}
	// What is replaced is given back.
	if err := add(Spec{Columns: []Column{Max("v"), Top(1, "v")}}, 60, long); err != nil {
		t.Error(err)
	}
	p := partialOf(t, &Spec{Columns: []Column{Sum("v")}}, nil)
	e := entry{"bad", map[string]any{"v": "12"}}
	if err := p.Add([]byte(e.key), e.encoded(t)); !errors.Is(err, space.ErrWrongKind) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("the sum of a string: %v", err)
	}
}

// A specification that cannot be answered is refused before anything is read.
func TestRefusedSpecs(t *testing.T) {
	count := []Column{Count()}
	for name, s := range map[string]Spec{
		"no columns":        {},
		"many columns":      {Columns: make([]Column, MaxColumns+1)},
		"a column of zeros": {Columns: make([]Column, 1)},
		"no path":           {Columns: []Column{Sum("")}},
		"an empty step":     {Columns: []Column{Sum("a..b")}},
		"a long path":       {Columns: []Column{Sum(strings.Repeat("x", MaxPathBytes+1))}},
		"top of none":       {Columns: []Column{Top(0, "v")}},
		"top of many":       {Columns: []Column{Top(MaxTop+1, "v")}},
		"one name twice":    {Columns: []Column{Sum("v"), Sum("v")}},
		"grouped twice":     {GroupBy: []string{"v", "v"}, Columns: count},
		"grouped by much":   {GroupBy: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, Columns: count},
		"an unknown order":  {Columns: count, OrderBy: []Order{{Name: "v"}}},
		"order by entries":  {Columns: []Column{Top(1, "v")}, OrderBy: []Order{{Name: "top_v"}}},
		"a negative limit":  {Columns: count, Limit: -1},
	} {
		if _, err := New(&s); !errors.Is(err, space.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A path is read as in a predicate: a name in double quotes is taken as it is.
func TestQuotedPaths(t *testing.T) {
	s := Spec{
		GroupBy: []string{`"a.b"`, `5" nails`},
		Columns: []Column{Sum(`"a.b"`).As("quoted"), Sum("a.b").As("nested"), Sum(`a."b.""c"`).As("both"), Top(1, `"a.b"`).As("top")},
	}
	p := partialOf(t, &s, []entry{{"k", map[string]any{
		"a.b": 1, "a": map[string]any{"b": 2, `b."c`: 4}, `5" nails`: true,
	}}})
	q, err := DecodePartial(&s, p.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	row := resultOf(t, q).Rows[0]
	if got := fmt.Sprint(row.Groups, row.Values[:3]); got != "[1 true] [1 2 4]" {
		t.Error(got)
	}
	if top := row.Values[3].([]Ranked); len(top) != 1 || top[0].By() != int64(1) {
		t.Error(top)
	}
	for _, path := range []string{`"a`, `"a"b`, `a."b`, `"a".`} {
		if err := (&Spec{Columns: []Column{Sum(path)}}).Validate(); !errors.Is(err, space.ErrInvalid) {
			t.Errorf("the path %s: %v", path, err)
		}
	}
}

// A specification travels as it is, but for what concerns the finished rows.
func TestSpecTravels(t *testing.T) {
	s := Spec{GroupBy: []string{"a", "b.c"}, Columns: []Column{Count(), Sum("v").As("total"), Top(7, "w")}}
	got, err := DecodeSpec(s.Append(nil))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(s) {
		t.Errorf("%v, %v", got, err)
	}
	for f := FuncCount; f <= FuncBottom; f++ {
		if got, err := ParseFunc(f.String()); got != f || err != nil {
			t.Errorf("%v reads as %v, %v", f, got, err)
		}
	}
}

// No bytes make a decoder panic or take memory that they do not fill, and what
// decodes has one encoding from then on.
func FuzzDecodePartial(f *testing.F) {
	specs := []Spec{
		{Columns: []Column{Count(), Sum("price"), Avg("price"), Min("price")}},
		{GroupBy: []string{"section", "seat.row"}, Columns: []Column{Distinct("buyer"), Top(2, "price"), Max("section")}},
	}
	for i := range specs {
		f.Add(byte(i), specs[i].Append(nil), partialOf(f, &specs[i], seats).Append(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, spec, partial []byte) {
		if s, err := DecodeSpec(spec); err == nil {
			if again, err := DecodeSpec(s.Append(nil)); err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
				t.Fatalf("%v reads as %v, %v", s, again, err)
			}
		}
		s := specs[int(which)%len(specs)]
		p, err := DecodePartial(&s, partial)
		if err != nil {
			return
		}
		b := p.Append(nil)
		q, err := DecodePartial(&s, b)
		if err != nil || !bytes.Equal(q.Append(nil), b) {
			t.Fatalf("%x encodes as %x, then %v", partial, b, err)
		}
		if _, err := p.Result(); err != nil {
			t.Fatal(err)
		}
		if err := p.Merge(q); err == nil {
			resultOf(t, p)
		}
	})
}

// BenchmarkAdd measures entries of a hundred bytes in ten groups.
func BenchmarkAdd(b *testing.B) {
	s := Spec{GroupBy: []string{"section"}, Columns: []Column{Count(), Sum("price"), Avg("cents"), Max("price")}}
	var encoded [][]byte
	for i := range 100 {
		e := entry{"k", map[string]any{"section": fmt.Sprint("section", i%10), "price": i * 100, "cents": float64(i) / 4, "buyer": strings.Repeat("x", 40)}}
		encoded = append(encoded, e.encoded(b))
	}
	p := partialOf(b, &s, nil)
	key := []byte("k")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := p.Add(key, encoded[i%len(encoded)]); err != nil {
			b.Fatal(err)
		}
	}
}
