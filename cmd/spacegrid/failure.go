package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spacegrid/spacegrid/gateway/form"
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
	case errors.Is(err, grid.ErrNotFound), errors.Is(err, grid.ErrNoSpace), errors.Is(err, grid.ErrNoSink):
		return exitNotFound
	case errors.Is(err, grid.ErrConflict), errors.Is(err, grid.ErrExists), errors.Is(err, cluster.ErrSpaceConflict), errors.Is(err, grid.ErrSinkConflict),
		errors.Is(err, grid.ErrUnmet), errors.Is(err, grid.ErrRange), errors.Is(err, grid.ErrFenced), errors.Is(err, grid.ErrClaimed):
		return exitConflict
	case errors.Is(err, grid.ErrInvalid), errors.Is(err, grid.ErrTooLarge), errors.Is(err, grid.ErrWrongKind):
		return exitUsage
	case errors.Is(err, grid.ErrUnavailable), errors.Is(err, grid.ErrHeldBack), errors.Is(err, space.ErrLocked), errors.Is(err, space.ErrFull),
		errors.Is(err, space.CodeTrimmed.Err()), errors.Is(err, space.CodeUnprepared.Err()):
		return exitUnavailable
	case errors.Is(err, space.ErrCancelled):
		return exitTimeout
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
	message, hint, mark := err.Error(), "", ""
	var condition *form.ConditionError
	switch {
	case errors.As(err, &condition):
		message, hint, mark = condition.Error(), condition.Hint, condition.Mark()
	case errors.As(err, &refused) && refused.Detail != "":
		message, hint = refused.Detail, refused.Hint
	case errors.As(err, &refused) && refused.Hint != "":
		hint = refused.Hint
		message = strings.TrimPrefix(strings.Replace(message, refused.Error(), refused.Code.String(), 1), "space: ")
	}
	switch {
	case hint != "":
	case exitCode(err) == exitUsage:
		hint = "spacegrid help shows how it is used"
	case errors.Is(err, grid.ErrUnavailable):
		hint = "is a member running at this address? start one with: spacegrid dev"
	}
	a.notef("error: %s", printable(message))
	for line := range strings.Lines(mark) {
		a.notef("  %s", printable(strings.TrimSuffix(line, "\n")))
	}
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
