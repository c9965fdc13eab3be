package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestQueue: whatever is pushed comes out once and in order; a command is never
// split over messages; no more is sent than granted, a command aside; and what
// waits is bounded, a command aside.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxEvents, maxBytes, maxCommand = 8, 600, 5
		q := &queue{id: 1, maxEvents: maxEvents, maxBytes: maxBytes}
		var pushed, popped []string
		granted, used, next := 0, 0, 0
		now := time.Unix(0, 0)
		left := 0 // of the command that is being pushed
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for range steps {
			now = now.Add(time.Millisecond)
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				n := rapid.IntRange(1, 10).Draw(t, "credit")
				q.credit += n
				granted += n
			case 1, 2:
				for _, f := range q.pop(rapid.IntRange(1, 500).Draw(t, "budget"), now) {
					ids, events := readFrame(t, f)
					popped = append(popped, ids...)
					if used += events; used > granted+maxCommand {
						t.Fatalf("%d events sent, %d granted", used, granted)
					}
				}
			default:
				it := item{kind: itemEvent}
				inside := left > 0
				if !inside {
					it.kind = rapid.SampledFrom([]itemKind{itemFrame, itemEntry, itemEvent, itemEvent, itemCursor}).Draw(t, "kind")
				}
				if it.kind == itemEvent {
					if !inside {
						left = rapid.IntRange(1, maxCommand).Draw(t, "command")
					}
					it.more = left > 1
				}
				id := fmt.Sprintf("%d%s", next, strings.Repeat("x", rapid.IntRange(0, 200).Draw(t, "size")))
				it.body = fmt.Appendf(nil, `{"t":"frame","id":%q,"more":%t}`, id, it.more)
				if it.kind == itemCursor {
					id, it.body = "", []byte(id)
				}
				if !q.fits(&it) {
					if inside {
						t.Fatal("a command that has begun cannot be completed")
					}
					left = 0
					continue
				}
				if left > 0 {
					left--
				}
				next++
				q.push(it, now)
				if id != "" {
					pushed = append(pushed, id)
				}
			}
			const largest = 300
			if len(q.items) > maxEvents+maxCommand+1 || q.bytes > maxBytes+(maxCommand+1)*largest {
				t.Fatalf("%d items of %d bytes wait", len(q.items), q.bytes)
			}
		}
		// Complete the command and let everything out.
		for ; left > 0; left-- {
			id := fmt.Sprint(next)
			next++
			q.push(item{kind: itemEvent, more: left > 1, body: fmt.Appendf(nil, `{"id":%q,"more":%t}`, id, left > 1)}, now)
			pushed = append(pushed, id)
		}
		q.credit = 1 << 20
		for _, f := range q.pop(1<<30, now) {
			ids, _ := readFrame(t, f)
			popped = append(popped, ids...)
		}
		if got, want := strings.Join(popped, ","), strings.Join(pushed, ","); got != want {
			t.Fatalf("popped %s\npushed %s", got, want)
		}
		if q.bytes != 0 || len(q.items) != 0 || q.sealed != 0 {
			t.Fatalf("%+v is left", q)
		}
	})
}

// readFrame returns the ids in a message and how many of them cost credit.
func readFrame(t *rapid.T, b []byte) (ids []string, counted int) {
	type element struct {
		ID   json.RawMessage
		More bool
	}
	var f struct {
		T               string
		ID              json.RawMessage
		Entries, Events []element
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	text := func(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
	switch f.T {
	case "frame":
		return []string{text(f.ID)}, 0
	case "mark":
		return nil, 0
	}
	if n := len(f.Events); n > 0 && f.Events[n-1].More {
		t.Fatalf("a message ends inside a command: %s", b)
	}
	for _, e := range append(f.Entries, f.Events...) {
		ids = append(ids, text(e.ID))
	}
	return ids, len(ids)
}

// TestQueueWaitsForCompany: an event waits for its batch time, a full batch and
// what is no event do not, and without credit nothing is due.
func TestQueueWaitsForCompany(t *testing.T) {
	now := time.Unix(100, 0)
	q := &queue{id: 1, maxEvents: 1 << 20, maxBytes: 1 << 30, credit: 1}
	if _, ok := q.due(time.Second); ok {
		t.Fatal("an empty queue is due")
	}
	q.push(item{kind: itemEvent, body: []byte("{}")}, now)
	if at, ok := q.due(time.Second); !ok || !at.Equal(now.Add(time.Second)) {
		t.Fatal(at, ok)
	}
	q.credit = 0
	if _, ok := q.due(time.Second); ok {
		t.Fatal("due without credit")
	}
	q.credit = 1
	q.push(item{kind: itemEvent, body: make([]byte, bulkBytes)}, now)
	if at, ok := q.due(time.Second); !ok || !at.IsZero() {
		t.Fatal(at, ok)
	}
	q.drop()
	q.credit = 0
	q.push(item{kind: itemFrame, body: []byte("{}")}, now)
	if at, ok := q.due(time.Second); !ok || !at.IsZero() {
		t.Fatal(at, ok)
	}
}
