package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// Bytes sent over a cut link are held, as TCP would, and arrive when it heals.
func TestCutLinksHoldBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		near, far := pair(t, n)
		n.CutOneWay("c", "s")
		near.Write([]byte("late"))
		far.Write([]byte("other way"))
		buf := make([]byte, 100)
		if k, err := near.Read(buf); err != nil || string(buf[:k]) != "other way" {
			t.Errorf("the other direction: %q, %v", buf[:k], err)
		}
		far.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over the cut link: %v", err)
		}
		far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { n.Heal("c", "s") })
		if k, err := far.Read(buf); err != nil || string(buf[:k]) != "late" {
			t.Errorf("after healing: %q, %v", buf[:k], err)
		}
	})
}

// Delay and rate decide when bytes arrive; order is kept when the delay falls.
func TestDelayAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		near, far := pair(t, n)
		began := time.Now()
		n.Delay("c", "s", 80*time.Millisecond)
		near.Write([]byte("1"))
		n.Delay("c", "s", 10*time.Millisecond)
		near.Write([]byte("2"))
		buf := make([]byte, 2)
		io.ReadFull(far, buf)
		if got := time.Since(began); string(buf) != "12" || got != 80*time.Millisecond {
			t.Errorf("%q after %v", buf, got)
		}
		n.Delay("c", "s", 0)
		n.Rate("c", "s", 1000)
		began = time.Now()
		go func() {
			near.Write(make([]byte, 2000))
			near.Close()
		}()
		k, err := io.Copy(io.Discard, far)
		if got := time.Since(began); k != 2000 || err != nil || got < 2*time.Second || got > 3*time.Second {
			t.Errorf("%d bytes at 1000/s after %v, %v", k, got, err)
		}
	})
}

// A dial is refused where nobody listens, and hangs where news does not travel.
func TestDialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		dial := n.Dialer("c")
		if _, err := dial(t.Context(), "s"); !wire.IsRefused(err) {
			t.Errorf("nobody listens: %v", err)
		}
		l, err := n.Listen("s:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("s:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening twice: %v", err)
		}
		n.CutOneWay("s", "c")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := dial(ctx, "s:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("answer cut off: %v", err)
		}
		time.AfterFunc(time.Second, func() { n.Heal("s", "c") })
		nc, err := dial(t.Context(), "s:1")
		if err != nil {
			t.Fatalf("healed while dialling: %v", err)
		}
		defer nc.Close()
		l.Close()
		if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("never accepted: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed listener: %v", err)
		}
	})
}

// An orderly close delivers everything first; a crash delivers nothing more; a
// crash behind a cut link is not noticed before it heals.
func TestEndings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		near, far := pair(t, n)
		near.Write([]byte("last words"))
		near.Close()
		if all, err := io.ReadAll(far); err != nil || string(all) != "last words" {
			t.Errorf("orderly: %q, %v", all, err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("to a closed end: %v", err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("own closed end: %v", err)
		}

		near, far = pair(t, n)
		n.Cut("c", "s")
		n.Crash("c")
		far.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("crash behind a cut link: %v", err)
		}
		far.SetReadDeadline(time.Time{})
		n.Heal("c", "s")
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("crash after healing: %v", err)
		}
		_ = near

		near, far = pair(t, n)
		n.Reset("s", "c")
		for _, end := range []net.Conn{near, far} {
			if _, err := end.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("reset: %v", err)
			}
			if _, err := end.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write after reset: %v", err)
			}
		}
	})
}

// A writer waits while the other end holds as much as a socket would, and no
// longer than its deadline.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, wire.NewNetwork())
		near.SetWriteDeadline(time.Now().Add(time.Second))
		big := bytes.Repeat([]byte("0123456789"), 100_000)
		k, err := near.Write(big)
		if !errors.Is(err, os.ErrDeadlineExceeded) || k == 0 || k == len(big) {
			t.Errorf("%d bytes taken, %v", k, err)
		}
		near.SetWriteDeadline(time.Time{})
		go func() {
			near.Write(big[k:])
			near.Close()
		}()
		if all, err := io.ReadAll(far); err != nil || !bytes.Equal(all, big) {
			t.Errorf("%d bytes arrived, %v", len(all), err)
		}
	})
}

// The same code runs over TCP, and a source address can be bound.
func TestTCPWithSourceAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := wire.NewMux(l, wire.MuxConfig{})
	defer m.Close()
	from := make(chan string, 1)
	server := wire.NewServer(wire.ServerConfig{
		Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) { return body, nil },
	})
	m.Handle(wire.PurposeRequests, func(nc net.Conn) {
		host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
		from <- host
		server.Serve(nc)
	})
	dial, err := wire.TCPDialer("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.Connect(t.Context(), dial, m.Addr().String(), wire.PurposeRequests, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	big := bytes.Repeat([]byte("x"), 3<<20)
	if reply, err := c.Call(t.Context(), 1, big); err != nil || !bytes.Equal(reply, big) {
		t.Errorf("%d bytes came back, %v", len(reply), err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-from; got != "127.0.0.2" {
		t.Errorf("connected from %s", got)
	}
	if _, err := wire.TCPDialer("nonsense:port"); err == nil {
		t.Error("a source address that is none was accepted")
	}
	m.Close()
	<-c.Done()
	if _, err := wire.Connect(t.Context(), dial, m.Addr().String(), wire.PurposeRequests, 0); !wire.IsRefused(err) {
		t.Errorf("closed listener: %v", err)
	}
}
