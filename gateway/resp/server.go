package resp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// acceptBackoffMin and acceptBackoffMax bound the wait after a failed
	// accept, which is usually a process out of file descriptors.
	acceptBackoffMin = 5 * time.Millisecond
	acceptBackoffMax = time.Second
	// refuseTimeout bounds the one write to a connection that is refused. Its
	// send buffer is empty, so it does not wait in practice.
	refuseTimeout = 50 * time.Millisecond
)

// Config of a Server. A zero optional field means its default.
type Config struct {
	// Handler answers the commands. Required.
	Handler Handler
	// Logger takes one line per state change and none per command. Default:
	// slog.Default().
	Logger *slog.Logger
	// RequireAuth starts sessions unauthenticated, under the limits that hold
	// until then and AuthTimeout. Default false.
	RequireAuth bool
	// Limits bounds each connection.
	Limits Limits
	// MaxConns is the most connections. Default 10,000, as Redis.
	MaxConns int
	// MaxConnsPerAddr is the most connections of one remote address, so that
	// one host cannot use up MaxConns. Loopback is not counted. Default 256.
	MaxConnsPerAddr int
	// AuthTimeout is how long a connection may take to authenticate, and to
	// complete TLS. Default 2 s.
	AuthTimeout time.Duration
	// StallTimeout is how long a command that has begun may go without a
	// further byte. Default 30 s.
	StallTimeout time.Duration
	// WriteTimeout is how long a client may take to accept 64 KiB of replies.
	// Default 10 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may send nothing, give or take the
	// 5 s after which it gives its buffers back. Default: for ever, as Redis.
	IdleTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.Handler == nil {
		panic("resp: Config.Handler is required")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Limits = c.Limits.withDefaults()
	orDefault(&c.MaxConns, 10_000)
	orDefault(&c.MaxConnsPerAddr, 256)
	orDefault(&c.AuthTimeout, 2*time.Second)
	orDefault(&c.StallTimeout, 30*time.Second)
	orDefault(&c.WriteTimeout, 10*time.Second)
	return c
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Server accepts connections and runs one goroutine for each.
type Server struct {
	config Config
	stats  counters

	// ctx ends when Close cuts the connections; it is the parent of what the
	// handler is given.
	ctx      context.Context
	cancel   context.CancelFunc
	draining atomic.Bool
	running  sync.WaitGroup // accept loops and connections

	mu struct {
		sync.Mutex
		lastID    uint64
		closed    bool // no more connections
		listeners map[net.Listener]struct{}
		conns     map[uint64]*serving
		perAddr   map[netip.Addr]int
	}
}

// serving is a connection in the server's books.
type serving struct {
	conn   *conn
	addr   netip.Addr // zero if not counted
	cancel context.CancelFunc
}

// New returns a server that serves nothing yet. It panics without a Handler.
func New(config Config) *Server {
	s := &Server{config: config.withDefaults()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.listeners = map[net.Listener]struct{}{}
	s.mu.conns = map[uint64]*serving{}
	s.mu.perAddr = map[netip.Addr]int{}
	if b, ok := s.config.Handler.(Binder); ok {
		b.Bind(s)
	}
	return s
}

// Serve accepts connections from the listener until Drain or Close, then
// returns nil; the listener is closed by then. Any other end is an error.
// Failed accepts are tried again after a growing pause. Serve may be called for
// several listeners at once. A listener may speak TLS.
func (s *Server) Serve(listener net.Listener) error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return listener.Close()
	}
	s.mu.listeners[listener] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer s.forget(listener)
	for pause := time.Duration(0); ; {
		nc, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(nc)
		case s.stopped():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			s.stats.acceptErrors.Add(1)
			if pause == 0 {
				s.config.Logger.Warn("cannot accept connections, trying again", "address", listener.Addr(), "error", err)
			}
			pause = min(max(2*pause, acceptBackoffMin), acceptBackoffMax)
			select {
			case <-s.ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// forget closes a listener that is no longer accepted from.
func (s *Server) forget(listener net.Listener) {
	s.mu.Lock()
	delete(s.mu.listeners, listener)
	s.mu.Unlock()
	// Often closed already, which is no news.
	_ = listener.Close()
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.closed
}

// admit starts the connection's goroutine or refuses it.
func (s *Server) admit(nc net.Conn) {
	entry := &serving{addr: countedAddr(nc.RemoteAddr())}
	ctx, cancel := context.WithCancel(s.ctx)
	entry.cancel = cancel
	s.mu.Lock()
	switch {
	case s.mu.closed:
		s.mu.Unlock()
		cancel()
		_ = nc.Close()
		return
	case len(s.mu.conns) >= s.config.MaxConns, entry.addr.IsValid() && s.mu.perAddr[entry.addr] >= s.config.MaxConnsPerAddr:
		s.mu.Unlock()
		cancel()
		s.refuse(nc)
		return
	}
	s.mu.lastID++
	id := s.mu.lastID
	entry.conn = newConn(s, id, nc)
	s.mu.conns[id] = entry
	if entry.addr.IsValid() {
		s.mu.perAddr[entry.addr]++
	}
	s.running.Add(1)
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	s.stats.open.Add(1)
	go s.run(ctx, id, entry)
}

// run serves one connection and takes it out of the books.
func (s *Server) run(ctx context.Context, id uint64, entry *serving) {
	defer s.running.Done()
	entry.conn.serve(ctx)
	entry.conn.account(0)
	entry.cancel()
	_ = entry.conn.net.Close()
	s.config.Handler.Closed(entry.conn.session)
	s.mu.Lock()
	delete(s.mu.conns, id)
	if entry.addr.IsValid() {
		if s.mu.perAddr[entry.addr]--; s.mu.perAddr[entry.addr] == 0 {
			delete(s.mu.perAddr, entry.addr)
		}
	}
	s.mu.Unlock()
	s.stats.open.Add(-1)
}

// refuse closes a connection beyond the limits. A plain one is told so; with
// TLS that would take a handshake, which the accept loop cannot wait for.
func (s *Server) refuse(nc net.Conn) {
	s.stats.refused.Add(1)
	if plain, ok := nc.(*net.TCPConn); ok && plain.SetWriteDeadline(time.Now().Add(refuseTimeout)) == nil {
		_, _ = plain.Write([]byte("-ERR max number of clients reached\r\n"))
	}
	_ = nc.Close()
}

// countedAddr returns the address that MaxConnsPerAddr counts, zero for none.
func countedAddr(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.IsLoopback() {
		return netip.Addr{}
	}
	return addr
}

// Clients returns the descriptions of the open connections, in order of ID.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	clients := make([]Client, 0, len(s.mu.conns))
	for _, entry := range s.mu.conns {
		clients = append(clients, entry.conn.session.Client())
	}
	s.mu.Unlock()
	slices.SortFunc(clients, func(a, b Client) int { return int(a.ID) - int(b.ID) })
	return clients
}

// Kill cuts a connection: its context ends and its socket is closed, replies
// not yet written are lost. It does not wait. It reports false if there is no
// such connection. A handler that ends its own connection uses Session.Close.
func (s *Server) Kill(id uint64) bool {
	s.mu.Lock()
	entry, ok := s.mu.conns[id]
	s.mu.Unlock()
	if ok {
		entry.cut()
	}
	return ok
}

// cut ends what the connection's goroutine may wait for.
func (e *serving) cut() {
	e.cancel()
	_ = e.conn.net.Close()
}

// Drain departs politely: no more connections are accepted, every connection
// is answered the commands read from it so far, and closed. It
// waits for them until ctx ends, then closes the rest as Close does, and
// returns ctx's error in that case.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	for _, entry := range s.stopAccepting() {
		entry.conn.wake()
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, s.Close())
}

// Close cuts every connection and waits until their goroutines, and every
// Serve, are done. A handler that blocks in Serve must heed its context. Safe
// to call again.
func (s *Server) Close() error {
	s.cancel()
	for _, entry := range s.stopAccepting() {
		entry.cut()
	}
	s.running.Wait()
	return nil
}

// stopAccepting closes the listeners and returns the open connections.
func (s *Server) stopAccepting() []*serving {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	for listener := range s.mu.listeners {
		// Serve sees the closed listener and the flag above.
		_ = listener.Close()
	}
	clear(s.mu.listeners)
	open := make([]*serving, 0, len(s.mu.conns))
	for _, entry := range s.mu.conns {
		open = append(open, entry)
	}
	return open
}
