package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/grid/space"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alone opens a grid of one member in memory, closed with the test.
func alone(t *testing.T, cfg NodeConfig) *Node {
	t.Helper()
	n, err := OpenNode(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// at returns the partition of a key.
func at(r *Router, key string) space.PartitionID {
	return space.PartitionOf([]byte(key), len(r.State().Table))
}

func write(t *testing.T, r *Router, id space.ID, key, value string) space.Reply {
	t.Helper()
	return one(t, r, key, space.Op{Code: space.OpWrite, Space: id, Key: []byte(key), Value: []byte(value)})
}

// one carries out operations on the partition of a key.
func one(t *testing.T, r *Router, key string, ops ...space.Op) space.Reply {
	t.Helper()
	c := &Call{Partition: at(r, key), Ops: ops}
	r.Do(t.Context(), []*Call{c})
	if c.Err != nil {
		t.Fatalf("%s: %v", key, c.Err)
	}
	return c.Reply
}

func read(t *testing.T, r *Router, id space.ID, key string) (string, bool) {
	t.Helper()
	l := &Lookup{Get: Get{Partition: at(r, key), Space: id, Key: []byte(key)}}
	r.Read(t.Context(), Linearizable, []*Lookup{l})
	if l.Err != nil {
		t.Fatalf("%s: %v", key, l.Err)
	}
	return string(l.Found.Entry.Value), l.Found.Code == space.OK
}

func defaultSpace(t *testing.T, r *Router) space.ID {
	t.Helper()
	def, ok := r.State().Space(DefaultSpace)
	if !ok {
		t.Fatal("there is no space default")
	}
	return def.ID
}

// A grid of one member needs no configuration: it forms itself and serves
// writes, reads, matches and new spaces at once.
func TestAMemberAloneServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n := alone(t, NodeConfig{})
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v to be ready", took)
		}
		r := n.Router()
		id := defaultSpace(t, r)
		if reply := write(t, r, id, "a", "1"); reply.Err() != nil {
			t.Fatal(reply.Err())
		}
		if v, ok := read(t, r, id, "a"); !ok || v != "1" {
			t.Errorf("read %q, %v", v, ok)
		}
		if _, ok := read(t, r, id, "b"); ok {
			t.Error("read what was never written")
		}
		m, err := r.Match(t.Context(), Linearizable, Match{Space: id, Partitions: []space.PartitionID{at(r, "a")}, Limit: 10})
		if err != nil || len(m.Entries) != 1 || m.Done != 1 {
			t.Errorf("match: %+v, %v", m, err)
		}
		reply, err := r.Control(t.Context(), &CreateSpace{Definition: space.Definition{Name: "orders", Shape: space.ShapeBytes}})
		if err != nil {
			t.Fatal(err)
		}
		if reply := write(t, r, reply.Space, "x", "2"); reply.Err() != nil {
			t.Errorf("write into a new space: %v", reply.Err())
		}
		if v, ok := read(t, r, reply.Space, "x"); !ok || v != "2" {
			t.Errorf("read %q, %v", v, ok)
		}
	})
}
