package workload

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/check"
)

// outcomeOf says what an error proves of an operation. What it cannot tell may have
// taken effect.
func outcomeOf(err error) check.Outcome {
	var refused *space.Error
	var known *knownError
	switch {
	case err == nil:
		return check.Done
	case errors.As(err, &known):
		return known.outcome
	case errors.Is(err, grid.ErrIndeterminate):
		return check.Unknown
	case errors.Is(err, grid.ErrUnavailable), errors.As(err, &refused):
		return check.Refused
	}
	return check.Unknown
}

// knownError is an error whose meaning the client knows better than outcomeOf.
type knownError struct {
	outcome check.Outcome
	err     error
}

func (e *knownError) Error() string { return e.err.Error() }
func (e *knownError) Unwrap() error { return e.err }

// refusedf is an error of an operation that had no effect.
func refusedf(format string, args ...any) error {
	return &knownError{check.Refused, fmt.Errorf(format, args...)}
}

// unknownf is an error of an operation that may have taken effect.
func unknownf(format string, args ...any) error {
	return &knownError{check.Unknown, fmt.Errorf(format, args...)}
}

// sent says that an operation was on its way when err came. An operation that is
// only a read has no effect in any case.
func sent(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return unknownf("no answer: %w", errors.Join(err, ctx.Err()))
}

// maxErrorText bounds the text of an error in a history.
const maxErrorText = 300

func errorText(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	return text[:min(len(text), maxErrorText)]
}
