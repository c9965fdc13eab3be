package predicate

import (
	"math/bits"
	"slices"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The limits of a predicate. What exceeds one is refused, by Parse, Decode and
// the constructors alike, with an [*Error] that names the limit.
const (
	// MaxText is the size in bytes of the longest text that Parse reads. It is
	// eight times MaxEncoded, which is more than String makes of any predicate.
	MaxText = 8 * MaxEncoded
	// MaxEncoded is the size in bytes of the longest encoding. A predicate
	// travels in commands and rests with subscriptions; this is room for a
	// list of MaxList keys.
	MaxEncoded = 128 << 10
	// MaxNodes is the number of conditions and terms, not counting the members
	// of lists. A person writes ten, a program that writes more than a
	// thousand wants a list.
	MaxNodes = 1024
	// MaxDepth is the number of levels. It bounds recursion.
	MaxDepth = 32
	// MaxList is the number of members of one list behind `in`.
	MaxList = 4096
	// MaxCost is the greatest Cost. At some 20 ns for a step it keeps the
	// worst entry below 0.1 ms.
	MaxCost = 4096
)

// Predicate is a condition on the fields of an entry. It is immutable and safe
// for concurrent use; make one with [Parse], [Decode] or the constructors. The
// zero value is of no use.
type Predicate struct {
	root     cond
	cost     int
	encoding []byte // what Append appends
	paths    []string
}

// finish checks the limits of what has been built.
func finish(root cond) (*Predicate, *Error) {
	var m measure
	m.cond(&root, 1)
	switch {
	case m.depth > MaxDepth:
		return nil, refuse("write it flatter", "nested %d levels deep, more than %d", m.depth, MaxDepth)
	case m.nodes > MaxNodes:
		return nil, refuse("a long `or` of one field is shorter as `in (…)`", "%d conditions and terms, more than %d", m.nodes, MaxNodes)
	case m.cost > MaxCost:
		return nil, refuse("split it, or look at fewer fields", "a cost of %d steps, more than %d", m.cost, MaxCost)
	}
	encoding := root.append([]byte{version})
	if len(encoding) > MaxEncoded {
		return nil, refuse("use fewer or shorter constants", "an encoding of %d bytes, more than %d", len(encoding), MaxEncoded)
	}
	slices.Sort(m.paths)
	return &Predicate{
		root:     root,
		cost:     m.cost,
		encoding: slices.Clip(encoding),
		paths:    slices.Clip(slices.Compact(m.paths)),
	}, nil
}

// Match reports whether the predicate is true of fields, a canonical msgpack
// map, as [msgp.Canonical] makes it. False and unknown are both no match.
// Fields that are no map have no fields; a map that is not canonical gives a
// wrong answer at worst. Match neither decodes nor allocates nor keeps fields.
func (p *Predicate) Match(fields []byte) bool {
	e := entry{fields: fields}
	return p.root.holds(&e)
}

// Paths returns the fields that the predicate looks at, sorted, each once: the
// steps from map to map joined by dots, "seat.row". A step that is empty or has
// a dot or a double quote in it is put in double quotes, in which a quote is
// written twice. The caller owns the result.
func (p *Predicate) Paths() []string { return slices.Clone(p.paths) }

// Cost returns a bound on the work for one entry, in steps of roughly the same
// size: finding a field in its map, comparing, computing, halving a list.
// Searching a list in an entry (`contains`) counts a flat 16, the work there is
// bounded by the size of the entry.
func (p *Predicate) Cost() int { return p.cost }

// containsCost is what a search through a list in an entry counts.
const containsCost = 16

// measure counts what the limits are about.
type measure struct {
	nodes, depth, cost int
	paths              []string // with repetitions
}

// cond counts a condition that lies at the given level, 1 for the outermost.
func (m *measure) cond(c *cond, level int) {
	m.node(level)
	for i := range c.kids {
		m.cond(&c.kids[i], level+1)
	}
	m.term(&c.left, level+1)
	m.term(&c.right, level+1)
	m.cost += bits.Len(uint(len(c.list)))
	if c.op == opContains || c.op == opNotContains {
		m.cost += containsCost
	}
}

func (m *measure) term(t *term, level int) {
	switch {
	case t.op == termNone:
		return
	case t.op == termField:
		m.paths = append(m.paths, t.path.name)
		m.cost += len(t.path.steps) - 1 // the node itself counts one
	case t.op == termConstant:
		m.cost-- // it is there already
	}
	m.node(level)
	for i := range t.kids {
		m.term(&t.kids[i], level+1)
	}
}

func (m *measure) node(level int) {
	m.nodes++
	m.cost++
	m.depth = max(m.depth, level)
}

// And is true where all of ps are; of none, everywhere.
func And(ps ...*Predicate) (*Predicate, error) { return join(opAnd, ps) }

// Or is true where one of ps is; of none, nowhere.
func Or(ps ...*Predicate) (*Predicate, error) { return join(opOr, ps) }

func join(op condOp, ps []*Predicate) (*Predicate, error) {
	parts := make([]cond, len(ps))
	for i, p := range ps {
		parts[i] = p.root
	}
	return finished(junction(op, parts), nil)
}

// Not is true where p is false. Where p is unknown, so is Not(p).
func Not(p *Predicate) (*Predicate, error) { return finished(negate(p.root), nil) }

// Eq, and its kin below, compare the field at a path, written as Paths gives
// it, with a value: anything that [msgp.AppendValue] takes, except nil.
func Eq(path string, v any) (*Predicate, error) { return compare(opEq, path, v) }

// Ne is true where the field has a value and it is another one.
func Ne(path string, v any) (*Predicate, error) { return compare(opNe, path, v) }

// Lt is true where the field is of v's kind and below it.
func Lt(path string, v any) (*Predicate, error) { return compare(opLt, path, v) }

// Le is true where the field is of v's kind and not above it.
func Le(path string, v any) (*Predicate, error) { return compare(opLe, path, v) }

// Gt is true where the field is of v's kind and above it.
func Gt(path string, v any) (*Predicate, error) { return compare(opGt, path, v) }

// Ge is true where the field is of v's kind and not below it.
func Ge(path string, v any) (*Predicate, error) { return compare(opGe, path, v) }

func compare(op condOp, path string, v any) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	right, err := constantTerm(v)
	if err != nil {
		return nil, err
	}
	return finished(comparison(op, left, right))
}

// In is true where the field's value is one of vs; of none, nowhere.
func In(path string, vs ...any) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(vs))
	for i, v := range vs {
		t, err := constantTerm(v)
		if err != nil {
			return nil, err
		}
		list[i] = t.value
	}
	return finished(membership(left, list))
}

// IsNull is true where the field is absent or nil.
func IsNull(path string) (*Predicate, error) {
	left, err := fieldTerm(path)
	if err != nil {
		return nil, err
	}
	return finished(isNull(left))
}

// finished makes the two results of a constructor into those of the package:
// a nil *Error must become a nil error.
func finished(root cond, err *Error) (*Predicate, error) {
	if err != nil {
		return nil, err
	}
	p, err := finish(root)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func fieldTerm(name string) (term, error) {
	p, err := parsePath(name)
	if err != nil {
		return term{}, err
	}
	return term{op: termField, path: p}, nil
}

// constantTerm makes a constant of a Go value.
func constantTerm(v any) (term, error) {
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		return term{}, refuse("", "a value cannot be stored: %v", err)
	}
	return term{op: termConstant, value: b}, nil
}
