package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// command runs a tool to its end; the error has what it said.
func command(ctx context.Context, name string, args ...string) error {
	//nolint:gosec // tools of the system, by name
	c := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("lab: %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
