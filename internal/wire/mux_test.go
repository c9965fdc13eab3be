package wire_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// One listener serves several purposes; strangers and unknown versions are
// closed, and a silent connection does not hold its place for ever.
func TestMuxRoutesByPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		l, err := n.Listen("s")
		if err != nil {
			t.Fatal(err)
		}
		m := wire.NewMux(l, wire.MuxConfig{})
		defer m.Close()
		for _, p := range []wire.Purpose{wire.PurposeControl, wire.PurposeBulk} {
			m.Handle(p, func(nc net.Conn) { nc.Write([]byte{byte(p)}) })
		}
		for _, p := range []wire.Purpose{wire.PurposeControl, wire.PurposeBulk} {
			nc, err := wire.Open(t.Context(), n.Dialer("c"), "s", p)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(nc); err != nil || !bytes.Equal(got, []byte{byte(p)}) {
				t.Errorf("purpose %d reached %v, %v", p, got, err)
			}
			nc.Close()
		}
		for _, opening := range []string{"GET / HTTP", "SPGD\x02\x01\x00\x00", "SPGD\x01\x01\x00\x01", "SPGD\x01\x09\x00\x00", ""} {
			nc, err := n.Dialer("c")(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			nc.Write([]byte(opening))
			start := time.Now()
			if got, err := io.ReadAll(nc); err == nil && len(got) > 0 {
				t.Errorf("%q was answered %q", opening, got)
			}
			if waited := time.Since(start); waited > 10*time.Second {
				t.Errorf("%q held its place for %v", opening, waited)
			}
			nc.Close()
		}
	})
}

// Clients that take every connection they can get do not lock members out.
func TestMuxKeepsRoomForMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		l, err := n.Listen("s")
		if err != nil {
			t.Fatal(err)
		}
		m := wire.NewMux(l, wire.MuxConfig{MaxConns: 16})
		defer m.Close()
		m.Handle(wire.PurposeControl, func(nc net.Conn) { nc.Write([]byte("member")) })
		server := wire.NewServer(wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) { return body, nil },
		})
		m.Handle(wire.PurposeRequests, server.Serve)
		served := 0
		for range 40 {
			c, err := wire.Connect(t.Context(), n.Dialer("c"), "s", wire.PurposeRequests, 0)
			if err != nil {
				continue
			}
			defer c.Close()
			if _, err := c.Call(t.Context(), 1, nil); err == nil {
				served++
			}
		}
		if served != 14 {
			t.Errorf("%d clients served, want seven eighths of 16", served)
		}
		nc, err := wire.Open(t.Context(), n.Dialer("b"), "s", wire.PurposeControl)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if got, err := io.ReadAll(nc); err != nil || string(got) != "member" {
			t.Errorf("a member got %q, %v", got, err)
		}
	})
}

// BenchmarkCall is a small request and its reply over loopback TCP, alone and
// from many goroutines on one connection.
func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	m := wire.NewMux(l, wire.MuxConfig{})
	defer m.Close()
	m.Handle(wire.PurposeRequests, wire.NewServer(wire.ServerConfig{
		Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) { return body, nil },
	}).Serve)
	dial, err := wire.TCPDialer("")
	if err != nil {
		b.Fatal(err)
	}
	c, err := wire.Connect(b.Context(), dial, m.Addr().String(), wire.PurposeRequests, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for _, perCore := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", perCore*runtime.GOMAXPROCS(0)), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(perCore)
			body := bytes.Repeat([]byte("x"), 100)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Call(b.Context(), 1, body); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
