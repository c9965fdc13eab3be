package filter

import (
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

// MaxSteps bounds a pipe: each step goes over every change.
const MaxSteps = 64

// Entry is what the steps look at. Its slices are the pipe's and may be used
// during the call only.
type Entry struct {
	Space  string
	Key    []byte
	Kind   space.Kind
	Fields []byte // the value: a canonical msgpack map for space.KindFields
}

// Test lets entries pass, or not. It must be pure and may be called concurrently.
type Test interface {
	Pass(e *Entry) bool
}

// SpaceTest is a Test that can tell by the space alone that no entry of it passes.
// The space is then unknown to the sink.
type SpaceTest interface {
	Test
	PassSpace(name string) bool
}

// Transform changes fields. It must be pure and may be called concurrently.
type Transform interface {
	// Transform appends the changed form of e.Fields to dst, which does not
	// overlap it: a canonical map again. An error refuses the change for good.
	Transform(dst []byte, e *Entry) ([]byte, error)
}

// Step is a Test or a Transform.
type Step struct {
	test      Test
	transform Transform
	in        []Spaces // if there are any, entries outside of one pass the step by
}

// concerns reports whether the step applies to entries of a space.
func (s *Step) concerns(name string) bool {
	for _, x := range s.in {
		if !x.PassSpace(name) {
			return false
		}
	}
	return true
}

// Check is the step of a test.
func Check(t Test) Step { return Step{test: t} }

// Apply is the step of a transform.
func Apply(t Transform) Step { return Step{transform: t} }

// Pipe is a sequence of steps: each sees what the ones before it have left. The
// zero Pipe lets everything pass as it is. It does not change and may be used
// concurrently.
type Pipe struct {
	steps []Step
}

// NewPipe returns a pipe of steps.
func NewPipe(steps ...Step) (*Pipe, error) {
	if len(steps) > MaxSteps {
		return nil, fmt.Errorf("filter: %d steps in a pipe, at most %d are possible", len(steps), MaxSteps)
	}
	for _, s := range steps {
		if s.test == nil && s.transform == nil {
			return nil, errors.New("filter: a step is neither test nor transform")
		}
	}
	return &Pipe{steps: append([]Step(nil), steps...)}, nil
}

// PassSpace reports whether entries of a space can pass at all.
func (p *Pipe) PassSpace(name string) bool {
	for _, s := range p.steps {
		if t, ok := s.test.(SpaceTest); ok && s.concerns(name) && !t.PassSpace(name) {
			return false
		}
	}
	return true
}

// Run returns the value that an entry has behind the pipe, or ok false if it does
// not pass. The value is e.Fields itself if nothing changed it, else new memory.
func (p *Pipe) Run(e Entry) (value []byte, ok bool, err error) {
	for i, s := range p.steps {
		if !s.concerns(e.Space) {
			continue
		}
		if s.test != nil {
			if !s.test.Pass(&e) {
				return nil, false, nil
			}
			continue
		}
		if e.Kind != space.KindFields {
			return nil, false, nil
		}
		out, err := s.transform.Transform(nil, &e)
		if err != nil {
			return nil, false, fmt.Errorf("filter: step %d: %w", i+1, err)
		}
		if len(out) > space.MaxValueBytes {
			return nil, false, fmt.Errorf("filter: step %d makes a value of %d bytes, at most %d are possible", i+1, len(out), space.MaxValueBytes)
		}
		e.Fields = out
	}
	return e.Fields, true, nil
}

// outcome says what becomes of a change.
type outcome uint8

const (
	leaveOut outcome = iota // the sink need not know
	pass                    // as it is now
)

// change runs a change of a space through the pipe, in place; Key, Value and
// Before are replaced, never written to. folded says that the change may stand for
// several, as in a folded section.
func (p *Pipe) change(name string, c *space.Change, folded bool) (outcome, error) {
	if !p.PassSpace(name) {
		return leaveOut, nil
	}
	switch c.Op {
	case space.Defined, space.Dropped, space.Removed, space.Claimed:
		c.Before = nil
		return pass, nil
	}
	value, ok, err := p.Run(Entry{Space: name, Key: c.Key, Kind: c.Kind, Fields: c.Value})
	if err != nil {
		return leaveOut, err
	}
	// What the entry was before is as secret as what it is.
	c.Before = nil
	if ok {
		c.Value = value
		return pass, nil
	}
	if c.Op == space.Written && !folded {
		return leaveOut, nil // there was no entry that could have passed
	}
	// An earlier version may have passed: it has to leave. Removing what is not
	// there does no harm.
	c.Op, c.Cause, c.Value, c.Deadline, c.Attempts = space.Removed, space.NoCause, nil, 0, 0
	return pass, nil
}
