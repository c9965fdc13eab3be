package bugs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"time"
)

// Runner runs catchers over bugs.
type Runner struct {
	// Root is the module.
	Root string
	// Temp is a folder for what is built; it is the caller's to remove.
	Temp string
	// Extra adds kinds of catchers.
	Extra map[string]Builder
	// Sound has catchers run without a bug first: one that fails all the same
	// catches nothing.
	Sound bool

	sound map[string]error // by catcher
}

// Result is what became of one bug.
type Result struct {
	Bug     string  `json:"bug"`
	Wrong   string  `json:"wrong"`
	Caught  string  `json:"caught_by,omitempty"` // the catcher; empty: nobody has noticed
	Runs    int     `json:"runs"`
	Seconds float64 `json:"seconds"`
	Said    string  `json:"said,omitempty"` // the line in which the catcher complains
	Trouble string  `json:"trouble,omitempty"`
}

// Catch runs the catchers of a bug in turn until one of them fails.
func (r *Runner) Catch(ctx context.Context, b *Bug) Result {
	began := time.Now()
	res := Result{Bug: b.Name, Wrong: b.Wrong}
	for _, c := range b.Catchers {
		caught, err := r.try(ctx, b, c, &res)
		if err != nil {
			res.Trouble = err.Error()
		}
		if caught {
			res.Caught, res.Trouble = c.String(), ""
			break
		}
	}
	res.Seconds = time.Since(began).Round(100 * time.Millisecond).Seconds()
	return res
}

// try runs one catcher.
func (r *Runner) try(ctx context.Context, b *Bug, c Catcher, res *Result) (caught bool, err error) {
	if r.Sound {
		if err := r.isSound(ctx, c); err != nil {
			return false, err
		}
	}
	dir, err := os.MkdirTemp(r.Temp, b.Name+"-")
	if err != nil {
		return false, fmt.Errorf("bugs: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left goes with Temp
	overlay, err := b.Overlay(r.Root, dir)
	if err != nil {
		return false, err
	}
	var trouble error
	v, runs, out, err := r.runs(ctx, c, overlay, dir)
	res.Runs += runs
	switch {
	case err != nil:
		trouble = err
	case v == failed:
		res.Said = complaint(out)
		return true, nil
	case v == hung:
		trouble = fmt.Errorf("bugs: %s hangs, or was ended: %.200s", c, out)
	}
	return false, trouble
}

// runs makes the runs of a catcher until one does not pass.
func (r *Runner) runs(ctx context.Context, c Catcher, overlay, dir string) (v verdict, n int, out []byte, err error) {
	kinds := builders()
	maps.Copy(kinds, r.Extra)
	build := kinds[c.Kind]
	if build == nil {
		return hung, 0, nil, fmt.Errorf("bugs: nobody here can run %s", c)
	}
	cmds, err := build(ctx, r, c, overlay, dir)
	if err != nil {
		return hung, 0, nil, err
	}
	for _, cmd := range cmds {
		n++
		if v, out, err = run(cmd); v != passed || err != nil {
			return v, n, out, err
		}
	}
	return passed, n, nil, nil
}

// isSound runs a catcher on the product as it is, once.
func (r *Runner) isSound(ctx context.Context, c Catcher) error {
	if err, known := r.sound[c.String()]; known {
		return err
	}
	v, _, out, err := r.runs(ctx, c, "", r.Temp)
	if err == nil && v != passed {
		err = fmt.Errorf("bugs: %s does not pass without a bug either: %s", c, complaint(out))
	}
	if r.sound == nil {
		r.sound = map[string]error{}
	}
	r.sound[c.String()] = err
	return err
}

// complaintMax bounds what a report quotes of a catcher.
const complaintMax = 160

// complaint returns the first line of a failed test that says why.
func complaint(out []byte) string {
	for line := range bytes.Lines(out) {
		line = bytes.TrimSpace(line)
		named := bytes.Contains(line, []byte("_test.go:")) || bytes.Contains(line, []byte(".go:"))
		switch {
		case bytes.HasPrefix(line, []byte("panic: ")):
		case !named, bytes.Contains(line, []byte("{Members:")), bytes.Contains(line, []byte("machine's time")), bytes.HasPrefix(line, []byte("/")):
			continue
		}
		return string(line[:min(len(line), complaintMax)])
	}
	return ""
}

// Write prints the results as a table and a closing line of JSON. It returns how
// many bugs nobody has noticed.
func Write(w io.Writer, results []Result) (missed int, err error) {
	seconds, runs, caught := 0.0, 0, 0
	for _, res := range results {
		by := res.Caught
		if by == "" {
			by = "NOBODY"
			if res.Trouble != "" {
				by += " (" + res.Trouble + ")"
			}
		} else {
			caught++
		}
		seconds += res.Seconds
		runs += res.Runs
		if _, err := fmt.Fprintf(w, "%-34s %4d runs %6.1f s  %s\n", res.Bug, res.Runs, res.Seconds, by); err != nil {
			return 0, fmt.Errorf("bugs: %w", err)
		}
	}
	missed = len(results) - caught
	if _, err := fmt.Fprintf(w, "{\"bugs\":%d,\"caught\":%d,\"missed\":%d,\"runs\":%d,\"seconds\":%.0f}\n", len(results), caught, missed, runs, seconds); err != nil {
		return 0, fmt.Errorf("bugs: %w", err)
	}
	return missed, nil
}
