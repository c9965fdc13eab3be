package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	socketCredit = 50_000 // events that a member may send ahead
	socketTime   = 10 * time.Second
	socketPause  = 50 * time.Millisecond // between two attempts to connect
)

// socketFrame is what a member sends over grid.v1, as far as the trial looks.
type socketFrame struct {
	T       string        `json:"t"`
	Resumed bool          `json:"resumed"`
	Reason  string        `json:"reason"`
	Message string        `json:"message"`
	Cursor  string        `json:"cursor"`
	Entries []socketEvent `json:"entries"`
	Events  []socketEvent `json:"events"`
}

type socketEvent struct {
	Op        string `json:"op"`
	Partition int    `json:"partition"`
	Seq       uint64 `json:"seq"`
	Key       string `json:"key"`
}

// follower is a WebSocket client that keeps what it has seen, and goes on at
// another member when it loses one. It drops what it has seen before the cursor
// that it goes on from, as the protocol says.
type follower struct {
	space string
	urls  []string // in the order in which they are tried

	mu         sync.Mutex
	seen       map[int]uint64    // last change, by partition
	changes    map[string]uint64 // change that each key was last written by
	events     int
	repeated   int // sent again behind a cursor, and dropped
	resets     int
	violations []string
	connects   int
	lostAt     time.Time     // when the connection broke
	away       time.Duration // the longest time until events came again

	cursor string
	stop   context.CancelFunc
	done   chan struct{}
}

// follow begins to watch a space from its snapshot.
func follow(ctx context.Context, space string, urls []string) *follower {
	f := &follower{space: space, urls: urls, seen: map[int]uint64{}, changes: map[string]uint64{}, done: make(chan struct{})}
	ctx, f.stop = context.WithCancel(ctx)
	go f.run(ctx)
	return f
}

// close ends the client and waits for it.
func (f *follower) close() {
	f.stop()
	<-f.done
}

func (f *follower) run(ctx context.Context) {
	defer close(f.done)
	for i := 0; ctx.Err() == nil; i++ {
		err := f.connection(ctx, f.urls[i%len(f.urls)])
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		if f.lostAt.IsZero() && f.connects > 0 {
			f.lostAt = time.Now()
		}
		f.mu.Unlock()
		if bad, ok := errors.AsType[*protocolError](err); ok {
			f.violatef("%v", bad)
			return
		}
		sleep(ctx, socketPause)
	}
}

// protocolError is an answer that a member should not give.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return e.text }

// connection serves one connection until it breaks.
func (f *follower) connection(ctx context.Context, url string) error {
	d := websocket.Dialer{Subprotocols: []string{"grid.v1"}, HandshakeTimeout: socketTime}
	conn, response, err := d.DialContext(ctx, url, http.Header{})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends the read below
	defer unhook()
	defer conn.Close()
	from := f.cursor
	if from == "" {
		from = "snapshot"
	}
	for _, m := range []any{
		map[string]any{"t": "hello", "client": "trial"},
		map[string]any{"t": "watch", "id": 1, "space": f.space, "from": from, "credit": socketCredit},
	} {
		if err := conn.WriteJSON(m); err != nil {
			return err
		}
	}
	granted := socketCredit
	fresh := map[int]bool{} // partitions that have gone on over this connection
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		var frame socketFrame
		if err := json.Unmarshal(b, &frame); err != nil {
			return &protocolError{fmt.Sprintf("a message is not JSON: %.200s", b)}
		}
		if err := f.take(&frame, fresh); err != nil {
			return err
		}
		if granted -= len(frame.Events) + len(frame.Entries); granted < socketCredit/2 {
			if err := conn.WriteJSON(map[string]any{"t": "credit", "id": 1, "n": socketCredit - granted}); err != nil {
				return err
			}
			granted = socketCredit
		}
	}
}

// take works in one message.
func (f *follower) take(frame *socketFrame, fresh map[int]bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch frame.T {
	case "watching":
		if f.cursor != "" && !frame.Resumed {
			f.violateLockedf("a cursor was not continued")
		}
		f.connects++
	case "reset":
		f.resets++
		f.violateLockedf("a reset: %s", frame.Reason)
	case "error":
		return &protocolError{frame.Message}
	}
	for _, e := range frame.Entries {
		f.seen[e.Partition] = max(f.seen[e.Partition], e.Seq)
		f.changes[e.Key] = e.Seq
	}
	for _, e := range frame.Events {
		switch last := f.seen[e.Partition]; {
		case e.Seq > last:
		case fresh[e.Partition]:
			f.violateLockedf("partition %d: change %d came after %d", e.Partition, e.Seq, last)
			continue
		default:
			f.repeated++
			continue
		}
		fresh[e.Partition] = true
		f.seen[e.Partition] = e.Seq
		if f.changes[e.Key] != 0 {
			f.violateLockedf("key %s, written once, changed at %d and %d", e.Key, f.changes[e.Key], e.Seq)
		}
		f.changes[e.Key] = e.Seq
		f.events++
		if !f.lostAt.IsZero() {
			f.away = max(f.away, time.Since(f.lostAt))
			f.lostAt = time.Time{}
		}
	}
	if frame.Cursor != "" {
		f.cursor = frame.Cursor
	}
	return nil
}

func (f *follower) violatef(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violateLockedf(format, args...)
}

func (f *follower) violateLockedf(format string, args ...any) {
	if len(f.violations) < maxComplaints {
		f.violations = append(f.violations, fmt.Sprintf(format, args...))
	}
}

// count returns how many keys the client knows.
func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes)
}
