package replica_test

import (
	"errors"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// One change is made at a time; who asks for another meanwhile is told so.
func TestOneChangeAtATime(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		leader := c.leader()
		distract(t, time.Second)
		first := make(chan error, 1)
		go func() { first <- leader.group.AddLearner(t.Context(), replica.ServerID{Member: "d", Incarnation: 1}) }()
		time.Sleep(distraction)
		second := replica.ServerID{Member: "e", Incarnation: 1}
		if err := leader.group.AddLearner(t.Context(), second); !errors.Is(err, replica.ErrChanging) {
			t.Errorf("a second change: %v", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := leader.group.AddLearner(t.Context(), second); err != nil {
			t.Error(err)
		}
		if n := len(leader.group.Status().Members); n != 5 {
			t.Errorf("%d replicas, want 5", n)
		}
	})
}
