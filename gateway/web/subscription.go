package web

import (
	"context"
	"errors"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// errSlow ends a watch whose subscriber has not taken anything for too long.
var errSlow = errors.New("web: the subscriber does not keep up")

// markEvery is the time between two cursors of a subscription in which nothing
// happens. They tell the client that the stream is alive.
const markEvery = 5 * time.Second

// subscription is one watch of a connection. Its goroutine follows the grid and
// fills the queue, the connection's writer empties it. A full queue makes the
// goroutine wait, and with it the stream from the member, whose memory is the
// changelog that it keeps anyway: nothing piles up. A queue that stays full for
// Limits.Slow is dropped, the client told, and the watch begins again with a
// snapshot once there is credit.
type subscription struct {
	c     *socket
	id    uint32
	space string
	from  grid.WatchOptions
	batch time.Duration
	// before adds to each change the value that it replaced.
	before bool

	cancel context.CancelFunc
	room   chan struct{} // one token: the queue may have room, or credit came

	// The rest is guarded by the socket's mu.
	queue   queue
	moved   time.Time // when the queue was last pushed to or popped from
	sent    uint64    // messages
	resets  uint64
	watcher *grid.Watcher // nil while there is none
	marked  time.Time     // when the writer last asked for a cursor
	open    bool          // events were sent, or passed over, since then
	acked   time.Time     // when the client last acknowledged
}

// run follows the space until ctx ends or the watch fails for good.
func (s *subscription) run(ctx context.Context) {
	opts := s.from
	announced := false
	for ctx.Err() == nil {
		w, err := s.c.server.grid.Watch(ctx, s.space, opts)
		reason := ""
		if opts.From != "" && errors.Is(err, grid.ErrInvalid) {
			// Not of this space as it is now: dropped and created again, say.
			reason = "changed"
		} else if err != nil {
			s.fail(ctx, err)
			return
		}
		if !announced {
			announced = true
			// Answers go before what is queued, and nothing is queued yet.
			if err := s.c.answer(watchingFrame(s.id, opts.From != "" && reason == "")); err != nil {
				s.c.finish(asBreach(err))
				return
			}
		}
		if reason == "" {
			s.attach(w)
			err = s.follow(ctx, w, opts.From == "" && !opts.Now)
			if !errors.Is(err, errSlow) {
				s.fail(ctx, err)
				return
			}
			reason = "slow"
		}
		if s.startOver(ctx, reason) != nil {
			return
		}
		opts.From, opts.Now = "", false
	}
}

// attach lets the writer ask a watcher where it stands.
func (s *subscription) attach(w *grid.Watcher) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.watcher, s.marked = w, time.Now()
}

// fail reports why the subscription has ended, unless it was ended on purpose.
func (s *subscription) fail(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.c.ended(s, newErrorFrame(s.id, problemOf(err)))
	}
}

// startOver drops what waits, says why, and returns when the client has credit.
func (s *subscription) startOver(ctx context.Context, reason string) error {
	s.c.mu.Lock()
	s.queue.drop()
	s.watcher = nil
	s.resets++
	s.c.mu.Unlock()
	s.c.server.metrics.resets.WithLabelValues(reason).Inc()
	if err := s.push(ctx, item{kind: itemFrame, body: resetFrame(s.id, reason, -1)}); err != nil {
		return err
	}
	for {
		s.c.mu.Lock()
		ready := s.queue.credit > 0 && s.queue.sealed == 0
		s.c.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow turns what the watcher sees into items. It returns what ended the watch,
// or errSlow.
func (s *subscription) follow(ctx context.Context, w *grid.Watcher, snapshot bool) error {
	said := time.Now() // when the last cursor was queued
	every := s.c.server.limits.Sockets.CursorEvery
	for e, err := range w.Events(ctx) {
		if err != nil {
			return err
		}
		it := item{kind: itemEvent}
		switch e.Kind {
		case grid.Snapshot:
			it.kind = itemEntry
			it.body, err = appendSnapshotEntry(nil, &e)
		case grid.SnapshotEnd:
			it = item{kind: itemCursor, body: []byte(w.Cursor())}
			if snapshot {
				it = item{kind: itemFrame, body: snapshotEndFrame(s.id, w.Cursor())}
			}
			snapshot, said = false, time.Now()
		case grid.Reset:
			it = item{kind: itemFrame, body: resetFrame(s.id, e.Cause, int(e.Partition))}
			snapshot = true
			s.c.server.metrics.resets.WithLabelValues(e.Cause).Inc()
		case grid.Mark:
			s.passed()
			continue
		default:
			it.body, err = appendEvent(nil, &e, s.before)
			it.more = e.More
		}
		if err == nil {
			err = s.push(ctx, it)
		}
		// A busy subscription says where it is now and then; one that rests is
		// asked by the writer.
		if err == nil && it.kind == itemEvent && !it.more && time.Since(said) >= every {
			if cursor := w.Cursor(); cursor != "" {
				said = time.Now()
				err = s.push(ctx, item{kind: itemCursor, body: []byte(cursor)})
			}
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// push queues an item. It waits while the queue is full, but not for long.
func (s *subscription) push(ctx context.Context, it item) error {
	var patience *time.Timer // made by the first wait
	defer func() {
		if patience != nil {
			patience.Stop()
		}
	}()
	for {
		now := time.Now()
		s.c.mu.Lock()
		fits := s.queue.fits(&it)
		if fits {
			s.queue.push(it, now)
			s.moved = now
		}
		left := s.c.server.limits.Sockets.Slow - now.Sub(s.moved)
		s.c.mu.Unlock()
		if fits {
			s.c.wakeWriter()
			return nil
		}
		if left <= 0 {
			return errSlow
		}
		if patience == nil {
			patience = time.NewTimer(left)
		} else {
			patience.Reset(left)
		}
		select {
		case <-s.room:
		case <-patience.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passed notes that the watch has moved on without an event.
func (s *subscription) passed() {
	s.c.mu.Lock()
	s.open = true
	s.c.mu.Unlock()
	s.c.wakeWriter()
}

// mark returns the cursor of a subscription that rests, if it is time for one,
// or when it will be. What the watcher has settled was queued before, so with an
// empty queue it has been sent. The caller holds the socket's mu.
func (s *subscription) mark(now time.Time) (frame []byte, next time.Time) {
	if s.watcher == nil || len(s.queue.items) > 0 {
		return nil, time.Time{}
	}
	every := max(markEvery, s.c.server.limits.Sockets.CursorEvery)
	if s.open {
		every = s.c.server.limits.Sockets.CursorEvery
	}
	if next = s.marked.Add(every); next.After(now) {
		return nil, next
	}
	s.marked, s.open = now, false
	cursor := s.watcher.Settled()
	if cursor == "" {
		return nil, now.Add(every) // the snapshot is under way
	}
	return markFrame(s.id, cursor), now.Add(markEvery)
}

// signal tells the goroutine that there is room or credit.
func (s *subscription) signal() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}
