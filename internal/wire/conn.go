package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Kinds of frames. An application numbers its requests from 1 to MaxKind; a
// request for a stream carries its kind with streamFlag set.
const (
	// MaxKind is the highest kind that an application may use.
	MaxKind uint8 = 0x5f

	// KindPing asks for an empty reply from whoever reads the connection, past
	// all queues. A server loop of one's own answers it with Writer.Reply.
	KindPing uint8 = 0x67
	// KindCancel says that nobody waits for the reply to this id any more.
	KindCancel uint8 = 0x65

	kindReply  uint8 = 0x60
	kindError  uint8 = 0x61
	kindBusy   uint8 = 0x62
	kindItem   uint8 = 0x63
	kindEnd    uint8 = 0x64
	kindCredit uint8 = 0x66

	streamFlag uint8 = 0x80
)

// defaultMaxCalls bounds the requests in flight on one connection; callers
// beyond it wait. Servers take as many (see ServerConfig.MaxConcurrent).
const defaultMaxCalls = 1024

// Conn is the asking end of a connection: many requests and streams at once,
// told apart by id. All methods may be called concurrently.
type Conn struct {
	nc       net.Conn
	w        *Writer
	slots    chan struct{} // one per request in flight
	opened   time.Time
	lastRead atomic.Int64  // age at the last frame read, in ns since opened
	done     chan struct{} // closed when the connection has ended
	read     chan struct{} // closed when the reader has ended

	mu struct {
		sync.Mutex
		calls map[uint64]*inflight // nil once the connection has ended
		next  uint64
		err   error
	}
}

// inflight is one request that waits for frames.
type inflight struct {
	// outcomes has room for everything that may legally arrive, so the reader
	// never blocks on it.
	outcomes chan outcome
	stream   bool
}

type outcome struct {
	body []byte
	err  error
}

// Connect opens a connection to addr for a purpose. maxFrame 0 means
// DefaultMaxFrame. Errors wrap ErrUnreachable. The caller closes the Conn.
func Connect(ctx context.Context, dial Dialer, addr string, purpose Purpose, maxFrame int) (*Conn, error) {
	nc, err := Open(ctx, dial, addr, purpose)
	if err != nil {
		return nil, err
	}
	return NewConn(nc, maxFrame), nil
}

// NewConn starts a Conn on nc, whose preface has been sent, and owns nc.
func NewConn(nc net.Conn, maxFrame int) *Conn {
	c := &Conn{
		nc: nc, w: NewWriter(nc, maxFrame),
		slots:  make(chan struct{}, defaultMaxCalls),
		opened: time.Now(), done: make(chan struct{}), read: make(chan struct{}),
	}
	c.mu.calls = make(map[uint64]*inflight)
	go func() {
		defer close(c.read)
		c.fail(c.receive(NewFrameReader(nc, maxFrame)))
	}()
	return c
}

// Call sends a request and waits for its reply, which belongs to the caller.
// The error is an *Error when the handler failed; see the package comment for
// what the others prove.
func (c *Conn) Call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	p, err := c.Start(ctx, kind, Bytes(body))
	if err != nil {
		return nil, err
	}
	return p.Wait(ctx)
}

// Start sends a request without waiting for its reply. Requests that one
// goroutine starts arrive in that order. It blocks while too many are in flight.
func (c *Conn) Start(ctx context.Context, kind uint8, body Body) (*Pending, error) {
	id, in, err := c.begin(ctx, kind, body, 1, false)
	if err != nil {
		return nil, err
	}
	return &Pending{c: c, id: id, outcomes: in.outcomes}, nil
}

// Ping waits until the other end has read everything sent before and answered.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.Call(ctx, KindPing, nil)
	return err
}

// Watch keeps an eye on the connection until it has ended, and returns why. When
// nothing has arrived for half of timeout it pings, and when that is not
// answered within timeout it closes the connection and returns ErrSilent: a host
// that has vanished sends no reset. When ctx ends first it returns nil and the
// connection lives on.
func (c *Conn) Watch(ctx context.Context, timeout time.Duration) error {
	tick := time.NewTicker(timeout / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.done:
			return c.Err()
		case <-ctx.Done():
			return nil
		}
		if c.Quiet() < timeout/2 {
			continue
		}
		patience, cancel := context.WithTimeout(ctx, timeout)
		err := c.Ping(patience)
		cancel()
		if err != nil && ctx.Err() == nil && c.Err() == nil {
			c.fail(ErrSilent)
		}
	}
}

// Quiet returns how long ago the last frame arrived, or the connection opened.
func (c *Conn) Quiet() time.Duration {
	return time.Since(c.opened) - time.Duration(c.lastRead.Load())
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: ErrClosed after Close, nil while it
// works.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Close ends the connection, fails what is in flight with ErrBroken and waits
// for its goroutines. Closing twice is harmless.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	<-c.read
	return c.w.Close()
}

// begin registers a request and sends it. An error proves that it was not sent.
func (c *Conn) begin(ctx context.Context, kind uint8, body Body, room int, stream bool) (uint64, *inflight, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return 0, nil, fmt.Errorf("%w: %w", ErrUnreachable, c.Err())
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	}
	in := &inflight{outcomes: make(chan outcome, room), stream: stream}
	c.mu.Lock()
	if c.mu.calls == nil {
		err := c.mu.err
		c.mu.Unlock()
		<-c.slots
		return 0, nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c.mu.next++
	id := c.mu.next
	c.mu.calls[id] = in
	c.mu.Unlock()

	if err := c.w.Send(ctx, kind, id, body); err != nil {
		c.remove(id)
		if !errors.Is(err, ErrFrameTooLarge) {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return 0, nil, err
	}
	return id, in, nil
}

// remove forgets a request and frees its slot. It returns nil when the request
// was already finished.
func (c *Conn) remove(id uint64) *inflight {
	c.mu.Lock()
	in := c.mu.calls[id]
	delete(c.mu.calls, id)
	c.mu.Unlock()
	if in != nil {
		<-c.slots
	}
	return in
}

// receive dispatches frames until the connection breaks.
func (c *Conn) receive(fr *FrameReader) error {
	for {
		f, err := fr.Next()
		if err != nil {
			return err
		}
		c.lastRead.Store(int64(time.Since(c.opened)))
		if err := c.dispatch(f); err != nil {
			return err
		}
	}
}

// dispatch hands a frame to whoever waits for it. A frame for an id that is no
// longer waited for is dropped.
func (c *Conn) dispatch(f Frame) error {
	var out outcome
	switch f.Kind {
	case kindItem:
		return c.item(f)
	case kindReply:
		out.body = f.Body
	case kindEnd:
		out.err = io.EOF
	case kindBusy:
		out.err = ErrBusy
	case kindError:
		out.err = parseError(f.Body)
		if errors.Is(out.err, ErrProtocol) {
			return out.err
		}
	default:
		return fmt.Errorf("%w: reply of kind %#x", ErrProtocol, f.Kind)
	}
	in := c.remove(f.ID)
	if in == nil {
		return nil
	}
	var err error
	if (f.Kind == kindReply && in.stream) || (f.Kind == kindEnd && !in.stream) {
		err = fmt.Errorf("%w: answer of kind %#x to the other kind of request", ErrProtocol, f.Kind)
		out = outcome{err: err}
	}
	in.outcomes <- out
	return err
}

// fail ends the connection once and tells everybody who waits.
func (c *Conn) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.mu.Lock()
	calls := c.mu.calls
	if calls != nil {
		c.mu.err = err
		c.mu.calls = nil
		close(c.done)
	}
	c.mu.Unlock()
	if calls == nil {
		return
	}
	c.nc.Close()
	c.w.fail(err)
	for range calls {
		<-c.slots
	}
	broken := fmt.Errorf("%w: %w", ErrBroken, err)
	for _, in := range calls {
		in.outcomes <- outcome{err: broken}
	}
}

// Pending is a request that has been sent.
type Pending struct {
	c        *Conn
	id       uint64
	outcomes chan outcome
}

// Wait waits for the reply, which belongs to the caller. It is called once.
// When ctx ends first, the outcome is unknown; the server is told that nobody
// waits any more.
func (p *Pending) Wait(ctx context.Context) ([]byte, error) {
	select {
	case out := <-p.outcomes:
		return out.body, out.err
	case <-ctx.Done():
	}
	if p.c.remove(p.id) == nil {
		out := <-p.outcomes
		return out.body, out.err
	}
	// A cancel that finds no room is not worth waiting for: it only saves work.
	_ = p.c.w.TrySend(KindCancel, p.id, nil)
	return nil, fmt.Errorf("wire: no reply in time, outcome unknown: %w", context.Cause(ctx))
}
