package wire

import (
	"fmt"
	"io"
)

// Version is the protocol version in every preface. Both ends must speak the
// same one.
const Version = 1

// magic opens every connection, so that a stray client is refused at its first
// bytes.
var magic = [4]byte{'S', 'P', 'G', 'D'}

// Purpose says what a connection is for; the Mux routes by it.
type Purpose uint8

// The purposes that share one listener.
const (
	// PurposeControl carries a group's votes, heartbeats and confirmations,
	// which must never wait behind data.
	PurposeControl Purpose = 1
	// PurposeBulk carries log entries.
	PurposeBulk Purpose = 2
	// PurposeSnapshot carries one snapshot, once.
	PurposeSnapshot Purpose = 3
	// PurposeRequests carries the requests and streams of clients and members.
	PurposeRequests Purpose = 4
)

// prefaceSize is magic, version, purpose and two bytes that must be zero.
const prefaceSize = 8

// writePreface opens a connection for a purpose.
func writePreface(w io.Writer, p Purpose) error {
	_, err := w.Write([]byte{magic[0], magic[1], magic[2], magic[3], Version, byte(p), 0, 0})
	return err
}

// readPreface reads exactly the preface, so that the connection can be handed
// on with nothing lost in a buffer.
func readPreface(r io.Reader) (Purpose, error) {
	var b [prefaceSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("read preface: %w", err)
	}
	switch {
	case [4]byte(b[:4]) != magic:
		return 0, fmt.Errorf("%w: not a member's connection", ErrProtocol)
	case b[4] != Version:
		return 0, fmt.Errorf("%w: protocol version %d, this member speaks %d", ErrProtocol, b[4], Version)
	case b[6] != 0 || b[7] != 0:
		return 0, fmt.Errorf("%w: reserved bytes of the preface are set", ErrProtocol)
	}
	return Purpose(b[5]), nil
}
