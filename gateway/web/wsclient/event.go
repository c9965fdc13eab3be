package wsclient

import "encoding/json"

// Op says what an event is about.
type Op string

// The kinds of events.
const (
	// Snapshot: an entry that was there when the watch began.
	Snapshot Op = "snapshot"
	// SnapshotEnd: the snapshot is complete.
	SnapshotEnd Op = "snapshot_end"
	// Written, Updated, Removed: a change. Matched, Unmatched: an update by which
	// the entry came to match the template, or ceased to.
	Written   Op = "written"
	Updated   Op = "updated"
	Removed   Op = "removed"
	Matched   Op = "matched"
	Unmatched Op = "unmatched"
	// Claimed, Released: a claim hides the entry; it is there again. They come
	// only if asked for.
	Claimed  Op = "claimed"
	Released Op = "released"
	// Reset: what was yielded of Partition, or of all partitions if it is
	// negative, is void; Cause says why. A snapshot follows.
	Reset Op = "reset"
	// Mark: nothing but the cursor has moved.
	Mark Op = "mark"
)

// Event is one thing that happened in the watched space.
type Event struct {
	Op        Op              `json:"op"`
	Partition int             `json:"partition"`
	Seq       uint64          `json:"seq"` // the change's number in its partition; of a Snapshot the entry's version
	Key       json.RawMessage `json:"key"` // a JSON string, or {"$string"} if it is not UTF-8
	Value     json.RawMessage `json:"value"`
	Before    json.RawMessage `json:"before"`   // the value before a change, if asked for and known
	Previous  uint64          `json:"previous"` // version of the entry before
	Cause     string          `json:"cause"`
	More      bool            `json:"more"` // further events of the same command follow
	// Cursor is set on the last event before a position that can be continued
	// from, and on Mark and SnapshotEnd. It covers this event and all before it.
	Cursor string `json:"-"`
}

// KeyText returns the key if it is text, "" otherwise.
func (e *Event) KeyText() string {
	var s string
	if json.Unmarshal(e.Key, &s) != nil {
		return ""
	}
	return s
}

// frame is a message of the server. Which members count follows from T.
type frame struct {
	T         string  `json:"t"`
	ID        uint32  `json:"id"`
	Resumed   bool    `json:"resumed"`
	Reason    string  `json:"reason"`
	Partition *int    `json:"partition"`
	Entries   []Event `json:"entries"`
	Events    []Event `json:"events"`
	Cursor    string  `json:"cursor"`
	PingS     float64 `json:"ping_s"`
	Code      string  `json:"code"`
	Name      string  `json:"name"`
	Message   string  `json:"message"`
	Hint      string  `json:"hint"`
	Retryable bool    `json:"retryable"`
	RetryMS   [2]int  `json:"retry_ms"`
}

// Error is a refusal by the server that repeating does not cure.
type Error struct {
	Code, Name, Message, Hint string
}

// Error returns name, message, hint and code in one line.
func (e *Error) Error() string {
	text := "wsclient: " + e.Name + ": " + e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text + " [" + e.Code + "]"
}
