package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// clockAge is how long a router goes on counting from what a leader said of a
// partition's clock. The clock stands still while the partition has no leader and
// the count does not, so it is taken up again this often.
const clockAge = time.Second

// Clock returns an estimate of a partition's clock now, to tell how much is left
// of a lease. It is ahead of the clock by at most one exchange with the leader
// and by the time that the partition was without one in the last second. It
// blocks for that exchange, at most once a second for each group.
func (r *Router) Clock(ctx context.Context, p space.PartitionID) (space.Time, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	table := r.State().Table
	if int(p) >= len(table) {
		return 0, errNoPartition(p)
	}
	s := r.session(p)
	asked := time.Now()
	if clock, ok := s.estimate(asked); ok {
		return clock, nil
	}
	g := table[p]
	greetings, err := ask(ctx, r, g, Linearizable, func(ctx context.Context, svc Service) ([]Greeting, error) { return svc.Hello(ctx, g) })
	if err != nil {
		return 0, err
	}
	for _, x := range greetings {
		r.session(x.Partition).greet(x.History, x.Clock, asked)
	}
	if clock, ok := s.estimate(time.Now()); ok {
		return clock, nil
	}
	return 0, fmt.Errorf("%w: group %d does not know partition %d yet", ErrUnavailable, g, p)
}

// estimate returns the clock as counted from the last greeting; false if that is
// too long ago.
func (s *session) estimate(now time.Time) (space.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := now.Sub(s.mu.at)
	if s.mu.at.IsZero() || since > clockAge {
		return 0, false
	}
	return s.mu.clock.Add(since), true
}
