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

// Condition is a filter in the language of package predicate, perhaps narrowed by
// a template. The zero Condition means all entries.
type Condition struct {
	predicate *predicate.Predicate // nil: always true
	template  Template
	err       error // of the text, told when the condition is used
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
	if err != nil {
		return Condition{err: fmt.Errorf("%w: %w", space.ErrInvalid, err)}
	}
	return Condition{predicate: p}
}

// WhereIs returns the condition that a predicate states.
func WhereIs(p *predicate.Predicate) Condition { return Condition{predicate: p} }

// And returns the condition narrowed to the entries that match a template too,
// instead of the one it had.
func (c Condition) And(t Template) Condition {
	c.template = t
	return c
}

func (c Condition) parts() (template, condition []byte, err error) {
	if c.err != nil {
		return nil, nil, c.err
	}
	if template, err = c.template.encode(); err != nil {
		return nil, nil, err
	}
	if c.predicate != nil {
		condition = c.predicate.Append(nil)
	}
	return template, condition, nil
}

// filterParts returns the parts of a filter that may be nil.
func filterParts(f Filter) (template, condition []byte, err error) {
	if f == nil {
		return nil, nil, nil
	}
	return f.parts()
}

func (t Template) parts() (template, condition []byte, err error) {
	template, err = t.encode()
	return template, nil, err
}
