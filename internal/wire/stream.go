package wire

import (
	"context"
	"encoding/binary"
	"fmt"
)

// streamWindow is how many items of a stream may be on their way or unread
// at the client. It bounds what a slow reader makes its connection hold and
// keeps one stream from delaying the others. Both ends know it.
const streamWindow = 32

// Stream sends a request whose answer is a sequence of items.
func (c *Conn) Stream(ctx context.Context, kind uint8, body []byte) (*Stream, error) {
	id, in, err := c.begin(ctx, kind|streamFlag, Bytes(body), streamWindow+1, true)
	if err != nil {
		return nil, err
	}
	return &Stream{c: c, id: id, outcomes: in.outcomes}, nil
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
