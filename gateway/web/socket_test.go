package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/spacegrid/spacegrid/gateway/web"
)

// socket is the client's end of a connection, driven message by message.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

// message is what the tests look at of a message of the server.
type message struct {
	T         string  `json:"t"`
	ID        int     `json:"id"`
	Member    string  `json:"member"`
	Resumed   bool    `json:"resumed"`
	Reason    string  `json:"reason"`
	Partition *int    `json:"partition"`
	Name      string  `json:"name"`
	Cursor    string  `json:"cursor"`
	Entries   []event `json:"entries"`
	Events    []event `json:"events"`
	RetryMS   [2]int  `json:"retry_ms"`
}

type event struct {
	Op        string          `json:"op"`
	Partition int             `json:"partition"`
	Seq       uint64          `json:"seq"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Before    json.RawMessage `json:"before"`
	Cause     string          `json:"cause"`
	More      bool            `json:"more"`
}

// dial connects without a hello.
func (d *doorTo) dial() *socket {
	d.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"grid.v1"}}
	ws, resp, err := dialer.DialContext(d.t.Context(), "ws://"+d.addr+"/v1/ws", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		d.t.Fatal(err)
	}
	s := &socket{d.t, ws}
	d.t.Cleanup(func() { _ = ws.Close() })
	return s
}

// connect connects and says hello.
func (d *doorTo) connect() *socket {
	d.t.Helper()
	s := d.dial()
	s.send(`{"t":"hello","client":"test"}`)
	if m := s.next(); m.T != "welcome" || m.Member != "m1" {
		d.t.Fatalf("%+v", m)
	}
	return s
}

func (s *socket) send(text string) {
	s.t.Helper()
	if err := s.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the next message, or the close code.
func (s *socket) read() (message, int) {
	s.t.Helper()
	if err := s.ws.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	_, b, err := s.ws.ReadMessage()
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return message{}, closed.Code
	}
	var m message
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		s.t.Fatalf("%v in %s", err, b)
	}
	return m, 0
}

// next returns the next message but marks, which come by the clock.
func (s *socket) next() message {
	s.t.Helper()
	for {
		m, code := s.read()
		if code != 0 {
			s.t.Fatalf("closed with %d", code)
		}
		if m.T != "mark" {
			return m
		}
	}
}

// want reads the next message, which must be of a type.
func (s *socket) want(t string) message {
	s.t.Helper()
	m := s.next()
	if m.T != t {
		s.t.Fatalf("got %+v, want %s", m, t)
	}
	return m
}

// closed reads until the server closes and returns the code.
func (s *socket) closed() int {
	s.t.Helper()
	for {
		if _, code := s.read(); code != 0 {
			return code
		}
	}
}

func (d *doorTo) put(key, value string) {
	d.t.Helper()
	d.want(204, "PUT", "/v1/spaces/default/entries/"+key, value)
}

// TestWatch: a watch begins with a snapshot, goes on with every change and its
// cause, and ends when it is told to.
func TestWatch(t *testing.T) {
	d := open(t, web.Config{})
	d.put("a", `{"n":1}`)
	d.put("b", `{"n":2}`)
	s := d.connect()
	s.send(`{"t":"watch","id":3,"space":"default","credit":100,"batch_ms":0}`)
	if m := s.want("watching"); m.ID != 3 || m.Resumed {
		t.Fatalf("%+v", m)
	}
	keys := map[string]string{}
	for len(keys) < 2 {
		for _, e := range s.want("snapshot").Entries {
			keys[e.Key] = string(e.Value)
		}
	}
	if keys["a"] != `{"n":1}` || keys["b"] != `{"n":2}` {
		t.Fatalf("%v", keys)
	}
	if m := s.want("snapshot_end"); m.Cursor == "" {
		t.Fatalf("%+v", m)
	}
	d.put("c", `{"n":3}`)
	if e := s.want("events").Events[0]; e.Op != "written" || e.Key != "c" || string(e.Value) != `{"n":3}` || e.Seq == 0 {
		t.Fatalf("%+v", e)
	}
	d.put("c", `{"n":4}`)
	if e := s.want("events").Events[0]; e.Op != "updated" || string(e.Value) != `{"n":4}` {
		t.Fatalf("%+v", e)
	}
	d.want(200, "DELETE", "/v1/spaces/default/entries/c?return=1", "")
	if e := s.want("events").Events[0]; e.Op != "removed" || e.Cause != "taken" || e.Value != nil {
		t.Fatalf("%+v", e)
	}
	// A watch at rest still says where it is.
	if m, _ := s.read(); m.T != "mark" || m.Cursor == "" {
		t.Fatalf("%+v", m)
	}
	s.send(`{"t":"ack","id":3,"cursor":"x"}`)
	s.send(`{"t":"ping"}`)
	s.want("pong")
	var list struct{ Subscriptions []map[string]any }
	d.want(200, "GET", "/v1/subscriptions", "").decode(t, &list)
	if len(list.Subscriptions) != 1 || list.Subscriptions[0]["client"] != "test" || list.Subscriptions[0]["acked"] == nil {
		t.Fatalf("%v", list)
	}
	s.send(`{"t":"unwatch","id":3}`)
	s.send(`{"t":"credit","id":3,"n":1}`)
	if m := s.want("error"); m.Name != "NO_SUBSCRIPTION" {
		t.Fatalf("%+v", m)
	}
	// The id is free again.
	s.send(`{"t":"watch","id":3,"space":"default","from":"now","credit":100,"batch_ms":0}`)
	s.want("watching")
}

// TestTemplate: a template keeps entries that do not match out; of one that
// stops matching, the leaving is said.
func TestTemplate(t *testing.T) {
	d := open(t, web.Config{})
	d.put("{x}in", `{"row":1}`)
	d.put("{x}out", `{"row":2}`)
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"default","template":{"row":1},"credit":100,"batch_ms":0}`)
	s.want("watching")
	if m := s.want("snapshot"); len(m.Entries) != 1 || m.Entries[0].Key != "{x}in" {
		t.Fatalf("%+v", m)
	}
	s.want("snapshot_end")
	d.put("{x}in", `{"row":3}`)
	if e := s.want("events").Events[0]; e.Op != "unmatched" || e.Key != "{x}in" || e.Value != nil {
		t.Fatalf("%+v", e)
	}
	d.put("{x}in", `{"row":1,"b":1}`)
	if e := s.want("events").Events[0]; e.Op != "updated" || string(e.Value) != `{"b":1,"row":1}` {
		t.Fatalf("%+v", e)
	}
}

// TestMatchedAndUnmatched: in a space of fields a watch says which updates bring
// an entry in or take it out, with the values before, and nothing of entries that
// it has nothing to do with.
func TestMatchedAndUnmatched(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", `{"name":"seats","shape":"fields"}`)
	put := func(key, value string) { d.want(204, "PUT", "/v1/spaces/seats/entries/"+key, value) }
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"seats","template":{"free":true},"before":true,"credit":100,"batch_ms":0}`)
	s.want("watching")
	s.want("snapshot_end")
	put("%7Bx%7Dother", `{"free":false}`)
	put("%7Bx%7Da", `{"free":true,"n":1}`)
	put("%7Bx%7Da", `{"free":true,"n":2}`)
	put("%7Bx%7Da", `{"free":false}`)
	put("%7Bx%7Dother", `{"free":false,"n":1}`)
	d.want(204, "DELETE", "/v1/spaces/seats/entries/%7Bx%7Dother", "")
	put("%7Bx%7Da", `{"free":true}`)
	d.want(204, "DELETE", "/v1/spaces/seats/entries/%7Bx%7Da", "")
	var got []string
	for len(got) < 5 {
		for _, e := range s.want("events").Events {
			got = append(got, fmt.Sprintf("%s %s %s before %s", e.Op, e.Key, e.Value, e.Before))
		}
	}
	want := []string{
		`written {x}a {"n":1,"free":true} before `,
		`updated {x}a {"n":2,"free":true} before {"n":1,"free":true}`,
		`unmatched {x}a  before {"n":2,"free":true}`,
		`matched {x}a {"free":true} before {"free":false}`,
		`removed {x}a  before {"free":true}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBreaches: what breaks the protocol ends the connection with the code for
// it, and a refused watch does not.
func TestBreaches(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{
		Hello: 50 * time.Millisecond, FrameBytes: 1000, FramesPerSecond: 20, Subscriptions: 2,
	}}})
	watch := `{"t":"watch","id":1,"space":"default","credit":1}`
	for _, x := range []struct {
		name string
		say  []string
		code int
	}{
		{"no hello", nil, 4408},
		{"not hello", []string{watch}, 4400},
		{"second hello", []string{`{"t":"hello"}`, `{"t":"hello"}`}, 4400},
		{"no JSON", []string{`{"t":"hello"}`, `hello`}, 4400},
		{"unknown member", []string{`{"t":"hello"}`, `{"t":"watch","id":1,"space":"default","form":"now"}`}, 4400},
		{"unknown type", []string{`{"t":"hello"}`, `{"t":"shout"}`}, 4400},
		{"no id", []string{`{"t":"hello"}`, `{"t":"watch","space":"default"}`}, 4400},
		{"no space", []string{`{"t":"hello"}`, `{"t":"watch","id":1}`}, 4400},
		{"no credit", []string{`{"t":"hello"}`, watch, `{"t":"credit","id":1}`}, 4400},
		{"duplicate", []string{`{"t":"hello"}`, watch, watch}, 4409},
		{"too big", []string{`{"t":"hello"}`, `{"t":"ping","client":"` + strings.Repeat("x", 100_000) + `"}`}, 4413},
		{"too fast", append([]string{`{"t":"hello"}`}, slices.Repeat([]string{`{"t":"ping"}`}, 40)...), 4429},
	} {
		s := d.dial()
		for _, text := range x.say {
			// The server may have closed already, which closed sees.
			_ = s.ws.WriteMessage(websocket.TextMessage, []byte(text))
		}
		if code := s.closed(); code != x.code {
			t.Errorf("%s: closed with %d, want %d", x.name, code, x.code)
		}
	}
	binary := d.connect()
	if err := binary.ws.WriteMessage(websocket.BinaryMessage, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if code := binary.closed(); code != 4400 {
		t.Errorf("binary: closed with %d", code)
	}

	s := d.connect()
	for _, x := range []struct{ say, want string }{
		{`{"t":"watch","id":1,"space":"none","credit":1}`, "SPACE_NOT_FOUND"},
		{`{"t":"watch","id":1,"space":"default","template":[1],"credit":1}`, "INVALID"},
		{`{"t":"unwatch","id":9}`, "NO_SUBSCRIPTION"},
	} {
		s.send(x.say)
		if m := s.want("error"); m.Name != x.want {
			t.Errorf("%s: %+v", x.say, m)
		}
	}
	for id := 1; id <= 3; id++ {
		s.send(fmt.Sprintf(`{"t":"watch","id":%d,"space":"default","from":"now","credit":1}`, id))
	}
	var last message
	for last.T != "error" {
		last = s.next()
	}
	if last.Name != "TOO_MANY_SUBSCRIPTIONS" || last.ID != 3 {
		t.Errorf("%+v", last)
	}
}

// TestCredit: the server sends as many entries and events as it was granted and
// no more.
func TestCredit(t *testing.T) {
	d := open(t, web.Config{})
	for i := range 5 {
		d.put(fmt.Sprint("{x}", i), `{}`)
	}
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"default","credit":2,"batch_ms":0}`)
	s.want("watching")
	got := 0
	for got < 2 {
		got += len(s.want("snapshot").Entries)
	}
	// What answers a ping has overtaken nothing: there was nothing to send.
	s.send(`{"t":"ping"}`)
	s.want("pong")
	s.send(`{"t":"credit","id":1,"n":3}`)
	for got < 5 {
		got += len(s.want("snapshot").Entries)
	}
	s.want("snapshot_end")
	d.put("{x}9", `{}`)
	s.send(`{"t":"ping"}`)
	s.want("pong")
	s.send(`{"t":"credit","id":1,"n":1}`)
	if m := s.want("events"); len(m.Events) != 1 || m.Events[0].Key != "{x}9" {
		t.Fatalf("%+v", m)
	}
}

// TestSlowSubscriber: a subscriber that grants nothing is reset when its queue
// has been full for long enough; what it holds stays bounded, writers do not
// wait for it, and once it is back it has everything.
func TestSlowSubscriber(t *testing.T) {
	const events, bytes = 50, 8 << 10
	d := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{
		QueueEvents: events, QueueBytes: bytes, Slow: 100 * time.Millisecond,
	}}})
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"default","credit":0,"batch_ms":0}`)
	s.want("watching")
	s.want("snapshot_end")
	value := `{"text":"` + strings.Repeat("x", 200) + `"}`
	began := time.Now()
	for i := range 300 {
		d.put(fmt.Sprint("k", i), value)
		if i%50 == 0 {
			var list struct {
				Subscriptions []struct {
					QueuedEvents int `json:"queued_events"`
					QueuedBytes  int `json:"queued_bytes"`
				}
			}
			d.want(200, "GET", "/v1/subscriptions", "").decode(t, &list)
			if q := list.Subscriptions[0]; q.QueuedEvents > events || q.QueuedBytes > bytes {
				t.Fatalf("the queue is over its limit: %+v", q)
			}
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Fatalf("writing took %v", took)
	}
	if m := s.want("reset"); m.Reason != "slow" || m.Partition != nil {
		t.Fatalf("%+v", m)
	}
	s.send(`{"t":"credit","id":1,"n":10000}`)
	keys := map[string]bool{}
	for {
		m := s.next()
		for _, e := range m.Entries {
			keys[e.Key] = true
		}
		if m.T == "snapshot_end" {
			break
		}
	}
	if len(keys) != 300 {
		t.Fatalf("%d entries after the reset", len(keys))
	}
}

// TestBatchesStayWhole: the events of one command come in one message, more
// credit or not.
func TestBatchesStayWhole(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{QueueEvents: 4}}})
	d.want(201, "POST", "/v1/spaces", `{"name":"log","shape":"fields","key":"id"}`)
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"log","from":"now","credit":1,"batch_ms":0}`)
	s.want("watching")
	s.wantMark()
	var list []string
	for i := range 30 {
		list = append(list, fmt.Sprintf(`{"id":"{x}%d"}`, i))
	}
	d.want(200, "POST", "/v1/spaces/log/entries", "["+strings.Join(list, ",")+"]")
	m := s.want("events")
	if len(m.Events) != 30 || !m.Events[28].More || m.Events[29].More {
		t.Fatalf("%d events in the first message", len(m.Events))
	}
}

// wantMark reads the mark that a watch without snapshot begins with.
func (s *socket) wantMark() {
	s.t.Helper()
	if m, _ := s.read(); m.T != "mark" || m.Cursor == "" {
		s.t.Fatalf("%+v", m)
	}
}

// TestForeignCursor: a cursor that cannot be continued is answered by a reset and
// a snapshot, never by a gap.
func TestForeignCursor(t *testing.T) {
	d := open(t, web.Config{})
	d.put("a", `{}`)
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"default","from":"bm90IGEgY3Vyc29y","credit":10,"batch_ms":0}`)
	if m := s.want("watching"); m.Resumed {
		t.Fatalf("%+v", m)
	}
	if m := s.want("reset"); m.Reason != "changed" {
		t.Fatalf("%+v", m)
	}
	if m := s.want("snapshot"); m.Entries[0].Key != "a" {
		t.Fatalf("%+v", m)
	}
	s.want("snapshot_end")
}

// TestBye: a server that drains tells its subscribers and closes with the code
// for it; Close waits for them.
func TestBye(t *testing.T) {
	d := open(t, web.Config{})
	s := d.connect()
	s.send(`{"t":"watch","id":1,"space":"default","from":"now","credit":10}`)
	s.want("watching")
	done := make(chan error, 1)
	go func() { done <- d.server.Close() }()
	if m := s.want("bye"); m.Reason != "drain" || m.RetryMS[0] <= 0 || m.RetryMS[1] < m.RetryMS[0] {
		t.Fatalf("%+v", m)
	}
	if code := s.closed(); code != 4503 {
		t.Fatalf("closed with %d", code)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestHeartbeat: the server pings, and a client that answers nothing is dropped.
func TestHeartbeat(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{Ping: 40 * time.Millisecond}}})
	s := d.connect()
	pings := 0
	s.ws.SetPingHandler(func(string) error { pings++; return nil }) // no pong
	_ = s.ws.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := s.ws.ReadMessage(); err == nil || pings == 0 {
		t.Fatalf("after %d pings: %v", pings, err)
	}
	// One that answers lives on, though many pings long.
	alive := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{Ping: 500 * time.Millisecond}}}).connect()
	go func() {
		time.Sleep(1500 * time.Millisecond)
		_ = alive.ws.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`))
	}()
	alive.want("pong")
}

// TestConnectionLimits: connections beyond the limit are turned away with the
// reason.
func TestConnectionLimits(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{Sockets: web.SocketLimits{Connections: 1}}})
	s := d.connect()
	dialer := websocket.Dialer{Subprotocols: []string{"grid.v1"}}
	_, resp, err := dialer.DialContext(t.Context(), "ws://"+d.addr+"/v1/ws", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("%v", err)
	}
	_ = s.ws.Close()
	deadline := time.Now().Add(5 * time.Second)
	for {
		ws, _, err := dialer.DialContext(t.Context(), "ws://"+d.addr+"/v1/ws", nil)
		if err == nil {
			_ = ws.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place was not given back")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
