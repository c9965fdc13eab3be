package gridtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID    string `grid:"id,key"`
	Total int    `grid:"total"`
}

// A test writes through a remote handle, kills the member that leads, and finds
// everything that was acknowledged; the member comes back and serves again.
func TestKillALeader(t *testing.T) {
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		orders, err := grid.OpenSpace[order](ctx, c.Dial(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		var acked atomic.Int64
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 50 {
					if _, err := orders.Write(ctx, order{ID: fmt.Sprintf("o-%d-%d", w, i), Total: i}); err != nil {
						t.Error(err)
						return
					}
					acked.Add(1)
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		victim := c.Leader("o-0-1")
		c.Kill(victim)
		wg.Wait()
		if c.Leader("o-0-1") == victim {
			t.Error("the member that was killed leads")
		}
		for w := range 4 {
			for i := range 50 {
				if v, err := orders.Read(ctx, fmt.Sprintf("o-%d-%d", w, i)); err != nil || v.Total != i {
					t.Errorf("order %d of writer %d is %+v, %v", i, w, v, err)
				}
			}
		}
		c.Start(victim)
		c.Ready()
		again, err := grid.OpenSpace[order](ctx, c.Member(victim), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := again.Read(ctx, "o-3-49"); err != nil || v.Total != 49 {
			t.Errorf("through the member that came back: %+v, %v", v, err)
		}
	})
}

// A member that is cut off acknowledges nothing that has to be agreed on. What it
// was asked then is unknown at first, and settled when its time is up: nothing
// written later is undone by it.
func TestIsolateAMember(t *testing.T) {
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		away := c.Leader("x")
		orders, err := grid.OpenSpace[order](ctx, c.Member(away), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := orders.Write(ctx, order{ID: "x", Total: 1}); err != nil {
			t.Fatal(err)
		}
		c.Isolate(away)
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if _, err = orders.Write(short, order{ID: "x", Total: 2}); !errors.Is(err, grid.ErrIndeterminate) {
			t.Fatalf("a member that is cut off answers a write with %v", err)
		}
		other, err := grid.OpenSpace[order](ctx, c.Member((away+1)%3), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := other.Read(ctx, "x"); err != nil || v.Total != 1 {
			t.Errorf("among the others x is %+v, %v", v, err)
		}
		c.Heal()
		time.Sleep(10 * time.Second) // by then the unknown write has happened or never will
		if _, err := other.Write(ctx, order{ID: "x", Total: 3}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if v, err := orders.Read(ctx, "x"); err != nil || v.Total != 3 {
			t.Errorf("through the member that was cut off x is %+v, %v", v, err)
		}
	})
}

// Time is the cluster's own: an hour's lease ends in no time.
func TestTimePasses(t *testing.T) {
	gridtest.Run(t, 1, func(t *testing.T, c *gridtest.Cluster) {
		orders, err := grid.OpenSpace[order](t.Context(), c.Member(0), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := orders.Write(t.Context(), order{ID: "x"}, grid.WithLease(time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if _, err := orders.Read(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := orders.Read(t.Context(), "x"); !errors.Is(err, grid.ErrNotFound) {
			t.Errorf("after its lease: %v", err)
		}
	})
}
