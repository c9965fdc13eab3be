package resp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"
)

const (
	// connTrimAfter is how long a connection keeps large buffers while idle.
	connTrimAfter = 5 * time.Second
	// connWritePiece is what must be accepted within one WriteTimeout: a
	// client slower than this many bytes in that time is cut.
	connWritePiece = 64 << 10
	// connLingerTime and connLingerBytes bound the wait for a client to stop
	// sending after a protocol error. Closing at once would reset the
	// connection and could lose the reply that says what was wrong.
	connLingerTime  = 200 * time.Millisecond
	connLingerBytes = 256 << 10
)

var errReplies = errors.New("resp: the handler broke the order of replies")

// conn is the shell around one Session: it reads batches, hands them to the
// handler, and writes the replies, on one goroutine.
type conn struct {
	server  *Server
	net     net.Conn
	reader  *Reader
	session *Session

	// authBy is when an unauthenticated session ends.
	authBy time.Time
	// deadline tells why the read deadline now in force was set.
	deadline deadline
	// early is what the client has sent during a wait.
	early []byte
	// held is what this connection has added to the level of buffer bytes.
	held int64
}

// deadline is the reason of a read deadline.
type deadline uint8

const (
	noDeadline    deadline = iota
	authDeadline           // the session must authenticate by then
	stallDeadline          // a begun command must go on by then
	trimDeadline           // an idle connection gives its buffers back then
	idleDeadline           // an idle connection is closed then
)

func newConn(s *Server, id uint64, nc net.Conn) *conn {
	now := time.Now()
	c := &conn{server: s, net: nc, authBy: now.Add(s.config.AuthTimeout)}
	c.reader = NewReader(c, s.config.Limits)
	c.session = newSession(id, nc, NewWriter(connWriter{c}), s.config.Limits, now)
	c.session.watch = c.watch
	c.session.authenticated = !s.config.RequireAuth
	c.reader.SetAuthenticated(c.session.authenticated)
	return c
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer func() {
		// A bug met by one client's input must not end the member for all.
		if p := recover(); p != nil {
			c.server.stats.panics.Add(1)
			c.server.config.Logger.Error("connection ended by a panic", "client", c.session.ID(), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	err := c.handshake(ctx)
	for err == nil {
		err = c.batch(ctx)
	}
	c.farewell(err)
}

// handshake completes TLS, if the listener speaks it, within AuthTimeout.
func (c *conn) handshake(ctx context.Context) error {
	secure, ok := c.net.(interface {
		HandshakeContext(context.Context) error
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.config.AuthTimeout)
	defer cancel()
	return secure.HandshakeContext(ctx)
}

// batch serves what the client has sent, once.
func (c *conn) batch(ctx context.Context) error {
	commands, err := c.reader.Next()
	if err != nil {
		return c.readFailed(err)
	}
	s := c.session
	wasAuthenticated := s.authenticated
	s.Out.Begin()
	c.server.config.Handler.Serve(ctx, s, commands)
	made, complete := s.Out.Replies()
	c.server.stats.commands.Add(int64(made))
	c.server.stats.batches.Add(1)
	if err := s.Out.Flush(); err != nil {
		return err
	}
	if s.closing {
		return io.EOF
	}
	if made != len(commands) || !complete {
		return fmt.Errorf("%w: %d commands, %d replies, the last complete: %t", errReplies, len(commands), made, complete)
	}
	if wasAuthenticated && !s.authenticated {
		c.authBy = time.Now().Add(c.server.config.AuthTimeout)
	}
	c.reader.SetAuthenticated(s.authenticated)
	return nil
}

// readFailed decides what a failed read means. It returns nil to go on.
func (c *conn) readFailed(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		return err
	}
	if c.server.draining.Load() {
		return io.EOF
	}
	switch c.deadline {
	case trimDeadline:
		c.reader.Trim()
		c.session.Out.Trim()
		return nil
	case authDeadline:
		c.server.stats.authTimeouts.Add(1)
	case stallDeadline:
		c.server.stats.stallTimeouts.Add(1)
	}
	return err
}

// Read reads from the client for the Reader. It sets the deadline that the
// state of the connection calls for, and none in the common case of a small
// idle connection.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	reason, at := c.nextDeadline()
	if reason != noDeadline || c.deadline != noDeadline {
		if err := c.net.SetReadDeadline(at); err != nil {
			return 0, err
		}
	}
	c.deadline = reason
	c.account(int64(c.reader.Held() + c.session.Out.Held()))
	// Drain raises its flag before it sets a deadline in the past: if that
	// one was just overwritten, the flag is up by now.
	if c.server.draining.Load() {
		return 0, io.EOF
	}
	n, err := c.net.Read(b)
	c.server.stats.bytesIn.Add(int64(n))
	return n, err
}

// account keeps the server's level of buffer bytes true.
func (c *conn) account(held int64) {
	if held != c.held {
		c.server.stats.bufferBytes.Add(held - c.held)
		c.held = held
	}
}

func (c *conn) nextDeadline() (deadline, time.Time) {
	config := &c.server.config
	switch {
	case !c.session.authenticated:
		return authDeadline, c.authBy
	case c.reader.Partial():
		return stallDeadline, time.Now().Add(config.StallTimeout)
	case c.reader.Held() > readerMinBuffer || c.session.Out.Held() > writerKeep:
		return trimDeadline, time.Now().Add(connTrimAfter)
	case config.IdleTimeout > 0:
		return idleDeadline, time.Now().Add(config.IdleTimeout)
	}
	return noDeadline, time.Time{}
}

// farewell tells the client why it is cut, where it can be told.
func (c *conn) farewell(err error) {
	log := c.server.config.Logger
	protocol, ok := errors.AsType[*ProtocolError](err)
	switch {
	case ok && protocol.Kind == ForeignProtocol:
		c.server.stats.protocolErrors.Add(1)
		log.Warn("a client of another protocol was cut", "client", c.session.ID(), "remote", c.net.RemoteAddr(), "error", err)
	case ok:
		c.server.stats.protocolErrors.Add(1)
		c.session.Out.Error(protocol.Reply)
		if c.session.Out.Flush() == nil {
			c.linger()
		}
	case errors.Is(err, errReplies):
		log.Error("connection ended", "client", c.session.ID(), "error", err)
	}
}

// linger ends our side and lets the client finish for a moment.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(time.Now().Add(connLingerTime)) != nil {
		return
	}
	// Only the time and the bytes matter; how it ends does not.
	_, _ = io.CopyN(io.Discard, c.net, connLingerBytes)
}

// wake makes a blocked read return, so that the connection sees that the
// server drains. Called by other goroutines.
func (c *conn) wake() {
	// A connection that is closed already needs no waking.
	_ = c.net.SetReadDeadline(time.Unix(1, 0))
}

// connWriter writes to the client in pieces, each with its own deadline.
type connWriter struct{ *conn }

func (c connWriter) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		piece := b[done:min(len(b), done+connWritePiece)]
		if err := c.net.SetWriteDeadline(time.Now().Add(c.server.config.WriteTimeout)); err != nil {
			return done, err
		}
		n, err := c.net.Write(piece)
		done += n
		c.server.stats.bytesOut.Add(int64(n))
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				c.server.stats.slowReaders.Add(1)
			}
			return done, err
		}
	}
	return done, nil
}
