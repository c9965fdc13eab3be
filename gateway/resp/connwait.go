package resp

import (
	"context"
	"errors"
	"net"
	"time"
)

// connEarly is how much of what a client sends during a wait is read before the
// wait is over, in bytes. A client that sends more is not noticed when it leaves.
const connEarly = 4 << 10

// watch reads from the client while a handler waits, so that the wait ends when the
// client has gone or the server drains. What arrives is kept for the Reader.
func (c *conn) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	// The next Read sets a deadline of its own, or takes this one away.
	c.deadline = trimDeadline
	if err := c.net.SetReadDeadline(time.Time{}); err != nil || c.server.draining.Load() {
		cancel()
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, connEarly-len(c.early)); len(buf) > 0; {
			n, err := c.net.Read(buf)
			c.server.stats.bytesIn.Add(int64(n))
			c.early, buf = append(c.early, buf[:n]...), buf[n:]
			if err != nil {
				if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || c.server.draining.Load() {
					cancel()
				}
				return
			}
		}
	}()
	return ctx, func() {
		// A connection that is closed already does not read any more.
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
		<-done
		cancel()
	}
}
