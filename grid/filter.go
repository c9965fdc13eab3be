package grid

import (
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Filter says which entries are meant: a [Template], a condition made by [Where],
// or both, by [Condition.And]. nil means all.
type Filter interface {
	// parts returns both in binary form, nil where there is none.
	parts() (template, condition []byte, err error)
}

// Condition is a predicate: a filter where entries are looked for, and what must
// hold of an entry for a change to take effect.
type Condition struct {
	p   *predicate.Predicate
	err error // of the text, told when the condition is used
}

// Where returns the condition that a text states, such as
//
//	grid.Where("price < ? and section = ?", 20, "A")
//
// The language is that of package predicate: comparisons, in, between, prefix,
// contains and is null, joined by and, or and not, over fields, constants and
// arithmetic. Arguments take the place of ?, $1 or :name. What is wrong with the
// text is said by the call that uses the condition: its error is ErrInvalid, and
// a *predicate.Error that names the place.
func Where(text string, args ...any) Condition {
	p, err := predicate.Parse(text, args...)
	return Condition{p: p, err: err}
}

// And returns the filter for entries of which the condition is true and which
// match a template.
func (c Condition) And(t Template) Filter { return narrowed{c, t} }

//nolint:unparam // a Filter has two parts
func (c Condition) parts() (template, condition []byte, err error) {
	switch {
	case c.err != nil:
		return nil, nil, fmt.Errorf("%w: %w", space.ErrInvalid, c.err)
	case c.p == nil:
		return nil, nil, nil
	}
	return nil, c.p.Append(nil), nil
}

// asCondition reads what parts returned.
func asCondition(condition []byte) Condition {
	p, err := predicate.Decode(condition)
	return Condition{p: p, err: err}
}

// narrowed is a condition and a template, both of which must hold.
type narrowed struct {
	condition Condition
	template  Template
}

func (n narrowed) parts() (template, condition []byte, err error) {
	if _, condition, err = n.condition.parts(); err != nil {
		return nil, nil, err
	}
	template, err = n.template.encode()
	return template, condition, err
}

// filterFor returns the parts of a filter, which may be nil, for a space. A filter
// that could match nothing there, because it names a field that is not declared,
// is refused.
func filterFor(def *space.Definition, f Filter) (template, condition []byte, err error) {
	if f == nil {
		return nil, nil, nil
	}
	if template, condition, err = f.parts(); err != nil {
		return nil, nil, err
	}
	return template, condition, def.CheckFilter(template, condition)
}

//nolint:unparam // a Filter has two parts
func (t Template) parts() (template, condition []byte, err error) {
	template, err = t.encode()
	return template, nil, err
}
