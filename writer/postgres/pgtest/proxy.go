package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy passes bytes between clients and a server. Its methods may be called
// concurrently.
type Proxy struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// watch decides about what a client is about to send.
	watch  func(query []byte) bool
	closed bool
}

// NewProxy starts a proxy before the server, which ends with the test.
func NewProxy(tb testing.TB, s *Server) *Proxy {
	tb.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, server: s.Address(), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Through returns a connection string of the server that leads through the proxy.
func (p *Proxy) Through(dsn string) string {
	addr := p.listener.Addr().(*net.TCPAddr)
	fields := strings.Fields(dsn)
	for i, f := range fields {
		switch {
		case strings.HasPrefix(f, "host="):
			fields[i] = "host=127.0.0.1"
		case strings.HasPrefix(f, "port="):
			fields[i] = fmt.Sprintf("port=%d", addr.Port)
		}
	}
	return strings.Join(fields, " ")
}

// SwallowAnswer lets watch see what clients send, in pieces as they come. When it
// returns true the piece still reaches the server, but nothing the server says
// from then on reaches that client: its connection is cut as soon as the server
// has answered. Nil watches nothing.
func (p *Proxy) SwallowAnswer(watch func(piece []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = watch
}

// Cut ends every connection there is.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	ctx := context.Background() // on the loopback interface a server answers or refuses at once
	var d net.Dialer
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := d.DialContext(ctx, "tcp", p.server)
		if err != nil {
			client.Close() // as a server that is down does
			continue
		}
		if !p.adopt(client, server) {
			return
		}
		swallow := make(chan struct{})
		p.wg.Go(func() { p.forward(client, server, swallow) })
		p.wg.Go(func() { p.back(client, server, swallow) })
	}
}

func (p *Proxy) adopt(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
}

// forward passes on what the client sends.
func (p *Proxy) forward(client, server net.Conn, swallow chan struct{}) {
	buf := make([]byte, 64<<10)
	swallowing := false
	for {
		n, err := client.Read(buf)
		if n > 0 {
			p.mu.Lock()
			watch := p.watch
			p.mu.Unlock()
			if watch != nil && !swallowing && watch(buf[:n]) {
				swallowing = true
				close(swallow)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if !swallowing {
		p.drop(client, server)
	}
}

// back passes on what the server answers, unless it is to be swallowed: then the
// client's connection is cut when the answer has come.
func (p *Proxy) back(client, server net.Conn, swallow chan struct{}) {
	defer p.drop(client, server)
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-swallow:
			return
		default:
		}
		if _, err := client.Write(buf[:n]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}
