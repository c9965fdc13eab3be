package cluster

import (
	"fmt"
	"strings"
)

// Code is what became of a command to the control group. The numbers are part
// of the replicated reply: they are never reused or reordered.
type Code uint8

// The codes. OK aside, each says that nothing was changed.
const (
	OK                   Code = 0
	CodeInvalid          Code = 1  // the command itself is wrong; never retried
	CodeNotFormed        Code = 2  // the cluster has not been formed
	CodeFormed           Code = 3  // the cluster has been formed, and otherwise
	CodeStaleIncarnation Code = 4  // a newer life of this member is known, or this one was declared lost
	CodeNoMember         Code = 5  // no such member
	CodeNoGroup          Code = 6  // no such group
	CodeNoSpace          Code = 7  // no such space
	CodeConflict         Code = 8  // the group has changed since it was read
	CodeSpaceConflict    Code = 9  // a space of this name has another definition
	CodeHasState         Code = 10 // a replica that is not lost may still hold the group's state
	CodeInUse            Code = 11 // the member still holds replicas or a vote
	CodeLimit            Code = 12 // a bound of the control state is reached
	CodeNoSink           Code = 20 // no such sink
	CodeSinkConflict     Code = 21 // a sink of this name has another definition
)

var codeWords = [...]string{
	OK: "ok", CodeInvalid: "invalid command", CodeNotFormed: "the cluster is not formed",
	CodeFormed: "the cluster is already formed", CodeStaleIncarnation: "stale incarnation",
	CodeNoMember: "no such member", CodeNoGroup: "no such group", CodeNoSpace: "no such space",
	CodeConflict: "changed meanwhile", CodeSpaceConflict: "the space exists with another definition",
	CodeHasState: "a replica may still hold the state", CodeInUse: "still in use",
	CodeLimit: "limit reached", CodeNoSink: "no such sink",
	CodeSinkConflict: "the sink exists with another definition",
}

// codeHints says what to do about a refusal.
var codeHints = [...]string{
	CodeNotFormed:        "form it, or join one that is",
	CodeFormed:           "join it instead",
	CodeStaleIncarnation: "start the member with a new incarnation",
	CodeConflict:         "read the state again and decide anew",
	CodeSpaceConflict:    "choose another name, or alter the space",
	CodeHasState:         "wait for that replica, or declare its member lost",
	CodeInUse:            "drain it first",
	CodeLimit:            "remove what is not needed",
	CodeNoSink:           "spacegrid sink list shows those there are",
	CodeSinkConflict:     "choose another name, alter it, or remove it first",
}

// String returns the code in words.
func (c Code) String() string {
	if int(c) < len(codeWords) {
		return codeWords[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error is a refused command. Two errors are the same to errors.Is when their
// codes are equal.
type Error struct {
	Code   Code
	Detail string // what was wrong, for people; may be empty
}

// Error returns the code, the detail and what to do next in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cluster: ")
	b.WriteString(e.Code.String())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if int(e.Code) < len(codeHints) && codeHints[e.Code] != "" {
		b.WriteString(" (")
		b.WriteString(codeHints[e.Code])
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
	ErrInvalid          error = &Error{Code: CodeInvalid}
	ErrNotFormed        error = &Error{Code: CodeNotFormed}
	ErrFormed           error = &Error{Code: CodeFormed}
	ErrStaleIncarnation error = &Error{Code: CodeStaleIncarnation}
	ErrNoMember         error = &Error{Code: CodeNoMember}
	ErrNoGroup          error = &Error{Code: CodeNoGroup}
	ErrNoSpace          error = &Error{Code: CodeNoSpace}
	ErrConflict         error = &Error{Code: CodeConflict}
	ErrSpaceConflict    error = &Error{Code: CodeSpaceConflict}
	ErrHasState         error = &Error{Code: CodeHasState}
	ErrInUse            error = &Error{Code: CodeInUse}
	ErrLimit            error = &Error{Code: CodeLimit}
	ErrNoSink           error = &Error{Code: CodeNoSink}
	ErrSinkConflict     error = &Error{Code: CodeSinkConflict}
)

// CorruptError is returned when bytes that this package wrote do not read back: a
// damaged snapshot, table or message. Nothing of them has been used.
type CorruptError struct {
	What string
	Err  error // why, may be nil
}

// Error says what was damaged and what to do.
func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("cluster: damaged %s: %v (ask another member for it)", e.What, e.Err)
	}
	return "cluster: damaged " + e.What + " (ask another member for it)"
}

// Unwrap returns why.
func (e *CorruptError) Unwrap() error { return e.Err }
