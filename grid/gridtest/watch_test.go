package gridtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/gridtest"
)

// A watcher that takes its time in the loop holds up nobody but itself: the clock
// goes on, others write meanwhile, and it gets every change of every group.
func TestAWatcherMaySleepInItsLoop(t *testing.T) {
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		orders, err := grid.OpenSpace[order](ctx, c.Dial(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		const total = 60 // over all groups, so that their streams wait for each other
		w, err := c.Member(0).Watch(ctx, "orders", grid.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		written := make(chan error, 1)
		go func() {
			for i := range total {
				if _, err := orders.Write(ctx, order{ID: fmt.Sprint("o-", i), Total: i}); err != nil {
					written <- err
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			written <- nil
		}()
		seen := map[string]bool{}
		for e, err := range w.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind != grid.Snapshot && e.Kind != grid.Written {
				continue
			}
			time.Sleep(20 * time.Millisecond)
			seen[string(e.Entry.Key)] = true
			if len(seen) == total {
				break
			}
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	})
}
