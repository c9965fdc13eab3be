package grid

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// pageExchanges bounds the questions that one page may cost, so that going
// through a grid whose partitions are mostly empty is answered piece by piece.
const pageExchanges = 64

// Bookmark is a place in the content of a space, which is ordered by partition and
// within a partition by the first write of each entry. The order survives
// changes of leaders and moves of partitions, so a bookmark is valid on any handle.
// The zero Bookmark is the beginning.
type Bookmark struct {
	Partition space.PartitionID
	Order     uint64
}

// Page returns about limit entries of a space from a bookmark on, and the bookmark
// behind them; done says that there is nothing behind it. A page may have fewer
// entries, or none, and not be the last.
//
// An entry that is there from the first page to the last is seen exactly once.
// One written meanwhile may be missed; one removed and written again may be seen
// twice. Pages read what is committed when they are asked for.
func (g *Grid) Page(ctx context.Context, id space.ID, from Bookmark, limit int) (entries []Entry, next Bookmark, done bool, err error) {
	table := g.router.State().Table
	for range pageExchanges {
		if int(from.Partition) >= len(table) {
			return entries, from, true, nil
		}
		run := []space.PartitionID{from.Partition}
		for p := from.Partition + 1; int(p) < len(table) && table[p] == table[from.Partition]; p++ {
			run = append(run, p)
		}
		m, err := g.router.Match(ctx, cluster.Linearizable, cluster.Match{
			Space: id, Partitions: run, From: from.Order, Limit: limit - len(entries), AllowScan: true,
		})
		if err == nil {
			err = m.Code.Err()
		}
		if err != nil {
			return nil, from, false, err
		}
		for _, e := range m.Entries {
			entries = append(entries, entryOf(e))
		}
		from = Bookmark{Partition: from.Partition + space.PartitionID(m.Done), Order: m.Next}
		if m.Done == len(run) {
			from.Order = 0
		}
		if len(entries) >= limit {
			break
		}
	}
	return entries, from, int(from.Partition) >= len(table), nil
}

// Clock returns an estimate of a partition's clock now, against which
// Entry.Deadline is counted.
func (g *Grid) Clock(ctx context.Context, p space.PartitionID) (space.Time, error) {
	return g.router.Clock(ctx, p)
}
