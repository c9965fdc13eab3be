package datapump

import (
	"context"
	"errors"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	firstMeanBytes = 128 // guess of a change's size before the first is seen
	changeOverhead = 32  // bytes of a change beside key and value, about
	// probeShare is the part of a batch that a sink gets to show that it is back.
	probeShare = 16
)

// run is the pump's goroutine: rounds as long as there is something ready, then
// a wait for the next Notify or for the next retry that is due.
func (p *Pump) run(ctx context.Context) {
	defer close(p.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		feeds, pause := p.begin()
		if len(feeds) > 0 {
			p.round(ctx, feeds)
			p.end()
			continue
		}
		var due <-chan time.Time
		if pause > 0 {
			timer.Reset(pause)
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-due:
		}
	}
	p.mu.Lock()
	feeds := p.mu.ready
	for _, f := range p.mu.feeds {
		feeds = append(feeds, f)
	}
	p.mu.Unlock()
	for _, f := range feeds {
		p.abandon(f)
	}
}

// begin returns the feeds to look at now, or how long to wait for the next one;
// 0 is until somebody calls.
func (p *Pump) begin() (feeds []*feed, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.paused {
		return nil, 0
	}
	now := p.cfg.Now()
	if pause = p.mu.sink.wait(now); pause > 0 {
		return nil, pause
	}
	for f := range p.mu.asleep {
		if wait := f.retry.wait(now); wait == 0 {
			delete(p.mu.asleep, f)
			p.enqueueLocked(f)
		} else if pause == 0 || wait < pause {
			pause = wait
		}
	}
	feeds, p.mu.ready = p.mu.ready, nil
	for _, f := range feeds {
		f.queued = false
	}
	p.mu.busy = len(feeds) > 0
	return feeds, pause
}

func (p *Pump) end() {
	p.mu.Lock()
	p.mu.busy = false
	p.movedLocked()
	p.mu.Unlock()
}

// round does what the feeds need: each is fenced if it must be, at most one
// resync goes on by one step, and the changes of the others become one batch.
// Those that did not fit come first in the next round; after them and after
// those that asked meanwhile comes whoever got a share and has more.
func (p *Pump) round(ctx context.Context, feeds []*feed) {
	limit := p.limit()
	p.batch.Sections, p.changes = p.batch.Sections[:0], p.changes[:0]
	var left, fed []*feed
	stepped := false
	for i, f := range feeds {
		if !p.look(f) {
			continue
		}
		if (f.state == Fencing || f.state == Fenced) && !p.fence(ctx, f) {
			left = append(left, feeds[i:]...)
			break // the sink is in trouble: nobody else is tried now
		}
		switch {
		case f.state == Resyncing && stepped, f.state == Following && limit.full():
			left = append(left, f)
		case f.state == Resyncing:
			stepped = true
			p.stepResync(ctx, f)
			left = append(left, f)
		case f.state == Following:
			switch p.gather(f, &limit) {
			case gathered:
				fed = append(fed, f)
			case noRoom:
				left = append(left, f)
			}
		}
		p.sleep(f)
	}
	p.requeue(left)
	if len(fed) > 0 {
		p.apply(ctx, fed)
	}
	for _, w := range p.reached {
		p.cfg.OnDurable(w)
	}
	p.reached = p.reached[:0]
}

// look brings a feed up to date with its partition and reports whether there
// may be something to do for it now.
func (p *Pump) look(f *feed) bool {
	now := p.cfg.Now()
	came := now
	if at := f.notified.Swap(0); at != 0 {
		came = time.Unix(0, at)
	}
	last := f.src.Describe().Last
	p.mu.Lock()
	removed := f.removed
	f.heedLocked()
	if f.saw(last); f.backlog() > 0 {
		f.lag.came(last, came)
	}
	p.mu.Unlock()
	if removed {
		p.abandon(f)
		return false
	}
	return !p.sleep(f) && f.state != Stopped
}

// sleep reports whether a feed has to wait for its retry, and arranges for it.
func (p *Pump) sleep(f *feed) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.retry.wait(p.cfg.Now()) == 0 {
		return false
	}
	if !f.removed {
		p.mu.asleep[f] = struct{}{}
	}
	return true
}

// requeue puts what was left over in front of what asked meanwhile.
func (p *Pump) requeue(left []*feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.mu.ready
	p.mu.ready = nil
	for _, f := range asked {
		f.queued = false
	}
	for _, f := range left {
		p.enqueueLocked(f)
	}
	for _, f := range asked {
		p.enqueueLocked(f)
	}
}

// limit is what is left of a batch.
type limit struct {
	changes, bytes int
}

func (l *limit) full() bool { return l.changes <= 0 || l.bytes <= 0 }

func (p *Pump) limit() limit {
	l := limit{p.cfg.BatchChanges, p.cfg.BatchBytes}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.sink.state(p.cfg.Now()) == BreakerHalfOpen {
		l.changes, l.bytes = max(1, l.changes/probeShare), max(1, l.bytes/probeShare)
	}
	return l
}

// fence asks the sink how far it has come. It reports false if the sink as a
// whole is in trouble.
func (p *Pump) fence(ctx context.Context, f *feed) bool {
	d := f.src.Describe()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	standing, err := p.cfg.Sink.Fence(ctx, Fence{Partition: f.id, History: d.History, Origin: d.Origin, Epoch: d.Epoch})
	p.mu.Lock()
	defer p.mu.Unlock()
	f.epoch = d.Epoch
	if err != nil {
		return p.refusedLocked(f, err)
	}
	f.stands(&standing)
	f.passed(standing.Seq)
	if f.fenced(standing.Seq); f.backlog() == 0 {
		p.recoveredLocked()
	}
	p.reportLocked(f)
	return true
}

// recoveredLocked records that the sink works.
func (p *Pump) recoveredLocked() {
	p.mu.sink.succeed()
	p.mu.err = nil
}

// reportLocked records that a feed's watermark may have moved.
func (p *Pump) reportLocked(f *feed) {
	f.lag.durable(f.watermark)
	if p.cfg.OnDurable != nil && !f.removed {
		p.reached = append(p.reached, Watermark{f.id, f.history, f.watermark})
	}
}

// refusedLocked decides what follows from an error about one feed. It reports
// false if the trouble is the sink's.
func (p *Pump) refusedLocked(f *feed, err error) bool {
	before := f.state
	_, able := p.cfg.Sink.(Resyncer)
	own := f.refused(err, refusal{
		now: p.cfg.Now(), chance: p.cfg.Chance(), takeover: p.cfg.Takeover, resync: able, origin: f.src.Describe().Origin,
	})
	p.mu.stats.Failures++
	if !own {
		p.failedLocked(err)
	}
	if f.state != before && f.state != Fencing {
		p.cfg.Logger.Warn("datapump: "+f.state.String(), "sink", p.cfg.Name, "partition", f.id,
			"epoch", f.epoch, "seq", f.last, "error", err)
	}
	return own
}

// failedLocked counts trouble of the sink as a whole.
func (p *Pump) failedLocked(err error) {
	now := p.cfg.Now()
	broken := p.mu.sink.failures+1 == p.cfg.Backoff.Threshold
	p.mu.sink.fail(now, p.cfg.Chance())
	p.mu.err = err
	if broken {
		p.cfg.Logger.Error("datapump: the sink keeps failing", "sink", p.cfg.Name, "error", err)
	}
}

type gathering uint8

const (
	nothing gathering = iota
	gathered
	noRoom
)

// gather adds what a feed has above its watermark to the batch, as far as there
// is room.
func (p *Pump) gather(f *feed, room *limit) gathering {
	at := len(p.changes)
	read, err := f.src.Read(p.changes, f.watermark, min(room.bytes, room.changes*p.mu.meanBytes))
	changes := read[at:]
	// What was read may be of a leader that came after the fence. The sink has to
	// know that epoch: by it, stores of different histories are compared.
	if f.src.Describe().Epoch > f.epoch {
		p.mu.Lock()
		f.state = Fencing
		p.mu.Unlock()
		return noRoom
	}
	switch {
	case errors.Is(err, space.ErrTrimmed):
		p.trimmed(f)
		return noRoom
	case errors.Is(err, space.ErrAhead):
		return nothing
	case err != nil:
		panic("datapump: a changelog fails with " + err.Error())
	case len(changes) == 0:
		return nothing
	}
	changes = changes[:f.cut(changes)]
	n := cutBetweenCommands(changes, room.changes, at == 0)
	if n == 0 {
		return noRoom
	}
	changes = changes[:n]
	p.changes = read[:at+n]
	size := 0
	for i := range changes {
		size += len(changes[i].Key) + len(changes[i].Value) + changeOverhead
	}
	room.changes -= n
	room.bytes -= size
	end := changes[n-1]
	s := Section{
		Partition: f.id, History: f.history, Epoch: f.epoch,
		After: f.watermark, Through: end.Seq, Clock: end.At, Settled: f.settled,
	}
	s.Changes, s.Dead = f.split(p.wanted(changes), p.cfg.Now())
	if len(f.held)+len(f.added) > p.cfg.MaxHeld {
		p.overheld(f)
		return nothing
	}
	if !p.cfg.EveryChange {
		var plain func(*space.Change) bool
		if f.suspect != 0 || len(f.plain) > 0 {
			plain = f.plainly
		}
		s.Changes, s.Folded = p.folder.fold(s.Changes, plain)
	}
	p.mu.Lock()
	p.mu.stats.Read += uint64(n)
	p.mu.meanBytes = max(1, (7*p.mu.meanBytes+size/n)/8)
	p.mu.Unlock()
	p.batch.Sections = append(p.batch.Sections, s)
	return gathered
}

// wanted leaves out the changes of spaces that the sink does not get. That one is
// dropped every sink hears: who has heard of it cannot be known any more.
func (p *Pump) wanted(changes []space.Change) []space.Change {
	if p.cfg.Wants == nil {
		return changes
	}
	kept := changes[:0]
	for i := 0; i < len(changes); {
		command := changes[i:whole(changes, i)]
		i += len(command)
		from := len(kept)
		for j := range command {
			if command[j].Op == space.Dropped || p.cfg.Wants(command[j].Space) {
				kept = append(kept, command[j])
			}
		}
		for j := from; j < len(kept); j++ {
			kept[j].More = len(kept) - 1 - j
		}
	}
	clear(changes[len(kept):])
	return kept
}

// overheld makes a partition wait that holds too many keys back. What the sink
// has refused last it is asked again, since it may be put right meanwhile.
func (p *Pump) overheld(f *feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.state, f.err, f.reasons = Fencing, ErrTooManyHeld, nil
	f.retry.fail(p.cfg.Now(), p.cfg.Chance())
}

// cutBetweenCommands returns how many changes to take: at most limit, and never
// part of a command. A first command beyond the limit is taken all the same.
func cutBetweenCommands(changes []space.Change, limit int, first bool) int {
	if len(changes) <= limit {
		return len(changes)
	}
	for n := limit; n > 0; n-- {
		if changes[n-1].More == 0 {
			return n
		}
	}
	if !first {
		return 0
	}
	n := max(1, limit)
	for changes[n-1].More != 0 {
		n++
	}
	return n
}

// apply hands the batch to the sink and moves the watermarks of the feeds, one
// for each section.
func (p *Pump) apply(ctx context.Context, fed []*feed) {
	written := p.batch.Changes()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	err := p.cfg.Sink.Apply(ctx, &p.batch)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.rejectedLocked(fed, err)
	} else {
		p.recoveredLocked()
		p.mu.stats.Batches++
		p.mu.stats.Written += uint64(written)
		now := p.cfg.Now()
		for i, f := range fed {
			s := &p.batch.Sections[i]
			f.wrote(s)
			f.rate.add(now, int(s.Through-s.After))
			for j := range s.Dead {
				p.deadLocked(f, &s.Dead[j])
			}
			f.moved(s.Through)
			p.reportLocked(f)
		}
	}
	for _, f := range fed {
		switch {
		case f.removed:
		case f.retry.wait(p.cfg.Now()) > 0:
			p.mu.asleep[f] = struct{}{}
		case f.state != Following || f.backlog() > 0:
			p.enqueueLocked(f)
		}
	}
}

// deadLocked counts a dead letter that is now in the side table.
func (p *Pump) deadLocked(f *feed, l *DeadLetter) {
	if l.Parked {
		p.mu.stats.Parked++
		return
	}
	p.mu.stats.Dead++
	p.cfg.Logger.Error("datapump: the sink refuses a change for good; it is kept as a dead letter", "sink", p.cfg.Name,
		"partition", f.id, "seq", l.Seq, "space", l.Space, "reason", l.Reason)
}

// rejectedLocked decides what follows from a failed batch. If the sink named the
// partition, only that one is concerned; else all of them are fenced again,
// because the batch may have been written in spite of the error.
func (p *Pump) rejectedLocked(fed []*feed, err error) {
	var refused *RefusedError
	single := errors.As(err, &refused)
	if id, ok := culprit(err); ok {
		for i, f := range fed {
			switch {
			case f.id != id:
				continue
			case single && f.refuse(&p.batch.Sections[i], refused):
				p.recoveredLocked() // a sink that refuses a change works
				p.mu.stats.Refused++
			default:
				p.refusedLocked(f, err)
			}
			return
		}
	}
	p.mu.stats.Failures++
	p.failedLocked(err)
	for _, f := range fed {
		f.state, f.err = Fencing, err
	}
}

// culprit returns the partition that an error of Apply is about.
func culprit(err error) (space.PartitionID, bool) {
	var (
		alone   *PartitionError
		gap     *GapError
		foreign *ForeignError
		refused *RefusedError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Partition, true
	case errors.As(err, &alone):
		return alone.Partition, true
	case errors.As(err, &gap):
		return gap.Partition, true
	case errors.As(err, &foreign):
		return foreign.Partition, true
	}
	return 0, false
}
