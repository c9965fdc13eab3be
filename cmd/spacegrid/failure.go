package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Exit statuses. They are part of the interface: scripts branch on them.
const (
	exitOK            = 0
	exitError         = 1
	exitUsage         = 2
	exitNotFound      = 3
	exitConflict      = 5
	exitUnavailable   = 6
	exitIndeterminate = 7
	exitTimeout       = 124
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// quietError ends the program with a status of its own after everything that is
// to be said has been said.
type quietError struct{ code int }

func (e *quietError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func exitCode(err error) int {
	var usage *usageError
	var quiet *quietError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "accepts "), strings.HasPrefix(err.Error(), "requires at least"):
		return exitUsage
	case errors.Is(err, grid.ErrIndeterminate):
		return exitIndeterminate
	case errors.Is(err, grid.ErrNotFound), errors.Is(err, grid.ErrNoSpace):
		return exitNotFound
	case errors.Is(err, grid.ErrConflict), errors.Is(err, grid.ErrExists), errors.Is(err, cluster.ErrSpaceConflict):
		return exitConflict
	case errors.Is(err, grid.ErrInvalid), errors.Is(err, grid.ErrTooLarge), errors.Is(err, grid.ErrWrongKind):
		return exitUsage
	case errors.Is(err, grid.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitError
}

// report writes an error the way people can act on it.
func (a *app) report(err error) {
	if _, quiet := errors.AsType[*quietError](err); quiet {
		return
	}
	var refused *space.Error
	message, hint := err.Error(), ""
	if errors.As(err, &refused) && refused.Detail != "" {
		message, hint = refused.Detail, refused.Hint
	}
	switch {
	case hint != "":
	case exitCode(err) == exitUsage:
		hint = "spacegrid help shows how it is used"
	case errors.Is(err, grid.ErrUnavailable):
		hint = "is a member running at this address? start one with: spacegrid dev"
	}
	a.notef("error: %s", printable(message))
	if hint != "" {
		a.notef("  %s", printable(hint))
	}
}

// printable keeps control bytes of foreign data off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
