package cluster

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dialled returns both ends of a connection from a to b.
func dialled(t *testing.T, a, b *MemTransport) (near, far net.Conn) {
	t.Helper()
	near, err := a.DialTimeout(b.Addr(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return near, <-b.StreamCh()
}

// Packets arrive unless their direction is cut or loses them; the buffer of the
// sender is its own again.
func TestMemNetPackets(t *testing.T) {
	n := NewMemNet(1)
	a, b := n.Transport("a"), n.Transport("b")
	arrived := func(from, to *MemTransport) int {
		buf := []byte("hello")
		for range 100 {
			if _, err := from.WriteTo(buf, to.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		clear(buf)
		got := 0
		for len(to.PacketCh()) > 0 {
			p := <-to.PacketCh()
			if string(p.Buf) != "hello" || p.From.String() != from.Addr() {
				t.Fatalf("packet %q from %v", p.Buf, p.From)
			}
			got++
		}
		return got
	}
	if got := arrived(a, b); got != 100 {
		t.Errorf("%d of 100 arrived", got)
	}
	n.Cut("a", "b")
	if there, back := arrived(a, b), arrived(b, a); there != 0 || back != 100 {
		t.Errorf("over a cut %d arrived, the other way %d", there, back)
	}
	n.Heal("a", "b")
	n.Lose("a", "b", 0.5)
	if got := arrived(a, b); got < 25 || got > 75 {
		t.Errorf("%d of 100 arrived at a loss of half", got)
	}
	n.Reconnect("a")
	for range 2 * memPacketsMax {
		a.WriteTo([]byte("x"), b.Addr())
	}
	if got := len(b.PacketCh()); got != memPacketsMax {
		t.Errorf("%d packets wait, the bound is %d", got, memPacketsMax)
	}
	a.Shutdown()
	if _, err := a.WriteTo([]byte("x"), b.Addr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("sending after Shutdown: %v", err)
	}
}

// What is written to a connection is read in order, also what was written
// before Close, and more than fits on the way waits for the reader.
func TestMemNetConnectionsAreOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemNet(1)
		near, far := dialled(t, n.Transport("a"), n.Transport("b"))
		want := bytes.Repeat([]byte("0123456789"), memStreamMax/2)
		go func() {
			near.Write(want)
			near.Close()
			near.Close()
		}()
		synctest.Wait()
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
		far.Close()
		if _, err := near.Write([]byte("x")); err == nil {
			t.Error("a closed connection can be written to")
		}
	})
}

// A cut stalls connections until it heals or the deadline passes; dialling over
// it times out, and where nobody listens it is refused at once.
func TestMemNetCutsStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemNet(1)
		a, b := n.Transport("a"), n.Transport("b")
		near, far := dialled(t, a, b)
		n.Isolate("b")
		if _, err := near.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		far.SetReadDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := far.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("reading over a cut: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		_, err := a.DialTimeout(b.Addr(), 3*time.Second)
		var op *net.OpError
		if !errors.As(err, &op) || !op.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("dialling over a cut: %v after %v", err, time.Since(start))
		}
		far.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			n.Reconnect("b")
		}()
		if got, err := far.Read(buf); err != nil || string(buf[:got]) != "late" {
			t.Errorf("after healing: %q, %v", buf[:got], err)
		}

		b.Shutdown()
		if _, err := near.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading from who is gone: %v", err)
		}
		start = time.Now()
		if _, err := a.DialTimeout(b.Addr(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) != 0 {
			t.Errorf("dialling who is gone: %v after %v", err, time.Since(start))
		}
		if again := n.Transport("b"); again.Addr() != b.Addr() {
			t.Errorf("b returned at %s, was at %s", again.Addr(), b.Addr())
		}
	})
}
