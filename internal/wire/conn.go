package wire

import (
	"context"
	"encoding/binary"
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

const (
	// defaultMaxCalls bounds the requests in flight on one connection; callers
	// beyond it wait. Servers take as many (see ServerConfig.MaxConcurrent).
	defaultMaxCalls = 1024

	// streamWindow is how many items of a stream may be on their way or unread
	// at the client. It bounds what a slow reader makes its connection hold and
	// keeps one stream from delaying the others. Both ends know it.
	streamWindow = 32
)

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

// Start sends a request without waiting for its reply. Requests arrive in the
// order in which Start returned. It blocks while too many are in flight.
func (c *Conn) Start(ctx context.Context, kind uint8, body Body) (*Pending, error) {
	id, in, err := c.begin(ctx, kind, body, 1, false)
	if err != nil {
		return nil, err
	}
	return &Pending{c: c, id: id, outcomes: in.outcomes}, nil
}

// Stream sends a request whose answer is a sequence of items.
func (c *Conn) Stream(ctx context.Context, kind uint8, body []byte) (*Stream, error) {
	id, in, err := c.begin(ctx, kind|streamFlag, Bytes(body), streamWindow+1, true)
	if err != nil {
		return nil, err
	}
	return &Stream{c: c, id: id, outcomes: in.outcomes}, nil
}

// Ping waits until the other end has read everything sent before and answered.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.Call(ctx, KindPing, nil)
	return err
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

// item hands one item to its stream. A server that sends more than the window
// has broken the protocol.
func (c *Conn) item(f Frame) error {
	c.mu.Lock()
	in := c.mu.calls[f.ID]
	c.mu.Unlock()
	switch {
	case in == nil:
		return nil
	case !in.stream || len(in.outcomes) >= streamWindow:
		return fmt.Errorf("%w: item that nobody asked for", ErrProtocol)
	}
	in.outcomes <- outcome{body: f.Body}
	return nil
}

// fail ends the connection once and tells everybody who waits.
func (c *Conn) fail(err error) {
	if err == io.EOF {
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

// Stream is the receiving end of a sequence of items. It is for one goroutine.
type Stream struct {
	c        *Conn
	id       uint64
	outcomes chan outcome
	consumed int   // items taken since credit was last returned
	ended    error // what every further Recv returns
}

// Recv waits for the next item, which belongs to the caller. It returns io.EOF
// after the last one, an *Error when the handler failed, ErrBroken when the
// connection did. A ctx that ends leaves the stream as it was.
func (s *Stream) Recv(ctx context.Context) ([]byte, error) {
	if s.ended != nil {
		return nil, s.ended
	}
	select {
	case out := <-s.outcomes:
		if out.err != nil {
			s.ended = out.err
			return nil, out.err
		}
		s.credit()
		return out.body, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close tells the server to stop. It must be called unless Recv has returned
// the end of the stream, and may always be called.
func (s *Stream) Close() error {
	if s.ended == nil {
		s.ended = ErrClosed
	}
	if s.c.remove(s.id) != nil {
		_ = s.c.w.TrySend(KindCancel, s.id, nil)
	}
	return nil
}

// credit lets the server send more once half the window has been consumed.
// Credit that finds no room in the writer is kept and sent with the next.
func (s *Stream) credit() {
	s.consumed++
	if s.consumed < streamWindow/2 {
		return
	}
	n := uint64(s.consumed)
	err := s.c.w.TrySend(kindCredit, s.id, func(dst []byte) []byte { return binary.AppendUvarint(dst, n) })
	if err == nil {
		s.consumed = 0
	}
}
