//go:build brokenwork

package main

import (
	"context"
	"errors"

	"github.com/spacegrid/spacegrid/grid"
)

// skipEvery is how many errands there are for one whose acknowledgement is not
// written down.
const skipEvery = 20

// acknowledge has two mistakes, which the run must find: it takes a refusal for
// an answer, as a client would that does not look at its token's, and it forgets
// to write some acknowledgements down.
func (h *holder) acknowledge(ctx context.Context, c *heldErrand) error {
	if c.claim.Value.Place%skipEvery == 0 {
		return c.claim.Ack(ctx)
	}
	return h.ask(ctx, c, doAck, func(ctx context.Context) error {
		err := c.claim.Ack(ctx)
		if errors.Is(err, grid.ErrFenced) {
			return nil
		}
		return err
	})
}
