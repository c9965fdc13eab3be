package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// dialTimeout bounds the opening of one connection to a member.
const dialTimeout = 2 * time.Second

// silentTime is how long a member may take to answer a ping before its connection
// is given up and what waits for an answer on it is repeated elsewhere: a host
// that has vanished sends no reset. What another leader can answer does not wait
// for it.
const silentTime = time.Second

// links keeps one connection to each member that a router talks to, and an eye on
// each of them.
type links struct {
	dial wire.Dialer

	mu *linksState
}

type linksState struct {
	sync.Mutex
	byAddr map[string]*memberLink
	closed bool

	watching context.Context // ends with close
	stop     context.CancelFunc
	watchers sync.WaitGroup
}

// memberLink is the connection to one address. Who has the turn may look at it,
// and dials if there is none: the others wait, no longer than they want.
type memberLink struct {
	turn chan struct{}
	conn *wire.Conn
}

func newLinks(dial wire.Dialer) links {
	s := &linksState{byAddr: map[string]*memberLink{}}
	s.watching, s.stop = context.WithCancel(context.Background())
	return links{dial: dial, mu: s}
}

// service returns the Service at an address. Errors wrap ErrUnavailable: nothing
// was sent.
func (l *links) service(ctx context.Context, addr string) (Service, error) {
	conn, err := l.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return NewRemote(conn), nil
}

// connect returns the connection to an address, which was alive a moment ago.
// Errors wrap ErrUnavailable: nothing was sent.
func (l *links) connect(ctx context.Context, addr string) (*wire.Conn, error) {
	l.mu.Lock()
	if l.mu.closed || l.dial == nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("%w: this client is closed", ErrUnavailable)
	}
	k := l.mu.byAddr[addr]
	if k == nil {
		k = &memberLink{turn: make(chan struct{}, 1)}
		l.mu.byAddr[addr] = k
	}
	l.mu.Unlock()

	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	defer func() { <-k.turn }()
	if k.conn != nil && k.conn.Err() == nil {
		return k.conn, nil
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// Closing does not wait for a dial.
	defer context.AfterFunc(l.mu.watching, cancel)()
	conn, err := wire.Connect(dialCtx, l.dial, addr, wire.PurposeRequests, maxRequestBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.mu.Lock()
	closed := l.mu.closed
	if !closed {
		// It closes a connection that has fallen silent; whoever uses it sees that.
		l.mu.watchers.Go(func() { _ = conn.Watch(l.mu.watching, silentTime) })
	}
	l.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%w: this client is closed (%w)", ErrUnavailable, conn.Close())
	}
	k.conn = conn
	return conn, nil
}

func (l *links) close() error {
	l.mu.Lock()
	l.mu.closed = true
	all := l.mu.byAddr
	l.mu.byAddr = map[string]*memberLink{}
	l.mu.Unlock()
	l.mu.stop()
	for _, k := range all {
		k.turn <- struct{}{}
		if k.conn != nil {
			// The other end sees the end of the stream whatever Close returns.
			_ = k.conn.Close()
		}
		<-k.turn
	}
	l.mu.watchers.Wait()
	return nil
}
