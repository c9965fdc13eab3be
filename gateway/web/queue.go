package web

import (
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

const (
	// frameBytes is about how large a message to a client becomes: large enough
	// to make the cost of a message small, small enough for clients that parse
	// it in one go.
	frameBytes = 32 << 10
	// bulkBytes waiting are sent without waiting for company.
	bulkBytes = 16 << 10
)

// itemKind says what an item becomes.
type itemKind uint8

const (
	itemFrame  itemKind = iota // a whole message
	itemEntry                  // an element of a snapshot message
	itemEvent                  // an element of an events message
	itemCursor                 // the cursor of the events before it
)

// item is one thing that waits to be sent, encoded already.
type item struct {
	kind itemKind
	body []byte
	more bool // itemEvent: further events of the same command follow
}

// queue is what waits for one subscription, in order. It is a value without
// lock, clock or goroutine; the socket owns it.
//
// Events of one command are one unit: they are popped together or not at all,
// whatever credit says, and a command that has begun may be completed above the
// limits. All else is counted.
type queue struct {
	id        uint32
	maxEvents int
	maxBytes  int
	// credit is how many entries and events the client still takes.
	credit int

	items  []item
	sealed int       // items that end with a whole command
	bytes  int       // of all items
	since  time.Time // when the first of the items came
}

// fits reports whether one more item may be pushed. A cursor always fits, since
// it takes the place of one that was not sent.
func (q *queue) fits(it *item) bool {
	if len(q.items) == 0 || it.kind == itemCursor || q.sealed < len(q.items) {
		return true
	}
	return len(q.items) < q.maxEvents && q.bytes+len(it.body) <= q.maxBytes
}

// push appends an item, which must fit.
func (q *queue) push(it item, now time.Time) {
	n := len(q.items)
	if n == 0 {
		q.since = now
	}
	if it.kind == itemCursor && n > 0 && q.items[n-1].kind == itemCursor {
		q.bytes += len(it.body) - len(q.items[n-1].body)
		q.items[n-1] = it
		return
	}
	q.items = append(q.items, it)
	q.bytes += len(it.body)
	if !it.more {
		q.sealed = len(q.items)
	}
}

// drop forgets everything that waits.
func (q *queue) drop() { q.items, q.sealed, q.bytes = nil, 0, 0 }

// due returns when there is something to send; ok is false if there is nothing,
// or no credit for it. The zero time is at once.
func (q *queue) due(batch time.Duration) (at time.Time, ok bool) {
	if q.sealed == 0 {
		return at, false
	}
	switch q.items[0].kind {
	case itemFrame, itemCursor:
		return at, true
	}
	if q.credit <= 0 {
		return at, false
	}
	if q.bytes >= bulkBytes {
		return at, true
	}
	return q.since.Add(batch), true
}

// pop takes what may be sent off the queue, about budget bytes of it, and
// returns it as messages.
func (q *queue) pop(budget int, now time.Time) (frames [][]byte) {
	taken := 0
	for taken < q.sealed && budget > 0 {
		it := &q.items[taken]
		n, frame := 1, it.body
		switch it.kind {
		case itemCursor:
			frame = markFrame(q.id, grid.Cursor(it.body))
		case itemEntry, itemEvent:
			if q.credit <= 0 {
				budget = 0
				continue
			}
			n, frame = q.list(taken)
		}
		frames = append(frames, frame)
		taken += n
		budget -= len(frame)
	}
	q.remove(taken, now)
	return frames
}

// list makes one message of the elements from at on that are of one kind, with
// the cursor behind them, and returns how many items went into it.
func (q *queue) list(at int) (n int, frame []byte) {
	kind := q.items[at].kind
	if kind == itemEntry {
		frame = fmt.Appendf(nil, `{"t":"snapshot","id":%d,"entries":[`, q.id)
	} else {
		frame = fmt.Appendf(nil, `{"t":"events","id":%d,"events":[`, q.id)
	}
	inside := false // a command
	for i := at; i < q.sealed && q.items[i].kind == kind; i++ {
		if !inside && (q.credit <= 0 || n > 0 && len(frame)+len(q.items[i].body) > frameBytes) {
			break
		}
		if n > 0 {
			frame = append(frame, ',')
		}
		frame = append(frame, q.items[i].body...)
		inside = q.items[i].more
		q.credit--
		n++
	}
	frame = append(frame, ']')
	if next := at + n; kind == itemEvent && next < q.sealed && q.items[next].kind == itemCursor {
		frame = fmt.Appendf(frame, `,"cursor":%q`, q.items[next].body)
		n++
	}
	return n, append(frame, '}')
}

// remove forgets the first n items, and the memory of a burst with the last one.
func (q *queue) remove(n int, now time.Time) {
	if n == 0 {
		return
	}
	for i := range q.items[:n] {
		q.bytes -= len(q.items[i].body)
	}
	q.sealed -= n
	if rest := len(q.items) - n; rest == 0 {
		q.items = nil
	} else {
		copy(q.items, q.items[n:])
		clear(q.items[rest:])
		q.items = q.items[:rest]
	}
	q.since = now
}
