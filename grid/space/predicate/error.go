package predicate

import (
	"fmt"
	"strings"
)

// Error is why a predicate was refused.
type Error struct {
	// Offset counts bytes from the start of what was read: of the text for
	// Parse, of the encoding for Decode. It is -1 where nothing was read, as in
	// Check and in the constructors.
	Offset int
	// Detail says what is wrong.
	Detail string
	// Hint says what to write instead; it may be empty.
	Hint string
}

// Error returns place, detail and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("predicate: ")
	if e.Offset >= 0 {
		fmt.Fprintf(&b, "at byte %d: ", e.Offset)
	}
	b.WriteString(e.Detail)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// refuse is a refusal that knows no place. The parser and the decoder add the
// one they are at.
func refuse(hint, format string, args ...any) *Error {
	return &Error{Offset: -1, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// placed returns err with a place, if it has none yet.
func placed(err *Error, at int) *Error {
	if err != nil && err.Offset < 0 {
		err.Offset = at
	}
	return err
}
