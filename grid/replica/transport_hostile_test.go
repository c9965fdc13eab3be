package replica_test

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// No bytes on a member's connections make the transport panic or hang, and
// only requests for this very incarnation reach raft.
func FuzzMemberInput(f *testing.F) {
	f.Add(byte(1), wire.AppendFrame(nil, 1, 1, wire.Bytes([]byte{1, 'b'})))
	f.Add(byte(1), wire.AppendFrame(nil, 7, 1, wire.Bytes([]byte{1, 0, 0, 0, 1, 1, 'a', 3})))
	f.Add(byte(2), wire.AppendFrame(nil, 2, 1, wire.Bytes([]byte{0, 0, 0, 1, 1, 'a', 6, 0, 0, 1, 0, 0, 0, 0, 0})))
	f.Add(byte(3), wire.AppendFrame(nil, 6, 1, wire.Bytes([]byte{0, 0, 0, 1, 1, 'a', 6, 0, 0, 2, 1, 0, 1, 1, 0, 0, 0, 0})))
	f.Fuzz(func(t *testing.T, purpose byte, input []byte) {
		n := wire.NewNetwork()
		l, err := n.Listen("a")
		if err != nil {
			t.Fatal(err)
		}
		mux := wire.NewMux(l, wire.MuxConfig{})
		defer mux.Close()
		transport, err := replica.OpenTransport(replica.TransportConfig{
			Self: "a", Mux: mux, Dial: n.Dialer("a"), MaxFrame: 1 << 16,
			Resolve: func(a raft.ServerAddress) (string, error) { return string(a), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close()
		group, err := transport.Group(replica.GroupTransportConfig{ID: 1, Self: "a"})
		if err != nil {
			t.Fatal(err)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		defer func() {
			close(stop)
			<-stopped
		}()
		go func() {
			defer close(stopped)
			for {
				select {
				case rpc := <-group.Consumer():
					respondLikeRaft(rpc)
				case <-stop:
					return
				}
			}
		}()
		nc, err := wire.Open(t.Context(), n.Dialer("b"), "a", wire.Purpose(purpose%3+1))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write(input)
		nc.SetReadDeadline(time.Now().Add(time.Millisecond))
		io.Copy(io.Discard, nc)
	})
}

// respondLikeRaft answers each request with its own type, and reads a snapshot
// to its end.
func respondLikeRaft(rpc raft.RPC) {
	switch rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	case *raft.RequestVoteRequest:
		rpc.Respond(&raft.RequestVoteResponse{}, nil)
	case *raft.RequestPreVoteRequest:
		rpc.Respond(&raft.RequestPreVoteResponse{}, nil)
	case *raft.TimeoutNowRequest:
		rpc.Respond(&raft.TimeoutNowResponse{}, nil)
	case *raft.InstallSnapshotRequest:
		_, err := io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{Success: err == nil}, nil)
	}
}
