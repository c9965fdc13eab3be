package msgp

import (
	"errors"
	"fmt"
)

// The reasons for which this package refuses something. They arrive wrapped,
// usually in an [*Error] that says where; test with errors.Is.
var (
	// ErrTruncated is returned when a value goes on past the end of the input,
	// or declares more than the input can hold.
	ErrTruncated = errors.New("msgp: value is cut short")
	// ErrTrailing is returned when bytes follow a value that should be alone.
	ErrTrailing = errors.New("msgp: bytes after the end of the value")
	// ErrInvalid is returned for bytes that are no MessagePack at all: the
	// unassigned first byte 0xc1, or a timestamp of an impossible length.
	ErrInvalid = errors.New("msgp: not a MessagePack value")
	// ErrTooDeep is returned when containers are nested more than MaxDepth deep.
	ErrTooDeep = fmt.Errorf("msgp: nested more than %d deep", MaxDepth)
	// ErrTooLarge is returned when a value takes more than MaxValue bytes.
	ErrTooLarge = fmt.Errorf("msgp: value larger than %d bytes", MaxValue)
	// ErrType is returned when a value is of another kind than was asked for,
	// or of a type that has no place here, such as a foreign extension.
	ErrType = errors.New("msgp: value of another type")
	// ErrRange is returned when a number or a time does not fit its type, or an
	// array has no such position.
	ErrRange = errors.New("msgp: number, time or position out of range")
	// ErrNaN is returned for a float that is not a number: it is not equal to
	// itself, so it can neither be matched nor ordered.
	ErrNaN = errors.New("msgp: NaN cannot be stored")
	// ErrKey is returned for a map key that is neither string nor integer.
	ErrKey = errors.New("msgp: map key is neither string nor integer")
	// ErrDuplicateKey is returned when a map has one key twice.
	ErrDuplicateKey = errors.New("msgp: map has the same key twice")
	// ErrJSON is returned when text is not the JSON that FromJSON accepts.
	ErrJSON = errors.New("msgp: malformed JSON")
)

// Error says where in the input a refusal arose.
type Error struct {
	// Offset counts bytes from the start of the input. It names the value that
	// was refused, or for a duplicate key the end of its map.
	Offset int
	// Err is one of the errors of this package, perhaps wrapped with detail.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%v (at byte %d)", e.Err, e.Offset) }

// Unwrap returns the reason without the place.
func (e *Error) Unwrap() error { return e.Err }

func failAt(offset int, err error) error { return &Error{Offset: offset, Err: err} }
