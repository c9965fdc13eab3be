package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// DefaultBacklogBytes is how many bytes of changes a member keeps for required
	// sinks before it holds back those who make more.
	DefaultBacklogBytes = 512 << 20
	// DefaultHoldBackWait is for how long a command waits for room then.
	DefaultHoldBackWait = 2 * time.Second
	// holdBackReserve is the part of the backlog that is kept for commands that
	// end what has begun: taking, acknowledging, giving back.
	holdBackReserve = 4
	// holdBackEvery is how often a command that waits looks for room.
	holdBackEvery = 25 * time.Millisecond
)

// ErrHeldBack is what errors.Is finds in a [*HeldBackError].
var ErrHeldBack = errors.New("cluster: held back")

// HeldBackError is returned for a command that would add to the changes that a
// required sink has not got yet, when the member keeps as many as it may. The
// command had no effect and may be repeated later. Nothing is ever dropped.
type HeldBackError struct {
	Partition space.PartitionID
	Sinks     string // names of those that are behind, with commas between
}

// Error names the sinks and says what to do.
func (e *HeldBackError) Error() string {
	return fmt.Sprintf("cluster: held back: sink %s is too far behind with partition %d (repeat later; spacegrid pump status shows why)", e.Sinks, e.Partition)
}

// Is makes errors.Is find ErrHeldBack.
func (e *HeldBackError) Is(target error) bool { return target == ErrHeldBack }

// holdBack is what a leader may have to hold back. It does not change.
type holdBack struct {
	// behind has the partitions with more than their share of changes, and for
	// each the names of the sinks that are behind.
	behind map[space.PartitionID]string
	limit  int64
}

// demand is how much a command asks of a changelog.
type demand uint8

const (
	demandsNothing demand = iota // it reads, or decides what has begun
	demandsReserve               // it ends the life of entries, or what hides them
	demandsRoom                  // it adds bytes
)

func demandOf(c *space.Command) demand {
	d := demandsNothing
	for i := range c.Ops {
		switch c.Ops[i].Code {
		case space.OpWrite, space.OpChange, space.OpChangeMatch, space.OpRenew:
			return demandsRoom
		case space.OpCheck, space.OpCheckMatch, space.OpRead, space.OpReadMatch, space.OpRespond,
			space.OpCancel, space.OpDecide, space.OpFinish, space.OpPrepare:
		default:
			d = demandsReserve
		}
	}
	return d
}

// refuses returns why a command cannot be taken now, or nil. backlog is what the
// changelogs of the member have, about.
func (b *holdBack) refuses(p space.PartitionID, c *space.Command, backlog int64) error {
	if backlog < b.limit {
		return nil
	}
	sinks, full := b.behind[p]
	if !full {
		return nil
	}
	if d := demandOf(c); d == demandsRoom || d == demandsReserve && backlog >= b.limit+b.limit/holdBackReserve {
		return &HeldBackError{Partition: p, Sinks: sinks}
	}
	return nil
}

// room waits until a command may be proposed, no longer than until. The commands
// of the grid itself do not ask. size is the command's: between two weighings it
// counts for what it adds.
func (h *held) room(ctx context.Context, p space.PartitionID, c *space.Command, size int, until time.Time) error {
	for {
		b := h.holdBack.Load()
		if b == nil {
			return nil
		}
		err := b.refuses(p, c, h.n.backlog.Load())
		if err == nil {
			h.n.backlog.Add(int64(size))
			return nil
		}
		if !time.Now().Before(until) || !pause(ctx, holdBackEvery) {
			return err
		}
	}
}

// patience returns until when the commands of one request wait for room.
func (n *Node) patience() time.Time {
	return time.Now().Add(max(0, cmp.Or(n.cfg.HoldBackWait, DefaultHoldBackWait)))
}

// weigh decides what may have to be held back until the next round: the partitions
// that have more than their share, once all changelogs of the member have half of
// what they may. Only those count whose sinks keep what retention alone would let
// go.
func (h *held) weigh(t *trimmer, sinks map[space.PartitionID][]lagging) {
	limit := cmp.Or(h.n.cfg.BacklogBytes, DefaultBacklogBytes)
	total, count := int64(0), 0
	for i := range h.n.groups {
		if g := h.n.groups[i].Load(); g != nil {
			for _, p := range g.host.all() {
				total += p.Changelog().Bytes()
				count++
			}
		}
	}
	h.n.backlog.Store(total)
	if total < limit/2 {
		h.holdBack.Store(nil)
		return
	}
	b := &holdBack{behind: map[space.PartitionID]string{}, limit: limit}
	share := limit / 2 / int64(max(count, 1))
	for id, p := range h.host.all() {
		if p.Changelog().Bytes() < share {
			continue
		}
		var names []string
		for _, s := range sinks[id] {
			if s.watermark < t.told[id].Floor {
				names = append(names, s.name)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			b.behind[id] = strings.Join(names, ", ")
		}
	}
	if len(b.behind) == 0 {
		b = nil
	}
	if was := h.holdBack.Swap(b); was == nil && b != nil {
		h.log.Warn("changes pile up for sinks that are behind: writes will be held back", "partitions", len(b.behind),
			"changelog_bytes", total, "limit", limit)
	}
}

// lagging is how far a required sink has come.
type lagging struct {
	name      string
	watermark space.Seq
}

// requiredSinks returns how far the required sinks have come by the newest
// trimming of each partition.
func (t *trimmer) requiredSinks(s *State) map[space.PartitionID][]lagging {
	all := make(map[space.PartitionID][]lagging, len(t.told))
	for id, trim := range t.told {
		for i := range s.Sinks {
			if !s.Sinks[i].Required {
				continue
			}
			x := lagging{name: s.Sinks[i].Name}
			for _, w := range trim.Watermarks {
				if w.Sink == s.Sinks[i].ID {
					x.watermark = w.Seq
				}
			}
			all[id] = append(all[id], x)
		}
	}
	return all
}
