package grid

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Invoke runs a unit's handler on the member that leads the partition of key,
// as one transaction, and returns the handler's response. It blocks until the
// outcome is known or ctx ends; a repeat on the way there takes effect once. A
// refusal by the handler is a *[HandlerError].
func (g *Grid) Invoke(ctx context.Context, unit, handler string, key, request []byte) ([]byte, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	p := space.PartitionOf(key, g.Partitions())
	reply, err := g.router.Invoke(ctx, unit, handler, p, key, request)
	if err == nil {
		err = reply.Err()
	}
	if err != nil || len(reply.Results) == 0 {
		return nil, err
	}
	// The response is the last operation of the handler's transaction.
	last := reply.Results[len(reply.Results)-1]
	if len(last.Entries) == 0 {
		return nil, nil
	}
	return last.Entries[0].Value, nil
}
