package bugs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// runTime bounds one run of a catcher, without its compilation. It is far above
// what any of them takes.
const runTime = 90 * time.Second

// Catcher is who should notice a bug:
//
//	test PACKAGE PATTERN     tests of a package, as go test -run names them
//	sim FIRST-LAST           the simulation, one seed after the other
//	chaos WORKLOAD FAULT     a run of the fault harness over real processes
type Catcher struct {
	Kind string
	Args []string
}

// arguments of each kind.
var arguments = map[string]int{"test": 2, "sim": 1, "chaos": 2}

func parseCatcher(s string) (Catcher, error) {
	words := strings.Fields(s)
	if len(words) == 0 || arguments[words[0]] != len(words)-1 {
		return Catcher{}, fmt.Errorf("%q is no catcher: test PACKAGE PATTERN, sim FIRST-LAST or chaos WORKLOAD FAULT", s)
	}
	c := Catcher{words[0], words[1:]}
	if c.Kind == "sim" {
		if _, _, err := c.seeds(); err != nil {
			return Catcher{}, err
		}
	}
	return c, nil
}

// String returns the catcher as it is written.
func (c Catcher) String() string { return c.Kind + " " + strings.Join(c.Args, " ") }

// seeds returns the range of a simulation.
func (c Catcher) seeds() (first, last uint64, err error) {
	a, b, ok := strings.Cut(c.Args[0], "-")
	if !ok {
		b = a
	}
	first, err = strconv.ParseUint(a, 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil || first == 0 || last < first {
		return 0, 0, fmt.Errorf("%q is no range of seeds", c.Args[0])
	}
	return first, last, nil
}

// Builder makes the program of a catcher of one kind, with an overlay if there is
// one, and returns the runs that may catch something, each a command that has to
// fail. It is a field of Runner so that another package can add a kind.
type Builder func(ctx context.Context, r *Runner, c Catcher, overlay, dir string) ([]*exec.Cmd, error)

// builders of the kinds that need nothing but the go command.
func builders() map[string]Builder {
	return map[string]Builder{"test": buildTest, "sim": buildSim}
}

func buildTest(ctx context.Context, r *Runner, c Catcher, overlay, dir string) ([]*exec.Cmd, error) {
	program, err := r.compile(ctx, c.Args[0], overlay, dir)
	if err != nil {
		return nil, err
	}
	return []*exec.Cmd{r.command(ctx, c.Args[0], program, "-test.run", c.Args[1])}, nil
}

const simPackage = "./internal/sim"

func buildSim(ctx context.Context, r *Runner, c Catcher, overlay, dir string) ([]*exec.Cmd, error) {
	first, last, err := c.seeds()
	if err != nil {
		return nil, err
	}
	program, err := r.compile(ctx, simPackage, overlay, dir)
	if err != nil {
		return nil, err
	}
	var runs []*exec.Cmd
	for seed := first; seed <= last; seed++ {
		runs = append(runs, r.command(ctx, simPackage, program, "-test.run", "^TestClusters$", "-sim.seed", strconv.FormatUint(seed, 10)))
	}
	return runs, nil
}

// compile makes the test program of a package.
func (r *Runner) compile(ctx context.Context, pkg, overlay, dir string) (string, error) {
	program := filepath.Join(dir, filepath.Base(pkg)+".test")
	args := []string{"test", "-c", "-o", program}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	//nolint:gosec // the packages are our own
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = r.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("bugs: it does not build: %w\n%s", err, out)
	}
	return program, nil
}

func (r *Runner) command(ctx context.Context, pkg, program string, args ...string) *exec.Cmd {
	//nolint:gosec // compile has made it
	cmd := exec.CommandContext(ctx, program, append(args, "-test.count=1", "-test.timeout", runTime.String())...)
	cmd.Dir = filepath.Join(r.Root, filepath.FromSlash(pkg))
	return cmd
}

// verdict is what became of a run.
type verdict uint8

const (
	passed verdict = iota
	failed
	hung // or was ended from outside: it says nothing
)

// run runs a command. It has failed if a test said so, or if the product itself
// stopped at what must not be.
func run(cmd *exec.Cmd) (verdict, []byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return hung, nil, fmt.Errorf("bugs: %w", err)
	}
	text := out.Bytes()
	switch {
	case err == nil && bytes.Contains(text, []byte("no tests to run")):
		return hung, text, errors.New("bugs: the catcher has no such test")
	case err == nil:
		return passed, text, nil
	case bytes.Contains(text, []byte("panic: test timed out")), bytes.Contains(text, []byte("panic: deadlock")),
		bytes.Contains(text, []byte("fatal error: all goroutines are asleep")), cmd.ProcessState.ExitCode() < 0:
		return hung, text, nil
	case bytes.Contains(text, []byte("--- FAIL")), bytes.Contains(text, []byte("panic: ")):
		return failed, text, nil
	}
	return hung, text, nil
}
