package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// A leader that is cut off answers no read, from the moment at which it is cut
// off: it cannot know whether it still leads, however sure it is.
func TestACutLeaderAnswersNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		write(t, g.nodes["a"].Router(), id, "k", "v")
		var leader *Node
		for _, n := range g.nodes {
			if h := n.held(n.control.State().Table[at(n.Router(), "k")]); h.serving() != nil {
				leader = n
			}
		}
		for name := range g.nodes {
			if name != string(leader.name) {
				g.net.Cut(string(leader.name), name)
			}
		}
		sure := 0
		for range 60 {
			if h := leader.held(leader.control.State().Table[at(leader.Router(), "k")]); h.serving() != nil {
				sure++
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			l := &Lookup{Get: Get{Partition: at(leader.Router(), "k"), Space: id, Key: []byte("k")}}
			leader.Router().Read(ctx, Linearizable, []*Lookup{l})
			cancel()
			if l.Err == nil && l.Found.Code == space.OK {
				t.Fatalf("it has answered %q", l.Found.Entry.Value)
			}
			m := Match{Space: id, Partitions: []space.PartitionID{at(leader.Router(), "k")}, Limit: 1}
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			found, err := leader.Router().Match(ctx, Linearizable, m)
			cancel()
			if err == nil {
				t.Fatalf("it has answered a search with %v", found)
			}
		}
		if sure == 0 {
			t.Error("it never believed in itself: nothing was tested")
		}
	})
}
