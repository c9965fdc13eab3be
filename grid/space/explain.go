package space

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Explanation says how the entries that match a template and a predicate are
// found, and what that costs: in one partition, or merged over several. Its
// String is for people.
type Explanation struct {
	Space      string
	Partitions int
	// Ways is one way in a single partition. Partitions may differ, since each
	// chooses by what it holds.
	Ways []Way
	// Unused are the indexes that were not taken.
	Unused []Unused
}

// Way is how partitions found what matches.
type Way struct {
	Index      string // its name; empty if every entry was looked at
	Conditions string // what is looked up in the index
	Why        string
	Partitions int // that took this way
	Refused    int // of these, where the scan limit ended it before it was done
	ScanLimit  int // entries that may be examined in vain, if Index is empty; 0 is no limit
	Estimated  int // entries that were expected to be examined
	AtLeast    bool
	Examined   int // entries compared with the filter, or met in a range of the index
	Matched    int
}

// Unused is an index that was not taken, and why.
type Unused struct {
	Index      string
	Why        string
	Partitions int
}

// Explain finds the first limit entries that match, as Match does, and tells how
// instead of returning them. With allowScan there is no limit on the entries
// examined. Only the goroutine that applies may call it.
func (p *Partition) Explain(id ID, template, pred []byte, limit int, allowScan bool) (Explanation, Code) {
	sp := p.space(id)
	if sp == nil {
		return Explanation{}, CodeNoSpace
	}
	f, code := p.filter(template, pred)
	if code != OK {
		return Explanation{}, code
	}
	best, routed := sp.plan(&f)
	way := Way{Partitions: 1}
	e := Explanation{Space: sp.def.Name, Partitions: 1}
	usable := 0
	for _, x := range sp.indexes {
		r, no := x.route(sp.seed, &f)
		switch {
		case no != (obstacle{}):
			e.Unused = append(e.Unused, Unused{Index: x.Name, Why: no.String(), Partitions: 1})
			continue
		case x != best.index:
			e.Unused = append(e.Unused, Unused{Index: x.Name, Why: worse(&r, &best), Partitions: 1})
		}
		usable++
	}
	s := search{sp: sp, f: &f}
	enough := func(arena.Record) bool { limit--; return limit > 0 }
	if routed {
		way.Index, way.Conditions = best.index.Name, conditions(best.index, &f)
		way.Why = "the only index that can serve it"
		if usable > 1 {
			way.Why = fmt.Sprintf("the best of %d indexes that can serve it", usable)
		}
		way.Estimated = best.count()
		way.AtLeast = way.Estimated >= maxEstimate
		s.follow(&best, enough)
	} else {
		way.Why = sp.whyScan(&f)
		way.Estimated = sp.table.Len()
		if !allowScan && !f.all() && sp.def.ScanLimit >= 0 {
			way.ScanLimit = sp.def.scanLimit()
		}
		if s.scan(allowScan, enough) != OK {
			way.Refused = 1
		}
	}
	way.Examined, way.Matched = s.examined, s.matched
	e.Ways = []Way{way}
	return e, OK
}

func (sp *entries) whyScan(f *filter) string {
	switch {
	case f.all():
		return "nothing is asked of any field"
	case len(sp.indexes) == 0:
		return "the space has no index"
	}
	return "no index can serve it"
}

// worse says why a usable route was not taken.
func worse(r, best *route) string {
	r.count()
	best.count()
	if r.estimate > best.estimate {
		return fmt.Sprintf("it expects %s entries", atLeast(r.estimate, r.estimate >= maxEstimate))
	}
	return fmt.Sprintf("it expects no fewer entries than %s", best.index.Name)
}

func atLeast(n int, more bool) string {
	if more {
		return fmt.Sprintf("%d or more", n)
	}
	return fmt.Sprint(n)
}

// Merge adds what another partition of the same space says.
func (e *Explanation) Merge(other Explanation) {
	if e.Partitions == 0 {
		e.Space = other.Space
	}
	e.Partitions += other.Partitions
	for _, w := range other.Ways {
		i := slices.IndexFunc(e.Ways, func(v Way) bool { return v.Index == w.Index })
		if i < 0 {
			e.Ways = append(e.Ways, w)
			continue
		}
		v := &e.Ways[i]
		v.Partitions += w.Partitions
		v.Refused += w.Refused
		v.Estimated += w.Estimated
		v.AtLeast = v.AtLeast || w.AtLeast
		v.Examined += w.Examined
		v.Matched += w.Matched
		if v.Why != w.Why {
			v.Why = "for different reasons"
		}
	}
	slices.SortStableFunc(e.Ways, func(a, b Way) int { return -cmp.Compare(a.Partitions, b.Partitions) })
	for _, u := range other.Unused {
		i := slices.IndexFunc(e.Unused, func(v Unused) bool { return v.Index == u.Index && v.Why == u.Why })
		if i < 0 {
			e.Unused = append(e.Unused, u)
			continue
		}
		e.Unused[i].Partitions += u.Partitions
	}
}

// String returns a few lines: what is done, what it cost, and what else there
// is, without a newline at the end.
func (e Explanation) String() string {
	var b strings.Builder
	for i, w := range e.Ways {
		if i > 0 {
			b.WriteByte('\n')
		}
		e.writeWay(&b, &w)
	}
	for _, u := range e.Unused {
		fmt.Fprintf(&b, "\ndoes not use index %q: %s%s", u.Index, u.Why, e.inPartitions(u.Partitions))
	}
	return b.String()
}

func (e *Explanation) writeWay(b *strings.Builder, w *Way) {
	if w.Index != "" {
		fmt.Fprintf(b, "takes from index %q (%s), %s%s\n", w.Index, w.Conditions, w.Why, e.inPartitions(w.Partitions))
	} else {
		fmt.Fprintf(b, "looks at every entry of space %q: %s%s\n", e.Space, w.Why, e.inPartitions(w.Partitions))
	}
	fmt.Fprintf(b, "examined %d entries of %s expected, %d matched", w.Examined, atLeast(w.Estimated, w.AtLeast), w.Matched)
	if w.Refused > 0 {
		fmt.Fprintf(b, "\nrefused at the limit of %d entries examined in vain%s: declare an index on these fields, or allow the scan",
			w.ScanLimit, e.inPartitions(w.Refused))
	}
}

// inPartitions says in how many partitions something holds, where there are
// several.
func (e *Explanation) inPartitions(n int) string {
	switch {
	case e.Partitions <= 1:
		return ""
	case n == e.Partitions:
		return fmt.Sprintf(", in all %d partitions", n)
	}
	return fmt.Sprintf(", in %d of %d partitions", n, e.Partitions)
}

// conditions says what a filter looks up in an index.
func conditions(x *fieldIndex, f *filter) string {
	parts := make([]string, len(x.Fields))
	for i, field := range x.Fields {
		b, _ := f.bound(field)
		if b.Equal != nil {
			parts[i] = field + anyOf(b.Equal)
		} else {
			parts[i] = field + " ordered: " + between(field, b)
		}
	}
	return strings.Join(parts, ", ")
}

// shownValues is how many members of a list are spelled out.
const shownValues = 4

func anyOf(equal [][]byte) string {
	// A number stands among them in each of its spellings.
	equal = slices.CompactFunc(slices.Clone(equal), func(a, b []byte) bool { return msgp.Compare(a, b) == 0 })
	switch len(equal) {
	case 0:
		return " = nothing: the conditions exclude each other"
	case 1:
		return " = " + spell(equal[0])
	}
	words := make([]string, 0, shownValues)
	for _, v := range equal[:min(len(equal), shownValues)] {
		words = append(words, spell(v))
	}
	if len(equal) > shownValues {
		words = append(words, fmt.Sprintf("… %d values", len(equal)))
	}
	return " in (" + strings.Join(words, ", ") + ")"
}

// between spells a range. Limits that only say of which kind the values are, the
// infinities and the first value of another kind, are left out.
func between(field string, b predicate.Bound) string {
	low, high := b.Low != nil && !edge(b.Low), b.High != nil && !edge(b.High)
	if low && high && placeOf(b.Low).hi>>29 != placeOf(b.High).hi>>29 {
		high = false
	}
	sign := func(open bool) string {
		if open {
			return "<"
		}
		return "<="
	}
	switch {
	case low && high:
		return fmt.Sprintf("%s %s %s %s %s", spell(b.Low), sign(b.LowOpen), field, sign(b.HighOpen), spell(b.High))
	case low:
		return fmt.Sprintf("%s %s %s", spell(b.Low), sign(b.LowOpen), field)
	case high:
		return fmt.Sprintf("%s %s %s", field, sign(b.HighOpen), spell(b.High))
	}
	return "any value"
}

// edge reports whether a value is where a kind begins or ends.
func edge(v []byte) bool {
	switch msgp.KindOf(v) {
	case msgp.Nil:
		return true
	case msgp.Float:
		f, _, _ := msgp.ReadFloat(v)
		return math.IsInf(f, 0)
	case msgp.String, msgp.Bytes, msgp.Array:
		return len(v) <= 2 && (v[0] == 0xa0 || v[0] == 0xc4 || v[0] == 0x90)
	}
	return false
}

// spell writes a value the way people read it, cut where it is long.
func spell(v []byte) string {
	const limit = 48
	b, err := msgp.AppendJSON(nil, v)
	if err != nil {
		return "a value"
	}
	if s := []rune(string(b)); len(s) > limit {
		return string(s[:limit]) + "…"
	}
	return string(b)
}
