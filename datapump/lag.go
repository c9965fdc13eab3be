package datapump

import (
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// lagPoints bounds what is remembered of when changes came: the error of a lag
// is at most the lag divided by half of it.
const lagPoints = 64

// lag remembers when changes came, coarsely, to tell the age of the oldest one
// that is not durable. A point (seq, at) says that the changes above the point
// before it, up to seq, began to come at the given moment.
type lag struct {
	points []lagPoint
}

type lagPoint struct {
	seq space.Seq
	at  time.Time
}

// came records that last was the partition's last change, and that the first of
// those not recorded yet came at the given moment.
func (l *lag) came(last space.Seq, at time.Time) {
	if n := len(l.points); n > 0 && l.points[n-1].seq >= last {
		return
	}
	if len(l.points) == lagPoints {
		// Join neighbours: the later seq with the earlier moment, so that an age
		// is never reported too small.
		for i := range lagPoints / 2 {
			l.points[i] = lagPoint{seq: l.points[2*i+1].seq, at: l.points[2*i].at}
		}
		l.points = l.points[:lagPoints/2]
	}
	l.points = append(l.points, lagPoint{last, at})
}

// durable forgets what lies at or below the watermark.
func (l *lag) durable(watermark space.Seq) {
	n := 0
	for n < len(l.points) && l.points[n].seq <= watermark {
		n++
	}
	l.points = append(l.points[:0], l.points[n:]...)
}

// age returns the age of the oldest change that is not durable, 0 if there is
// none.
func (l *lag) age(now time.Time) time.Duration {
	if len(l.points) == 0 {
		return 0
	}
	return max(0, now.Sub(l.points[0].at))
}
