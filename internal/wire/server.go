package wire

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Handler answers one request. body and the reply belong to the handler until
// it returns; the reply is copied. ctx ends when the caller gives up or the
// connection breaks. An error crosses as an *Error, with code 0 unless it is
// one; so does a reply above MaxFrame, although the handler was run.
type Handler func(ctx context.Context, kind uint8, body []byte) ([]byte, error)

// StreamHandler answers a request with items: send copies its argument, waits
// while the client has not consumed enough, and fails when ctx ends. Returning
// ends the stream, with an error or well.
type StreamHandler func(ctx context.Context, kind uint8, body []byte, send func([]byte) error) error

// ServerConfig configures a Server. A nil handler refuses its kind of request.
type ServerConfig struct {
	Handle Handler
	Stream StreamHandler
	// MaxConcurrent bounds the requests and streams in progress on one
	// connection; further ones fail with ErrBusy. 0 means 1024, what a Conn
	// sends at most.
	MaxConcurrent int
	// MaxFrame bounds a frame in either direction; 0 means DefaultMaxFrame.
	MaxFrame int
	// IdleTimeout closes a connection that has sent nothing for so long; 0
	// means never.
	IdleTimeout time.Duration
}

// Server is the answering end of connections. It keeps nothing between them.
type Server struct{ cfg ServerConfig }

// NewServer returns a Server.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxConcurrent == 0 {
		cfg.MaxConcurrent = defaultMaxCalls
	}
	return &Server{cfg: cfg}
}

// Serve answers the requests on nc until it breaks or is closed, then waits for
// the handlers, whose contexts have ended. It closes nc. It fits Mux.Handle.
func (s *Server) Serve(nc net.Conn) {
	ses := &session{cfg: &s.cfg, w: NewWriter(nc, s.cfg.MaxFrame)}
	ses.mu.running = make(map[uint64]*running)
	ctx, cancel := context.WithCancel(context.Background())
	ses.receive(ctx, nc)
	cancel()
	ses.w.Close()
	ses.wg.Wait()
}

// session is one connection being served.
type session struct {
	cfg *ServerConfig
	w   *Writer
	wg  sync.WaitGroup

	mu struct {
		sync.Mutex
		running map[uint64]*running // at most cfg.MaxConcurrent
	}
}

// running is one request in progress. A stream takes a token from credit for
// every item; the client puts tokens back as it consumes.
type running struct {
	cancel context.CancelFunc
	credit chan struct{}
}

// receive dispatches requests until the connection or its peer fails.
func (s *session) receive(ctx context.Context, nc net.Conn) {
	fr := NewFrameReader(nc, s.cfg.MaxFrame)
	for {
		if s.cfg.IdleTimeout > 0 {
			if nc.SetReadDeadline(time.Now().Add(s.cfg.IdleTimeout)) != nil {
				return
			}
		}
		f, err := fr.Next()
		if err != nil {
			return
		}
		if s.dispatch(ctx, f) != nil {
			return
		}
	}
}

func (s *session) dispatch(ctx context.Context, f Frame) error {
	switch {
	case f.Kind == KindPing:
		return s.w.Reply(f.ID, nil)
	case f.Kind == KindCancel:
		s.mu.Lock()
		if r := s.mu.running[f.ID]; r != nil {
			r.cancel()
		}
		s.mu.Unlock()
		return nil
	case f.Kind == kindCredit:
		return s.credit(f)
	case f.Kind&streamFlag != 0:
		return s.run(ctx, f, true)
	case f.Kind >= 1 && f.Kind <= MaxKind:
		return s.run(ctx, f, false)
	default:
		return fmt.Errorf("%w: request of kind %#x", ErrProtocol, f.Kind)
	}
}

// run starts the handler of a request on a goroutine of its own, or refuses.
func (s *session) run(ctx context.Context, f Frame, stream bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.running[f.ID] != nil {
		return fmt.Errorf("%w: id %d is in use", ErrProtocol, f.ID)
	}
	if len(s.mu.running) >= s.cfg.MaxConcurrent {
		return s.w.TrySend(kindBusy, f.ID, nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel}
	s.mu.running[f.ID] = r
	if stream {
		r.credit = make(chan struct{}, streamWindow)
		for range streamWindow {
			r.credit <- struct{}{}
		}
	}
	s.wg.Go(func() {
		defer cancel()
		if stream {
			s.serveStream(ctx, f, r)
		} else {
			s.serveCall(ctx, f)
		}
	})
	return nil
}

// serveCall runs the handler and replies. The id is free again before the
// reply leaves, so that the client may count on the room.
func (s *session) serveCall(ctx context.Context, f Frame) {
	var reply []byte
	err := errNoHandler
	if s.cfg.Handle != nil {
		reply, err = s.cfg.Handle(ctx, f.Kind, f.Body)
	}
	s.finish(f.ID)
	// The session's writer ends with the session, so waiting for room is
	// bounded by its write timeout, whatever became of the request.
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		// A reply that is too large for a frame becomes an error of code 0,
		// which says nothing about what the handler has done.
		err = s.w.Send(ctx, kindReply, f.ID, Bytes(reply))
	}
	if err != nil {
		_ = s.w.Send(ctx, kindError, f.ID, func(dst []byte) []byte { return appendError(dst, err) })
	}
}

// serveStream runs the handler and ends the stream.
func (s *session) serveStream(ctx context.Context, f Frame, r *running) {
	send := func(item []byte) error {
		select {
		case <-r.credit:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return s.w.Send(ctx, kindItem, f.ID, Bytes(item))
	}
	err := errNoHandler
	if s.cfg.Stream != nil {
		err = s.cfg.Stream(ctx, f.Kind&^streamFlag, f.Body, send)
	}
	s.finish(f.ID)
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		_ = s.w.Send(ctx, kindEnd, f.ID, nil)
		return
	}
	_ = s.w.Send(ctx, kindError, f.ID, func(dst []byte) []byte { return appendError(dst, err) })
}

// errNoHandler answers requests of a kind that this server does not serve.
var errNoHandler error = &Error{Message: "wire: this server does not answer such requests"}

// finish forgets a request.
func (s *session) finish(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.running, id)
}

// credit puts tokens back. More than were taken is a protocol violation.
func (s *session) credit(f Frame) error {
	p := NewParser(f.Body)
	n := p.Uvarint()
	if err := p.End(); err != nil {
		return fmt.Errorf("%w: credit: %w", ErrProtocol, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.mu.running[f.ID]
	if r == nil || r.credit == nil {
		return nil
	}
	if n > uint64(streamWindow-len(r.credit)) {
		return fmt.Errorf("%w: credit above the window", ErrProtocol)
	}
	for range n {
		r.credit <- struct{}{}
	}
	return nil
}
