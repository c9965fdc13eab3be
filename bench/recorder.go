package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// latencyMax is the longest latency told apart, in nanoseconds; longer ones
	// count as this long. Runs are bounded below it.
	latencyMax = int64(10 * time.Minute)
	// latencyDigits is how many digits of a latency are kept: three, so that a
	// figure is exact to a thousandth.
	latencyDigits = 3
	// recorderStripes is how many histograms the clients of a run share. One
	// each would be 200 KiB for each of a thousand clients, one for all a lock
	// that they wait for.
	recorderStripes = 8
)

// Latency is a distribution of latencies, in microseconds.
type Latency struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	// Half of the operations took at most P50, and so on.
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
}

// recorder counts latencies, for many clients at once.
type recorder struct {
	stripes [recorderStripes]stripe
}

type stripe struct {
	mu struct {
		sync.Mutex
		hist *hdrhistogram.Histogram
	}
	_ [48]byte // stripes lie on cache lines of their own
}

func newRecorder() *recorder {
	r := &recorder{}
	for i := range r.stripes {
		r.stripes[i].mu.hist = hdrhistogram.New(1, latencyMax, latencyDigits)
	}
	return r
}

// record counts n operations of a client that each took d.
func (r *recorder) record(client int, d time.Duration, n int) {
	s := &r.stripes[client%recorderStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mu.hist.RecordValues(min(max(int64(d), 1), latencyMax), int64(n)); err != nil {
		panic("bench: a latency within bounds cannot be recorded: " + err.Error())
	}
}

// latency returns the distribution of what was recorded by all clients.
func (r *recorder) latency() Latency {
	all := hdrhistogram.New(1, latencyMax, latencyDigits)
	for i := range r.stripes {
		s := &r.stripes[i]
		s.mu.Lock()
		all.Merge(s.mu.hist)
		s.mu.Unlock()
	}
	if all.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percentile float64) float64 { return micros(all.ValueAtPercentile(percentile)) }
	return Latency{
		Min: micros(all.Min()), Mean: micros(int64(all.Mean())),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: micros(all.Max()),
	}
}

// micros converts nanoseconds to microseconds.
func micros(ns int64) float64 { return float64(ns) / 1e3 }
