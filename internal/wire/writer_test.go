package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// countingConn counts the writes that reach the connection.
type countingConn struct {
	net.Conn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// pair returns the two ends of a connection from "c" to "s".
func pair(t *testing.T, n *wire.Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Listen("s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = n.Dialer("c")(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

// An idle writer sends at once; what gathers during a write leaves together.
func TestWriterCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		near, far := pair(t, n)
		counted := &countingConn{Conn: near}
		w := wire.NewWriter(counted, 0)
		defer w.Close()
		if err := w.TrySend(1, 0, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if counted.writes != 1 {
			t.Errorf("a frame on an idle connection took %d writes", counted.writes)
		}
		// A write larger than the connection holds keeps the writer busy.
		w.TrySend(1, 1, wire.Bytes(make([]byte, 1<<20)))
		synctest.Wait()
		for i := range 1000 {
			if err := w.TrySend(1, uint64(i+2), nil); err != nil {
				t.Fatal(err)
			}
		}
		fr := wire.NewFrameReader(far, 0)
		for i := range 1002 {
			if f, err := fr.Next(); err != nil || f.ID != uint64(i) {
				t.Fatalf("frame %d: %d, %v", i, f.ID, err)
			}
		}
		if counted.writes > 4 {
			t.Errorf("1002 frames took %d writes", counted.writes)
		}
	})
}

// What waits to be written is bounded: TrySend refuses, Send waits for room or
// for its context.
func TestWriterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		near, far := pair(t, n)
		w := wire.NewWriter(near, 0)
		defer w.Close()
		chunk := wire.Bytes(make([]byte, 1<<20))
		queued := 0
		for w.TrySend(1, 0, chunk) == nil {
			queued++
			synctest.Wait()
		}
		if queued < 4 || queued > 6 {
			t.Errorf("%d MiB queued for a peer that does not read", queued)
		}
		if err := w.TrySend(1, 0, chunk); err != wire.ErrBacklog {
			t.Errorf("refused with %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Send(ctx, 1, 0, chunk); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited in vain: %v", err)
		}
		go io.Copy(io.Discard, far)
		if err := w.Send(t.Context(), 1, 0, chunk); err != nil {
			t.Errorf("after the peer has read: %v", err)
		}
	})
}

// A frame above the limit is refused before it is sent, and the connection
// lives on.
func TestWriterRefusesLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, wire.NewNetwork())
		w := wire.NewWriter(near, 1000)
		defer w.Close()
		if err := w.TrySend(1, 1, wire.Bytes(make([]byte, 1000))); !errors.Is(err, wire.ErrFrameTooLarge) {
			t.Errorf("large frame: %v", err)
		}
		if err := w.TrySend(1, 2, wire.Bytes(make([]byte, 900))); err != nil {
			t.Error(err)
		}
		if f, err := wire.NewFrameReader(far, 1000).Next(); err != nil || f.ID != 2 {
			t.Errorf("received %d, %v", f.ID, err)
		}
	})
}

// A peer that takes nothing is given up after the write timeout.
func TestWriterGivesUpOnADeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pair(t, wire.NewNetwork())
		w := wire.NewWriter(near, 0)
		defer w.Close()
		began := time.Now()
		for w.Send(t.Context(), 1, 0, wire.Bytes(make([]byte, 1<<20))) == nil {
		}
		if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
			t.Errorf("gave up after %v", waited)
		}
		if w.Err() == nil {
			t.Error("the writer still works")
		}
	})
}
