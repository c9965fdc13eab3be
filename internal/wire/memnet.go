package wire

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memBacklog is how many connections may wait to be accepted.
const memBacklog = 128

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
