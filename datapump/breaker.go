package datapump

import "time"

// BreakerState says whether a sink is tried.
type BreakerState uint8

// The states of a breaker.
const (
	BreakerClosed   BreakerState = iota // the sink works, or has only begun to fail
	BreakerOpen                         // the sink has failed repeatedly and is left alone for a while
	BreakerHalfOpen                     // one small batch finds out whether it is back
)

// String returns the word used in status and metrics.
func (s BreakerState) String() string {
	return [...]string{BreakerClosed: "closed", BreakerOpen: "open", BreakerHalfOpen: "half-open"}[s]
}

// breaker decides when something that failed is tried again. It is a value: time
// and chance are passed in.
type breaker struct {
	policy   Backoff
	failures int // in a row
	until    time.Time
}

// Backoff says how long to wait after failures in a row: Base, doubled each
// time, at most Max, of which a random part of up to a half is cut off, so that
// members that failed together do not come back together. After Threshold
// failures the sink counts as broken and is tried with a small batch first.
type Backoff struct {
	Base      time.Duration // default 50 ms
	Max       time.Duration // default 15 s
	Threshold int           // default 5
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 50 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 15 * time.Second
	}
	if b.Threshold <= 0 {
		b.Threshold = 5
	}
	return b
}

// fail counts a failure at now. chance is drawn from [0, 1).
func (b *breaker) fail(now time.Time, chance float64) {
	pause := b.policy.Base
	for range b.failures {
		if pause *= 2; pause >= b.policy.Max {
			break
		}
	}
	pause = min(pause, b.policy.Max)
	b.failures++
	b.until = now.Add(pause - time.Duration(chance*float64(pause)/2))
}

func (b *breaker) succeed() { b.failures, b.until = 0, time.Time{} }

// wait returns how long to wait at now; 0 if a try is allowed.
func (b *breaker) wait(now time.Time) time.Duration { return max(0, b.until.Sub(now)) }

func (b *breaker) state(now time.Time) BreakerState {
	switch {
	case b.failures < b.policy.Threshold:
		return BreakerClosed
	case b.wait(now) > 0:
		return BreakerOpen
	}
	return BreakerHalfOpen
}
