package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A leader that is asked to hands its group over, others say who leads, and the
// group goes on with what it had.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "k", "v")
		group := r.State().Table[0]
		leads := func(name string) bool {
			h := g.nodes[name].held(group)
			return h != nil && h.serving() != nil
		}
		var from string
		for _, name := range []string{"a", "b", "c"} {
			if leads(name) {
				from = name
				continue
			}
			if err := g.nodes[name].HandOver(t.Context(), group); !errors.As(err, new(*NotLeaderError)) {
				t.Errorf("%s, which does not lead: %v", name, err)
			}
		}
		// Over a connection, as it comes from outside.
		asked := "a"
		if from == "a" {
			asked = "b"
		}
		svc, err := g.nodes[asked].Router().Member(t.Context(), MemberID(from))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := svc.HandOver(ctx, group); err != nil {
			t.Fatal(err)
		}
		g.eventually("another member leads", func() bool {
			for name := range g.nodes {
				if name != from && leads(name) {
					return true
				}
			}
			return false
		})
		if v, _ := read(t, r, id, "k"); v != "v" {
			t.Errorf("k is %q", v)
		}
		if err := svc.HandOver(ctx, 99); !errors.As(err, new(*NotLeaderError)) {
			t.Errorf("a group that there is not: %v", err)
		}
		for name, n := range g.nodes {
			if _, leads := n.cgroup.Leading(); !leads {
				continue
			}
			if err := n.HandOver(ctx, ControlGroup); err != nil {
				t.Errorf("%s hands the control group over: %v", name, err)
			}
			if _, leads := n.cgroup.Leading(); leads {
				t.Errorf("%s still leads the control group", name)
			}
			break
		}
	})
}

// The wall clock that a member is given is the one that it shows and that its
// identity is drawn from.
func TestWall(t *testing.T) {
	then := time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC)
	n, err := OpenNode(t.Context(), NodeConfig{Wall: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.incarnation != uint64(then.UnixNano()) {
		t.Errorf("incarnation %d at %d", n.incarnation, then.UnixNano())
	}
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := n.statusView(t.Context())
	if err != nil || !s.Wall.Equal(then) {
		t.Errorf("it shows %v, %v", s, err)
	}
}
