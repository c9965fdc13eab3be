package web

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
)

// subprotocol is what clients offer when they connect.
const subprotocol = "grid.v1"

// closeCode is why the server ends a connection.
type closeCode int

// The close codes, in the range that is free for applications.
const (
	closeBadFrame  closeCode = 4400 // a message is malformed or out of place
	closeNoHello   closeCode = 4408 // no hello in time
	closeDuplicate closeCode = 4409 // an id is in use already
	closeTooBig    closeCode = 4413 // a message is over its limit
	closeRate      closeCode = 4429 // too many messages, or answers that are not read
	closeDrain     closeCode = 4503 // the member is about to stop
)

// breach is a breach of the protocol, which ends the connection.
type breach struct {
	code   closeCode
	reason string // at most 123 bytes, the most a close message holds
}

// Error returns the reason.
func (b *breach) Error() string { return b.reason }

func breachf(code closeCode, format string, args ...any) *breach {
	const most = 123
	reason := fmt.Sprintf(format, args...)
	return &breach{code, reason[:min(len(reason), most)]}
}

// clientFrame is a message of a client. Which members count follows from T.
type clientFrame struct {
	T      string `json:"t"`
	ID     uint32 `json:"id"`
	Client string `json:"client"` // hello: name and version, for listings
	Space  string `json:"space"`
	filterRequest
	Before  bool   `json:"before"` // with the values that changes replaced
	Claims  bool   `json:"claims"` // claims and releases too
	From    string `json:"from"`   // snapshot, now, or a cursor
	Credit  int    `json:"credit"`
	BatchMS *int   `json:"batch_ms"`
	Cursor  string `json:"cursor"`
	N       int    `json:"n"`
}

const (
	maxClientName = 128 // bytes of a client's name that are kept
	maxBatch      = time.Second
)

// parseClientFrame reads a message and checks what can be checked without
// knowing the connection.
func parseClientFrame(b []byte) (clientFrame, error) {
	var f clientFrame
	if err := decodeStrict(b, &f); err != nil {
		return f, breachf(closeBadFrame, "%v", problemOf(err).Message)
	}
	bad := func(what string) (clientFrame, error) { return f, breachf(closeBadFrame, "%s: %s", f.T, what) }
	switch f.T {
	case "hello":
		f.Client = f.Client[:min(len(f.Client), maxClientName)]
		return f, nil
	case "ping":
		return f, nil
	case "watch":
		switch {
		case f.Space == "":
			return bad("space is missing")
		case f.Credit < 0:
			return bad("credit is negative")
		case f.BatchMS != nil && (*f.BatchMS < 0 || time.Duration(*f.BatchMS)*time.Millisecond > maxBatch):
			return bad("batch_ms is 0 to 1000")
		}
	case "credit":
		if f.N <= 0 {
			return bad("n is not positive")
		}
	case "ack", "unwatch":
	default:
		return f, breachf(closeBadFrame, "unknown message %q", f.T)
	}
	if f.ID == 0 {
		return bad("id is missing")
	}
	return f, nil
}

// options says what a watch is about and where it begins.
func (f *clientFrame) options() (grid.WatchOptions, error) {
	o := grid.WatchOptions{Claims: f.Claims}
	var err error
	if o.Template, err = form.ParseTemplate(f.Template); err != nil {
		return o, err
	}
	args, err := form.ParseArgs(f.Args)
	if err != nil {
		return o, err
	}
	if f.Where != "" {
		if _, err := form.ParseCondition(f.Where, args); err != nil {
			return o, err
		}
		o.Where = grid.Where(f.Where, args...)
	}
	switch f.From {
	case "", "snapshot":
	case "now":
		o.Now = true
	default:
		o.From = grid.Cursor(f.From)
	}
	return o, nil
}

// mustJSON encodes what is made of plain values.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("web: a message has no JSON: " + err.Error())
	}
	return b
}

type welcomeFrame struct {
	T       string        `json:"t"`
	Session string        `json:"session"`
	Member  grid.MemberID `json:"member,omitempty"`
	PingS   float64       `json:"ping_s"`
	Limits  welcomeLimits `json:"limits"`
}

type welcomeLimits struct {
	FrameBytes    int `json:"frame_bytes"`
	Subscriptions int `json:"subscriptions"`
	QueueEvents   int `json:"queue_events"`
	QueueBytes    int `json:"queue_bytes"`
	Credit        int `json:"credit"`
}

type byeFrame struct {
	T       string   `json:"t"`
	Reason  string   `json:"reason"`
	RetryMS [2]int   `json:"retry_ms"` // the range to draw the pause from
	Other   []string `json:"other"`    // HTTP addresses of other members
}

// errorFrame reports what went wrong with a subscription, or with a request for
// one; it has none afterwards.
type errorFrame struct {
	T             string `json:"t"`
	ID            uint32 `json:"id"`
	Code          string `json:"code"`
	Name          string `json:"name"`
	Message       string `json:"message"`
	Hint          string `json:"hint,omitempty"`
	Retryable     bool   `json:"retryable"`
	Indeterminate bool   `json:"indeterminate"`
}

func newErrorFrame(id uint32, p *Problem) []byte {
	return mustJSON(errorFrame{"error", id, p.Code, p.Name, p.Message, p.Hint, p.Retryable, p.Indeterminate})
}

func watchingFrame(id uint32, resumed bool) []byte {
	return fmt.Appendf(nil, `{"t":"watching","id":%d,"resumed":%t}`, id, resumed)
}

// resetFrame voids what the client has: of one partition, or of all of them if
// partition is negative.
func resetFrame(id uint32, reason string, partition int) []byte {
	b := fmt.Appendf(nil, `{"t":"reset","id":%d,"reason":%q`, id, reason)
	if partition >= 0 {
		b = fmt.Appendf(b, `,"partition":%d`, partition)
	}
	return append(b, '}')
}

func snapshotEndFrame(id uint32, cursor grid.Cursor) []byte {
	return fmt.Appendf(nil, `{"t":"snapshot_end","id":%d,"cursor":%q}`, id, cursor)
}

func markFrame(id uint32, cursor grid.Cursor) []byte {
	return fmt.Appendf(nil, `{"t":"mark","id":%d,"cursor":%q}`, id, cursor)
}

// appendSnapshotEntry appends one entry of a snapshot. Its version is the number
// of the change that made it.
func appendSnapshotEntry(dst []byte, e *grid.Event) ([]byte, error) {
	dst = appendPlace(append(dst, '{'), e)
	dst = appendKey(append(dst, `,"key":`...), e.Entry.Key)
	dst, err := appendEntryValue(append(dst, `,"value":`...), &e.Entry)
	return append(dst, '}'), err
}

// eventWords are the words for changes, also of clients that choose among them.
var eventWords = map[grid.EventKind]string{
	grid.Written: "written", grid.Updated: "updated", grid.Removed: "removed", grid.Matched: "matched",
	grid.Unmatched: "unmatched", grid.Claimed: "claimed", grid.Released: "released",
}

// appendEvent appends one change. Of an entry that is gone or hidden, or has
// ceased to match, the new value is not said; what it was before is if asked for.
func appendEvent(dst []byte, e *grid.Event, before bool) ([]byte, error) {
	dst = append(append(append(dst, `{"op":"`...), eventWords[e.Kind]...), `",`...)
	dst = appendPlace(dst, e)
	dst = appendKey(append(dst, `,"key":`...), e.Entry.Key)
	if e.Previous != 0 {
		dst = strconv.AppendUint(append(dst, `,"previous":`...), uint64(e.Previous), 10)
	}
	if e.Cause != "" {
		dst = append(append(append(dst, `,"cause":"`...), e.Cause...), '"')
	}
	var err error
	switch e.Kind {
	case grid.Written, grid.Updated, grid.Matched, grid.Released:
		dst, err = appendEntryValue(append(dst, `,"value":`...), &e.Entry)
	}
	if before && e.Before.Value != nil && err == nil {
		dst, err = appendEntryValue(append(dst, `,"before":`...), &e.Before)
	}
	if e.More {
		dst = append(dst, `,"more":true`...)
	}
	return append(dst, '}'), err
}

func appendPlace(dst []byte, e *grid.Event) []byte {
	dst = strconv.AppendUint(append(dst, `"partition":`...), uint64(e.Partition), 10)
	return strconv.AppendUint(append(dst, `,"seq":`...), uint64(e.Seq), 10)
}
