package space

import (
	"errors"
	"fmt"
	"strings"
)

// Code is what became of an operation or a command. The numbers cross the wire
// and are kept in answers: they are never reused or reordered.
type Code uint8

// The codes. OK aside, each says that nothing was changed.
const (
	OK              Code = 0
	CodeNotFound    Code = 1  // no such entry, or no match
	CodeExists      Code = 2  // an insert found the key present
	CodeConflict    Code = 3  // the version, or what was read, has changed
	CodeWrongKind   Code = 4  // bytes where fields are wanted, a number that is none, …
	CodeInvalid     Code = 5  // the command itself is wrong; never retried
	CodeTooLarge    Code = 6  // key, value or command over its limit
	CodeNoSpace     Code = 7  // the space is not defined (here)
	CodeScanRefused Code = 8  // a template without index would examine too much
	CodeHistory     Code = 9  // made for another history: ask again for the partition's
	CodeLate        Code = 10 // the command's deadline on the partition clock has passed
	CodeBusy        Code = 11 // the table of kept answers is full
	CodeForgotten   Code = 12 // a repeat whose first answer is no longer kept
	CodeAborted     Code = 13 // another operation of the same command failed
	CodeRange       Code = 14 // a number left its range
)

var codeWords = [...]string{
	OK: "ok", CodeNotFound: "not found", CodeExists: "already exists", CodeConflict: "conflict",
	CodeWrongKind: "wrong kind of value", CodeInvalid: "invalid", CodeTooLarge: "too large",
	CodeNoSpace: "no such space", CodeScanRefused: "scan refused", CodeHistory: "another history",
	CodeLate: "past its deadline", CodeBusy: "too many unacknowledged commands",
	CodeForgotten: "answer no longer kept", CodeAborted: "aborted", CodeRange: "out of range",
}

// String returns the code in words.
func (c Code) String() string {
	if int(c) < len(codeWords) {
		return codeWords[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error is a refused operation. Two errors are the same to errors.Is when their
// codes are equal.
type Error struct {
	Code   Code
	Detail string // what was wrong, for people
	Hint   string // what to do next, may be empty
}

// Error returns the code, the detail and the hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("space: ")
	b.WriteString(e.Code.String())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.Hint != "" {
		b.WriteString(" (")
		b.WriteString(e.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Is makes errors.Is compare by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Sentinels for errors.Is.
var (
	ErrNotFound    error = &Error{Code: CodeNotFound}
	ErrExists      error = &Error{Code: CodeExists}
	ErrConflict    error = &Error{Code: CodeConflict}
	ErrWrongKind   error = &Error{Code: CodeWrongKind}
	ErrInvalid     error = &Error{Code: CodeInvalid}
	ErrTooLarge    error = &Error{Code: CodeTooLarge}
	ErrNoSpace     error = &Error{Code: CodeNoSpace}
	ErrScanRefused error = &Error{Code: CodeScanRefused}
	ErrHistory     error = &Error{Code: CodeHistory}
	ErrLate        error = &Error{Code: CodeLate}
	ErrBusy        error = &Error{Code: CodeBusy}
	ErrForgotten   error = &Error{Code: CodeForgotten}
	ErrAborted     error = &Error{Code: CodeAborted}
	ErrRange       error = &Error{Code: CodeRange}
)

// codeOf returns the code of an error of this package, CodeInvalid for any other.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInvalid
}

// Err returns the error of a code, with the hint a client can act on, or nil
// for OK.
func (c Code) Err() error {
	switch c {
	case OK:
		return nil
	case CodeScanRefused:
		return &Error{Code: c, Hint: "declare an index on the template's fields, or allow the scan"}
	case CodeConflict:
		return &Error{Code: c, Hint: "read again and retry"}
	case CodeBusy:
		return &Error{Code: c, Hint: "wait for outstanding commands of this client before sending more"}
	}
	return &Error{Code: c}
}

// CorruptError is returned when bytes that this package wrote do not read back:
// a damaged snapshot or log entry. Nothing of them has been applied.
type CorruptError struct {
	What string
}

// Error says what was damaged and what to do.
func (e *CorruptError) Error() string {
	return "space: damaged " + e.What + " (take this state from another replica)"
}
