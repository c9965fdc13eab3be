package writer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
)

// Writer writes the changes of partitions into a store. All methods may be
// called concurrently; the store runs them one after the other.
type Writer struct {
	store *store.Store
	log   *slog.Logger
}

var (
	_ datapump.Sink        = (*Writer)(nil)
	_ datapump.Resyncer    = (*Writer)(nil)
	_ datapump.DeadLetters = (*Writer)(nil)
)

// New returns a writer over an open store, which stays the caller's to close.
// A nil logger discards what an operator should know.
func New(s *store.Store, log *slog.Logger) *Writer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Writer{store: s, log: log}
}

// Fence binds a partition to a history and an epoch and returns its watermark,
// as datapump.Sink says.
//
// It does not wait for the disk. Whoever could be kept out by a fence writes
// through the same open store, and nothing later is durable before the fence is;
// a crash that undoes it has ended everybody.
func (w *Writer) Fence(ctx context.Context, f datapump.Fence) (datapump.Standing, error) {
	if err := ctx.Err(); err != nil {
		return datapump.Standing{}, err
	}
	var standing datapump.Standing
	err := w.store.UpdateSoon(func(tx *store.Tx) error {
		m, err := tx.Mark(f.Partition)
		if err != nil {
			return err
		}
		if err := admit(&m, f.History, f.Epoch); err != nil {
			return err
		}
		bound := m
		bound.History, bound.Epoch = f.History, f.Epoch
		switch {
		case m.History == f.History:
		case m.History.IsZero() && f.Origin.History.IsZero():
			// Nothing is what a history that began with nothing holds at Seq 0.
		case !m.History.IsZero() && m.Position() == f.Origin:
		default:
			return &datapump.ForeignError{Partition: f.Partition, Stored: m.Position(), Offered: f.History}
		}
		if standing, err = stand(tx, f.Partition, m.Seq); err != nil {
			return err
		}
		if bound == m {
			return nil
		}
		return tx.SetMark(f.Partition, &bound)
	})
	return standing, err
}

// admit refuses whoever comes with a lower epoch than one that was there.
func admit(m *store.Mark, h space.History, e space.Epoch) error {
	if m.History == h && m.Epoch > e || m.Build.History == h && m.Build.Epoch > e {
		return fmt.Errorf("%w: epoch %d, here is %d", datapump.ErrFenced, max(m.Epoch, m.Build.Epoch), e)
	}
	return nil
}

// Apply writes a batch as datapump.Sink says. A batch has at most one section
// for each partition.
func (w *Writer) Apply(ctx context.Context, b *datapump.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.store.Update(func(tx *store.Tx) error {
		seen := make(map[space.PartitionID]struct{}, len(b.Sections))
		for i := range b.Sections {
			s := &b.Sections[i]
			if _, twice := seen[s.Partition]; twice {
				panic(fmt.Sprintf("writer: a batch has two sections of partition %d", s.Partition))
			}
			seen[s.Partition] = struct{}{}
			if err := writeSection(tx, s); err != nil {
				return &datapump.PartitionError{Partition: s.Partition, Err: err}
			}
		}
		return nil
	})
}

// writeSection checks that a section continues what is stored, and writes it.
func writeSection(tx *store.Tx, s *datapump.Section) error {
	m, err := tx.Mark(s.Partition)
	if err != nil {
		return err
	}
	if err := admit(&m, s.History, s.Epoch); err != nil {
		return err
	}
	switch {
	case m.History != s.History:
		return &datapump.ForeignError{Partition: s.Partition, Stored: m.Position(), Offered: s.History}
	case s.After > m.Seq:
		return &datapump.GapError{Partition: s.Partition, Has: m.Seq, After: s.After}
	case s.Through <= m.Seq:
		return nil
	}
	if err := checkSettled(tx, s); err != nil {
		return err
	}
	sw := sectionWriter{tx: tx, partition: s.Partition, generation: m.Generation, spaces: map[space.ID]*counted{}}
	for i := range s.Changes {
		if c := &s.Changes[i]; c.Seq > m.Seq {
			if err := sw.write(c); err != nil {
				return err
			}
		}
	}
	if err := sw.finish(); err != nil {
		return err
	}
	for i := range s.Dead {
		if l := &s.Dead[i]; l.Seq > m.Seq {
			if err := putLetter(tx, s.Partition, l); err != nil {
				return err
			}
		}
	}
	m.Seq, m.Epoch, m.Clock = s.Through, s.Epoch, s.Clock
	return tx.SetMark(s.Partition, &m)
}

// sectionWriter writes the changes of one partition in one transaction, and
// keeps what it knows of the spaces they touch.
type sectionWriter struct {
	tx         *store.Tx
	partition  space.PartitionID
	generation uint8
	spaces     map[space.ID]*counted
}

// counted is a space while a section is written.
type counted struct {
	store.Space
	defined bool
	changed bool // to be written again
}

func (w *sectionWriter) write(c *space.Change) error {
	sp, err := w.space(c.Space)
	if err != nil {
		return err
	}
	if !sp.defined && c.Op != space.Defined {
		return &store.CorruptError{Record: "section", Reason: fmt.Sprintf("change %d is of space %d, which is not defined", c.Seq, c.Space)}
	}
	switch c.Op {
	case space.Claimed:
		return nil // a claim does not outlive the grid: the row stays as it is
	case space.Written, space.Updated, space.Released:
		if c.Op == space.Written {
			sp.Entries, sp.changed = sp.Entries+1, true
		}
		return w.tx.Put(w.partition, w.generation, c.Space, c.Key, &store.Row{
			Kind: c.Kind, Version: c.Seq, Order: c.Order, Deadline: c.Deadline, Attempts: uint64(c.Attempts), Value: c.Value,
		})
	case space.Removed:
		// A removal without a version before it is of an entry that was written
		// in the same section, and was not counted.
		if c.Previous != 0 && sp.Entries > 0 {
			sp.Entries, sp.changed = sp.Entries-1, true
		}
		return w.tx.Delete(w.partition, w.generation, c.Space, c.Key)
	case space.Defined:
		def, err := space.DecodeDefinition(c.Value)
		if err != nil {
			return err
		}
		sp.Definition, sp.defined, sp.changed = def, true, true
		return nil
	case space.Dropped:
		*sp = counted{}
		return w.tx.DropSpace(w.partition, w.generation, c.Space)
	}
	return &store.CorruptError{Record: "section", Reason: fmt.Sprintf("change %d has an unknown kind %d", c.Seq, c.Op)}
}

func (w *sectionWriter) space(id space.ID) (*counted, error) {
	if sp := w.spaces[id]; sp != nil {
		return sp, nil
	}
	s, ok, err := w.tx.Space(w.partition, w.generation, id)
	if err != nil {
		return nil, err
	}
	sp := &counted{Space: s, defined: ok}
	w.spaces[id] = sp
	return sp, nil
}

// finish writes the spaces whose record has changed.
func (w *sectionWriter) finish() error {
	for _, sp := range w.spaces {
		if sp.changed && sp.defined {
			if err := w.tx.SetSpace(w.partition, w.generation, &sp.Space); err != nil {
				return err
			}
		}
	}
	return nil
}

// Forget removes everything the store holds of a partition that this member no
// longer has a replica of, and returns once that is durable. The partition must
// have been removed from the pump.
func (w *Writer) Forget(ctx context.Context, p space.PartitionID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.store.Update(func(tx *store.Tx) error { return tx.Drop(p) })
}
