package bench

import (
	"context"
	"time"
)

// pacer waits until operations are due. It is used by one goroutine.
type pacer interface {
	// pause blocks for d and reports whether ctx is still alive.
	pause(ctx context.Context, d time.Duration) bool
	close()
}

// timerPacer waits by the runtime's timers. With nothing else to do these are as
// much as a millisecond late, because a thread that waits for the network counts
// in milliseconds. In return they follow a synctest bubble's clock.
type timerPacer struct{}

func (timerPacer) pause(ctx context.Context, d time.Duration) bool { return pause(ctx, d) }
func (timerPacer) close()                                          {}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
