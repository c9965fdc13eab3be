//go:build !linux

package lab

import (
	"context"
	"errors"
)

var errNoFreeze = errors.New("lab: members can be frozen on Linux only")

// Pause fails: members can be frozen on Linux only.
func (m *Member) Pause(context.Context) error { return errNoFreeze }

// Resume has nothing to do.
func (m *Member) Resume() error { return nil }

// Frozen fails: members can be frozen on Linux only.
func (m *Member) Frozen() error { return errNoFreeze }
