package bench

import (
	"fmt"
	"time"
)

const (
	clientsMax  = 65_536
	pipelineMax = 65_536
	// durationMax bounds a run; latencies are told apart up to more than this.
	durationMax = 5 * time.Minute
	rateMax     = 50_000_000
)

// Load says how operations are offered. A zero field means its default.
//
// With a Rate the load is open: operation number k of all is due k/Rate seconds
// after the start, and client k mod Clients carries it out, whether or not the
// one before it has been answered in time. Without a Rate the load is closed:
// each client asks again as soon as it has its answers, so that a server that
// stalls is asked less, and the latencies of a closed load say how long answers
// took, not how long users would have waited.
type Load struct {
	// Clients is how many callers or connections there are. Default 50.
	Clients int `json:"clients"`
	// Pipeline is how many operations a client sends at once: always so many
	// under a closed load, at most so many of those that are due under an open
	// one. All have the latency of the last answer. Default 1.
	Pipeline int `json:"pipeline"`
	// Rate is how many operations are due a second, over all clients. 0 is a
	// closed load.
	Rate float64 `json:"rate"`
	// Warmup is how long operations are carried out before anything is counted.
	// Default 1 s; negative is none.
	Warmup time.Duration `json:"warmup_ns"`
	// Duration is how long is measured. Default 5 s.
	Duration time.Duration `json:"duration_ns"`
	// Grace is how long after the end answers are waited for. What has not been
	// answered then is counted as unanswered. Default 5 s.
	Grace time.Duration `json:"grace_ns"`
	// Preload writes every key once before the warm-up, so that reads find what
	// they ask for. Default: if the workload reads.
	Preload Preload `json:"preload,omitempty"`
	// Seed makes the operations drawn the same again. Default 1.
	Seed uint64 `json:"seed"`
}

// Preload says whether all keys are written before a run.
type Preload string

// The choices of Preload.
const (
	PreloadIfReading Preload = ""
	PreloadAlways    Preload = "always"
	PreloadNever     Preload = "never"
)

func (l Load) withDefaults() Load {
	orDefault(&l.Clients, 50)
	orDefault(&l.Pipeline, 1)
	orDefault(&l.Warmup, time.Second)
	orDefault(&l.Duration, 5*time.Second)
	orDefault(&l.Grace, 5*time.Second)
	orDefault(&l.Seed, 1)
	l.Warmup = max(l.Warmup, 0)
	return l
}

// validate reports the first setting that cannot be, of a Load with its
// defaults.
func (l Load) validate() error {
	switch {
	case l.Clients < 1 || l.Clients > clientsMax:
		return fmt.Errorf("bench: %d clients (give 1 to %d)", l.Clients, clientsMax)
	case l.Pipeline < 1 || l.Pipeline > pipelineMax:
		return fmt.Errorf("bench: a pipeline of %d (give 1 to %d)", l.Pipeline, pipelineMax)
	case !(l.Rate >= 0 && l.Rate <= rateMax):
		return fmt.Errorf("bench: a rate of %v a second (give 0 for a closed load, at most %d)", l.Rate, rateMax)
	case l.Duration < 0 || l.Duration > durationMax:
		return fmt.Errorf("bench: a duration of %v (give more than 0 and at most %v)", l.Duration, durationMax)
	case l.Warmup > durationMax || l.Grace < 0 || l.Grace > durationMax:
		return fmt.Errorf("bench: a warm-up of %v and a grace of %v (give at most %v)", l.Warmup, l.Grace, durationMax)
	case l.Preload != PreloadIfReading && l.Preload != PreloadAlways && l.Preload != PreloadNever:
		return fmt.Errorf("bench: preload %q (give nothing, %q or %q)", l.Preload, PreloadAlways, PreloadNever)
	}
	return nil
}

// schedule tells when the operations of an open load are due, counted from the
// start of the warm-up.
type schedule struct {
	clients int
	rate    float64
}

// due returns when a client's operation number k is due.
func (s schedule) due(client, k int) time.Duration {
	return time.Duration(float64(k*s.clients+client) / s.rate * 1e9)
}

// before returns how many operations of a client are due before d.
func (s schedule) before(client int, d time.Duration) int {
	k := max(0, (int(d.Seconds()*s.rate)-client)/s.clients-1)
	for s.due(client, k) < d {
		k++
	}
	return k
}
