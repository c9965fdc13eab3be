package primarybackup

import (
	"context"
	"net"
	"sync"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// server accepts connections and runs one goroutine for each, until it is
// closed.
type server struct {
	listener net.Listener
	handle   func(f wire.Frame, w *wire.Writer) error
	wg       sync.WaitGroup

	mu struct {
		sync.Mutex
		closed bool
		conns  map[net.Conn]struct{}
	}
}

// listen starts a server on a free loopback port. handle is called for the
// frames of a connection in order, for several connections at once; its error
// ends the connection.
func listen(ctx context.Context, handle func(f wire.Frame, w *wire.Writer) error) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: l, handle: handle}
	s.mu.conns = map[net.Conn]struct{}{}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *server) addr() string { return s.listener.Addr().String() }

func (s *server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return // closed, or of no more use
		}
		s.mu.Lock()
		if s.mu.closed {
			s.mu.Unlock()
			nc.Close()
			return
		}
		s.mu.conns[nc] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(nc) })
	}
}

func (s *server) serve(nc net.Conn) {
	w := wire.NewWriter(nc, frameMax)
	defer func() {
		w.Close()
		s.mu.Lock()
		delete(s.mu.conns, nc)
		s.mu.Unlock()
	}()
	for r := wire.NewFrameReader(nc, frameMax); ; {
		f, err := r.Next()
		if err == nil && f.Kind != wire.KindCancel { // cancelled or not, the answer is on its way
			err = s.handle(f, w)
		}
		if err != nil {
			return
		}
	}
}

// close ends the listener and all connections and waits for their goroutines.
func (s *server) close() error {
	s.mu.Lock()
	var err error
	if !s.mu.closed {
		s.mu.closed = true
		err = s.listener.Close()
		for nc := range s.mu.conns {
			nc.Close() // its goroutine may have closed it already
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}
