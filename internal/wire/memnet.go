package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// memWindow is how much one direction of a connection buffers, as a
	// socket does, before a writer waits.
	memWindow = 256 << 10
	// memBacklog is how many connections may wait to be accepted.
	memBacklog = 128
)

// Network is a network in memory for simulations. Hosts are names; an address
// is a host, or a host and a port as "host:port". Every directed pair of hosts
// has a link that can be cut, delayed and slowed down, and connections can be
// reset. No real socket is used, and every wait is a condition variable or a
// timer, so a whole network can live in a testing/synctest bubble.
//
// It behaves as TCP does: bytes sent over a cut link are not lost but held, and
// arrive after the link heals; a dial over a cut link hangs until its context
// ends; a closed or crashed end is noticed only when the news can travel.
type Network struct {
	mu        sync.Mutex // guards everything below and in the connections
	changed   *sync.Cond // links, listeners or accept queues changed
	listeners map[string]*memListener
	links     map[[2]string]*memLink
	conns     map[*memConn]struct{}
	ports     int
}

// memLink is one direction between two hosts.
type memLink struct {
	cut   bool
	delay time.Duration
	rate  int // bytes per second and connection; 0 means unlimited
}

// NewNetwork returns a network in which every host reaches every other.
func NewNetwork() *Network {
	n := &Network{
		listeners: make(map[string]*memListener),
		links:     make(map[[2]string]*memLink),
		conns:     make(map[*memConn]struct{}),
	}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// Listen opens a listener at addr. It fails when addr is taken.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("wire: listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &memListener{net: n, addr: addr, cond: sync.NewCond(&n.mu)}
	n.listeners[addr] = l
	return l, nil
}

// Dialer returns a Dialer for connections that leave from host.
func (n *Network) Dialer(host string) Dialer {
	return func(ctx context.Context, addr string) (net.Conn, error) { return n.dial(ctx, host, addr) }
}

// Cut holds everything on its way between two hosts, in both directions.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay holds everything on its way from one host to another.
func (n *Network) CutOneWay(from, to string) { n.update(from, to, func(l *memLink) { l.cut = true }) }

// Heal undoes Cut and CutOneWay between two hosts.
func (n *Network) Heal(a, b string) {
	n.update(a, b, func(l *memLink) { l.cut = false })
	n.update(b, a, func(l *memLink) { l.cut = false })
}

// Delay makes everything sent from now on take d from one host to another.
func (n *Network) Delay(from, to string, d time.Duration) {
	n.update(from, to, func(l *memLink) { l.delay = d })
}

// Rate limits every connection from one host to another to so many bytes per
// second; 0 removes the limit.
func (n *Network) Rate(from, to string, bytesPerSecond int) {
	n.update(from, to, func(l *memLink) { l.rate = bytesPerSecond })
}

// Reset breaks every connection between two hosts. Each end notices at once, or
// when the link towards it heals.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if (c.in.from == a && c.in.to == b) || (c.in.from == b && c.in.to == a) {
			c.in.reset = true
			c.in.cond.Broadcast()
			c.out.cond.Broadcast()
		}
	}
}

// Crash makes a host's process die: its listeners close and its connections
// break. The other ends notice as soon as their links let them. The host may
// listen and dial again at once.
func (n *Network) Crash(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for addr, l := range n.listeners {
		if hostOf(addr) == host {
			l.closeLocked()
		}
	}
	for c := range n.conns {
		if c.in.to == host {
			c.out.reset = true
			c.closeLocked()
		}
	}
}

// Connections returns how many connections between two hosts are open at one
// end at least.
func (n *Network) Connections(a, b string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for c := range n.conns {
		mine := (c.in.from == a && c.in.to == b) || (c.in.from == b && c.in.to == a)
		if mine && (c.in.from == a || c.peer.closed) {
			count++
		}
	}
	return count
}

// update changes one direction of a link and wakes whoever it concerns.
func (n *Network) update(from, to string, change func(*memLink)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.linkLocked(from, to))
	n.changed.Broadcast()
	for c := range n.conns {
		c.in.cond.Broadcast()
		c.out.cond.Broadcast()
	}
}

// linkLocked returns the link between two hosts.
func (n *Network) linkLocked(from, to string) *memLink {
	l := n.links[[2]string{from, to}]
	if l == nil {
		l = &memLink{}
		n.links[[2]string{from, to}] = l
	}
	return l
}

// upLocked tells whether news travels from one host to another.
func (n *Network) upLocked(from, to string) bool { return !n.linkLocked(from, to).cut }

// dial opens a connection: a packet there, a packet back.
func (n *Network) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	to := hostOf(addr)
	n.mu.Lock()
	trip := n.linkLocked(from, to).delay + n.linkLocked(to, from).delay
	n.mu.Unlock()
	if trip > 0 {
		select {
		case <-time.After(trip):
		case <-ctx.Done():
			return nil, fmt.Errorf("wire: dial %s: %w", addr, context.Cause(ctx))
		}
	}
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	defer stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wire: dial %s: %w", addr, context.Cause(ctx))
		}
		if n.upLocked(from, to) && n.upLocked(to, from) {
			l := n.listeners[addr]
			if l == nil {
				return nil, fmt.Errorf("wire: dial %s: %w", addr, syscall.ECONNREFUSED)
			}
			if len(l.queue) < memBacklog {
				return n.connectLocked(l, from, to), nil
			}
		}
		n.changed.Wait()
	}
}

// connectLocked makes both ends of a connection and queues one for Accept.
func (n *Network) connectLocked(l *memListener, from, to string) *memConn {
	n.ports++
	there := &memFlow{from: from, to: to, cond: sync.NewCond(&n.mu)}
	back := &memFlow{from: to, to: from, cond: sync.NewCond(&n.mu)}
	client := memAddr(fmt.Sprintf("%s:%d", from, 1<<15+n.ports))
	dialled := &memConn{net: n, in: back, out: there, local: client, remote: memAddr(l.addr)}
	accepted := &memConn{net: n, in: there, out: back, local: memAddr(l.addr), remote: client}
	dialled.peer, accepted.peer = accepted, dialled
	n.conns[dialled], n.conns[accepted] = struct{}{}, struct{}{}
	l.queue = append(l.queue, accepted)
	l.cond.Broadcast()
	return dialled
}

// memListener queues the accepted ends of connections.
type memListener struct {
	net    *Network
	addr   string
	cond   *sync.Cond
	queue  []*memConn
	closed bool
}

func (l *memListener) Accept() (net.Conn, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for !l.closed && len(l.queue) == 0 {
		l.cond.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	l.net.changed.Broadcast()
	return c, nil
}

func (l *memListener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.closeLocked()
	return nil
}

func (l *memListener) closeLocked() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.net.listeners, l.addr)
	for _, c := range l.queue {
		c.out.reset = true
		c.closeLocked()
	}
	l.queue = nil
	l.cond.Broadcast()
	l.net.changed.Broadcast()
}

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

// hostOf strips the port from an address.
func hostOf(addr string) string {
	host, _, _ := strings.Cut(addr, ":")
	return host
}

// memFlow is one direction of a connection.
type memFlow struct {
	from, to string
	cond     *sync.Cond
	segments []memSegment
	size     int       // bytes in segments
	last     time.Time // when the newest segment arrives; order is kept
	ended    bool      // the writer has closed; holds after the last segment
	endAt    time.Time // when the end arrives
	reset    bool      // the end is a reset: it overtakes the segments
}

// memSegment is what one write has put on the way.
type memSegment struct {
	data []byte
	at   time.Time
}

// memConn is one end of a connection.
type memConn struct {
	net           *Network
	peer          *memConn
	in, out       *memFlow
	local, remote memAddr
	closed        bool
	readBy        time.Time
	writeBy       time.Time

	// What will wake a reader or writer; a newer reason replaces an older one.
	arrival, readTimer, writeTimer *time.Timer
}

func (c *memConn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		now := time.Now()
		up := c.net.upLocked(c.in.from, c.in.to)
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case expired(c.readBy, now):
			return 0, os.ErrDeadlineExceeded
		case c.in.reset && up:
			return 0, syscall.ECONNRESET
		case len(p) == 0:
			return 0, nil
		case up && len(c.in.segments) > 0:
			seg := &c.in.segments[0]
			if wait := seg.at.Sub(now); wait > 0 {
				c.wakeAfter(&c.arrival, c.in.cond, wait)
				break
			}
			k := copy(p, seg.data)
			c.in.size -= k
			if seg.data = seg.data[k:]; len(seg.data) == 0 {
				c.in.segments = c.in.segments[1:]
			}
			c.in.cond.Broadcast()
			return k, nil
		case up && c.in.ended:
			if wait := c.in.endAt.Sub(now); wait > 0 {
				c.wakeAfter(&c.arrival, c.in.cond, wait)
				break
			}
			return 0, io.EOF
		}
		c.in.cond.Wait()
	}
}

func (c *memConn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	written := 0
	for {
		now := time.Now()
		bothWays := c.net.upLocked(c.out.from, c.out.to) && c.net.upLocked(c.out.to, c.out.from)
		switch {
		case c.closed:
			return written, net.ErrClosed
		case expired(c.writeBy, now):
			return written, os.ErrDeadlineExceeded
		case c.in.reset && c.net.upLocked(c.in.from, c.in.to), c.peer.closed && bothWays:
			return written, syscall.ECONNRESET
		case written == len(p):
			return written, nil
		case c.out.size < memWindow:
			k := min(len(p)-written, memWindow-c.out.size)
			c.sendLocked(p[written:written+k], now)
			written += k
		default:
			c.out.cond.Wait()
		}
	}
}

// sendLocked puts a copy of data on its way.
func (c *memConn) sendLocked(data []byte, now time.Time) {
	l := c.net.linkLocked(c.out.from, c.out.to)
	at := now.Add(l.delay)
	if c.out.last.After(at) {
		at = c.out.last
	}
	if l.rate > 0 {
		at = at.Add(time.Duration(len(data)) * time.Second / time.Duration(l.rate))
	}
	c.out.last = at
	c.out.segments = append(c.out.segments, memSegment{append([]byte(nil), data...), at})
	c.out.size += len(data)
	c.out.cond.Broadcast()
}

func (c *memConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.closeLocked()
	return nil
}

func (c *memConn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.net.conns, c)
	for _, t := range []*time.Timer{c.arrival, c.readTimer, c.writeTimer} {
		if t != nil {
			t.Stop()
		}
	}
	c.out.ended = true
	c.out.endAt = time.Now().Add(c.net.linkLocked(c.out.from, c.out.to).delay)
	if c.out.last.After(c.out.endAt) {
		c.out.endAt = c.out.last
	}
	c.in.cond.Broadcast()
	c.out.cond.Broadcast()
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readBy, &c.readTimer, c.in.cond, t)
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeBy, &c.writeTimer, c.out.cond, t)
}

func (c *memConn) setDeadline(field *time.Time, timer **time.Timer, cond *sync.Cond, t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	*field = t
	if !t.IsZero() {
		c.wakeAfter(timer, cond, time.Until(t))
	}
	cond.Broadcast()
	return nil
}

// wakeAfter makes whoever waits on cond look again after d, instead of when
// the timer was set to before.
func (c *memConn) wakeAfter(timer **time.Timer, cond *sync.Cond, d time.Duration) {
	if *timer != nil {
		(*timer).Stop()
	}
	*timer = time.AfterFunc(d, func() {
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		cond.Broadcast()
	})
}

// expired tells whether a deadline, if any, has passed.
func expired(by, now time.Time) bool { return !by.IsZero() && !by.After(now) }
