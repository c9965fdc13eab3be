package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

const (
	// nudgeKeys are enough for every group of a lab to get one.
	nudgeKeys  = 32
	nudgeEvery = 20 * time.Millisecond
	nudgeTime  = 2 * time.Second
)

// nudge keeps the members busy until stop is called: faults of disks are only seen by
// who writes. What it asks for, to take entries that are not there, goes through the
// logs of all groups and changes nothing.
func nudge(ctx context.Context, l *lab.Lab) (stop func(), err error) {
	dialing, cancel := context.WithTimeout(ctx, leadTime)
	defer cancel()
	g, err := l.Connect(dialing)
	if err != nil {
		return nil, err
	}
	def, err := g.Describe(dialing, grid.DefaultSpace)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	ctx, cancelAll := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			b := g.NewBatch()
			for i := range nudgeKeys {
				b.Do(space.Op{Code: space.OpTake, Space: def.ID, Key: fmt.Appendf(nil, "no such key %d", i)})
			}
			one, cancel := context.WithTimeout(ctx, nudgeTime)
			// It is for the way there, not for the answer.
			_ = g.Run(one, b)
			cancel()
			sleep(ctx, nudgeEvery)
		}
	})
	return func() {
		cancelAll()
		wg.Wait()
		_ = g.Close() // a client's handle: nothing is lost with it
	}, nil
}
