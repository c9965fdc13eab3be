package resp

import "context"

// Handler answers commands. Its methods are called for many connections at
// once, but for one connection by one goroutine.
type Handler interface {
	// Serve appends to s.Out exactly one reply for every command, in order,
	// or calls s.Close and returns. It may block: nothing is read from the
	// client meanwhile. The context ends when the server closes and when the
	// connection is killed. The commands are valid until Serve returns; what
	// is kept must be cloned.
	Serve(ctx context.Context, s *Session, commands []Command)
	// Closed is called once for every session, after its last Serve, to let
	// go of what the session holds elsewhere (watches, subscriptions).
	Closed(s *Session)
}

// Binder is a Handler that speaks of connections other than the one it serves.
// New tells it which server they belong to, before the first is accepted.
type Binder interface {
	Bind(server *Server)
}
