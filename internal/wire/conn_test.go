package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served starts a server at host "s" and returns a connection to it from "c".
func served(t *testing.T, n *wire.Network, cfg wire.ServerConfig) *wire.Conn {
	t.Helper()
	l, err := n.Listen("s")
	if err != nil {
		t.Fatal(err)
	}
	m := wire.NewMux(l, wire.MuxConfig{})
	m.Handle(wire.PurposeRequests, wire.NewServer(cfg).Serve)
	c, err := wire.Connect(t.Context(), n.Dialer("c"), "s", wire.PurposeRequests, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		m.Close()
	})
	return c
}

// Replies find their callers whatever order the handlers finish in.
func TestRepliesAreMatchedById(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
				time.Sleep(time.Duration(100-body[0]) * time.Millisecond)
				return append(body, kind), nil
			},
		})
		errs := make(chan error, 100)
		for i := range 100 {
			go func() {
				reply, err := c.Call(t.Context(), 7, []byte{byte(i)})
				if err == nil && !bytes.Equal(reply, []byte{byte(i), 7}) {
					err = fmt.Errorf("request %d got %v", i, reply)
				}
				errs <- err
			}()
		}
		for range 100 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// A handler's error crosses with code, message and detail, and the connection
// goes on.
func TestErrorsCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
				if kind == 1 {
					return nil, fmt.Errorf("wrapped: %w", &wire.Error{Code: 513, Message: "moved", Detail: []byte("there")})
				}
				return nil, errors.New("plain")
			},
		})
		_, err := c.Call(t.Context(), 1, nil)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != 513 || e.Message != "moved" || string(e.Detail) != "there" {
			t.Errorf("got %#v", err)
		}
		_, err = c.Call(t.Context(), 2, nil)
		if !errors.As(err, &e) || e.Code != 0 || e.Message != "plain" {
			t.Errorf("got %#v", err)
		}
	})
}

// The error tells what is known: refused and already broken prove that nothing
// was sent, a break in flight and a timeout leave the outcome open.
func TestOutcomesAreHonest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		if _, err := wire.Connect(t.Context(), n.Dialer("c"), "s", wire.PurposeRequests, 0); !errors.Is(err, wire.ErrUnreachable) || !wire.IsRefused(err) {
			t.Errorf("nobody listens: %v", err)
		}
		var ran atomic.Int32
		c := served(t, n, wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
				ran.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(short, 1, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wire.ErrUnreachable) {
			t.Errorf("timeout: %v", err)
		}
		time.AfterFunc(time.Second, func() { n.Reset("c", "s") })
		if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, wire.ErrBroken) {
			t.Errorf("reset in flight: %v", err)
		}
		if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, wire.ErrUnreachable) {
			t.Errorf("broken before: %v", err)
		}
		if got := ran.Load(); got != 2 {
			t.Errorf("handler ran %d times, want 2", got)
		}
		n.CutOneWay("s", "c")
		slow, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := wire.Connect(slow, n.Dialer("c"), "s", wire.PurposeRequests, 0)
		if !errors.Is(err, wire.ErrUnreachable) || wire.IsRefused(err) {
			t.Errorf("dial without answer: %v", err)
		}
	})
}

// A caller that gives up ends the handler's context.
func TestGivingUpCancelsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan struct{})
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
				<-ctx.Done()
				close(cancelled)
				return nil, ctx.Err()
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.Call(ctx, 1, nil)
		<-cancelled
	})
}

// Beyond its bound a server refuses, and says that it did nothing.
func TestServerRefusesBeyondItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			MaxConcurrent: 2,
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
				<-release
				return nil, nil
			},
		})
		var waiting []*wire.Pending
		for range 2 {
			p, err := c.Start(t.Context(), 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, p)
		}
		if _, err := c.Call(t.Context(), 1, nil); err != wire.ErrBusy {
			t.Errorf("third request: %v", err)
		}
		close(release)
		for _, p := range waiting {
			if _, err := p.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Call(t.Context(), 1, nil); err != nil {
			t.Errorf("after release: %v", err)
		}
	})
}

// A stream delivers every item in order and then its end; a reader that pauses
// holds back the sender, and nobody else on the connection.
func TestStreamsFlowAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const items = 500
		var sent atomic.Int32
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) { return body, nil },
			Stream: func(ctx context.Context, kind uint8, body []byte, send func([]byte) error) error {
				for i := range items {
					if err := send([]byte{byte(i)}); err != nil {
						return err
					}
					sent.Add(1)
				}
				return nil
			},
		})
		s, err := c.Stream(t.Context(), 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := sent.Load(); n >= items/2 {
			t.Errorf("%d items sent to a reader that does not read", n)
		}
		if _, err := c.Call(t.Context(), 1, nil); err != nil {
			t.Errorf("call beside a stalled stream: %v", err)
		}
		for i := range items {
			item, err := s.Recv(t.Context())
			if err != nil || item[0] != byte(i) {
				t.Fatalf("item %d: %v, %v", i, item, err)
			}
		}
		if _, err := s.Recv(t.Context()); err != io.EOF {
			t.Errorf("after the last item: %v", err)
		}
	})
}

// Closing a stream ends its handler.
func TestClosingAStreamStopsItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := served(t, wire.NewNetwork(), wire.ServerConfig{
			Stream: func(ctx context.Context, kind uint8, body []byte, send func([]byte) error) error {
				for {
					if err := send([]byte("x")); err != nil {
						ended <- err
						return err
					}
				}
			},
		})
		s, err := c.Stream(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("sender ended with %v", err)
		}
	})
}

// A watched connection whose other end has vanished ends; one that is merely
// idle does not.
func TestWatchEndsSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		c := served(t, n, wire.ServerConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := c.Watch(ctx, 2*time.Second); err != nil || c.Err() != nil {
			t.Errorf("after an idle hour: %v, %v", err, c.Err())
		}
		n.CutOneWay("s", "c")
		began := time.Now()
		if err := c.Watch(t.Context(), 2*time.Second); err != wire.ErrSilent || c.Err() != wire.ErrSilent {
			t.Errorf("vanished: %v, %v", err, c.Err())
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

// A server that ignores the window is cut off instead of filling memory.
func TestItemsBeyondTheWindowBreakTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		l, err := n.Listen("s")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		nc, err := n.Dialer("c")(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		c := wire.NewConn(nc, 0)
		defer c.Close()
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		if _, err := c.Stream(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if _, err := far.Write(wire.AppendFrame(nil, 0x63, 1, nil)); err != nil {
				break
			}
		}
		<-c.Done()
		if !errors.Is(c.Err(), wire.ErrProtocol) {
			t.Errorf("ended with %v", c.Err())
		}
	})
}
