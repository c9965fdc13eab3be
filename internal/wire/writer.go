package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// defaultPending bounds the bytes that wait to be written on a connection.
	// It is about what a socket holds anyway; more would only hide a slow peer.
	defaultPending = 4 << 20

	// keepBuffer is the largest write buffer kept between writes: one burst
	// must not pin its memory to an idle connection.
	keepBuffer = 256 << 10

	// defaultWriteTimeout bounds one write to the socket. A peer that takes
	// nothing for that long is as good as gone.
	defaultWriteTimeout = 5 * time.Second
)

// Writer sends frames over a connection from any number of goroutines.
//
// A sender appends its frame to a pending buffer under a mutex; one goroutine
// swaps the buffer for an empty one and writes it. An idle connection thus
// sends at once, and a busy one sends everything that has gathered during the
// write before, in one system call, with no timer.
//
// Invariant: pending is at most limit bytes, or holds one single frame.
type Writer struct {
	nc       net.Conn
	limit    int
	maxFrame int
	timeout  time.Duration

	wake   chan struct{} // one slot: pending is not empty
	broken chan struct{} // closed with the first error
	done   chan struct{} // closed when the flusher has ended

	mu struct {
		sync.Mutex
		pending []byte
		room    chan struct{} // closed at the next swap; nil when nobody waits
		err     error
	}
}

// NewWriter starts a Writer on nc that refuses frames above maxFrame bytes (0
// means DefaultMaxFrame). The first error closes nc. The caller closes the
// Writer.
func NewWriter(nc net.Conn, maxFrame int) *Writer {
	if maxFrame == 0 {
		maxFrame = DefaultMaxFrame
	}
	w := &Writer{
		nc: nc, limit: defaultPending, maxFrame: maxFrame, timeout: defaultWriteTimeout,
		wake: make(chan struct{}, 1), broken: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(w.done)
		w.flush()
	}()
	return w
}

// Send queues one frame, waiting for room until ctx is done. An error means
// that the frame was not queued; nil does not mean that it arrived.
func (w *Writer) Send(ctx context.Context, kind uint8, id uint64, body Body) error {
	for {
		room, err := w.offer(kind, id, body, true)
		if !errors.Is(err, ErrBacklog) {
			return err
		}
		select {
		case <-room:
		case <-w.broken:
			return w.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// TrySend queues one frame, or returns ErrBacklog when there is no room.
func (w *Writer) TrySend(kind uint8, id uint64, body Body) error {
	_, err := w.offer(kind, id, body, false)
	return err
}

// Err returns what broke the Writer, or nil while it works.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.err
}

// Close closes the connection and waits for the flusher; pending frames are
// dropped. Closing twice is harmless.
func (w *Writer) Close() error {
	w.fail(ErrClosed)
	<-w.done
	return nil
}

// offer appends a frame if there is room. With wait set it returns, beside
// ErrBacklog, the channel that is closed when there may be.
func (w *Writer) offer(kind uint8, id uint64, body Body, wait bool) (<-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err != nil {
		return nil, w.mu.err
	}
	before := len(w.mu.pending)
	if before < w.limit {
		w.mu.pending = AppendFrame(w.mu.pending, kind, id, body)
		size := len(w.mu.pending) - before
		if size-4 > w.maxFrame {
			w.mu.pending = w.mu.pending[:before]
			return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFrameTooLarge, size-4, w.maxFrame)
		}
		if before == 0 || before+size <= w.limit {
			select {
			case w.wake <- struct{}{}:
			default:
			}
			return nil, nil
		}
		w.mu.pending = w.mu.pending[:before]
	}
	if !wait {
		return nil, ErrBacklog
	}
	if w.mu.room == nil {
		w.mu.room = make(chan struct{})
	}
	return w.mu.room, ErrBacklog
}

// flush writes whatever is pending until the Writer breaks.
func (w *Writer) flush() {
	var out []byte
	for {
		select {
		case <-w.wake:
		case <-w.broken:
			return
		}
		out = w.swap(out)
		if len(out) == 0 {
			continue
		}
		err := w.nc.SetWriteDeadline(time.Now().Add(w.timeout))
		if err == nil {
			_, err = w.nc.Write(out)
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

// swap takes the pending bytes, leaves the emptied buffer in their place and
// wakes the senders that wait for room.
func (w *Writer) swap(empty []byte) []byte {
	if cap(empty) > keepBuffer {
		empty = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.mu.pending
	w.mu.pending = empty[:0]
	if w.mu.room != nil {
		close(w.mu.room)
		w.mu.room = nil
	}
	return out
}

// fail records the first error and closes the connection.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	first := w.mu.err == nil
	if first {
		w.mu.err = err
		close(w.broken)
	}
	w.mu.Unlock()
	if first {
		w.nc.Close()
	}
}
