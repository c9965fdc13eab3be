package web

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// writeBudget is about how much one pass of the writer gathers before it
	// goes to the network.
	writeBudget = 256 << 10
	// maxControl bounds the answers that wait for a client which asks but does
	// not read.
	maxControl = 256
	// closeWait is how long a client may take to answer a close message.
	closeWait = time.Second
)

// socket is one WebSocket connection: a goroutine that reads, one that writes,
// and one for each subscription. Only the writer writes messages.
type socket struct {
	server  *Server
	ws      *websocket.Conn
	cork    *corked
	session string
	remote  string
	since   time.Time

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	wake   chan struct{}  // one token: there may be something to write
	subs   sync.WaitGroup // goroutines of subscriptions

	mu struct {
		sync.Mutex
		client  string
		control [][]byte // answers, in order
		pong    []byte   // payload of the last ping that was not answered yet
		pinged  bool
		subs    map[uint32]*subscription
		closing *breach // what to say when everything queued is written
	}
}

func newSocket(s *Server, ws *websocket.Conn, cork *corked) *socket {
	c := &socket{
		server: s, ws: ws, cork: cork, wake: make(chan struct{}, 1), since: time.Now(),
		session: strings.ToLower(rand.Text()[:16]), remote: ws.RemoteAddr().String(),
	}
	c.mu.subs = map[uint32]*subscription{}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	return c
}

// run serves the connection and returns when all its goroutines have ended.
func (c *socket) run() {
	var writer sync.WaitGroup
	writer.Go(func() {
		c.write()
		c.cancel()
		// The reader may still wait for the client's close message, not longer.
		_ = c.ws.SetReadDeadline(time.Now().Add(closeWait))
	})
	b := c.read()
	if b != nil {
		c.server.metrics.refused.Inc()
		c.finish(b)
	} else {
		c.cancel()
	}
	writer.Wait()
	c.cancel()
	if b != nil {
		c.linger()
	}
	_ = c.ws.Close()
	c.subs.Wait()
}

// linger throws away what the client still sends, for a moment: closing a
// connection with unread bytes would cut off the reason on its way out.
func (c *socket) linger() {
	if c.ws.SetReadDeadline(time.Now().Add(closeWait)) == nil {
		_, _ = io.Copy(io.Discard, c.ws.NetConn())
	}
}

// finish has the writer say goodbye after what is queued, and end.
func (c *socket) finish(b *breach) {
	c.mu.Lock()
	if c.mu.closing == nil {
		c.mu.closing = b
	}
	c.mu.Unlock()
	c.wakeWriter()
}

func (c *socket) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// read handles messages until the connection ends. It returns the breach of the
// protocol that ended it, or nil.
func (c *socket) read() *breach {
	limits := &c.server.limits.Sockets
	c.ws.SetPingHandler(func(payload string) error {
		c.mu.Lock()
		c.mu.pong, c.mu.pinged = []byte(payload), true
		c.mu.Unlock()
		c.wakeWriter()
		return nil
	})
	alive := limits.Ping * 5 / 2
	c.ws.SetPongHandler(func(string) error { return c.ws.SetReadDeadline(time.Now().Add(alive)) })
	c.patience(limits.Hello)
	b, err := c.next()
	if err != nil {
		return c.lost(err, breachf(closeNoHello, "no hello within %v", limits.Hello))
	}
	f, err := parseClientFrame(b)
	if err == nil && f.T != "hello" {
		err = breachf(closeBadFrame, "%s before hello", f.T)
	}
	if err != nil {
		return asBreach(err)
	}
	c.hello(f)
	allowance := newAllowance(limits.FramesPerSecond)
	for {
		if c.patience(alive); c.over() {
			return nil
		}
		if b, err = c.next(); err != nil {
			return c.lost(err, nil)
		}
		if !allowance.take(time.Now()) {
			return breachf(closeRate, "more than %d messages a second", limits.FramesPerSecond)
		}
		if f, err = parseClientFrame(b); err == nil {
			err = c.handle(f)
		}
		if err != nil {
			return asBreach(err)
		}
	}
}

// patience sets how long the next message may take. A connection that cannot have
// a deadline any more is closed, which the next read finds out.
func (c *socket) patience(d time.Duration) { _ = c.ws.SetReadDeadline(time.Now().Add(d)) }

// next reads one message, not more than the limit of it.
func (c *socket) next() ([]byte, error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, breachf(closeBadFrame, "%s is JSON in text messages", subprotocol)
	}
	most := c.server.limits.Sockets.FrameBytes
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(b) > most {
		return nil, breachf(closeTooBig, "a message has at most %d bytes", most)
	}
	return b, err
}

// lost sorts out why reading has ended: with a breach, with a client that was
// silent for too long (late), or with the connection.
func (c *socket) lost(err error, late *breach) *breach {
	if b, ok := errors.AsType[*breach](err); ok {
		return b
	}
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return late
	}
	return nil
}

func asBreach(err error) *breach {
	if b, ok := errors.AsType[*breach](err); ok {
		return b
	}
	return breachf(closeBadFrame, "%v", err)
}

// over reports whether the connection is being closed from this side. The writer
// shortens the deadline after that, so it is asked after a deadline is set.
func (c *socket) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.closing != nil || c.ctx.Err() != nil
}

func (c *socket) hello(f clientFrame) {
	l := &c.server.limits.Sockets
	c.mu.Lock()
	c.mu.client = f.Client
	c.mu.Unlock()
	// The queue of answers is empty.
	_ = c.answer(mustJSON(welcomeFrame{
		T: "welcome", Session: c.session, Member: c.server.config.Self, PingS: l.Ping.Seconds(),
		Limits: welcomeLimits{l.FrameBytes, l.Subscriptions, l.QueueEvents, l.QueueBytes, l.Credit},
	}))
}

// answer queues a message that belongs to no subscription's stream.
func (c *socket) answer(frame []byte) error {
	c.mu.Lock()
	full := len(c.mu.control) >= maxControl
	if !full {
		c.mu.control = append(c.mu.control, frame)
	}
	c.mu.Unlock()
	if full {
		return breachf(closeRate, "%d answers are waiting to be read", maxControl)
	}
	c.wakeWriter()
	return nil
}

// handle carries out one message after the hello.
func (c *socket) handle(f clientFrame) error {
	switch f.T {
	case "hello":
		return breachf(closeBadFrame, "a second hello")
	case "ping":
		return c.answer([]byte(`{"t":"pong"}`))
	case "watch":
		return c.watch(f)
	}
	c.mu.Lock()
	s := c.mu.subs[f.ID]
	if s != nil {
		switch f.T {
		case "credit":
			s.queue.credit = min(s.queue.credit+f.N, c.server.limits.Sockets.Credit)
		case "ack":
			s.acked = time.Now()
		case "unwatch":
			delete(c.mu.subs, f.ID)
		}
	}
	c.mu.Unlock()
	switch {
	case s == nil:
		// It may just have ended by itself, so this is no breach.
		return c.answer(newErrorFrame(f.ID, problem(codeNoSub, "")))
	case f.T == "credit":
		s.signal()
		c.wakeWriter()
	case f.T == "unwatch":
		s.cancel()
	}
	return nil
}

// watch starts a subscription.
func (c *socket) watch(f clientFrame) error {
	limits := &c.server.limits.Sockets
	from, err := f.options()
	if err != nil {
		return c.answer(newErrorFrame(f.ID, problemOf(err)))
	}
	s := &subscription{
		c: c, id: f.ID, space: f.Space, before: f.Before, batch: limits.Batch, room: make(chan struct{}, 1),
		queue: queue{id: f.ID, maxEvents: limits.QueueEvents, maxBytes: limits.QueueBytes, credit: min(f.Credit, limits.Credit)},
		moved: time.Now(),
	}
	if f.BatchMS != nil {
		s.batch = time.Duration(*f.BatchMS) * time.Millisecond
	}
	s.from = from
	ctx, cancel := context.WithCancel(c.ctx)
	s.cancel = cancel
	c.mu.Lock()
	_, taken := c.mu.subs[f.ID]
	full := len(c.mu.subs) >= limits.Subscriptions
	if !taken && !full {
		c.mu.subs[f.ID] = s
	}
	c.mu.Unlock()
	if taken || full {
		cancel()
	}
	switch {
	case taken:
		return breachf(closeDuplicate, "subscription %d exists", f.ID)
	case full:
		return c.answer(newErrorFrame(f.ID, problem(codeSubsLimit, "")))
	}
	c.subs.Go(func() {
		defer cancel()
		s.run(ctx)
	})
	return nil
}

// ended takes a subscription that has failed out and says why.
func (c *socket) ended(s *subscription, frame []byte) {
	c.mu.Lock()
	if c.mu.subs[s.id] == s {
		delete(c.mu.subs, s.id)
	}
	c.mu.Unlock()
	if err := c.answer(frame); err != nil {
		c.finish(asBreach(err))
	}
}
