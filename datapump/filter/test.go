package filter

import (
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// Spaces passes the entries of some spaces.
type Spaces struct {
	Only   []string // if not empty, none but these
	Except []string // none of these
}

var _ SpaceTest = Spaces{}

// PassSpace reports whether the space is one of those.
func (s Spaces) PassSpace(name string) bool {
	return (len(s.Only) == 0 || slices.Contains(s.Only, name)) && !slices.Contains(s.Except, name)
}

// Pass reports whether the entry's space is one of those.
func (s Spaces) Pass(e *Entry) bool { return s.PassSpace(e.Space) }

// Where passes entries of which a predicate is true. Entries of opaque bytes do not
// pass.
type Where struct {
	Predicate *predicate.Predicate
}

// Pass reports whether the predicate is true of the entry.
func (w Where) Pass(e *Entry) bool { return e.Kind == space.KindFields && w.Predicate.Match(e.Fields) }

// In makes a step apply to the entries of some spaces only, as if it were not there
// for all others.
func In(spaces Spaces, s Step) Step {
	s.in = append(slices.Clip(s.in), spaces)
	return s
}
