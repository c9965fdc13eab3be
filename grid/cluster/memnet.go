package cluster

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	memPacketsMax = 1024    // packets waiting for one member; more are lost, as in a full socket buffer
	memStreamsMax = 64      // connections waiting to be accepted; more are refused
	memStreamMax  = 1 << 16 // bytes on their way in one direction of a connection; a writer waits for room
	memPort       = 7382    // of every address
)

// MemNet is a network in memory for gossip, made to be disturbed: every
// direction of every link can be cut, healed and made to lose packets. It
// starts no goroutine, waits in channels and timers only, and so runs in the
// virtual time of testing/synctest. All methods may be called at any time.
//
// Packets over a cut link vanish. Connections stall while either direction is
// cut and go on when it heals; new ones time out.
type MemNet struct {
	mu struct {
		sync.Mutex
		rand  *rand.Rand
		ips   map[string]net.IP // of every name ever used
		names map[string]string // by address
		ends  map[string]*MemTransport
		links map[link]condition // links without an entry are fine
		// changed is closed and replaced whenever anything above, or the bytes
		// of any connection, changes. One channel for all is simple and fast
		// enough for the clusters that tests run.
		changed chan struct{}
	}
}

type link struct{ from, to string }

type condition struct {
	cut  bool
	loss float64 // of packets
}

// NewMemNet returns a network without members. The seed decides which packets
// are lost where loss is asked for.
func NewMemNet(seed uint64) *MemNet {
	n := &MemNet{}
	n.mu.rand = rand.New(rand.NewPCG(seed, 0))
	n.mu.ips = map[string]net.IP{}
	n.mu.names = map[string]string{}
	n.mu.ends = map[string]*MemTransport{}
	n.mu.links = map[link]condition{}
	n.mu.changed = make(chan struct{})
	return n
}

func (n *MemNet) changedLocked() {
	close(n.mu.changed)
	n.mu.changed = make(chan struct{})
}

// Transport connects a name. A name keeps its address when it is connected
// again after its transport was shut down; connecting it twice at a time
// replaces the first.
func (n *MemNet) Transport(name string) *MemTransport {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &MemTransport{
		net: n, name: name,
		packets: make(chan *memberlist.Packet, memPacketsMax),
		streams: make(chan net.Conn, memStreamsMax),
		closed:  make(chan struct{}),
	}
	ip, ok := n.mu.ips[name]
	if !ok {
		i := len(n.mu.ips) + 1
		ip = net.IPv4(10, 0, byte(i>>8), byte(i)).To4()
		n.mu.ips[name] = ip
	}
	t.addr = memAddr(net.JoinHostPort(ip.String(), fmt.Sprint(memPort)))
	t.ip = ip
	n.mu.names[string(t.addr)] = name
	n.mu.ends[name] = t
	return t
}

func (n *MemNet) set(from, to string, change func(*condition)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.mu.links[link{from, to}]
	change(&c)
	n.mu.links[link{from, to}] = c
	n.changedLocked()
}

// Cut cuts the direction between two names.
func (n *MemNet) Cut(from, to string) { n.set(from, to, func(c *condition) { c.cut = true }) }

// Heal undoes Cut and Lose for that direction.
func (n *MemNet) Heal(from, to string) { n.set(from, to, func(c *condition) { *c = condition{} }) }

// Lose makes a direction lose packets with probability p; connections are
// spared.
func (n *MemNet) Lose(from, to string, p float64) {
	n.set(from, to, func(c *condition) { c.loss = p })
}

// Isolate cuts a name off from everybody that is known now, in both directions.
func (n *MemNet) Isolate(name string) { n.around(name, n.Cut) }

// Reconnect heals all links of a name.
func (n *MemNet) Reconnect(name string) { n.around(name, n.Heal) }

func (n *MemNet) around(name string, f func(from, to string)) {
	n.mu.Lock()
	var others []string
	for other := range n.mu.ips {
		if other != name {
			others = append(others, other)
		}
	}
	n.mu.Unlock()
	for _, other := range others {
		f(name, other)
		f(other, name)
	}
}

func (n *MemNet) cutLocked(from, to string) bool { return n.mu.links[link{from, to}].cut }

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

// MemTransport is one member's end of a [MemNet], to be given to [GossipConfig].
// It is used by one [Gossip], which shuts it down.
type MemTransport struct {
	net     *MemNet
	name    string
	ip      net.IP
	addr    memAddr
	packets chan *memberlist.Packet
	streams chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

var _ memberlist.NodeAwareTransport = (*MemTransport)(nil)

// Addr returns the address of the member in the network, to be used as a seed.
func (t *MemTransport) Addr() string { return string(t.addr) }

// FinalAdvertiseAddr returns the address in the network, whatever was asked for.
func (t *MemTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.ip, memPort, nil
}

// PacketCh returns where packets arrive.
func (t *MemTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns where connections arrive.
func (t *MemTransport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo sends one packet; it never blocks and copies b. A packet that is lost
// is no error.
func (t *MemTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	select {
	case <-t.closed:
		return now, net.ErrClosed
	default:
	}
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	to := n.mu.names[addr]
	end, ok := n.mu.ends[to]
	c := n.mu.links[link{t.name, to}]
	if !ok || c.cut || c.loss > 0 && n.mu.rand.Float64() < c.loss {
		return now, nil
	}
	select {
	case end.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: t.addr, Timestamp: now}:
	default:
	}
	return now, nil
}

// WriteToAddress is WriteTo; names of members are not looked at.
func (t *MemTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout connects to an address. Where nobody listens it is refused at
// once, over a cut link it fails after the timeout.
func (t *MemTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: t.addr, Addr: memAddr(addr), Err: err}
	}
	timer := time.NewTimer(max(timeout, 0))
	defer timer.Stop()
	for {
		near, cut, err := t.dialNow(addr)
		switch {
		case err != nil:
			return fail(err)
		case cut == nil:
			return near, nil
		}
		select {
		case <-cut:
		case <-t.closed:
			return fail(net.ErrClosed)
		case <-timer.C:
			return fail(os.ErrDeadlineExceeded)
		}
	}
}

// dialNow connects to an address, or returns what is closed at the next change
// of the links if the one to it is cut.
func (t *MemTransport) dialNow(addr string) (near net.Conn, cut <-chan struct{}, err error) {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	to := n.mu.names[addr]
	if n.cutLocked(t.name, to) || n.cutLocked(to, t.name) {
		return nil, n.mu.changed, nil
	}
	end, ok := n.mu.ends[to]
	if !ok || len(end.streams) == cap(end.streams) {
		return nil, nil, syscall.ECONNREFUSED
	}
	near, far := newMemStream(t, end)
	end.streams <- far // room was seen, and only holders of the lock send
	return near, nil, nil
}

// DialAddressTimeout is DialTimeout; names of members are not looked at.
func (t *MemTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown disconnects the member: its connections break and it is unreachable.
func (t *MemTransport) Shutdown() error {
	t.once.Do(func() {
		n := t.net
		n.mu.Lock()
		defer n.mu.Unlock()
		close(t.closed)
		if n.mu.ends[t.name] == t {
			delete(n.mu.ends, t.name)
		}
		n.changedLocked()
	})
	return nil
}

// half is one direction of a connection. Its fields are guarded by the
// network's lock.
type half struct {
	buf    []byte
	closed bool // by the writer: the reader gets io.EOF after the rest
	gone   bool // by the reader: the writer gets an error
}

// memStream is one end of a connection.
type memStream struct {
	near, far    *MemTransport
	in, out      *half
	readDeadline time.Time // guarded by the network's lock, as is the next
	sendDeadline time.Time
}

func newMemStream(a, b *MemTransport) (net.Conn, net.Conn) {
	ab, ba := &half{}, &half{}
	return &memStream{near: a, far: b, in: ba, out: ab}, &memStream{near: b, far: a, in: ab, out: ba}
}

// wait calls try under the lock until it is done, an end is shut down, or the
// deadline that it looks up each time has passed.
func (s *memStream) wait(deadline *time.Time, try func() (int, error, bool)) (int, error) {
	n := s.near.net
	for {
		n.mu.Lock()
		count, err, done := try()
		by, changed := *deadline, n.mu.changed
		n.mu.Unlock()
		if done {
			return count, err
		}
		var late <-chan time.Time // a timer nobody waits for any more is collected
		if !by.IsZero() {
			left := time.Until(by)
			if left <= 0 {
				return count, os.ErrDeadlineExceeded
			}
			late = time.After(left)
		}
		select {
		case <-changed:
		case <-late:
		case <-s.near.closed:
			return count, net.ErrClosed
		case <-s.far.closed:
			return count, syscall.ECONNRESET
		}
	}
}

// Read implements net.Conn.
func (s *memStream) Read(p []byte) (int, error) {
	n := s.near.net
	return s.wait(&s.readDeadline, func() (int, error, bool) {
		switch {
		case s.in.gone:
			return 0, net.ErrClosed, true
		case n.cutLocked(s.far.name, s.near.name):
			return 0, nil, false
		case len(s.in.buf) > 0:
			got := copy(p, s.in.buf)
			s.in.buf = s.in.buf[got:]
			n.changedLocked()
			return got, nil, true
		case s.in.closed:
			return 0, io.EOF, true
		}
		return 0, nil, len(p) == 0
	})
}

// Write implements net.Conn; it copies p.
func (s *memStream) Write(p []byte) (int, error) {
	n, sent := s.near.net, 0
	return s.wait(&s.sendDeadline, func() (int, error, bool) {
		if s.out.closed {
			return sent, net.ErrClosed, true
		}
		if s.out.gone {
			return sent, syscall.EPIPE, true
		}
		if room := memStreamMax - len(s.out.buf); room > 0 && sent < len(p) {
			part := p[sent:min(len(p), sent+room)]
			s.out.buf = append(s.out.buf, part...)
			sent += len(part)
			n.changedLocked()
		}
		return sent, nil, sent == len(p)
	})
}

// Close implements net.Conn and is safe twice. What was written before still
// arrives.
func (s *memStream) Close() error {
	n := s.near.net
	n.mu.Lock()
	defer n.mu.Unlock()
	s.out.closed, s.in.gone, s.in.buf = true, true, nil
	n.changedLocked()
	return nil
}

// LocalAddr implements net.Conn.
func (s *memStream) LocalAddr() net.Addr { return s.near.addr }

// RemoteAddr implements net.Conn.
func (s *memStream) RemoteAddr() net.Addr { return s.far.addr }

// SetDeadline implements net.Conn.
func (s *memStream) SetDeadline(t time.Time) error {
	s.setDeadline(t, &s.readDeadline, &s.sendDeadline)
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *memStream) SetReadDeadline(t time.Time) error {
	s.setDeadline(t, &s.readDeadline)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *memStream) SetWriteDeadline(t time.Time) error {
	s.setDeadline(t, &s.sendDeadline)
	return nil
}

func (s *memStream) setDeadline(t time.Time, which ...*time.Time) {
	n := s.near.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range which {
		*d = t
	}
	n.changedLocked()
}
