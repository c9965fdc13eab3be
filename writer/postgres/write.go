package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/spacegrid/spacegrid/grid/space"
)

// write writes items in their order; known says where spaces rest and is kept up
// to date. Of an entry that changes several times only the last state is written,
// which nobody outside of the transaction could tell. Entries of a space that is
// not defined are of the table entry.
func (s *session) write(items []item, known places) error {
	if err := s.record(items); err != nil {
		return err
	}
	from := 0
	for i := range items {
		x := &items[i]
		if op := x.change.Op; op != space.Defined && op != space.Dropped {
			continue
		}
		// A space changes rarely. What comes before is written before.
		if err := s.writeEntries(items[from:i], known); err != nil {
			return err
		}
		from = i + 1
		if err := s.writeSpace(x, known); err != nil {
			return err
		}
	}
	return s.writeEntries(items[from:], known)
}

// writeSpace defines a space or removes it with its entries.
func (s *session) writeSpace(x *item, known places) error {
	c, at := x.change, place{x.partition, x.change.Space}
	if c.Op == space.Dropped {
		l := known[at]
		if l == nil {
			l = s.shared
		}
		delete(known, at)
		if err := s.clearSpace(l, at); err != nil {
			return err
		}
		_, err := s.tx.Exec(s.ctx, s.sql.spaceDrop, int16(at.partition), int32(at.space))
		return err
	}
	def, err := space.DecodeDefinition(c.Value)
	if err != nil {
		return err
	}
	l := s.layout(def.Name)
	if was := known[at]; was != nil && was != l {
		return &SchemaError{
			Table: was.table.String(), Problem: fmt.Sprintf("space %d was renamed to %q, which is mapped to table %s", c.Space, def.Name, l.table),
			Hint: "map the new name to the same table",
		}
	}
	known[at] = l
	return s.putSpace(x.partition, &def, l)
}

func (s *session) putSpace(p space.PartitionID, def *space.Definition, l *layout) error {
	_, err := s.tx.Exec(s.ctx, s.sql.spacePut, int16(p), int32(def.ID), def.Name, l.table.String(), space.AppendDefinition(nil, def))
	return err
}

// clearSpace removes the entries of a space of a partition.
func (s *session) clearSpace(l *layout, at place) error {
	args := []any{int16(at.partition)}
	if l.shared {
		args = append(args, int32(at.space))
	}
	_, err := s.tx.Exec(s.ctx, l.clear, args...)
	return err
}

// entryID names an entry of a batch.
type entryID struct {
	place
	key string
}

// writeEntries writes what becomes of entries: first what is removed, so that a
// value that must be unique is free for who gets it next.
func (s *session) writeEntries(items []item, known places) error {
	if len(items) == 0 {
		return nil
	}
	superseded := s.superseded(items)
	sets := map[*layout]*rowSet{}
	var order []*rowSet
	for i := range items {
		x := &items[i]
		if x.change.Op == space.Claimed || superseded[i] {
			continue // a claim does not outlive the grid: the row stays as it is
		}
		l := known[place{x.partition, x.change.Space}]
		if l == nil {
			l = s.shared
		}
		set := sets[l]
		if set == nil {
			set = newRowSet(l)
			sets[l], order = set, append(order, set)
		}
		if err := set.add(x); err != nil {
			return err
		}
	}
	for _, set := range order {
		if err := set.removeRows(s); err != nil {
			return err
		}
	}
	mapped := false
	for _, set := range order {
		if err := set.upsertRows(s); err != nil {
			return err
		}
		mapped = mapped || !set.shared
	}
	if !mapped {
		return nil
	}
	// What a table checks at the end of a transaction is checked while it is still
	// known what has been written.
	_, err := s.tx.Exec(s.ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	return err
}

// superseded tells which items are followed by another of the same entry.
func (s *session) superseded(items []item) []bool {
	old := make([]bool, len(items))
	last := make(map[entryID]struct{}, len(items))
	for i := len(items) - 1; i >= 0; i-- {
		if items[i].change.Op == space.Claimed {
			continue
		}
		id := entryID{place{items[i].partition, items[i].change.Space}, string(items[i].change.Key)}
		if _, later := last[id]; later {
			old[i] = true
			continue
		}
		last[id] = struct{}{}
	}
	return old
}

// rowSet is what one table gets of a batch.
type rowSet struct {
	*layout
	rows    []array // one for each column
	removed []array // one for each key column
}

func newRowSet(l *layout) *rowSet {
	set := &rowSet{layout: l, rows: make([]array, len(l.columns)), removed: make([]array, len(l.keys))}
	set.reset()
	return set
}

// reset empties the set and keeps its memory.
func (set *rowSet) reset() {
	for i := range set.rows {
		set.rows[i].reset(set.columns[i].typ.oid)
	}
	for i, k := range set.keys {
		set.removed[i].reset(set.columns[k].typ.oid)
	}
}

// add takes an item in, or names it as refused.
func (set *rowSet) add(x *item) error {
	c := x.change
	r := row{partition: x.partition, space: c.Space, entry: space.Entry{
		Key: c.Key, Value: c.Value, Kind: c.Kind, Version: c.Seq, Order: c.Order, Deadline: c.Deadline, Attempts: c.Attempts,
	}}
	switch c.Op {
	case space.Removed:
		for i, k := range set.keys {
			if why := set.columns[k].append(&set.removed[i], &r); why != nil {
				return nil //nolint:nilerr // no row can have this key
			}
		}
		return nil
	case space.Written, space.Updated, space.Released:
		if why := set.addRow(&r); why != nil {
			return x.refused(why)
		}
		return nil
	}
	panic(fmt.Sprintf("postgres: change %d has an unknown kind %d", c.Seq, c.Op))
}

// addRow takes a row in, or says why no row can be; the set is then spoilt.
func (set *rowSet) addRow(r *row) *fault {
	for i := range set.columns {
		if why := set.columns[i].append(&set.rows[i], r); why != nil {
			return why
		}
	}
	return nil
}

func (set *rowSet) removeRows(s *session) error {
	return runArrays(s, set.remove, set.removed)
}

func (set *rowSet) upsertRows(s *session) error {
	return runArrays(s, set.upsert, set.rows)
}

// runArrays runs a statement for the rows in arrays, if there are any.
func runArrays(s *session, sql string, arrays []array) error {
	if arrays[0].n == 0 {
		return nil
	}
	params := make([][]byte, len(arrays))
	for i := range arrays {
		params[i] = arrays[i].bytes()
	}
	_, err := s.exec(sql, params...)
	return err
}

// record appends items to the journal, if there is one.
func (s *session) record(items []item) error {
	if !s.w.cfg.Journal || len(items) == 0 {
		return nil
	}
	a := make([]array, 7)
	for i, oid := range []uint32{
		pgtype.Int2OID, pgtype.ByteaOID, pgtype.Int8OID, pgtype.Int2OID, pgtype.Int4OID, pgtype.ByteaOID, pgtype.ByteaOID,
	} {
		a[i].reset(oid)
	}
	for i := range items {
		c := items[i].change
		a[0].addInt16(int16(items[i].partition))
		history := s.histories[items[i].partition]
		a[1].addBytes(history[:])
		a[2].addInt64(int64(c.Seq))
		a[3].addInt16(int16(c.Op))
		a[4].addInt32(int32(c.Space))
		a[5].addBytes(c.Key)
		a[6].addBytes(c.Value)
	}
	return runArrays(s, s.sql.journal, a)
}
