package datapump

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// resync is one replacement of what the sink holds of a partition, between steps.
type resync struct {
	sink   Resync
	target Target
	next   func() (resyncStep, bool)
	stop   func()

	dead      []DeadLetter // entries that the sink has refused
	deadBytes int
}

// maxResyncDead bounds the dead letters of one resync, which are kept in memory
// until its end.
const maxResyncDead = 64 << 20

// resyncStep is what one call of the sink gets.
type resyncStep struct {
	def     *space.Definition
	entries []space.Entry
}

// resyncSteps cuts an image into steps of limited size, at least one for each
// space. A step is valid until the next.
func resyncSteps(img *space.Image, wants func(space.ID) bool, changes, bytes int) iter.Seq[resyncStep] {
	return func(yield func(resyncStep) bool) {
		var entries []space.Entry
		for _, def := range img.Definitions() {
			if wants != nil && !wants(def.ID) {
				continue
			}
			entries = entries[:0]
			size, more, written := 0, true, false
			img.Scan(def.ID, func(e space.Entry) bool {
				entries = append(entries, e)
				size += len(e.Key) + len(e.Value) + changeOverhead
				if len(entries) >= changes || size >= bytes {
					more, written = yield(resyncStep{&def, entries}), true
					entries, size = entries[:0], 0
				}
				return more
			})
			if more && (len(entries) > 0 || !written) {
				more = yield(resyncStep{&def, entries})
			}
			if !more {
				return
			}
		}
	}
}

// trimmed records that the changelog no longer has what the sink needs.
func (p *Pump) trimmed(f *feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, able := p.cfg.Sink.(Resyncer)
	f.needResync(able)
	p.cfg.Logger.Warn("datapump: "+f.state.String()+": the changelog has been trimmed", "sink", p.cfg.Name,
		"partition", f.id, "epoch", f.epoch, "watermark", f.watermark, "seq", f.last)
}

// stepResync begins the resync of a feed, or goes on with it, by one call of the
// sink.
func (p *Pump) stepResync(ctx context.Context, f *feed) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	if f.resync == nil {
		if err := p.beginResync(ctx, f); err != nil {
			p.endResync(f, err)
		}
		return
	}
	step, ok := f.resync.next()
	if ok {
		if err := p.writeStep(ctx, f, step.def, step.entries); err != nil {
			p.endResync(f, err)
		}
		return
	}
	p.endResync(f, f.resync.sink.Finish(ctx, f.resync.dead))
}

// writeStep writes entries and makes dead letters of those that the sink refuses.
func (p *Pump) writeStep(ctx context.Context, f *feed, def *space.Definition, entries []space.Entry) error {
	err := f.resync.sink.Write(ctx, def, entries)
	var refused *RefusedError
	if err == nil || !errors.As(err, &refused) || len(entries) == 0 {
		return err
	}
	at := slices.IndexFunc(entries, func(e space.Entry) bool { return e.Version == refused.Seq })
	switch {
	case at < 0 && len(entries) > 1:
		// It does not say which: each half by itself.
		half := len(entries) / 2
		if err := p.writeStep(ctx, f, def, entries[:half]); err != nil {
			return err
		}
		return p.writeStep(ctx, f, def, entries[half:])
	case at < 0:
		at = 0
	}
	if err := p.refuseEntry(f, def.ID, &entries[at], refused); err != nil {
		return err
	}
	if at > 0 {
		if err := p.writeStep(ctx, f, def, entries[:at]); err != nil {
			return err
		}
	}
	return p.writeStep(ctx, f, def, entries[at+1:])
}

// refuseEntry makes a dead letter of an entry: the change that would write it.
func (p *Pump) refuseEntry(f *feed, id space.ID, e *space.Entry, refused *RefusedError) error {
	c := space.Change{
		Seq: e.Version, Op: space.Written, Space: id, Kind: e.Kind, Key: e.Key, Value: e.Value, Order: e.Order,
		Deadline: e.Deadline, Attempts: e.Attempts,
	}
	l := DeadLetter{
		Seq: e.Version, Space: id, Key: slices.Clone(e.Key), Change: c.Append(nil), Reason: cutReason(refused.Err), At: p.cfg.Now(),
	}
	r := f.resync
	r.dead = append(r.dead, l)
	if r.deadBytes += len(l.Change) + len(l.Key); r.deadBytes > maxResyncDead || len(r.dead) > p.cfg.MaxHeld {
		return &PartitionError{Partition: f.id, Err: ErrTooManyHeld}
	}
	return nil
}

func (p *Pump) beginResync(ctx context.Context, f *feed) error {
	cut, err := f.src.Cut(ctx)
	if err != nil {
		return &PartitionError{Partition: f.id, Err: err}
	}
	d := f.src.Describe()
	target := Target{
		Fence: Fence{Partition: f.id, History: d.History, Origin: d.Origin, Epoch: d.Epoch},
		Seq:   cut.Image.Seq(), Clock: cut.Clock,
	}
	r, err := p.cfg.Sink.(Resyncer).BeginResync(ctx, target)
	if err != nil {
		return err
	}
	next, stop := iter.Pull(resyncSteps(cut.Image, p.cfg.Wants, p.cfg.BatchChanges, p.cfg.BatchBytes))
	p.mu.Lock()
	defer p.mu.Unlock()
	f.resync = &resync{sink: r, target: target, next: next, stop: stop}
	f.epoch = d.Epoch
	return nil
}

// endResync records the end of a resync, with the error that ended it early.
func (p *Pump) endResync(f *feed, err error) {
	r := f.resync
	if err != nil {
		p.abandon(f)
	} else {
		r.stop()
	}
	f.resync = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		// Whatever the sink said, it is asked again how far it has come.
		if p.refusedLocked(f, err); f.state == Resyncing {
			f.state = Fencing
			f.retry.fail(p.cfg.Now(), p.cfg.Chance())
		}
		return
	}
	p.recoveredLocked()
	p.mu.stats.Resyncs++
	slices.SortFunc(r.dead, func(a, b DeadLetter) int { return cmp.Compare(a.Seq, b.Seq) })
	standing := Standing{Seq: r.target.Seq, Settled: f.settled}
	for i := range r.dead {
		standing.Hold(&r.dead[i])
		p.deadLocked(f, &r.dead[i])
	}
	f.isolation = isolation{}
	f.stands(&standing)
	f.moved(r.target.Seq)
	p.reportLocked(f)
	p.cfg.Logger.Debug("datapump: resynced", "sink", p.cfg.Name, "partition", f.id, "epoch", f.epoch, "seq", r.target.Seq)
}

// abandon gives up the resync of a feed, if it has one.
func (p *Pump) abandon(f *feed) {
	if r := f.resync; r != nil {
		f.resync = nil
		r.stop()
		r.sink.Abort()
	}
}
