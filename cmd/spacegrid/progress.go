package main

import (
	"time"
)

// progressEvery is how often a long command says how far it is; nothing is said
// in the first second.
const progressEvery = time.Second

// progress reports how far an import or export is, on stderr.
type progress struct {
	a     *app
	total int64 // bytes of the input, 0 if unknown
	read  func() int64
	start time.Time
	last  time.Time
}

func newProgress(a *app, total int64, read func() int64) *progress {
	now := time.Now()
	return &progress{a: a, total: total, read: read, start: now, last: now}
}

func (p *progress) seconds() float64 { return time.Since(p.start).Seconds() }

// at reports that rows are done.
func (p *progress) at(rows int) {
	now := time.Now()
	if now.Sub(p.last) < progressEvery {
		return
	}
	p.last = now
	elapsed := now.Sub(p.start)
	rate := float64(rows) / elapsed.Seconds()
	if done := p.read(); p.total > 0 && done > 0 {
		left := time.Duration(float64(elapsed) * float64(p.total-done) / float64(done))
		p.a.notef("%d rows, %.0f rows/s, %d %%, %s left", rows, rate, 100*done/p.total, left.Round(time.Second))
		return
	}
	p.a.notef("%d rows, %.0f rows/s", rows, rate)
}

// end reports the sum.
func (p *progress) end(rows int) {
	s := p.seconds()
	p.a.notef("%d rows in %.1f s, %.0f rows/s", rows, s, float64(rows)/s)
}
