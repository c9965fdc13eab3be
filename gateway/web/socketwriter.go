package web

import (
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"
)

// outgoing is what one pass of the writer sends.
type outgoing struct {
	frames  [][]byte
	pong    []byte
	pinged  bool // pong is to be sent, even if it is empty
	closing *breach
	// next is when a subscription becomes due; zero: nothing waits.
	next time.Time
}

// write sends what is queued until the connection ends or has been closed.
func (c *socket) write() {
	limits := &c.server.limits.Sockets
	ping := time.NewTimer(jitter(limits.Ping))
	defer ping.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	pingNow := false
	for {
		out := c.gather(time.Now())
		if c.send(&out, pingNow) != nil || out.closing != nil {
			return
		}
		pingNow = false
		if len(out.frames) > 0 {
			continue // there may be more than one pass takes
		}
		var timer <-chan time.Time
		if !out.next.IsZero() {
			due.Reset(time.Until(out.next))
			timer = due.C
		}
		select {
		case <-c.wake:
		case <-timer:
		case <-ping.C:
			pingNow = true
			ping.Reset(jitter(limits.Ping))
		case <-c.ctx.Done():
			return
		}
	}
}

// jitter spreads pings of connections that were opened together.
func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5+1) }

// gather takes answers and what is due of each subscription. The subscriptions
// take turns: the order of a map is drawn anew each time.
func (c *socket) gather(now time.Time) outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := outgoing{frames: c.mu.control, pong: c.mu.pong, pinged: c.mu.pinged, closing: c.mu.closing}
	c.mu.control, c.mu.pong, c.mu.pinged = nil, nil, false
	if out.closing != nil {
		return out
	}
	budget := writeBudget
	later := func(at time.Time) {
		if !at.IsZero() && (out.next.IsZero() || at.Before(out.next)) {
			out.next = at
		}
	}
	for _, s := range c.mu.subs {
		at, ok := s.queue.due(s.batch)
		switch {
		case !ok:
			frame, next := s.mark(now)
			if frame != nil {
				out.frames = append(out.frames, frame)
			}
			later(next)
			continue
		case at.After(now):
			later(at)
			continue
		case budget <= 0:
			continue // the next pass follows at once
		}
		frames := s.queue.pop(budget, now)
		for _, f := range frames {
			budget -= len(f)
		}
		s.sent += uint64(len(frames))
		s.moved, s.open = now, true
		out.frames = append(out.frames, frames...)
		s.signal()
	}
	return out
}

// send writes everything of one pass in one go.
func (c *socket) send(out *outgoing, ping bool) error {
	c.cork.hold()
	err := c.compose(out, ping)
	if flushed := c.cork.release(); err == nil {
		err = flushed
	}
	return err
}

func (c *socket) compose(out *outgoing, ping bool) error {
	control := func(kind int, payload []byte) error {
		return c.ws.WriteControl(kind, payload, time.Now().Add(c.cork.timeout))
	}
	if out.pinged {
		if err := control(websocket.PongMessage, out.pong); err != nil {
			return err
		}
	}
	for _, f := range out.frames {
		if err := c.ws.WriteMessage(websocket.TextMessage, f); err != nil {
			return err
		}
	}
	if ping {
		if err := control(websocket.PingMessage, nil); err != nil {
			return err
		}
	}
	if b := out.closing; b != nil {
		return control(websocket.CloseMessage, websocket.FormatCloseMessage(int(b.code), b.reason))
	}
	return nil
}

// allowance is how many messages a client may send now: a second's worth at
// most, refilled steadily.
type allowance struct {
	rate, left float64
	at         time.Time
}

func newAllowance(perSecond int) allowance {
	return allowance{rate: float64(perSecond), left: float64(perSecond), at: time.Now()}
}

func (a *allowance) take(now time.Time) bool {
	a.left = min(a.rate, a.left+now.Sub(a.at).Seconds()*a.rate)
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}
