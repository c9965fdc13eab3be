package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// After a pause of the whole process a reply and the end of its time are both
// there; the reply's age decides, not which of them is looked at first.
func TestAgeOfAReplyIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wire.NewNetwork()
		open := func(name string) (*Transport, *GroupTransport) {
			l, err := n.Listen(name)
			if err != nil {
				t.Fatal(err)
			}
			m := wire.NewMux(l, wire.MuxConfig{})
			tr, err := OpenTransport(TransportConfig{
				Self: raft.ServerAddress(name), Mux: m, Dial: n.Dialer(name),
				Resolve: func(a raft.ServerAddress) (string, error) { return string(a), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				tr.Close()
				m.Close()
			})
			g, err := tr.Group(GroupTransportConfig{ID: 1, Self: raft.ServerID(name)})
			if err != nil {
				t.Fatal(err)
			}
			return tr, g
		}
		_, a := open("a")
		_, b := open("b")
		for _, paused := range []time.Duration{0, defaultHeartbeatTimeout/2 + 1} {
			call, err := a.startAppend(t.Context(), "b", "b", &raft.AppendEntriesRequest{Term: 1})
			if err != nil {
				t.Fatal(err)
			}
			rpc := <-b.Consumer()
			rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
			synctest.Wait() // the reply is there
			time.Sleep(paused)
			err = call.wait(context.Background(), &raft.AppendEntriesResponse{})
			if got := errors.Is(err, ErrStaleReply); got != (paused > 0) {
				t.Errorf("looked at %v later: %v", paused, err)
			}
		}
	})
}
