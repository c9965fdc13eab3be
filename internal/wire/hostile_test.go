package wire_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// No bytes from a client make a Server panic, hang or leave a handler behind.
func FuzzServerInput(f *testing.F) {
	f.Add(wire.AppendFrame(nil, 1, 1, wire.Bytes([]byte("call"))))
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, 0x81, 1, nil), wire.KindCancel, 1, nil))
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, 0x81, 1, nil), 0x66, 1, wire.Bytes([]byte{200, 1})))
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, 1, 1, nil), 1, 1, nil))
	f.Add(wire.AppendFrame(nil, wire.KindPing, 9, nil))
	f.Fuzz(func(t *testing.T, input []byte) {
		near, far := pair(t, wire.NewNetwork())
		server := wire.NewServer(wire.ServerConfig{
			MaxConcurrent: 4, MaxFrame: 1 << 16,
			Handle: func(ctx context.Context, kind uint8, body []byte) ([]byte, error) { return body, nil },
			Stream: func(ctx context.Context, kind uint8, body []byte, send func([]byte) error) error {
				for send(body) == nil {
				}
				return nil
			},
		})
		near.Write(input)
		near.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Serve(far)
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the server hangs")
		}
	})
}

// No bytes from a server make a Conn panic, or leave a caller waiting.
func FuzzConnInput(f *testing.F) {
	f.Add(wire.AppendFrame(wire.ReplyFrame(1, []byte("x")), 0x63, 2, nil))
	f.Add(wire.ErrorFrame(2, io.EOF))
	f.Add(wire.AppendFrame(nil, 0x64, 1, nil))
	f.Add(wire.ReplyFrame(2, nil))
	f.Fuzz(func(t *testing.T, input []byte) {
		near, far := pair(t, wire.NewNetwork())
		c := wire.NewConn(near, 1<<16)
		call, err := c.Start(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.Stream(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		far.Write(input)
		far.Close()
		call.Wait(t.Context())
		for err = error(nil); err == nil; {
			_, err = stream.Recv(t.Context())
		}
		<-c.Done()
		c.Close()
	})
}
