package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Problem is a refusal as clients see it: a problem document of RFC 9457 with
// the members that a program needs to decide what to do.
//
//nolint:errname // it is a document first, and an error inside of this package
type Problem struct {
	Type    string `json:"type"` // a path under which the code is explained
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Name    string `json:"name"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Retryable says that the same request may succeed later. Indeterminate
	// says that this one may have taken effect.
	Retryable     bool `json:"retryable"`
	Indeterminate bool `json:"indeterminate"`
	// Offset is the byte of a condition's text at which it is wrong.
	Offset *int `json:"offset,omitempty"`
}

// Error returns code, message and hint in one line.
func (p *Problem) Error() string {
	text := p.Name + ": " + p.Message
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text + " [" + p.Code + "]"
}

// problem makes the problem of a code. An empty message says what the code
// means.
func problem(c Code, message string) *Problem {
	if message == "" {
		message = c.Means
	}
	return &Problem{
		Type: "/v1/errors/" + c.ID, Title: c.Means, Status: c.Status, Code: c.ID, Name: c.Name,
		Message: message, Hint: c.Hint, Retryable: c.Retryable, Indeterminate: c.ID == codeIndeterminate.ID,
	}
}

// invalid is the problem of a request that is wrong, with what to do about it.
func invalid(message, hint string) *Problem {
	p := problem(codeInvalid, message)
	if hint != "" {
		p.Hint = hint
	}
	return p
}

// spaceCodes says which code a refusal by the space is. Those that are missing
// are settled by the router before they come here.
var spaceCodes = map[space.Code]Code{
	space.CodeNotFound: codeNotFound, space.CodeExists: codeExists, space.CodeConflict: codeConflict,
	space.CodeWrongKind: codeWrongKind, space.CodeInvalid: codeInvalid, space.CodeTooLarge: codeTooLarge,
	space.CodeNoSpace: codeNoSpace, space.CodeScanRefused: codeScanRefused, space.CodeRange: codeRange,
	space.CodeAborted: codeConflict, space.CodeUnmet: codeUnmet, space.CodeFenced: codeFenced,
	space.CodeClaimed: codeClaimed, space.CodeCancelled: codeCancelled, space.CodeLocked: codeLocked,
	space.CodeTrimmed: codeTrimmed, space.CodeFull: codeFull, space.CodeUnprepared: codeUnprepared,
}

// problemOf turns any error of the grid into a problem. What became of the
// request comes first: an unknown outcome is never reported as anything else.
func problemOf(err error) *Problem {
	var p *Problem
	var refused *space.Error
	var handler *grid.HandlerError
	var condition *form.ConditionError
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, grid.ErrIndeterminate):
		return problem(codeIndeterminate, detail(err))
	case errors.Is(err, grid.ErrUnavailable), errors.Is(err, grid.ErrClosed):
		return problem(codeUnavailable, detail(err))
	case errors.Is(err, grid.ErrSpaceConflict):
		return problem(codeOtherSpace, detail(err))
	case errors.Is(err, grid.ErrUnknownHandler):
		return problem(codeNoHandler, detail(err))
	case errors.As(err, &handler):
		return problem(codeRefused, handler.Message)
	case errors.As(err, &condition):
		return problemOfCondition(condition)
	case errors.As(err, &refused):
		return problemOfSpace(refused)
	case errors.As(err, &tooLong):
		return problem(codeTooLarge, "the body is over its limit")
	case errors.Is(err, msgp.ErrTooLarge):
		return problem(codeTooLarge, detail(err))
	case isMalformed(err):
		return problem(codeInvalid, detail(err))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(codeUnavailable, "the time for the request is up")
	}
	return problem(codeInternal, detail(err))
}

func problemOfSpace(e *space.Error) *Problem {
	c, ok := spaceCodes[e.Code]
	if !ok {
		return problem(codeUnavailable, detail(e))
	}
	p := problem(c, e.Detail)
	if e.Hint != "" {
		p.Hint = e.Hint
	}
	return p
}

// problemOfCondition says what is wrong with the text of a condition, and where.
func problemOfCondition(e *form.ConditionError) *Problem {
	p := invalid(e.Error(), e.Hint)
	if e.Offset >= 0 {
		p.Offset = &e.Offset
	}
	return p
}

// isMalformed reports whether an error says that a text is no value the grid
// can hold.
func isMalformed(err error) bool {
	var at *msgp.Error
	return errors.As(err, &at) || errors.Is(err, msgp.ErrJSON) || errors.Is(err, msgp.ErrTooDeep)
}

// detail is the text of an error without the name of the package it comes from.
func detail(err error) string {
	text := err.Error()
	for _, prefix := range []string{"cluster: ", "space: ", "grid: ", "msgp: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// retryAfter is what clients are asked to wait, in seconds: an election and the
// start of the new leader fit in.
const retryAfter = "1"

// write sends the problem as the response.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		panic("web: a problem has no JSON: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.Retryable {
		h.Set("Retry-After", retryAfter)
	}
	w.WriteHeader(p.Status)
	// A client that has gone does not read the answer.
	_, _ = w.Write(append(body, '\n'))
}
