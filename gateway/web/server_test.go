package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/grid"
)

// quiet is a logger for servers whose log is not looked at.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newGrid starts a grid of one member in memory.
func newGrid(t *testing.T) *grid.Grid {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g, err := grid.Open(ctx, grid.Config{Name: "m1", Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// doorTo is a server that listens, and how to talk to it.
type doorTo struct {
	t      *testing.T
	server *web.Server
	addr   string
	served chan error
}

// open serves a grid on a loopback address.
func open(t *testing.T, config web.Config) *doorTo {
	t.Helper()
	if config.Grid == nil {
		config.Grid = newGrid(t)
	}
	if config.Logger == nil {
		config.Logger = quiet()
	}
	config.Self = "m1"
	s, err := web.New(config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &doorTo{t: t, server: s, addr: l.Addr().String(), served: make(chan error, 1)}
	go func() { d.served <- s.Serve(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-d.served; err != nil {
			t.Error(err)
		}
	})
	return d
}

// reply is a response with its body read.
type reply struct {
	*http.Response
	body string
}

// decode reads the body as JSON.
func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// do sends a request; headers are pairs.
func (d *doorTo) do(method, path, body string, headers ...string) reply {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.addr+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return reply{resp, string(b)}
}

// want sends a request and checks the status.
func (d *doorTo) want(status int, method, path, body string, headers ...string) reply {
	d.t.Helper()
	r := d.do(method, path, body, headers...)
	if r.StatusCode != status {
		d.t.Fatalf("%s %s: status %d, want %d: %s", method, path, r.StatusCode, status, r.body)
	}
	return r
}

// refused sends a request that must be refused with a code.
func (d *doorTo) refused(code string, method, path, body string, headers ...string) web.Problem {
	d.t.Helper()
	r := d.do(method, path, body, headers...)
	var p web.Problem
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		d.t.Fatalf("%s %s: %d %s: %s", method, path, r.StatusCode, ct, r.body)
	}
	r.decode(d.t, &p)
	if p.Name != code || p.Status != r.StatusCode {
		d.t.Fatalf("%s %s: %d %s, want %s: %s", method, path, r.StatusCode, p.Name, code, r.body)
	}
	return p
}

// TestHealth: a member that serves says so, lists its checks when asked, and
// says no from the moment it drains.
func TestHealth(t *testing.T) {
	d := open(t, web.Config{})
	d.want(200, "GET", "/healthz", "")
	if r := d.want(200, "GET", "/readyz", ""); r.body != "ready\n" {
		t.Fatalf("%q", r.body)
	}
	r := d.want(200, "GET", "/readyz?verbose&exclude=member", "")
	if want := "[+] draining ok\n[+] formed ok\n[ ] member excluded\nready\n"; r.body != want {
		t.Fatalf("%q", r.body)
	}
}

// TestGuards: neither a foreign name on a loopback address nor a foreign page gets
// through; the own page and an allowed one do.
func TestGuards(t *testing.T) {
	d := open(t, web.Config{AllowedHosts: []string{"grid.example"}, AllowedOrigins: []string{"https://console.example"}})
	d.refused("FOREIGN_HOST", "GET", "/healthz", "", "Host", "attacker.example")
	d.want(200, "GET", "/healthz", "", "Host", "grid.example:7380")
	d.want(200, "GET", "/healthz", "", "Host", "localhost:1")
	d.want(200, "GET", "/healthz", "", "Host", "[::1]:7380")

	create := func(origin string) []string {
		return []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}
	}
	d.refused("FOREIGN_ORIGIN", "POST", "/v1/spaces", seats, create("https://attacker.example")...)
	d.refused("FOREIGN_ORIGIN", "POST", "/v1/spaces", seats, create("null")...)
	d.want(201, "POST", "/v1/spaces", seats, create("https://console.example")...)
	d.want(201, "POST", "/v1/spaces", seats, "Origin", "http://"+d.addr, "Sec-Fetch-Site", "same-origin")

	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol", "grid.v1"}
	for _, origin := range []string{"https://attacker.example", "null", "http://localhost:1"} {
		d.refused("FOREIGN_ORIGIN", "GET", "/v1/ws", "", append(upgrade, "Origin", origin)...)
	}
}

// TestMetrics: requests are counted by what came of them, and the member shows
// what it leads and applies.
func TestMetrics(t *testing.T) {
	g, err := grid.Open(t.Context(), grid.Config{Name: "m1", Partitions: 8, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	d := open(t, web.Config{Grid: g})
	d.want(204, "PUT", "/v1/spaces/default/entries/a", "x", "Content-Type", "application/octet-stream")
	d.refused("NOT_FOUND", "GET", "/v1/spaces/default/entries/b", "")
	text := d.want(200, "GET", "/metrics", "").body
	for _, want := range []string{
		`spacegrid_ops_total{door="http",op="write",result="ok"} 1`,
		`spacegrid_ops_total{door="http",op="read",result="not_found"} 1`,
		`spacegrid_op_seconds_count{door="http",op="write"} 1`,
		`spacegrid_build_info{`,
		`spacegrid_member_ready 1`,
		`spacegrid_member_entries 1`,
		`spacegrid_space_entries{space="default"} 1`,
		`spacegrid_pump_backlog_changes{sink="`,
		`spacegrid_pump_lag_seconds{sink="`,
		`spacegrid_pump_written_total{sink="`,
		`spacegrid_raft_is_leader{group="1"} 1`,
		`spacegrid_raft_applied_index{group="1"} `,
		`spacegrid_raft_term{group="1"} `,
		`spacegrid_ws_connections 0`,
		`go_goroutines `,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, path := range []string{"status", "members", "partitions", "pump", "subscriptions"} {
		if r := d.want(200, "GET", "/v1/"+path, ""); !json.Valid([]byte(r.body)) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

// TestDrain: from Drain on a server says that it is not ready and takes no new
// connection, and Close may follow.
func TestDrain(t *testing.T) {
	s, err := web.New(web.Config{Grid: newGrid(t), Self: "m1", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ready := func() int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		return w.Code
	}
	if code := ready(); code != 200 {
		t.Fatalf("not ready: %d", code)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := ready(); code != 503 {
		t.Fatalf("still ready: %d", code)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the listener is open: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
