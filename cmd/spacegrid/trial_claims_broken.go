//go:build brokenwork

package main

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/spacegrid/spacegrid/grid"
)

// skipEvery is how many errands there are for one whose acknowledgement is not
// written down.
const skipEvery = 20

// acknowledge has two mistakes, which the run must find: it takes a refusal for
// an answer, as a client would that does not look at its token's, and it forgets
// to write some acknowledgements down.
func (h *holder) acknowledge(ctx context.Context, c *heldErrand) error {
	ack := func(ctx context.Context) error {
		err := c.claim.Ack(ctx)
		if errors.Is(err, grid.ErrFenced) {
			return nil
		}
		return err
	}
	if rand.IntN(skipEvery) == 0 {
		_, err := outcomeOf(ack(ctx))
		return err
	}
	return h.ask(ctx, c, doAck, ack)
}
