package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memWindow is how much one direction of a connection buffers, as a socket
// does, before a writer waits.
const memWindow = 256 << 10

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
