package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Fence binds a partition to a history and an epoch and returns how the sink
// stands in it, as datapump.Sink says.
//
// It waits for a transaction of an earlier leader that is still under way in the
// server: what it returns is final.
func (w *Writer) Fence(ctx context.Context, f datapump.Fence) (standing datapump.Standing, err error) {
	err = w.transact(ctx, func(s *session) error {
		m, err := s.lockOne(f.Partition)
		if err != nil {
			return err
		}
		if err := m.admit(f.History, f.Epoch); err != nil {
			return err
		}
		switch {
		case m.history == f.History:
		case m.history.IsZero() && f.Origin.History.IsZero():
			// Nothing is what a history that began with nothing holds at first.
		case !m.history.IsZero() && m.position() == f.Origin:
		default:
			return &datapump.ForeignError{Partition: f.Partition, Stored: m.position(), Offered: f.History}
		}
		standing = datapump.Standing{Seq: m.seq, Settled: m.settled}
		if err := s.eachLetter(f.Partition, func(l *datapump.DeadLetter) { standing.Hold(l) }); err != nil {
			return err
		}
		if m.history == f.History && m.epoch == f.Epoch {
			return nil
		}
		_, err = s.tx.Exec(ctx, s.sql.markFence, int16(f.Partition), bytesOf(f.History), int64(f.Epoch))
		return err
	})
	return standing, err
}

// item is a change on its way into the tables.
type item struct {
	partition space.PartitionID
	change    *space.Change
}

// refused names an item as one that the database refuses for good.
func (x *item) refused(err error) error {
	return &datapump.PartitionError{Partition: x.partition, Err: &datapump.RefusedError{
		Partition: x.partition, Seq: x.change.Seq, Err: err,
	}}
}

// Apply writes a batch as datapump.Sink says. A batch has at most one section for
// each partition.
//
// All rows of a table are written by one statement. If the database refuses one of
// them for good, it does not say which: the batch is then written once more, in
// ever smaller parts, to find the first change that cannot be written after those
// before it.
func (w *Writer) Apply(ctx context.Context, b *datapump.Batch) error {
	err := w.transact(ctx, func(s *session) error { return s.apply(b, (*session).write) })
	if _, named := errors.AsType[*datapump.RefusedError](err); named || !forGood(err) {
		return err
	}
	return w.transact(ctx, func(s *session) error { return s.apply(b, (*session).find) })
}

// apply checks the sections of a batch and writes them.
func (s *session) apply(b *datapump.Batch, write func(*session, []item, places) error) error {
	partitions := make([]int16, len(b.Sections))
	for i := range b.Sections {
		partitions[i] = int16(b.Sections[i].Partition)
	}
	slices.Sort(partitions)
	if len(slices.Compact(slices.Clone(partitions))) != len(b.Sections) {
		panic("postgres: a batch has two sections of one partition")
	}
	marks, err := s.lock(partitions)
	if err != nil {
		return err
	}
	items := make([]item, 0, b.Changes())
	var moved []*datapump.Section
	for i := range b.Sections {
		x := &b.Sections[i]
		m := marks[x.Partition]
		if m == nil {
			m = new(mark)
		}
		if err := m.check(x); err != nil {
			return &datapump.PartitionError{Partition: x.Partition, Err: err}
		}
		if x.Through <= m.seq {
			continue
		}
		moved = append(moved, x)
		s.histories[x.Partition] = x.History
		for j := range x.Changes {
			if x.Changes[j].Seq > m.seq {
				items = append(items, item{x.Partition, &x.Changes[j]})
			}
		}
		for j := range x.Dead {
			if x.Dead[j].Seq > m.seq {
				if err := s.putLetter(x.Partition, &x.Dead[j]); err != nil {
					return err
				}
			}
		}
	}
	if len(moved) == 0 {
		return nil
	}
	known, err := s.places(partitions)
	if err != nil {
		return err
	}
	if err := write(s, items, known); err != nil {
		return err
	}
	return s.move(moved)
}

// check refuses a section that does not continue what is stored.
func (m *mark) check(x *datapump.Section) error {
	if err := m.admit(x.History, x.Epoch); err != nil {
		return err
	}
	switch {
	case m.history != x.History:
		return &datapump.ForeignError{Partition: x.Partition, Stored: m.position(), Offered: x.History}
	case x.After > m.seq:
		return &datapump.GapError{Partition: x.Partition, Has: m.seq, After: x.After}
	case x.Through > m.seq && x.Settled != m.settled &&
		slices.ContainsFunc(x.Dead, func(l datapump.DeadLetter) bool { return l.Parked }):
		return datapump.ErrSettled
	}
	return nil
}

// move writes the new watermarks. They are locked and have been checked; that the
// statement checks again keeps a mistake here from becoming one in the data.
func (s *session) move(sections []*datapump.Section) error {
	var a [5]array
	for i, oid := range []uint32{pgtype.Int2OID, pgtype.ByteaOID, pgtype.Int8OID, pgtype.Int8OID, pgtype.Int8OID} {
		a[i].reset(oid)
	}
	for _, x := range sections {
		a[0].addInt16(int16(x.Partition))
		a[1].addBytes(x.History[:])
		a[2].addInt64(int64(x.Epoch))
		a[3].addInt64(int64(x.Through))
		a[4].addInt64(int64(x.Clock))
	}
	n, err := s.exec(s.sql.markMove, a[0].bytes(), a[1].bytes(), a[2].bytes(), a[3].bytes(), a[4].bytes())
	if err == nil && n != int64(len(sections)) {
		err = fmt.Errorf("postgres: %d watermarks of %d moved under their locks (leave the tables to the writer)", n, len(sections))
	}
	return err
}

// place is a space of a partition.
type place struct {
	partition space.PartitionID
	space     space.ID
}

// places says where the entries of the defined spaces rest.
type places map[place]*layout

// places reads them for some partitions.
func (s *session) places(partitions []int16) (places, error) {
	rows, err := s.spaceRows(partitions)
	known := make(places, len(rows))
	for i := range rows {
		known[place{rows[i].partition, rows[i].id}] = s.layout(rows[i].name)
	}
	return known, err
}

// find writes items in parts, each in a savepoint, and halves a part that is
// refused until the change at fault is alone. It returns nil if no change is:
// what was refused together goes one after the other.
func (s *session) find(items []item, known places) error {
	before := maps.Clone(known)
	err := s.within(func() error { return s.write(items, known) })
	if _, named := errors.AsType[*datapump.RefusedError](err); err == nil || !named && !forGood(err) {
		return err
	}
	if len(items) == 1 {
		if _, named := errors.AsType[*datapump.RefusedError](err); named {
			return err
		}
		return items[0].refused(err)
	}
	clear(known)
	maps.Copy(known, before)
	half := len(items) / 2
	if err := s.find(items[:half], known); err != nil {
		return err
	}
	return s.find(items[half:], known)
}
