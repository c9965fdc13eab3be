package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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

// TestDraining: from Drain on a mounted server says that it is not ready, lets
// no subscriber in, and still answers.
func TestDraining(t *testing.T) {
	d := open(t, web.Config{})
	s, err := web.New(web.Config{Grid: newGrid(t), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	_ = d
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(io.Discard)
}
