package resp

import "fmt"

// ProtocolError is returned by Reader.Next when the bytes received are not a
// command. The stream cannot be followed any further: the connection is
// answered with Reply, unless that is empty, and closed.
type ProtocolError struct {
	// Kind is the closed list below, for metrics and for callers that branch.
	Kind ProtocolErrorKind
	// Reply is the text of the error reply, code first and without the
	// leading '-'. Empty when the other side does not speak RESP and an
	// answer would only serve an attacker.
	Reply string
}

// ProtocolErrorKind says what was wrong with the bytes.
type ProtocolErrorKind uint8

const (
	// BadFraming: a length, a type byte or a line end is not where RESP wants it.
	BadFraming ProtocolErrorKind = iota + 1
	// BadQuotes: an inline command has unbalanced quotes.
	BadQuotes
	// TooLarge: a limit of Limits was met.
	TooLarge
	// Unauthenticated: a limit that holds before authentication was met.
	Unauthenticated
	// ForeignProtocol: HTTP or TLS was spoken to the RESP port. A browser
	// made to post to it could otherwise carry commands in its body.
	ForeignProtocol
)

func (e *ProtocolError) Error() string {
	if e.Reply == "" {
		return "resp: the client speaks another protocol (HTTP or TLS): use the matching port"
	}
	return "resp: " + e.Reply
}

func protocolError(kind ProtocolErrorKind, format string, args ...any) *ProtocolError {
	return &ProtocolError{Kind: kind, Reply: "ERR Protocol error: " + fmt.Sprintf(format, args...)}
}

var errForeignProtocol = &ProtocolError{Kind: ForeignProtocol}
