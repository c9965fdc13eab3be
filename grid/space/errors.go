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
	CodeRange       Code = 14 // a number left its range, or an array has no such position
	CodeUnmet       Code = 15 // the condition on the entry does not hold
	CodeFenced      Code = 16 // the claim of this token has ended
	CodeClaimed     Code = 17 // the entry is hidden by a claim
	CodeWaiting     Code = 18 // no entry yet: the command waits, and the same command asks for its answer
	CodeCancelled   Code = 19 // the client ended the waiting command
	CodeLocked      Code = 20 // the entry is locked by a transaction that is being decided
	CodeTrimmed     Code = 21 // what happened since the read is not known any more
	CodeFull        Code = 22 // a table of waiting commands, claims or transactions is full
	CodeUnprepared  Code = 23 // nothing is prepared for the transaction
)

var codeWords = [...]string{
	OK: "ok", CodeNotFound: "not found", CodeExists: "already exists", CodeConflict: "conflict",
	CodeWrongKind: "wrong kind of value", CodeInvalid: "invalid", CodeTooLarge: "too large",
	CodeNoSpace: "no such space", CodeScanRefused: "scan refused", CodeHistory: "another history",
	CodeLate: "past its deadline", CodeBusy: "too many unacknowledged commands",
	CodeForgotten: "answer no longer kept", CodeAborted: "aborted", CodeRange: "out of range",
	CodeUnmet: "condition not met", CodeFenced: "fenced", CodeClaimed: "claimed", CodeWaiting: "waiting",
	CodeCancelled: "cancelled", CodeLocked: "locked", CodeTrimmed: "trimmed", CodeFull: "full",
	CodeUnprepared: "not prepared",
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
	ErrUnmet       error = &Error{Code: CodeUnmet}
	ErrFenced      error = &Error{Code: CodeFenced}
	ErrClaimed     error = &Error{Code: CodeClaimed}
	ErrCancelled   error = &Error{Code: CodeCancelled}
	ErrLocked      error = &Error{Code: CodeLocked}
	ErrFull        error = &Error{Code: CodeFull}
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
	case CodeRange:
		return &Error{Code: c, Hint: "nothing was changed; read the entry to see what its bounds leave"}
	case CodeUnmet:
		return &Error{Code: c, Hint: "nothing was changed; read the entry to see why"}
	case CodeBusy:
		return &Error{Code: c, Hint: "wait for outstanding commands of this client before sending more"}
	case CodeFenced:
		return &Error{Code: c, Hint: "the claim ended before this; somebody else may have the entry: drop the work"}
	case CodeClaimed:
		return &Error{Code: c, Hint: "wait for the holder to acknowledge it, or for the claim's lease to end"}
	case CodeLocked, CodeTrimmed:
		return &Error{Code: c, Hint: "run the transaction again"}
	case CodeFull:
		return &Error{Code: c, Hint: "slow down; fewer commands may wait or hold claims at once"}
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
