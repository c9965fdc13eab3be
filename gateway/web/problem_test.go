package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// TestProblemOf: every error of the grid has one status and says truly whether
// it may be repeated and whether it may have taken effect.
func TestProblemOf(t *testing.T) {
	refused := func(c space.Code) error { return c.Err() }
	for _, x := range []struct {
		err           error
		status        int
		name          string
		retryable     bool
		indeterminate bool
	}{
		{refused(space.CodeNotFound), 404, "NOT_FOUND", false, false},
		{refused(space.CodeNoSpace), 404, "SPACE_NOT_FOUND", false, false},
		{refused(space.CodeExists), 409, "EXISTS", false, false},
		{refused(space.CodeConflict), 412, "CONFLICT", false, false},
		{refused(space.CodeInvalid), 400, "INVALID", false, false},
		{refused(space.CodeTooLarge), 413, "TOO_LARGE", false, false},
		{refused(space.CodeWrongKind), 422, "WRONG_KIND", false, false},
		{refused(space.CodeScanRefused), 422, "SCAN_REFUSED", false, false},
		{refused(space.CodeRange), 422, "OUT_OF_RANGE", false, false},
		{refused(space.CodeUnmet), 412, "UNMET", false, false},
		{refused(space.CodeFenced), 409, "FENCED", false, false},
		{refused(space.CodeClaimed), 423, "CLAIMED", true, false},
		{refused(space.CodeCancelled), 409, "CANCELLED", false, false},
		{refused(space.CodeLocked), 423, "LOCKED", true, false},
		{refused(space.CodeTrimmed), 409, "TRIMMED", true, false},
		{refused(space.CodeFull), 429, "FULL", true, false},
		{refused(space.CodeUnprepared), 409, "UNPREPARED", true, false},
		{&form.ConditionError{Text: "a <", Offset: 3, Detail: "x"}, 400, "INVALID", false, false},
		{grid.ErrSpaceConflict, 409, "SPACE_CONFLICT", false, false},
		{grid.ErrUnavailable, 503, "UNAVAILABLE", true, false},
		{grid.ErrClosed, 503, "UNAVAILABLE", true, false},
		{context.DeadlineExceeded, 503, "UNAVAILABLE", true, false},
		{grid.ErrIndeterminate, 504, "INDETERMINATE", false, true},
		// An unknown outcome wins over everything that led to it.
		{fmt.Errorf("%w: %w", grid.ErrIndeterminate, context.DeadlineExceeded), 504, "INDETERMINATE", false, true},
		{fmt.Errorf("%w: %w", grid.ErrIndeterminate, refused(space.CodeForgotten)), 504, "INDETERMINATE", false, true},
		{fmt.Errorf("%w: %w", grid.ErrUnavailable, refused(space.CodeBusy)), 503, "UNAVAILABLE", true, false},
		{grid.ErrUnknownHandler, 404, "UNKNOWN_HANDLER", false, false},
		{&grid.HandlerError{Message: "sold out"}, 422, "REFUSED", false, false},
		{&http.MaxBytesError{Limit: 1}, 413, "TOO_LARGE", false, false},
		{&msgp.Error{Err: msgp.ErrJSON}, 400, "INVALID", false, false},
		{&msgp.Error{Err: msgp.ErrTooLarge}, 413, "TOO_LARGE", false, false},
		{fmt.Errorf("mutation 1: %w", invalid("no", "")), 400, "INVALID", false, false},
		{errors.New("a surprise"), 500, "INTERNAL", false, false},
	} {
		p := problemOf(x.err)
		if p.Status != x.status || p.Name != x.name || p.Retryable != x.retryable || p.Indeterminate != x.indeterminate {
			t.Errorf("%v:\ngot  %d %s retryable=%t indeterminate=%t\nwant %d %s %t %t",
				x.err, p.Status, p.Name, p.Retryable, p.Indeterminate, x.status, x.name, x.retryable, x.indeterminate)
		}
		w := httptest.NewRecorder()
		p.write(w)
		if got := w.Header().Get("Retry-After") != ""; got != x.retryable {
			t.Errorf("%v: Retry-After is there: %t", x.err, got)
		}
	}
}

// TestCodes: ids and names are unique and well-formed, every code says what it
// means, and every refusal of the space has one.
func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	form := regexp.MustCompile(`^E\d{4} [A-Z_]+$`)
	for _, c := range Codes() {
		if !form.MatchString(c.ID+" "+c.Name) || seen[c.ID] || seen[c.Name] || c.Means == "" || c.Status < 400 {
			t.Errorf("the code %+v is malformed or not the only one", c)
		}
		seen[c.ID], seen[c.Name] = true, true
	}
	for code := space.CodeNotFound; code <= space.CodeUnprepared; code++ {
		if p := problemOf(code.Err()); p.Status == http.StatusInternalServerError {
			t.Errorf("%v is an internal error", code)
		}
	}
}
