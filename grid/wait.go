package grid

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// handOutLater carries out an operation in the first partition that has something
// for it while it waits.
func (g *Grid) handOutLater(ctx context.Context, op space.Op) ([]space.Entry, error) {
	c := &cluster.Call{}
	c.Reply, c.Err = g.router.WaitAny(ctx, op)
	es, err := handed(ctx, c)
	if err == nil {
		g.hints.hit(hintKey(&op), space.PartitionOf(es[0].Key, g.Partitions()))
	}
	return es, err
}
