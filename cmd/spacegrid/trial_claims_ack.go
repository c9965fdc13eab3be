//go:build !brokenwork

package main

import "context"

// acknowledge says that the work is done.
func (h *holder) acknowledge(ctx context.Context, c *heldErrand) error {
	return h.ask(ctx, c, doAck, func(ctx context.Context) error { return c.claim.Ack(ctx) })
}
