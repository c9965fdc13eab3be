package check

import (
	"maps"
	"math"
	"slices"
)

// Addition is one request to add an element to a set. An element is added once in
// a history.
type Addition struct {
	Line         int
	Set, Element string
	Call, Return int64
	Outcome      Outcome
}

// SetRead is one read of all elements of a set, which was answered.
type SetRead struct {
	Line         int
	Set          string
	Elements     []string
	Call, Return int64
	// Final says that it was the last one, with the set left alone.
	Final bool
}

// SetHistory is everything that was asked for in a run.
type SetHistory struct {
	Additions []Addition
	Reads     []SetRead
}

// SetVerdict counts what a history of sets shows. Everything from Lost on should be
// zero.
type SetVerdict struct {
	Added    int // acknowledged, or seen
	Resolved int // of unknown outcome, and seen
	// Unread counts acknowledged elements of sets without a final read: nobody
	// knows whether they are there.
	Unread int

	Lost       int // elements that were there for certain, and were not in the end
	Stale      int // reads that missed an element that was there for certain
	Duplicated int // elements that one read returned more than once
	Phantom    int // elements that nobody had added
	Complaints []string
}

// OK reports whether the history keeps the promise; it does not speak of what is
// unread.
func (v *SetVerdict) OK() bool {
	return v.Lost == 0 && v.Stale == 0 && v.Duplicated == 0 && v.Phantom == 0
}

// Sets checks that an element is there for everybody who begins to look after its
// addition was acknowledged, or after somebody has seen it; that it stays; and that
// nothing else is there.
func Sets(h *SetHistory) SetVerdict {
	s := sets{elements: map[string]map[string]*element{}, read: map[string]bool{}}
	for i := range h.Additions {
		s.add(&h.Additions[i])
	}
	for i := range h.Reads {
		s.see(&h.Reads[i])
	}
	for i := range h.Reads {
		s.miss(&h.Reads[i])
	}
	for _, set := range slices.Sorted(maps.Keys(s.elements)) {
		for _, name := range slices.Sorted(maps.Keys(s.elements[set])) {
			s.end(set, name)
		}
	}
	s.v.Complaints = s.said
	return s.v
}

// element is what is known of one element.
type element struct {
	add  *Addition
	seen bool
	// since is when it was there for certain, math.MaxInt64 if that is not known.
	since  int64
	by     int // the line that says so
	missed *SetRead
	gone   *SetRead // the final read that missed it
}

// sets is a history while it is judged.
type sets struct {
	elements map[string]map[string]*element
	read     map[string]bool // sets with a final read
	v        SetVerdict
	said     complaints
}

func (s *sets) add(a *Addition) {
	if a.Outcome == Refused {
		return
	}
	set := s.elements[a.Set]
	if set == nil {
		set = map[string]*element{}
		s.elements[a.Set] = set
	}
	e := &element{add: a, since: math.MaxInt64}
	if a.Outcome == Done {
		e.since, e.by = a.Return, a.Line
	}
	set[a.Element] = e
}

// see works in what a read found.
func (s *sets) see(r *SetRead) {
	s.read[r.Set] = s.read[r.Set] || r.Final
	twice := make(map[string]bool, len(r.Elements))
	for _, name := range r.Elements {
		if twice[name] {
			s.v.Duplicated++
			s.said.addf("set %q: line %d has element %q twice", r.Set, r.Line, name)
			continue
		}
		twice[name] = true
		e := s.elements[r.Set][name]
		if e == nil || e.add.Call > r.Return {
			s.v.Phantom++
			s.said.addf("set %q: line %d has element %q, which nobody had added", r.Set, r.Line, name)
			continue
		}
		if e.seen = true; r.Return < e.since {
			e.since, e.by = r.Return, r.Line
		}
	}
}

// miss works in what a read should have found.
func (s *sets) miss(r *SetRead) {
	has := make(map[string]bool, len(r.Elements))
	for _, name := range r.Elements {
		has[name] = true
	}
	for name, e := range s.elements[r.Set] {
		if has[name] || e.since >= r.Call {
			continue
		}
		if e.missed == nil {
			e.missed = r
		}
		if r.Final {
			e.gone = r
		}
	}
}

// end judges one element.
func (s *sets) end(set, name string) {
	e := s.elements[set][name]
	switch {
	case e.add.Outcome == Done:
		s.v.Added++
	case e.seen:
		s.v.Added++
		s.v.Resolved++
	default:
		return
	}
	switch {
	case e.gone != nil:
		s.v.Lost++
		s.said.addf("set %q: element %q was there by line %d, and line %d, the last, has not got it", set, name, e.by, e.gone.Line)
	case e.missed != nil:
		s.v.Stale++
		s.said.addf("set %q: element %q was there by line %d, and line %d missed it", set, name, e.by, e.missed.Line)
	case !s.read[set]:
		s.v.Unread++
	}
}
