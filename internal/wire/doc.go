// Package wire carries bytes between members, and between clients and members.
//
// Everything that crosses a connection is a frame: a length, a kind, an id and
// a body. One listener serves every purpose: a dialler opens with a preface
// that names what the connection is for, and the Mux hands it to the handler
// registered for that purpose.
//
// The types a reader meets:
//
//   - FrameReader and Writer: bounded reading, coalesced writing.
//   - Parser and the Append helpers: the fields inside a body.
//   - Mux, Dialer, Connect: how connections come to be.
//   - Conn and Server: many requests and streams over one connection.
//   - Network: an in-memory network with links that can be cut, delayed and
//     reset, whose waits are durably blocking under testing/synctest.
//
// What it promises: nothing is allocated from a declared length, every queue
// has a bound, and an error says what is known about the request. ErrUnreachable
// and ErrBusy prove that it was not carried out, an *Error is the handler's own
// answer, and any other error leaves the outcome unknown.
//
// What it does not do: encryption (a Dialer and a listener may be TLS ones),
// retries, or any knowledge of what the bodies mean.
package wire
