package datapump

import (
	"math"
	"time"
)

// rateWindow is how far back a rate looks, about.
const rateWindow = 10 * time.Second

// rate is a mean over the recent past, in which what happened counts the less the
// longer ago it was.
type rate struct {
	at    time.Time
	value float64 // per second, at that time
}

// add counts n that happened now.
func (r *rate) add(now time.Time, n int) {
	r.value = r.read(now) + float64(n)/rateWindow.Seconds()
	r.at = now
}

// read returns the rate per second as of now.
func (r *rate) read(now time.Time) float64 {
	return r.value * math.Exp(-float64(max(0, now.Sub(r.at)))/float64(rateWindow))
}
