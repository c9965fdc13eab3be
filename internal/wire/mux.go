package wire

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// prefaceTimeout is how long a new connection may take to say what it is
	// for, TLS handshake included.
	prefaceTimeout = 5 * time.Second

	// defaultMaxConns bounds the connections of one listener, all purposes
	// together. Further ones are closed at once.
	defaultMaxConns = 4096

	// acceptPause is the wait after a failed accept, such as a full table of
	// file descriptors.
	acceptPause = 50 * time.Millisecond
)

// MuxConfig configures a Mux. The zero value works.
type MuxConfig struct {
	// MaxConns bounds open connections; 0 means 4096. An eighth of them is kept
	// free of PurposeRequests, so that clients cannot lock members out.
	MaxConns int
	// Log receives one line per refused connection; nil discards them.
	Log *slog.Logger
}

// Mux shares one listener between purposes. It owns every connection it has
// accepted: a handler uses one until it returns, then the Mux closes it.
type Mux struct {
	l        net.Listener
	maxConns int
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu struct {
		sync.Mutex
		handlers map[Purpose]func(net.Conn)
		conns    map[net.Conn]struct{} // at most maxConns
		requests int                   // of conns, those of PurposeRequests
		closed   bool
	}
}

// NewMux takes over l and starts to accept. Connections of a purpose without a
// handler are closed after their preface.
func NewMux(l net.Listener, cfg MuxConfig) *Mux {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mux{l: l, maxConns: cfg.MaxConns, log: cfg.Log}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mu.handlers = make(map[Purpose]func(net.Conn))
	m.mu.conns = make(map[net.Conn]struct{})
	m.wg.Go(m.accept)
	return m
}

// Addr returns the address of the listener.
func (m *Mux) Addr() net.Addr { return m.l.Addr() }

// Handle makes h serve connections of purpose p from now on; nil removes the
// handler. h runs on a goroutine of its own and returns when it is done with
// the connection, at the latest soon after the connection is closed.
func (m *Mux) Handle(p Purpose, h func(net.Conn)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h == nil {
		delete(m.mu.handlers, p)
		return
	}
	m.mu.handlers[p] = h
}

// Close stops accepting, closes every connection and waits for the handlers.
// Closing twice is harmless.
func (m *Mux) Close() error {
	m.mu.Lock()
	first := !m.mu.closed
	m.mu.closed = true
	open := slices.Collect(maps.Keys(m.mu.conns))
	m.mu.Unlock()
	// Closing a TLS connection writes to it, so not under the lock.
	for _, nc := range open {
		nc.Close()
	}
	var err error
	if first {
		m.cancel()
		err = m.l.Close()
	}
	m.wg.Wait()
	return err
}

// accept runs until the listener is closed.
func (m *Mux) accept() {
	for {
		nc, err := m.l.Accept()
		switch {
		case err == nil:
		case m.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			m.log.Warn("wire: accept failed", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-m.ctx.Done():
			}
			continue
		}
		if !m.track(nc) {
			nc.Close()
			continue
		}
		m.wg.Go(func() {
			defer m.untrack(nc)
			m.serve(nc)
		})
	}
}

// serve reads the preface and runs the handler.
func (m *Mux) serve(nc net.Conn) {
	err := nc.SetReadDeadline(time.Now().Add(prefaceTimeout))
	var p Purpose
	if err == nil {
		p, err = readPreface(nc)
	}
	if err == nil {
		err = nc.SetReadDeadline(time.Time{})
	}
	if err != nil {
		m.log.Debug("wire: connection refused", "remote", nc.RemoteAddr(), "err", err)
		return
	}
	h := m.enter(p)
	if h == nil {
		m.log.Debug("wire: connection not served", "remote", nc.RemoteAddr(), "purpose", p)
		return
	}
	defer m.leave(p)
	h(nc)
}

// enter returns the handler for a purpose, or nil when there is none or the
// purpose has its share of connections already.
func (m *Mux) enter(p Purpose) func(net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.mu.handlers[p]
	if h == nil || p != PurposeRequests {
		return h
	}
	if m.mu.requests >= m.maxConns-m.maxConns/8 {
		return nil
	}
	m.mu.requests++
	return h
}

// leave undoes enter.
func (m *Mux) leave(p Purpose) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == PurposeRequests {
		m.mu.requests--
	}
}

// track admits a connection unless the Mux is closed or full.
func (m *Mux) track(nc net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed || len(m.mu.conns) >= m.maxConns {
		return false
	}
	m.mu.conns[nc] = struct{}{}
	return true
}

// untrack closes and forgets a connection.
func (m *Mux) untrack(nc net.Conn) {
	nc.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mu.conns, nc)
}
