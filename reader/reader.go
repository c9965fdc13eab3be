package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
)

// ErrNotStored is returned for a partition that the store holds nothing of.
var ErrNotStored = errors.New("reader: the store does not hold this partition (ask another member's)")

// EpochGap is how far the epoch of a history that begins from a store lies above
// every epoch that a store has heard of. Leaders that came after the last stored
// change had epochs that no store has, and gave out tokens of claims under them: the
// history goes on above any number of them that there can have been, so that no
// token is ever given out again.
const EpochGap space.Epoch = 1 << 20

// Reader reads partitions from a store. All methods may be called concurrently.
type Reader struct {
	store *store.Store
}

// New returns a reader over an open store, which stays the caller's to close.
func New(s *store.Store) *Reader { return &Reader{store: s} }

// Position is what a store holds of one partition.
type Position struct {
	Partition space.PartitionID
	space.Position
	Epoch   space.Epoch
	Clock   space.Time // partition clock at Seq
	Entries uint64     // about
}

// Positions returns what the store holds, ascending by partition.
func (r *Reader) Positions() ([]Position, error) {
	var all []Position
	err := r.view(func(n *store.Snapshot) error {
		return n.Marks(func(p space.PartitionID, m store.Mark) error {
			if m.History.IsZero() {
				return nil
			}
			spaces, err := n.Spaces(p, m.Generation)
			if err != nil {
				return err
			}
			at := Position{Partition: p, Position: m.Position(), Epoch: m.Epoch, Clock: m.Clock}
			for i := range spaces {
				at.Entries += spaces[i].Entries
			}
			all = append(all, at)
			return nil
		})
	})
	return all, err
}

// Definitions returns the spaces of the grid as the store knows them, ascending
// by id. If it was stopped while an alteration was on its way to the partitions,
// that of the lowest partition counts.
func (r *Reader) Definitions() ([]space.Definition, error) {
	known := map[space.ID]space.Definition{}
	err := r.view(func(n *store.Snapshot) error {
		return n.Marks(func(p space.PartitionID, m store.Mark) error {
			spaces, err := n.Spaces(p, m.Generation)
			for i := range spaces {
				d := spaces[i].Definition
				if _, ok := known[d.ID]; !ok {
					known[d.ID] = d
				}
			}
			return err
		})
	})
	defs := make([]space.Definition, 0, len(known))
	for _, d := range known {
		defs = append(defs, d)
	}
	slices.SortFunc(defs, func(a, b space.Definition) int { return cmp.Compare(a.ID, b.ID) })
	return defs, err
}

// Get returns one stored entry with the position that it was read at, for a key
// that is asked for before its partition is loaded; ok is false if there is no
// such entry. Its lease may have ended since. The bytes are the caller's.
func (r *Reader) Get(p space.PartitionID, id space.ID, key []byte) (e space.Entry, at space.Position, ok bool, err error) {
	err = r.viewPartition(p, func(n *store.Snapshot, m store.Mark) error {
		at = m.Position()
		row, found, err := n.Get(p, m.Generation, id, key)
		if found {
			e, ok = row.Entry(slices.Clone(key)), true
		}
		return err
	})
	return e, at, ok, err
}

// Scan calls fn for every stored entry of a partition, ordered by space and key,
// and returns the position that they were read at. The entry's slices are valid
// during the call only. It stops at the first error, which it returns.
func (r *Reader) Scan(ctx context.Context, p space.PartitionID, fn func(space.ID, space.Entry) error) (at space.Position, err error) {
	err = r.viewPartition(p, func(n *store.Snapshot, m store.Mark) error {
		at = m.Position()
		return n.Scan(ctx, p, m.Generation, func(id space.ID, key []byte, row *store.Row) error {
			return fn(id, row.Entry(key))
		})
	})
	return at, err
}

// Load makes a partition of what the store holds of it: the start of a new
// history that goes on above the stored Seq, and above both the stored epoch and
// the given one, the highest that any other store is known to have: of stores of
// different histories the one of the higher epoch is the newer. The store itself
// is not changed; a pump that feeds the partition later is recognised by the
// store as its continuation.
func (r *Reader) Load(ctx context.Context, p space.PartitionID, history space.History, above space.Epoch) (*space.Partition, error) {
	var made *space.Partition
	err := r.viewPartition(p, func(n *store.Snapshot, m store.Mark) (err error) {
		made, err = load(ctx, n, m, p, history, above)
		return err
	})
	return made, err
}

// LoadAll loads the partitions named by histories, each with its new history and
// above its stored epoch, for a store that is the only one, the largest first, by so many workers at once; one for each processor is best.
// It hands each partition to each, one call at a time, and returns the first
// error. All are read at one moment of the store.
func (r *Reader) LoadAll(ctx context.Context, histories map[space.PartitionID]space.History, workers int, each func(*space.Partition) error) error {
	positions, err := r.Positions()
	if err != nil {
		return err
	}
	size := make(map[space.PartitionID]uint64, len(positions))
	for _, p := range positions {
		size[p.Partition] = p.Entries
	}
	order := make([]space.PartitionID, 0, len(histories))
	for p := range histories {
		order = append(order, p)
	}
	slices.SortFunc(order, func(a, b space.PartitionID) int {
		return cmp.Or(cmp.Compare(size[b], size[a]), cmp.Compare(a, b))
	})
	return r.view(func(n *store.Snapshot) error {
		return runAll(ctx, order, workers, func(ctx context.Context, p space.PartitionID) (*space.Partition, error) {
			m, err := stored(n, p)
			if err != nil {
				return nil, err
			}
			return load(ctx, n, m, p, histories[p], 0)
		}, each)
	})
}

// runAll loads the partitions of order by workers and hands them on one by one.
// The first error stops everybody.
func runAll(ctx context.Context, order []space.PartitionID, workers int,
	one func(context.Context, space.PartitionID) (*space.Partition, error), each func(*space.Partition) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards next and runs each
		next int
	)
	for range min(max(workers, 1), len(order)) {
		wg.Go(func() {
			for {
				mu.Lock()
				if next == len(order) || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				p := order[next]
				next++
				mu.Unlock()
				made, err := one(ctx, p)
				if err == nil {
					mu.Lock()
					err = each(made)
					mu.Unlock()
				}
				if err != nil {
					cancel(fmt.Errorf("load partition %d: %w", p, err))
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func load(ctx context.Context, n *store.Snapshot, m store.Mark, p space.PartitionID, history space.History, above space.Epoch) (*space.Partition, error) {
	if history.IsZero() || history == m.History {
		return nil, fmt.Errorf("reader: partition %d is loaded into a new history, not %s", p, history)
	}
	l := space.NewLoader(space.Loaded{ID: p, History: history, Origin: m.Position(), Epoch: max(m.Epoch, above) + EpochGap, Clock: m.Clock})
	spaces, err := n.Spaces(p, m.Generation)
	if err != nil {
		return nil, err
	}
	for i := range spaces {
		if err := l.Define(spaces[i].Definition); err != nil {
			return nil, err
		}
	}
	err = n.Scan(ctx, p, m.Generation, func(id space.ID, key []byte, row *store.Row) error {
		return l.Add(id, row.Entry(key))
	})
	if err != nil {
		return nil, err
	}
	return l.Partition(), nil
}

// stored returns the mark of a partition that the store holds.
func stored(n *store.Snapshot, p space.PartitionID) (store.Mark, error) {
	m, err := n.Mark(p)
	if err == nil && m.History.IsZero() {
		err = fmt.Errorf("%w: partition %d", ErrNotStored, p)
	}
	return m, err
}

func (r *Reader) viewPartition(p space.PartitionID, fn func(*store.Snapshot, store.Mark) error) error {
	return r.view(func(n *store.Snapshot) error {
		m, err := stored(n, p)
		if err != nil {
			return err
		}
		return fn(n, m)
	})
}

func (r *Reader) view(fn func(*store.Snapshot) error) error {
	n, err := r.store.Snapshot()
	if err != nil {
		return err
	}
	return errors.Join(fn(n), n.Close())
}
