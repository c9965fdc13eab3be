package grid

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// lookEvery is how often a wait in all partitions looks again.
const lookEvery = 20 * time.Millisecond

// handOutLater waits until an operation can be carried out in some partition.
func (g *Grid) handOutLater(ctx context.Context, op space.Op) ([]space.Entry, error) {
	end := time.Now().Add(op.Wait)
	op.Wait = 0
	for {
		es, err := g.handOutNow(ctx, op)
		switch {
		case !errors.Is(err, ErrNotFound) || time.Now().After(end):
			return es, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("grid: the wait was given up: %w", context.Cause(ctx))
		case <-time.After(lookEvery):
		}
	}
}
