package datapump

import (
	"cmp"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Status is a summary of a pump.
type Status struct {
	Sink       string
	Breaker    BreakerState
	Retry      time.Time     // when a failing sink is tried again; zero if it is not failing
	RetryIn    time.Duration // how long that is from now; 0: at once
	Err        error         // the sink's last trouble; nil once it is over
	Failures   int           // failed calls in a row
	Paused     bool
	BatchMean  float64 // changes in a batch, on the average
	Stats      Stats
	Partitions []PartitionStatus // ascending
}

// Stats are counts since the pump was opened.
type Stats struct {
	Read     uint64 // changes read from changelogs, repeats after failures included
	Written  uint64 // changes handed over, after folding
	Batches  uint64 // durable batches
	Failures uint64 // failed calls of the sink
	Refused  uint64 // batches that the sink refused because of one change
	Dead     uint64 // changes that became dead letters
	Parked   uint64 // changes that were parked behind dead letters
	Resyncs  uint64 // finished resyncs
}

// PartitionStatus is a summary of one partition in a pump.
type PartitionStatus struct {
	Partition      space.PartitionID
	State          State
	History        space.History
	Epoch          space.Epoch // of the last fence
	Watermark      space.Seq
	Last           space.Seq     // the partition's last change
	BacklogChanges uint64        // changes above the watermark
	BacklogBytes   uint64        // about: their number times the recent mean size
	Lag            time.Duration // age of the oldest change above the watermark
	Rate           float64       // changes that became durable, per second of late
	Retries        int           // failures in a row that concern this partition alone
	Retry          time.Time     // when trouble of this partition is tried again
	Err            error         // the last trouble; nil once it is over
	DeadLetters    uint64        // changes that the sink has refused for good and that nobody has settled
	Parked         uint64        // changes that wait for those
}

// Status returns a summary of the pump. It does not wait for the sink.
func (p *Pump) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	s := Status{
		RetryIn: p.mu.sink.wait(now), Sink: p.cfg.Name, Breaker: p.mu.sink.state(now), Retry: p.mu.sink.until, Err: p.mu.err,
		Failures: p.mu.sink.failures, Paused: p.mu.paused, BatchMean: float64(p.mu.stats.Written) / float64(max(1, p.mu.stats.Batches)), Stats: p.mu.stats, Partitions: make([]PartitionStatus, 0, len(p.mu.feeds)),
	}
	for _, f := range p.mu.feeds {
		c := f.cursor
		c.saw(f.src.Describe().Last)
		age := f.lag.age(now)
		if at := f.notified.Load(); at != 0 && age == 0 && c.backlog() > 0 {
			age = now.Sub(time.Unix(0, at))
		}
		s.Partitions = append(s.Partitions, PartitionStatus{
			Partition: f.id, State: c.state, History: c.history, Epoch: c.epoch, Watermark: c.watermark, Last: c.last,
			BacklogChanges: c.backlog(), BacklogBytes: c.backlog() * uint64(p.mu.meanBytes), Lag: age,
			Rate: f.rate.read(now), Retries: c.retry.failures,
			Retry: c.retry.until, Err: c.err, DeadLetters: f.letters, Parked: f.parked,
		})
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int { return cmp.Compare(a.Partition, b.Partition) })
	return s
}
