package resp

import (
	"context"
	"net"
	"sync"
	"time"
)

// Session is one connection as its handler sees it. Its methods belong to the
// goroutine that serves the connection, but for ID and Client.
type Session struct {
	// Out takes the replies.
	Out *Writer
	// Queue holds the commands since MULTI. It is nil outside a transaction.
	Queue *Queue
	// State is the handler's own. The server does not look at it.
	State any

	// watch is the connection's way of learning that the client has gone.
	watch         func(context.Context) (context.Context, func())
	limits        Limits
	authenticated bool
	closing       bool

	mu     sync.Mutex // guards writes to client, and reads by other goroutines
	client Client
}

// Client is what other connections may learn about a session: the columns of
// CLIENT LIST. It is a value.
type Client struct {
	ID      uint64 // unique in a server's life, from 1
	Remote  net.Addr
	Local   net.Addr
	Since   time.Time
	User    string // empty until authenticated
	Name    string // CLIENT SETNAME
	LibName string // CLIENT SETINFO
	LibVer  string
	DB      int
	Proto   int // 2 or 3
}

func newSession(id uint64, c net.Conn, out *Writer, limits Limits, now time.Time) *Session {
	return &Session{
		Out:    out,
		limits: limits,
		client: Client{ID: id, Remote: c.RemoteAddr(), Local: c.LocalAddr(), Since: now, Proto: 2},
	}
}

// ID returns the connection's number. Safe for any goroutine.
func (s *Session) ID() uint64 { return s.client.ID }

// Client returns a copy of the client's description. Safe for any goroutine.
func (s *Session) Client() Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// Describe changes the client's description. ID, addresses, user, database and
// protocol have methods of their own and keep their values.
func (s *Session) Describe(change func(*Client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.client
	change(&c)
	s.client.Name, s.client.LibName, s.client.LibVer = c.Name, c.LibName, c.LibVer
}

// DB returns the selected database.
func (s *Session) DB() int { return s.client.DB }

// Select changes the database.
func (s *Session) Select(db int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.DB = db
}

// SetProto changes the protocol version, 2 or 3, of the replies from here on.
func (s *Session) SetProto(version int) {
	s.Out.SetProto(version)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.Proto = version
}

// Authenticated reports whether the client has shown who it is, or need not.
func (s *Session) Authenticated() bool { return s.authenticated }

// User returns the authenticated user; empty if none.
func (s *Session) User() string { return s.client.User }

// Authenticate makes the session that user's: the larger limits hold from the
// next command on, and the authentication deadline is off.
func (s *Session) Authenticate(user string) {
	s.authenticated = true
	s.setUser(user)
}

// Deauthenticate takes Authenticate back. The limits before authentication
// hold again from the next batch on, and its deadline starts anew.
func (s *Session) Deauthenticate() {
	s.authenticated = false
	s.setUser("")
}

func (s *Session) setUser(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.User = user
}

// Close ends the connection once the replies made so far are written. A
// handler that calls it leaves the rest of its batch alone.
func (s *Session) Close() { s.closing = true }

// Waiting returns a context for a command that waits, which ends when the client
// has gone or the server drains. Nothing else of the session may be used until the
// function returned is called; it must be.
func (s *Session) Waiting(ctx context.Context) (context.Context, func()) { return s.watch(ctx) }

// Closing reports whether Close was called.
func (s *Session) Closing() bool { return s.closing }

// Multi starts a transaction.
func (s *Session) Multi() {
	s.Queue = &Queue{maxCommands: s.limits.Queue, maxBytes: s.limits.QueueBytes}
}

// Queue holds the commands between MULTI and EXEC. It owns copies of them.
type Queue struct {
	// Failed is set when a command could not be queued: EXEC must then refuse.
	Failed bool

	commands              []Command
	bytes                 int
	maxCommands, maxBytes int
}

// Add keeps a copy of the command. It reports false, and marks the queue
// failed, if Limits.Queue or Limits.QueueBytes would be passed.
func (q *Queue) Add(c Command) bool {
	bytes := c.Size() + len(c.Args)*argOverhead
	if len(q.commands) == q.maxCommands || q.bytes+bytes > q.maxBytes {
		q.Failed = true
		return false
	}
	q.bytes += bytes
	q.commands = append(q.commands, c.Clone())
	return true
}

// argOverhead is the memory of a slice header, which a queued argument costs
// beside its bytes.
const argOverhead = 24

// Commands returns what was queued, in order. The slice belongs to the queue.
func (q *Queue) Commands() []Command { return q.commands }
