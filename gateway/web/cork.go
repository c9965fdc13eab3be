package web

import (
	"net"
	"sync"
	"time"
)

// keptBytes is how much buffer a resting connection keeps.
const keptBytes = 16 << 10

// corked is a connection whose writer can hold back what it writes, so that
// several WebSocket messages leave in one system call. The library writes each
// message by itself, and answers protocol errors from its reader, which is why
// there is a lock.
type corked struct {
	net.Conn
	timeout time.Duration // for one write to the network

	mu   sync.Mutex
	held bool
	buf  []byte
}

// Write implements net.Conn.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.buf = append(c.buf, p...)
		return len(p), nil
	}
	return c.send(p)
}

// SetWriteDeadline does nothing: each write to the network has its own time.
func (c *corked) SetWriteDeadline(time.Time) error { return nil }

// hold keeps what is written from now on until release.
func (c *corked) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release sends what was held back. It blocks until the client has accepted it
// or the time is up.
func (c *corked) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.send(c.buf)
	if c.buf = c.buf[:0]; cap(c.buf) > keptBytes {
		c.buf = nil
	}
	return err
}

// send writes to the network. The caller holds mu.
func (c *corked) send(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
