package writer

import (
	"context"
	"fmt"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
)

// BeginResync starts to write a partition anew under a generation that nobody
// reads. What an earlier resync left unfinished is removed.
func (w *Writer) BeginResync(ctx context.Context, to datapump.Target) (datapump.Resync, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &resync{w: w, to: to, counts: map[space.ID]uint64{}}
	err := w.store.UpdateSoon(func(tx *store.Tx) error {
		m, err := tx.Mark(to.Partition)
		if err != nil {
			return err
		}
		if err := admit(&m, to.History, to.Epoch); err != nil {
			return err
		}
		generation := m.Generation + 1
		if !m.Build.History.IsZero() {
			// Another number than the unfinished one had, so that its owner, if
			// it is still there, is recognised and refused.
			if generation = m.Build.Generation + 1; generation == m.Generation {
				generation++
			}
			if err := tx.DropGeneration(to.Partition, m.Build.Generation); err != nil {
				return err
			}
		}
		r.build = store.Build{History: to.History, Epoch: to.Epoch, Generation: generation}
		m.Build = r.build
		return tx.SetMark(to.Partition, &m)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// resync writes one generation of one partition. Its writes need not wait for
// the disk, because nothing counts before Finish does.
type resync struct {
	w      *Writer
	to     datapump.Target
	build  store.Build
	counts map[space.ID]uint64 // entries written so far
}

// current returns the partition's mark, or ErrFenced if the resync is no longer
// the one under way.
func (r *resync) current(tx *store.Tx) (store.Mark, error) {
	m, err := tx.Mark(r.to.Partition)
	if err != nil {
		return m, err
	}
	if m.Build != r.build {
		return m, fmt.Errorf("%w: another resync of partition %d came between", datapump.ErrFenced, r.to.Partition)
	}
	err = admit(&m, r.to.History, r.to.Epoch)
	return m, err
}

// Write adds entries of a space.
func (r *resync) Write(ctx context.Context, def *space.Definition, entries []space.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.w.store.UpdateSoon(func(tx *store.Tx) error {
		if _, err := r.current(tx); err != nil {
			return err
		}
		for i := range entries {
			row := store.RowOf(&entries[i])
			if err := tx.Put(r.to.Partition, r.build.Generation, def.ID, entries[i].Key, &row); err != nil {
				return err
			}
		}
		r.counts[def.ID] += uint64(len(entries))
		return tx.SetSpace(r.to.Partition, r.build.Generation, &store.Space{Definition: *def, Entries: r.counts[def.ID]})
	})
}

// Finish makes the generation the one that counts and removes the old one, with
// its dead letters.
func (r *resync) Finish(ctx context.Context, dead []datapump.DeadLetter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var before space.Position
	err := r.w.store.Update(func(tx *store.Tx) error {
		m, err := r.current(tx)
		if err != nil {
			return err
		}
		if m.History == r.to.History && m.Seq > r.to.Seq {
			return fmt.Errorf("%w: partition %d has come to %d meanwhile, beyond %d", datapump.ErrFenced, r.to.Partition, m.Seq, r.to.Seq)
		}
		before = m.Position()
		if err := tx.DropDead(r.to.Partition); err != nil {
			return err
		}
		for i := range dead {
			if err := putLetter(tx, r.to.Partition, &dead[i]); err != nil {
				return err
			}
		}
		if err := tx.DropGeneration(r.to.Partition, m.Generation); err != nil {
			return err
		}
		return tx.SetMark(r.to.Partition, &store.Mark{
			History: r.to.History, Seq: r.to.Seq, Epoch: r.to.Epoch, Clock: r.to.Clock, Generation: r.build.Generation,
		})
	})
	if err == nil && !before.History.IsZero() && before.History != r.to.History {
		r.w.log.Warn("writer: the store of a partition was taken over by another history", "partition", r.to.Partition,
			"epoch", r.to.Epoch, "seq", r.to.Seq, "history", r.to.History.String(),
			"replaced_history", before.History.String(), "replaced_seq", before.Seq)
	}
	return err
}

// Abort removes what was written. If that fails, the next resync or the next
// opening of the store does it.
func (r *resync) Abort() {
	_ = r.w.store.UpdateSoon(func(tx *store.Tx) error {
		m, err := tx.Mark(r.to.Partition)
		if err != nil || m.Build != r.build {
			return err
		}
		m.Build = store.Build{}
		if err := tx.DropGeneration(r.to.Partition, r.build.Generation); err != nil {
			return err
		}
		return tx.SetMark(r.to.Partition, &m)
	})
}
