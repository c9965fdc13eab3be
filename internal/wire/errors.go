package wire

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrUnreachable is returned when the request provably never left this
	// process: the peer could not be dialled, or the connection was already
	// broken. It is safe to send the request elsewhere.
	ErrUnreachable = errors.New("wire: peer unreachable, nothing was sent; try again or another member")

	// ErrBroken is returned when a connection ended with the request in
	// flight. The outcome is unknown: the peer may have carried it out.
	ErrBroken = errors.New("wire: connection broken with the request in flight; its outcome is unknown")

	// ErrBusy is returned when a server had no room for another request. It
	// proves that the handler was not run.
	ErrBusy = errors.New("wire: server has too many requests in progress on this connection; retry after a pause")

	// ErrClosed is returned by operations on a Conn, Mux or Writer closed by
	// this side.
	ErrClosed = errors.New("wire: closed")

	// ErrSilent is why Conn.Watch ended a connection: its other end answered
	// nothing in time.
	ErrSilent = errors.New("wire: the other end has fallen silent")

	// ErrBacklog is returned by Writer.TrySend when the peer does not read fast
	// enough for the frame to fit into the pending buffer.
	ErrBacklog = errors.New("wire: peer reads too slowly, pending buffer full")

	// ErrFrameTooLarge is returned when a frame, sent or received, is above the
	// limit of its connection.
	ErrFrameTooLarge = errors.New("wire: frame above the connection's limit; send less at once")

	// ErrProtocol is returned when a peer breaks the rules of the connection.
	// The connection is closed.
	ErrProtocol = errors.New("wire: protocol violation")
)

// Error is a handler's failure as it crosses the connection. Its code and
// detail mean something only to the two ends; this package passes them on.
type Error struct {
	Code    uint16
	Message string
	Detail  []byte
}

// Error returns the message, or the code when there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("wire: remote error %d", e.Code)
	}
	return e.Message
}

// IsRefused tells whether a dial failed because nothing listens at the
// address. A process that has died looks like this; so do a full listen queue
// and some firewalls, so it is a hint and no proof.
func IsRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

const (
	// maxErrorMessage and maxErrorDetail bound what an error may carry, in
	// bytes: it is a sentence and a few facts, not a payload.
	maxErrorMessage = 4 << 10
	maxErrorDetail  = 64 << 10
)

// appendError encodes err. An error that is not an *Error crosses with code 0.
func appendError(dst []byte, err error) []byte {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Message: err.Error()}
	}
	dst = append(dst, byte(e.Code>>8), byte(e.Code))
	dst = AppendString(dst, e.Message[:min(len(e.Message), maxErrorMessage)])
	return AppendBytes(dst, e.Detail[:min(len(e.Detail), maxErrorDetail)])
}

// parseError returns the *Error in body, or a protocol error.
func parseError(body []byte) error {
	p := NewParser(body)
	e := &Error{
		Code:    uint16(p.Byte())<<8 | uint16(p.Byte()),
		Message: p.String(maxErrorMessage),
		Detail:  p.Bytes(maxErrorDetail),
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("%w: error frame: %w", ErrProtocol, err)
	}
	return e
}
