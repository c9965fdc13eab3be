package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// redialBase and redialMax bound the pause after a failed dial, during
	// which requests fail at once. Raft retries on its own; the pause only
	// keeps a dead member from being dialled for every request, and is short
	// because a restarted member should be found quickly.
	redialBase = 10 * time.Millisecond
	redialMax  = 500 * time.Millisecond

	// maxAppendBytes is how much one AppendEntries carries before the rest is
	// left to the next; minAppendBytes is how far that shrinks when replies
	// come too late. At least one entry always goes.
	maxAppendBytes = 1 << 20
	minAppendBytes = 16 << 10
)

// link is the way to one member for one purpose: a connection that is dialled
// on demand, watched while it lives, and dialled again when it is gone.
type link struct {
	t       *Transport
	member  raft.ServerAddress
	purpose wire.Purpose

	// appendBytes is the current size of an AppendEntries, between
	// minAppendBytes and maxAppendBytes: halved when a reply is late, doubled
	// when one is prompt, so that a slow path is loaded with what it can
	// carry within StaleAfter.
	appendBytes atomic.Int64

	mu struct {
		sync.Mutex
		conn      *wire.Conn    // nil when there is none
		dialling  chan struct{} // closed when the dial in progress has ended
		failures  int           // dials failed in a row
		notBefore time.Time     // no dial until then
		err       error         // of the last dial
		closed    bool
	}
}

func newLink(t *Transport, member raft.ServerAddress, purpose wire.Purpose) *link {
	l := &link{t: t, member: member, purpose: purpose}
	l.appendBytes.Store(maxAppendBytes)
	return l
}

// get returns the connection, dialling and waiting for it if need be. Errors
// wrap wire.ErrUnreachable.
func (l *link) get(ctx context.Context) (*wire.Conn, error) {
	for {
		conn, dialling, err := l.current()
		if dialling == nil {
			return conn, err
		}
		select {
		case <-dialling:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", wire.ErrUnreachable, context.Cause(ctx))
		}
	}
}

// current returns the connection, or the dial to wait for, or why there is
// neither.
func (l *link) current() (*wire.Conn, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.closed:
		return nil, nil, ErrTransportClosed
	case l.mu.conn != nil && l.mu.conn.Err() == nil:
		return l.mu.conn, nil, nil
	case l.mu.dialling != nil:
		return nil, l.mu.dialling, nil
	case time.Now().Before(l.mu.notBefore):
		return nil, nil, l.mu.err
	}
	dialling := make(chan struct{})
	if !l.t.start(func() { l.run(dialling) }) {
		return nil, nil, ErrTransportClosed
	}
	l.mu.dialling = dialling
	return nil, dialling, nil
}

// run dials, and then watches the connection until it has ended.
func (l *link) run(dialling chan struct{}) {
	conn, err := l.dial()
	l.mu.Lock()
	l.mu.conn, l.mu.err, l.mu.dialling = conn, err, nil
	closed := l.mu.closed
	if err != nil {
		l.mu.failures++
		l.mu.notBefore = time.Now().Add(redialPause(l.mu.failures))
	} else {
		l.mu.failures = 0
	}
	l.mu.Unlock()
	close(dialling)
	switch {
	case wire.IsRefused(err):
		l.t.observe(l.member, LinkRefused, err)
	case err != nil:
		l.t.observe(l.member, LinkUnreachable, err)
	case closed:
		conn.Close()
	default:
		l.t.observe(l.member, LinkUp, nil)
		l.watch(conn)
	}
}

// dial opens a connection and introduces this member on it.
func (l *link) dial() (*wire.Conn, error) {
	addr, err := l.t.cfg.Resolve(l.member)
	if err != nil {
		return nil, fmt.Errorf("%w: resolve %s: %w", wire.ErrUnreachable, l.member, err)
	}
	ctx, cancel := context.WithTimeout(l.t.ctx, l.t.cfg.RPCTimeout)
	defer cancel()
	conn, err := wire.Connect(ctx, l.t.cfg.Dial, addr, l.purpose, l.t.cfg.MaxFrame)
	if err != nil {
		return nil, err
	}
	hello := func(dst []byte) []byte { return wire.AppendString(dst, string(l.t.cfg.Self)) }
	if _, err := conn.Start(ctx, kindHello, hello); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// watch returns when the connection has ended. It ends it itself when the member
// has fallen silent: a stalled stream recovers far more slowly than a new one.
// On a bulk link a ping waits behind the entries before it, so there it has more
// time.
func (l *link) watch(conn *wire.Conn) {
	timeout := l.t.cfg.RPCTimeout
	if l.purpose == wire.PurposeBulk {
		timeout = l.t.cfg.TransferStall
	}
	cause := conn.Watch(l.t.ctx, timeout)
	conn.Close()
	l.mu.Lock()
	closed := l.mu.closed
	if l.mu.conn == conn {
		l.mu.conn = nil
	}
	l.mu.Unlock()
	if errors.Is(cause, wire.ErrSilent) {
		l.t.silent(l.member)
	}
	if !closed {
		l.t.observe(l.member, LinkBroken, cause)
		l.t.suspect(l.member)
	}
}

// dropSilent ends the connection if it has been silent too, so that the next
// request dials instead of waiting for a stalled stream to recover.
func (l *link) dropSilent() {
	l.mu.Lock()
	conn := l.mu.conn
	l.mu.Unlock()
	if conn != nil && conn.Quiet() >= l.t.cfg.RPCTimeout {
		conn.Close()
	}
}

// close ends the link for good.
func (l *link) close() {
	l.mu.Lock()
	l.mu.closed = true
	conn := l.mu.conn
	l.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// late and prompt adapt the size of an AppendEntries to the path.
func (l *link) late() {
	l.appendBytes.Store(max(l.appendBytes.Load()/2, minAppendBytes))
}

func (l *link) prompt() {
	if size := l.appendBytes.Load(); size < maxAppendBytes {
		l.appendBytes.Store(min(size*2, maxAppendBytes))
	}
}

// redialPause is the pause after so many failures in a row, jittered so that
// members do not dial a returning one in step.
func redialPause(failures int) time.Duration {
	pause := min(redialBase<<min(failures-1, 10), redialMax)
	return pause/2 + rand.N(pause/2)
}

// Kinds of request between members.
const (
	kindHello uint8 = iota + 1
	kindAppendEntries
	kindRequestVote
	kindRequestPreVote
	kindTimeoutNow
	kindInstallSnapshot
	kindConfirm
	kindTestimony
)

// appendAddress begins a request with whom it is meant for.
func appendAddress(dst []byte, group uint32, target raft.ServerID) []byte {
	return wire.AppendString(binary.BigEndian.AppendUint32(dst, group), string(target))
}

func parseAddress(p *wire.Parser) (group uint32, target raft.ServerID) {
	return p.Uint32(), raft.ServerID(p.String(maxName))
}
