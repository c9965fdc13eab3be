package predicate

import "slices"

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
	// MaxDepth is the number of levels, the fields and constants included. It
	// bounds recursion. A sum of n terms has n levels; an `and` of any length
	// has one.
	MaxDepth = 32
	// MaxList is the number of members of one list behind `in`.
	MaxList = 4096
	// MaxCost is the greatest Cost. At some 20 ns for a step, on an entry of a
	// dozen fields, it keeps one match below 0.1 ms.
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
