package web

import (
	"bufio"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/spacegrid/spacegrid/grid"
)

// Clients that are sent away come back after a pause drawn from this range, in
// milliseconds, so that they do not all arrive at once.
const (
	retryMinMS = 500
	retryMaxMS = 3000
)

// sockets are the open WebSocket connections of a server.
type sockets struct {
	mu      sync.Mutex
	taken   int // places, bounded by SocketLimits.Connections
	open    map[*socket]struct{}
	closed  bool
	buffers sync.Pool     // of the library, for writing
	empty   chan struct{} // closed when the last one goes; nil: nobody waits
}

// websocket turns the request into a connection that speaks grid.v1.
func (s *Server) websocket(w http.ResponseWriter, r *http.Request) error {
	switch {
	case !s.guard.allowsOrigin(r):
		return problem(codeForeignPage, "a page of "+r.Header.Get("Origin")+" may not subscribe")
	case !websocket.IsWebSocketUpgrade(r), !slices.Contains(websocket.Subprotocols(r), subprotocol):
		w.Header().Set("Upgrade", "websocket")
		return problem(codeUpgrade, "")
	case s.draining.Load():
		return problem(codeDraining, "")
	}
	if !s.sockets.reserve(s.limits.Sockets.Connections) {
		return problem(codeTooMany, "")
	}
	hijacked := &corkingWriter{ResponseWriter: w, timeout: s.limits.Sockets.Write}
	upgrader := websocket.Upgrader{
		Subprotocols:    []string{subprotocol},
		WriteBufferPool: &s.sockets.buffers,                       // a resting connection holds none
		CheckOrigin:     func(*http.Request) bool { return true }, // decided above
		Error:           func(http.ResponseWriter, *http.Request, int, error) {},
	}
	ws, err := upgrader.Upgrade(hijacked, r, nil)
	if err != nil {
		s.sockets.release(nil)
		if hijacked.conn != nil {
			return errAnswered
		}
		return invalid("the WebSocket handshake failed: "+err.Error(), "")
	}
	c := newSocket(s, ws, hijacked.conn)
	// The request's goroutine ends here, and gives its stack back. Releasing the
	// place is the last thing the socket's own does, and what Close waits for.
	go func() {
		defer s.sockets.release(c)
		if !s.sockets.enter(c) {
			c.finish(breachf(closeDrain, "drain"))
		}
		c.run()
	}()
	return nil
}

// corkingWriter hands the library a corked connection.
type corkingWriter struct {
	http.ResponseWriter
	timeout time.Duration
	conn    *corked
}

// Hijack implements http.Hijacker.
func (w *corkingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = &corked{Conn: nc, timeout: w.timeout}
	return w.conn, rw, nil
}

// reserve takes a place for a connection that is about to be made.
func (x *sockets) reserve(most int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.taken >= most {
		return false
	}
	x.taken++
	return true
}

// enter makes a connection known; false if the server has meanwhile said bye to
// all of them.
func (x *sockets) enter(c *socket) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.open[c] = struct{}{}
	return true
}

// release gives the place back, and forgets the connection if there was one.
func (x *sockets) release(c *socket) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, c)
	if x.taken--; x.taken == 0 && x.empty != nil {
		close(x.empty)
		x.empty = nil
	}
}

// all returns the open connections.
func (x *sockets) all() []*socket {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Keys(x.open))
}

// bye sends every client away, with the addresses of other members, and lets no
// new one in.
func (x *sockets) bye(others []string) {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	frame := mustJSON(byeFrame{T: "bye", Reason: "drain", RetryMS: [2]int{retryMinMS, retryMaxMS}, Other: others})
	for _, c := range x.all() {
		// A client with too many unread answers is not told, only closed.
		_ = c.answer(frame)
		c.finish(breachf(closeDrain, "drain"))
	}
}

// cut closes every connection without a word.
func (x *sockets) cut() {
	for _, c := range x.all() {
		c.cancel()
		_ = c.ws.Close()
	}
}

// wait returns when there is no connection left, or ctx ends.
func (x *sockets) wait(ctx context.Context) error {
	x.mu.Lock()
	if x.taken == 0 {
		x.mu.Unlock()
		return nil
	}
	if x.empty == nil {
		x.empty = make(chan struct{})
	}
	empty := x.empty
	x.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// otherDoors returns the HTTP addresses of the members that clients of this one
// may turn to.
func (s *Server) otherDoors() []string {
	others := []string{}
	for _, m := range s.grid.Members() {
		if m.ID != s.config.Self && m.HTTP != "" && m.State == grid.MemberActive {
			others = append(others, m.HTTP)
		}
	}
	return others
}
