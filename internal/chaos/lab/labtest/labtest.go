// Package labtest runs the tests of a package inside of the private namespaces of
// package lab, against members that are built from this very tree.
//
// Where this process may not make namespaces the tests run where they are, and find
// out from the lab's rights what they cannot have.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	binaryEnv = "SPACEGRID_LAB_BINARY"
	program   = "github.com/spacegrid/spacegrid/cmd/spacegrid"
)

// Main is the TestMain of a package: it builds the program, enters the namespaces,
// runs the tests and ends the process.
func Main(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status) //nolint:revive // as every TestMain
}

func run(m *testing.M) (status int, err error) {
	ctx := context.Background() // go test ends the process when it has had its time
	if os.Getenv(binaryEnv) == "" {
		dir, err := os.MkdirTemp("", "spacegrid-lab-")
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		binary := filepath.Join(dir, "spacegrid")
		//nolint:gosec // our own program, to a folder of our own
		if said, err := exec.CommandContext(ctx, "go", "build", "-o", binary, program).CombinedOutput(); err != nil {
			return 1, fmt.Errorf("labtest: build the members: %w: %s", err, said)
		}
		if err := os.Setenv(binaryEnv, binary); err != nil {
			return 1, err
		}
	}
	in, status, err := lab.Enter(ctx)
	var refused *lab.RightsError
	switch {
	case errors.As(err, &refused):
		fmt.Fprintln(os.Stderr, refused)
		return m.Run(), nil
	case err != nil:
		return 1, err
	case in:
		return m.Run(), nil
	}
	return status, nil
}

// Binary returns the path of the program that Main has built.
func Binary() string { return os.Getenv(binaryEnv) }

// Open opens a lab whose members are this tree's, in a folder of the test, and ends
// it with the test.
func Open(t *testing.T, c lab.Config) *lab.Lab {
	t.Helper()
	c.Folder, c.Binary = t.TempDir(), Binary()
	l, err := lab.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.End(); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			return
		}
		for _, m := range l.All() {
			if p := m.Process(); p != nil {
				t.Logf("%s, %s: %s", m.Name(), m.State(), p.Tail())
			}
		}
	})
	return l
}
