package spacetest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// DifferenceError is where a partition and the model part: the steps that lead there
// and what showed.
type DifferenceError struct {
	Seed  uint64
	Steps []Step
	Err   error
}

// Error returns what showed, and the steps, one a line.
func (d *DifferenceError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "spacetest: seed %d: %v\nafter these %d commands:\n", d.Seed, d.Err, len(d.Steps))
	for i, s := range d.Steps {
		fmt.Fprintf(&b, "%3d at %d", i+1, s.Now)
		if s.Snapshot {
			b.WriteString(", then a snapshot")
		}
		fmt.Fprintf(&b, ": %s\n", formatCommand(&s.Command))
	}
	return b.String()
}

// Unwrap returns what showed.
func (d *DifferenceError) Unwrap() error { return d.Err }

func formatCommand(c *space.Command) string {
	b := fmt.Appendf(nil, "session %d sequence %d deadline %d attempt %d independent %v", c.Session, c.Sequence, c.Deadline, c.Attempt, c.Independent)
	for i := range c.Ops {
		b = fmt.Appendf(b, "\n      %+v", c.Ops[i])
	}
	return string(b)
}

// history is where comparisons begin.
var history = space.History{7}

// Check draws a run of 1 to most commands and fails t at a difference, after every
// one of them.
func Check(t *rapid.T, most int) {
	c := NewComparison(5, history)
	g, steps := NewCommands(t, c)
	for _, s := range steps {
		if err := c.Step(s); err != nil {
			t.Fatal(err)
		}
	}
	for range rapid.IntRange(1, most).Draw(t, "commands") {
		s := g.Next()
		if err := c.Step(s); err != nil {
			t.Fatalf("at %d, command %s: %v", s.Now, formatCommand(&s.Command), err)
		}
	}
	if err := c.Content(); err != nil {
		t.Fatal(err)
	}
}

// Long runs are spared most of the digests and snapshots, each of which goes over
// everything; answers are compared after every command all the same.
const (
	digestEvery   = 32
	snapshotEvery = 40
)

// Drive runs a comparison of so many commands from a seed, the same for the same
// seed, and returns what it met and the difference it found, or nil. It may be
// called concurrently.
func Drive(seed uint64, commands int) (Coverage, *DifferenceError) {
	type outcome struct {
		coverage   Coverage
		difference *DifferenceError
	}
	run := rapid.Custom(func(t *rapid.T) outcome {
		c := NewComparison(5, history)
		c.DigestEvery = digestEvery
		g, steps := NewCommands(t, c)
		g.snapshots = snapshotEvery
		for i := 0; ; i++ {
			if i >= len(steps) {
				steps = append(steps, g.Next())
			}
			err := c.Step(steps[i])
			if err == nil && i == commands {
				err = c.Content()
			}
			if err != nil {
				return outcome{c.Coverage, &DifferenceError{Seed: seed, Steps: steps[:i+1], Err: err}}
			}
			if i == commands {
				return outcome{coverage: c.Coverage}
			}
		}
	}).Example(int(seed)) // any 64 bits are a seed
	if run.difference == nil {
		return run.coverage, nil
	}
	return run.coverage, run.difference.Shrink()
}

// Replay runs a comparison of given steps and returns the first difference, or
// nil.
func Replay(steps []Step) *DifferenceError {
	c := NewComparison(5, history)
	for i, s := range steps {
		if err := c.Step(s); err != nil {
			return &DifferenceError{Steps: steps[:i+1], Err: err}
		}
	}
	if err := c.Content(); err != nil {
		return &DifferenceError{Steps: steps, Err: err}
	}
	return nil
}

// Shrink returns a difference that fewer steps and operations lead to, by leaving
// out what it can: it need not be the same one.
func (d *DifferenceError) Shrink() *DifferenceError {
	best := d
	try := func(steps []Step) bool {
		if found := Replay(steps); found != nil {
			found.Seed = d.Seed
			best = found
			return true
		}
		return false
	}
	if !try(slices.Clone(d.Steps)) {
		return d // it shows by a digest only, or not every time
	}
	for size := len(best.Steps) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(best.Steps); {
			if !try(slices.Concat(best.Steps[:from], best.Steps[from+size:])) {
				from += size
			}
		}
	}
	for i := range len(best.Steps) {
		for j := 0; i < len(best.Steps) && j < len(best.Steps[i].Command.Ops) && len(best.Steps[i].Command.Ops) > 1; {
			steps := slices.Clone(best.Steps)
			ops := steps[i].Command.Ops
			steps[i].Command.Ops = slices.Concat(ops[:j], ops[j+1:])
			if !try(steps) {
				j++
			}
		}
	}
	return best
}
