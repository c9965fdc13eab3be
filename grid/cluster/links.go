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

// links keeps one connection to each member that a router talks to.
type links struct {
	dial wire.Dialer
	// silence is after how long without a sign of life a connection is given up;
	// 0: requests have deadlines of their own that are short enough.
	silence time.Duration

	mu *linksState
}

type linksState struct {
	sync.Mutex
	byAddr   map[string]*memberLink
	closed   bool
	watchers sync.WaitGroup // one for each connection, if silence counts
}

type memberLink struct {
	// turn has one place, taken while dialling, so that one caller dials and the
	// others wait no longer than they want to.
	turn chan struct{}
	conn *wire.Conn
}

func newLinks(dial wire.Dialer) links {
	return links{dial: dial, mu: &linksState{byAddr: map[string]*memberLink{}}}
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
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: no connection to %s yet: %w", ErrUnavailable, addr, ctx.Err())
	}
	if k.conn != nil && k.conn.Err() == nil {
		return k.conn, nil
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := wire.Connect(dialCtx, l.dial, addr, wire.PurposeRequests, maxRequestBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.mu.Lock()
	closed := l.mu.closed
	if !closed && l.silence > 0 {
		// It returns when the connection has ended, and that is known without it.
		l.mu.watchers.Go(func() { _ = conn.Watch(context.Background(), l.silence) })
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
