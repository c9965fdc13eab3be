package cluster

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// trimEvery is the least time between two trims of a group.
	trimEvery = 250 * time.Millisecond
	// DefaultRetention is for how long changes are kept for subscribers and stores
	// that were away.
	DefaultRetention = 10 * time.Minute
	// DefaultRetentionBytes is how many bytes of such changes a member keeps.
	DefaultRetentionBytes = 256 << 20
	// retentionSteps is how exactly the age of changes is known.
	retentionSteps = 60
)

// trimmer decides how much of the changelogs of a group may go. It belongs to
// one leadership.
type trimmer struct {
	last  time.Time
	marks map[space.PartitionID][]ageMark
	told  map[space.PartitionID]space.Trim
}

// ageMark says that changes up to Seq were made before a time.
type ageMark struct {
	at  time.Time
	seq space.Seq
}

// trimLogs tells the partitions how far the sinks have come, and drops changes
// that nobody needs any more.
func (h *held) trimLogs(ctx context.Context, l *leadership) error {
	h.feedSinks(l)
	now := time.Now()
	t := &l.trim
	if now.Sub(t.last) < trimEvery {
		return nil
	}
	t.last = now
	if t.marks == nil {
		t.marks = map[space.PartitionID][]ageMark{}
		t.told = map[space.PartitionID]space.Trim{}
	}
	durable := h.durable(ctx)
	share := h.n.logShare()
	var external map[space.SinkID]map[space.PartitionID]space.Seq
	if h.n.cfg.Sinks != nil {
		external = h.n.cfg.Sinks.Watermarks()
	}
	order := slices.Sorted(maps.Keys(external))
	var commands []systemCommand
	for _, p := range sortedPartitions(h.host.all()) {
		trim := space.Trim{Floor: t.floor(p, now, h.n.cfg.Retention, share)}
		if seq, ok := durable[p.ID()]; ok {
			trim.Watermarks = []space.Watermark{{Sink: space.StoreSink, Seq: seq}}
		}
		for _, id := range order {
			if seq, ok := external[id][p.ID()]; ok {
				trim.Watermarks = append(trim.Watermarks, space.Watermark{Sink: id, Seq: seq})
			}
		}
		old := t.told[p.ID()]
		if trim.Floor <= old.Floor && slices.Equal(trim.Watermarks, old.Watermarks) {
			continue
		}
		t.told[p.ID()] = trim
		commands = append(commands, systemCommand{p.ID(), space.TrimCommand(trim)})
	}
	h.weigh(t, t.requiredSinks(h.n.control.State()))
	if err := h.order(ctx, l, commands); err != nil {
		t.told = map[space.PartitionID]space.Trim{}
		return err
	}
	return nil
}

// floor returns how far retention lets a partition's changelog go. The sinks are
// for Apply to look after.
func (t *trimmer) floor(p *carried, now time.Time, keep time.Duration, share int64) space.Seq {
	log := p.Changelog()
	last := log.Last()
	marks := t.marks[p.ID()]
	if n := len(marks); n == 0 || now.Sub(marks[n-1].at) >= keep/retentionSteps {
		marks = append(marks, ageMark{now, last})
	}
	floor := space.Seq(0)
	for len(marks) > 1 && now.Sub(marks[0].at) >= keep {
		floor = marks[0].seq
		marks = marks[1:]
	}
	t.marks[p.ID()] = marks
	floor = max(floor, t.told[p.ID()].Floor)
	if kept := log.Bytes(); kept > share {
		// Changes are about as long as each other, so the share of bytes is the
		// share of changes.
		count := float64(last-floor) * float64(share) / float64(kept)
		floor = max(floor, last-space.Seq(count))
	}
	return floor
}

// logShare is how many bytes of changelog each partition on this member may keep.
func (n *Node) logShare() int64 {
	count := 0
	for i := range n.groups {
		if h := n.groups[i].Load(); h != nil {
			count += len(h.host.all())
		}
	}
	return n.cfg.RetentionBytes / int64(max(count, 1))
}

// durable returns the changes that the stores of a majority of the replicas hold,
// as far as they answer.
func (h *held) durable(ctx context.Context) map[space.PartitionID]space.Seq {
	if h.n.cfg.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, memberCallTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	seqs := map[space.PartitionID][]space.Seq{}
	note := func(marks []space.Watermark) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range marks {
			seqs[space.PartitionID(m.Sink)] = append(seqs[space.PartitionID(m.Sink)], m.Seq)
		}
	}
	voters := 0
	for _, m := range h.group.Status().Members {
		if !m.Voter {
			continue
		}
		voters++
		if m.ID == h.self {
			note(h.n.report(h.id))
			continue
		}
		wg.Go(func() {
			e := &encoder{}
			e.uint(uint64(h.id))
			b, err := h.n.call(ctx, MemberID(m.ID.Member), callReport, e.b)
			if err != nil {
				return // one that is silent counts for nothing in this round
			}
			if marks, err := decodeReport(b); err == nil {
				note(marks)
			}
		})
	}
	wg.Wait()
	durable := map[space.PartitionID]space.Seq{}
	for p, has := range seqs {
		slices.Sort(has)
		slices.Reverse(has)
		if majority := voters/2 + 1; len(has) >= majority {
			durable[p] = has[majority-1]
		}
	}
	return durable
}
