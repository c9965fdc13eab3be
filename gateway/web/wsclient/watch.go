package wsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol = "grid.v1"
	// subscription is the id of the one subscription of a connection.
	subscription = 1

	dialTimeout = 5 * time.Second
	writeWait   = 10 * time.Second
	// A connection on which nothing has arrived for so long is dead: two pings
	// have not come.
	defaultPing = 20 * time.Second

	// Pauses between attempts grow from the first to the last and are drawn from
	// zero up, so that many clients do not come back together.
	pauseMin = 100 * time.Millisecond
	pauseMax = 5 * time.Second

	defaultCredit = 2000
	// maxFrame bounds a message of the server: one command, whose values are
	// text here.
	maxFrame = 64 << 20
)

// Config says what to watch and where. A zero optional field means its default.
type Config struct {
	// Addresses are the HTTP addresses (host:port) of members; wss://host:port
	// for TLS. Required.
	Addresses []string
	// Space to watch. Required.
	Space string
	// Template filters, as a JSON object; nil is everything.
	Template json.RawMessage
	// From is a cursor to continue at. Empty: a snapshot first, unless Now.
	From string
	// Now leaves the snapshot out.
	Now bool
	// Credit is how many events the server may send ahead. Default 2,000.
	Credit int
	// Batch is how long the server may gather events; negative lets it decide.
	// Default 0: it sends at once.
	Batch time.Duration
	// Client names the program in listings. Default: wsclient.
	Client string
	// Lost is told of every connection that is lost or refused, and why. Optional.
	Lost func(address string, err error)
}

// Watch is one watch of a space. It is used by one goroutine.
type Watch struct {
	config Config
	next   int // index of the address to try
	cursor string
	begun  bool           // the first connection was made
	seen   map[int]uint64 // last change yielded of each partition
	pause  time.Duration  // the longest before the next attempt
	least  time.Duration  // the shortest, as a member that stops has asked
	credit int            // events taken since credit was last given
}

// New prepares a watch. It panics without an address or a space.
func New(config Config) *Watch {
	if len(config.Addresses) == 0 || config.Space == "" {
		panic("wsclient: Addresses and Space are required")
	}
	if config.Credit <= 0 {
		config.Credit = defaultCredit
	}
	if config.Client == "" {
		config.Client = "wsclient"
	}
	return &Watch{config: config, cursor: config.From, seen: map[int]uint64{}}
}

// Cursor returns the last cursor that was yielded.
func (w *Watch) Cursor() string { return w.cursor }

// errLeft ends a connection whose reader has left the loop.
var errLeft = errors.New("wsclient: the loop was left")

// Events yields events until ctx ends, the loop is left, or a member refuses the
// watch for good; the refusal is yielded as the last error. Lost connections are
// made again, elsewhere if there is an elsewhere, for as long as it takes.
func (w *Watch) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for ctx.Err() == nil {
			address := w.config.Addresses[w.next%len(w.config.Addresses)]
			err := w.connection(ctx, address, func(e Event) bool { return yield(e, nil) })
			var refused *Error
			switch {
			case errors.Is(err, errLeft):
				return
			case ctx.Err() != nil:
			case errors.As(err, &refused):
				yield(Event{}, err)
				return
			default:
				if w.config.Lost != nil {
					w.config.Lost(address, err)
				}
				w.next++
				w.rest(ctx)
				continue
			}
		}
		yield(Event{}, context.Cause(ctx))
	}
}

// rest waits before the next attempt. The first one after a good connection is
// made at once if there is another member.
func (w *Watch) rest(ctx context.Context) {
	d, least := w.pause, w.least
	w.least = 0
	if w.pause = min(max(2*w.pause, pauseMin), pauseMax); len(w.config.Addresses) == 1 {
		d = w.pause
	}
	if d <= least {
		return
	}
	timer := time.NewTimer(least + rand.N(d-least))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connection makes one connection and yields what comes over it until it ends.
func (w *Watch) connection(ctx context.Context, address string, yield func(Event) bool) error {
	url := address
	if !strings.Contains(url, "://") {
		url = "ws://" + url
	}
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: dialTimeout}
	ws, resp, err := dialer.DialContext(ctx, url+"/v1/ws", http.Header{})
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: status %d", err, resp.StatusCode)
		}
		return err
	}
	defer ws.Close()
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	defer stop()
	ws.SetReadLimit(maxFrame)
	alive := defaultPing * 5 / 2
	extend := func() error { return ws.SetReadDeadline(time.Now().Add(alive)) }
	answer := ws.PingHandler()
	ws.SetPingHandler(func(payload string) error { return errors.Join(extend(), answer(payload)) })
	if err := w.begin(ws); err != nil {
		return err
	}
	for {
		if err := extend(); err != nil {
			return err
		}
		_, b, err := ws.ReadMessage()
		if err != nil {
			return refusal(err)
		}
		var f frame
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("wsclient: message of the server: %w", err)
		}
		if f.T == "welcome" && f.PingS > 0 {
			alive = time.Duration(f.PingS * 2.5 * float64(time.Second))
		}
		if err := w.handle(ws, &f, yield); err != nil {
			return err
		}
	}
}

// begin says hello and what to watch.
func (w *Watch) begin(ws *websocket.Conn) error {
	from := w.cursor
	switch {
	case from == "" && w.config.Now && !w.begun:
		from = "now"
	case from == "":
		from = "snapshot"
	}
	w.credit = 0
	watch := map[string]any{"t": "watch", "id": subscription, "space": w.config.Space, "from": from, "credit": w.config.Credit}
	if w.config.Template != nil {
		watch["template"] = w.config.Template
	}
	if w.config.Batch >= 0 {
		watch["batch_ms"] = w.config.Batch.Milliseconds()
	}
	if err := send(ws, map[string]any{"t": "hello", "client": w.config.Client}); err != nil {
		return err
	}
	return send(ws, watch)
}

func send(ws *websocket.Conn, v any) error {
	if err := ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	return ws.WriteJSON(v)
}

// handle yields what one message says.
func (w *Watch) handle(ws *websocket.Conn, f *frame, yield func(Event) bool) error {
	give := func(e Event) error {
		if !yield(e) {
			return errLeft
		}
		return nil
	}
	switch f.T {
	case "watching":
		w.pause = 0
		if w.begun && !f.Resumed {
			// What was yielded of a snapshot that broke off is void.
			return w.reset(-1, "reconnected", give)
		}
		w.begun = true
	case "reset":
		p := -1
		if f.Partition != nil {
			p = *f.Partition
		}
		return w.reset(p, f.Reason, give)
	case "snapshot":
		for _, e := range f.Entries {
			e.Op = Snapshot
			if err := give(e); err != nil {
				return err
			}
		}
		return w.taken(ws, len(f.Entries))
	case "snapshot_end":
		w.cursor = f.Cursor
		return give(Event{Op: SnapshotEnd, Partition: -1, Cursor: f.Cursor})
	case "events":
		return w.events(ws, f, give)
	case "mark":
		w.cursor = f.Cursor
		return give(Event{Op: Mark, Partition: -1, Cursor: f.Cursor})
	case "error":
		if f.Retryable {
			return fmt.Errorf("wsclient: %s: %s", f.Name, f.Message)
		}
		return &Error{f.Code, f.Name, f.Message, f.Hint}
	case "bye":
		w.least = min(time.Duration(max(f.RetryMS[0], 0))*time.Millisecond, pauseMax)
		w.pause = min(time.Duration(max(f.RetryMS[1], 0))*time.Millisecond, pauseMax)
	}
	return nil
}

// reset forgets what was seen of a partition, or of all.
func (w *Watch) reset(p int, reason string, give func(Event) error) error {
	w.cursor = ""
	if p < 0 {
		clear(w.seen)
	} else {
		delete(w.seen, p)
	}
	return give(Event{Op: Reset, Partition: p, Cause: reason})
}

// events yields the changes that were not yielded before.
func (w *Watch) events(ws *websocket.Conn, f *frame, give func(Event) error) error {
	for i, e := range f.Events {
		if i == len(f.Events)-1 && f.Cursor != "" {
			w.cursor, e.Cursor = f.Cursor, f.Cursor
		}
		if e.Seq <= w.seen[e.Partition] {
			if e.Cursor == "" {
				continue
			}
			// The change is known, the position is not.
			e = Event{Op: Mark, Partition: -1, Cursor: e.Cursor}
		} else {
			w.seen[e.Partition] = e.Seq
		}
		if err := give(e); err != nil {
			return err
		}
	}
	return w.taken(ws, len(f.Events))
}

// taken gives credit back once half of it is used.
func (w *Watch) taken(ws *websocket.Conn, n int) error {
	if w.credit += n; w.credit < w.config.Credit/2 || w.credit == 0 {
		return nil
	}
	credit := w.credit
	w.credit = 0
	return send(ws, map[string]any{"t": "credit", "id": subscription, "n": credit})
}

// refusal sorts out close codes that another attempt would meet again.
func refusal(err error) error {
	const first, rate, last = 4400, 4429, 4499
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code >= first && closed.Code <= last && closed.Code != rate {
		return &Error{Code: fmt.Sprint(closed.Code), Name: "CLOSED", Message: closed.Text}
	}
	return err
}
