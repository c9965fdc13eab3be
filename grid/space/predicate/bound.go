package predicate

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Bound is a necessary condition that a predicate puts on one field: what
// matches has there a value that is one of Equal or, where Equal is nil, lies
// between Low and High in the order of [msgp.Compare]. It narrows a search;
// what is found is matched again.
//
// The values are canonical and belong to the predicate: they are read only.
type Bound struct {
	// Equal holds the values byte for byte, ascending, without repetition. An
	// integer that a float can hold stands there as both, since both are
	// equal to it. Empty but not nil: nothing can match.
	Equal [][]byte
	// Low and High are the limits, nil if there is none.
	Low, High []byte
	// LowOpen and HighOpen say that the limit itself is excluded.
	LowOpen, HighOpen bool
}

// Bound returns what the predicate demands of the field at path, written as
// Paths gives it. It is false if it demands nothing that an index could use.
// The parts of an `and` are intersected; an `or` demands what covers all its
// parts, if each demands something.
func (p *Predicate) Bound(path string) (Bound, bool) { return p.root.bound(path) }

// Admits reports whether the bound holds for an encoded canonical value.
func (b Bound) Admits(v []byte) bool {
	if b.Equal != nil {
		_, found := slices.BinarySearchFunc(b.Equal, v, compareSpelled)
		return found
	}
	if b.Low != nil {
		if c := msgp.Compare(v, b.Low); c < 0 || c == 0 && b.LowOpen {
			return false
		}
	}
	if b.High != nil {
		if c := msgp.Compare(v, b.High); c > 0 || c == 0 && b.HighOpen {
			return false
		}
	}
	return true
}

// compareSpelled is the order of values, and of bytes among equal ones.
func compareSpelled(a, b []byte) int { return cmp.Or(msgp.Compare(a, b), bytes.Compare(a, b)) }

func (c *cond) bound(name string) (Bound, bool) {
	switch c.op {
	case opNever:
		return nothing(), true
	case opAnd:
		return c.boundOfAll(name)
	case opOr:
		return c.boundOfAny(name)
	}
	if c.left.op != termField || c.left.path.name != name {
		return Bound{}, false
	}
	switch c.op {
	case opIn:
		return among(c.list), true
	case opNotNull:
		return Bound{Low: encodedNull, LowOpen: true}, true
	case opPrefix:
		return startingWith(c.right.value), true
	case opEq, opLt, opLe, opGt, opGe:
		if c.right.op == termConstant {
			return compared(c.op, c.right.value), true
		}
	}
	return Bound{}, false
}

func (c *cond) boundOfAll(name string) (all Bound, some bool) {
	for i := range c.kids {
		b, ok := c.kids[i].bound(name)
		if ok && some {
			b = intersect(all, b)
		}
		if ok {
			all, some = b, true
		}
	}
	return all, some
}

func (c *cond) boundOfAny(name string) (hull Bound, all bool) {
	for i := range c.kids {
		b, ok := c.kids[i].bound(name)
		if !ok {
			return Bound{}, false
		}
		if i > 0 {
			b = unite(hull, b)
		}
		hull = b
	}
	return hull, hull.Equal != nil || hull.Low != nil || hull.High != nil
}

// nothing is the bound that admits no value.
func nothing() Bound { return Bound{Equal: [][]byte{}} }

// among is the bound of a list of constants, sorted.
func among(list [][]byte) Bound {
	equal := make([][]byte, 0, len(list))
	for _, v := range list {
		switch classOf(v) {
		case classList, classMap:
			// A number further inside may be spelled in two ways, several in
			// many: a range says it shorter.
			return Bound{Low: list[0], High: list[len(list)-1]}
		case classNumber:
			equal = append(equal, spellings(v)...)
		default:
			equal = append(equal, v)
		}
	}
	slices.SortFunc(equal, compareSpelled)
	return Bound{Equal: equal}
}

// spellings returns the canonical values equal to a number: itself, and the
// float equal to an integer if there is one. Floats that an integer could hold
// are constants no more.
func spellings(v []byte) [][]byte {
	if msgp.KindOf(v) != msgp.Int {
		return [][]byte{v}
	}
	var f float64
	if i, _, err := msgp.ReadInt(v); err == nil {
		f = float64(i)
	} else if u, _, err := msgp.ReadUint(v); err == nil {
		f = float64(u)
	}
	if other := msgp.AppendFloat(nil, f); msgp.Compare(v, other) == 0 {
		return [][]byte{v, other}
	}
	return [][]byte{v}
}

// compared is the bound of a comparison with a constant. An ordering admits
// only the constant's class.
func compared(op condOp, v []byte) Bound {
	if op == opEq {
		return among([][]byte{v})
	}
	b := extents[classOf(v)]
	switch op {
	case opLt, opLe:
		b.High, b.HighOpen = v, op == opLt
	case opGt, opGe:
		b.Low, b.LowOpen = v, op == opGt
	}
	return b
}

// startingWith is the bound of a prefix: up to the least string, or binary,
// that is above all those that begin with it.
func startingWith(prefix []byte) Bound {
	b := extents[classOf(prefix)]
	b.Low = prefix
	p, _ := content(prefix)
	end := bytes.TrimRight(p, "\xff")
	if len(end) == 0 {
		return b // there is none: up to the end of the class
	}
	above := bytes.Clone(end)
	above[len(above)-1]++
	if classOf(prefix) == classString {
		b.High = msgp.AppendString(nil, above)
	} else {
		b.High = msgp.AppendBytes(nil, above)
	}
	b.HighOpen = true
	return b
}

// extents holds for each class that has an order the bound that admits just its
// values.
var extents = [...]Bound{
	classBool:   {Low: msgp.AppendBool(nil, false), High: encodedTrue},
	classNumber: {Low: msgp.AppendFloat(nil, math.Inf(-1)), High: msgp.AppendFloat(nil, math.Inf(1))},
	classString: {Low: appendText(""), High: msgp.AppendBytes(nil, nil), HighOpen: true},
	classBytes:  {Low: msgp.AppendBytes(nil, nil), High: msgp.AppendTime(nil, firstInstant), HighOpen: true},
	classTime:   {Low: msgp.AppendTime(nil, firstInstant), High: msgp.AppendArrayHeader(nil, 0), HighOpen: true},
}

// firstInstant is the earliest time that can be stored.
var firstInstant = time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC)

// intersect is the bound that admits what both admit.
func intersect(a, b Bound) Bound {
	if a.Equal == nil {
		a, b = b, a
	}
	if a.Equal != nil {
		equal := make([][]byte, 0, len(a.Equal))
		for _, v := range a.Equal {
			if b.Admits(v) {
				equal = append(equal, v)
			}
		}
		return Bound{Equal: equal}
	}
	if c := compareLows(a, b); c < 0 {
		a.Low, a.LowOpen = b.Low, b.LowOpen
	}
	if c := compareHighs(a, b); c > 0 {
		a.High, a.HighOpen = b.High, b.HighOpen
	}
	if a.Low == nil || a.High == nil {
		return a
	}
	if c := msgp.Compare(a.Low, a.High); c > 0 || c == 0 && (a.LowOpen || a.HighOpen) {
		return nothing()
	}
	return a
}

// unite is a bound that admits what either admits, and as little else as a
// Bound can say.
func unite(a, b Bound) Bound {
	switch {
	case a.Equal != nil && b.Equal != nil && len(a.Equal)+len(b.Equal) <= 2*MaxList:
		equal := slices.Concat(a.Equal, b.Equal)
		slices.SortFunc(equal, compareSpelled)
		return Bound{Equal: slices.CompactFunc(equal, bytes.Equal)}
	case a.Equal != nil && len(a.Equal) == 0:
		return b
	case b.Equal != nil && len(b.Equal) == 0:
		return a
	}
	a, b = a.span(), b.span()
	if compareLows(a, b) > 0 {
		a.Low, a.LowOpen = b.Low, b.LowOpen
	}
	if compareHighs(a, b) < 0 {
		a.High, a.HighOpen = b.High, b.HighOpen
	}
	return a
}

// span is the range from the first value to the last.
func (b Bound) span() Bound {
	if len(b.Equal) > 0 {
		return Bound{Low: b.Equal[0], High: b.Equal[len(b.Equal)-1]}
	}
	return b
}

// compareLows orders bounds by where they begin: without a limit first, with
// an open one behind the same closed one.
func compareLows(a, b Bound) int {
	if a.Low == nil || b.Low == nil {
		return compareTruths(a.Low != nil, b.Low != nil)
	}
	return cmp.Or(msgp.Compare(a.Low, b.Low), compareTruths(a.LowOpen, b.LowOpen))
}

// compareHighs orders bounds by where they end, in the same way from above.
func compareHighs(a, b Bound) int {
	if a.High == nil || b.High == nil {
		return compareTruths(a.High == nil, b.High == nil)
	}
	return cmp.Or(msgp.Compare(a.High, b.High), compareTruths(b.HighOpen, a.HighOpen))
}

// compareTruths puts false before true.
func compareTruths(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
