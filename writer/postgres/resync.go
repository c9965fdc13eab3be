package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// stagePage is how many staged entries are in memory at a time.
const stagePage = 4096

// BeginResync starts to put a partition aside in the table stage. What an earlier
// resync left there is removed.
func (w *Writer) BeginResync(ctx context.Context, to datapump.Target) (datapump.Resync, error) {
	r := &resync{w: w, to: to, defs: map[space.ID]space.Definition{}}
	err := w.transact(ctx, func(s *session) error {
		m, err := s.lockOne(to.Partition)
		if err != nil {
			return err
		}
		if err := m.admit(to.History, to.Epoch); err != nil {
			return err
		}
		r.build = m.build + 1
		if _, err := s.tx.Exec(ctx, s.sql.stageDrop, int16(to.Partition)); err != nil {
			return err
		}
		_, err = s.tx.Exec(ctx, s.sql.markBuild, int16(to.Partition), r.build, bytesOf(to.History), int64(to.Epoch))
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// resync replaces one partition.
type resync struct {
	w     *Writer
	to    datapump.Target
	build int64
	defs  map[space.ID]space.Definition // of the spaces written so far
}

// current locks the partition and returns its mark, or ErrFenced if the resync is
// no longer the one under way.
func (r *resync) current(s *session) (*mark, error) {
	m, err := s.lockOne(r.to.Partition)
	if err != nil {
		return nil, err
	}
	if m.build != r.build || m.buildHistory != r.to.History {
		return nil, fmt.Errorf("%w: another resync of partition %d came between", datapump.ErrFenced, r.to.Partition)
	}
	err = m.admit(r.to.History, r.to.Epoch)
	return m, err
}

// Write puts entries of a space aside. It refuses an entry that no row of the
// space's table can hold; what only the table itself can refuse, it refuses in
// Finish.
func (r *resync) Write(ctx context.Context, def *space.Definition, entries []space.Entry) error {
	return r.w.transact(ctx, func(s *session) error {
		if _, err := r.current(s); err != nil {
			return err
		}
		l := s.layout(def.Name)
		trial := newRowSet(l)
		var keys, texts, whole array
		keys.reset(pgtype.ByteaOID)
		texts.reset(pgtype.TextOID)
		whole.reset(pgtype.ByteaOID)
		for i := range entries {
			e := entries[i]
			e.Claimed = false // a claim does not outlive the grid
			trial.reset()
			if why := trial.addRow(&row{partition: r.to.Partition, space: def.ID, entry: e}); why != nil {
				return &datapump.PartitionError{Partition: r.to.Partition, Err: &datapump.RefusedError{
					Partition: r.to.Partition, Seq: e.Version, Err: why,
				}}
			}
			keys.addBytes(e.Key)
			if text, ok := keyText(l.keyColumn().typ, e.Key); ok && text != nil {
				texts.addBytes(text)
			} else {
				texts.addNull()
			}
			whole.end(space.AppendEntry(whole.begin(), &e))
		}
		r.defs[def.ID] = def.Clone()
		if len(entries) == 0 {
			return nil
		}
		var at [3]array
		for i, oid := range []uint32{pgtype.Int2OID, pgtype.Int8OID, pgtype.Int4OID} {
			at[i].reset(oid)
		}
		at[0].addInt16(int16(r.to.Partition))
		at[1].addInt64(r.build)
		at[2].addInt32(int32(def.ID))
		const firstElement = arrayHeader + 4
		_, err := s.exec(s.sql.stagePut, at[0].bytes()[firstElement:], at[1].bytes()[firstElement:], at[2].bytes()[firstElement:],
			keys.bytes(), texts.bytes(), whole.bytes())
		return err
	})
}

// Finish makes the tables hold what was put aside, in one transaction: rows that
// are not in it are removed, all others written. Its duration is that of writing
// the partition.
func (r *resync) Finish(ctx context.Context, dead []datapump.DeadLetter) error {
	var before space.Position
	var found []datapump.DeadLetter
	err := r.w.transact(ctx, func(s *session) error {
		m, err := r.current(s)
		if err != nil {
			return err
		}
		if m.history == r.to.History && m.seq > r.to.Seq {
			return fmt.Errorf("%w: partition %d has come to %d meanwhile, beyond %d", datapump.ErrFenced, r.to.Partition, m.seq, r.to.Seq)
		}
		before = m.position()
		if found, err = r.replace(s); err != nil {
			return err
		}
		if err := r.lay(s, slices.Concat(dead, found)); err != nil {
			return err
		}
		settled := m.settled
		if len(found) > 0 {
			settled++
		}
		if _, err := s.tx.Exec(ctx, s.sql.stageDrop, int16(r.to.Partition)); err != nil {
			return err
		}
		_, err = s.tx.Exec(ctx, s.sql.markReplace, int16(r.to.Partition), bytesOf(r.to.History), int64(r.to.Epoch),
			int64(r.to.Seq), int64(r.to.Clock), int64(settled))
		return err
	})
	if err != nil {
		return err
	}
	if !before.History.IsZero() && before.History != r.to.History {
		r.w.log.Warn("postgres: a partition was taken over by another history", "sink", r.w.cfg.Name, "partition", r.to.Partition,
			"epoch", r.to.Epoch, "seq", r.to.Seq, "history", r.to.History.String(),
			"replaced_history", before.History.String(), "replaced_seq", before.Seq)
	}
	if len(found) > 0 {
		// The replacement is in force, but the caller does not know of these
		// letters: it has to ask how the sink stands.
		return &datapump.PartitionError{Partition: r.to.Partition, Err: fmt.Errorf(
			"%w: a resync has laid %d entries aside that the database refuses, the first with: %s", datapump.ErrSettled, len(found), found[0].Reason)}
	}
	return nil
}

// replace writes the definitions and the entries, and returns letters of those
// that the database refuses.
func (r *resync) replace(s *session) ([]datapump.DeadLetter, error) {
	p := r.to.Partition
	was, err := s.places([]int16{int16(p)})
	if err != nil {
		return nil, err
	}
	if _, err := s.tx.Exec(s.ctx, s.sql.spacesDrop, int16(p)); err != nil {
		return nil, err
	}
	known := places{}
	for _, id := range slices.Sorted(maps.Keys(r.defs)) {
		def := r.defs[id]
		known[place{p, id}] = s.layout(def.Name)
		if err := s.putSpace(p, &def, s.layout(def.Name)); err != nil {
			return nil, err
		}
	}
	if _, err := s.tx.Exec(s.ctx, s.sql.absentShared, int16(p), r.build); err != nil {
		return nil, err
	}
	// A mapped table belongs to one space, which may be gone.
	mapped := map[*layout]space.ID{}
	for _, m := range []places{was, known} {
		for at, l := range m {
			if !l.shared {
				mapped[l] = at.space
			}
		}
	}
	for l, id := range mapped {
		if _, err := s.tx.Exec(s.ctx, l.absent(&s.sql), int16(p), r.build, int32(id)); err != nil {
			return nil, err
		}
	}
	return r.write(s, known)
}

// absent returns the statement that removes the rows of a partition from a mapped
// table that are not in the table stage.
func (l *layout) absent(sql *statements) string {
	key := l.keyColumn()
	match := fmt.Sprintf("s.key_text = t.%s::text", quote(key.name))
	if key.typ.name == "bytea" {
		match = fmt.Sprintf("s.key = t.%s", quote(key.name))
	}
	return fmt.Sprintf(`DELETE FROM %s t WHERE t.%s = $1 AND NOT EXISTS (
		SELECT FROM %s.stage s WHERE s.sink = %s AND s.partition = $1 AND s.build = $2 AND s.space = $3 AND %s)`,
		l.table.quoted(), quote(l.columnOf(fromPartition).name), sql.schema, sql.sink, match)
}

// write writes what was put aside, page by page.
func (r *resync) write(s *session, known places) (dead []datapump.DeadLetter, err error) {
	s.histories[r.to.Partition] = r.to.History
	at, key := int32(-1<<31), []byte{}
	for {
		page, err := r.page(s, at, key)
		if err != nil || len(page) == 0 {
			return dead, err
		}
		last := page[len(page)-1].change
		at, key = int32(last.Space), last.Key
		for len(page) > 0 {
			err := s.within(func() error { return s.find(page, known) })
			refused, named := errors.AsType[*datapump.RefusedError](err)
			if err == nil {
				break
			}
			if !named {
				return dead, err
			}
			i := slices.IndexFunc(page, func(x item) bool { return x.change.Seq == refused.Seq })
			c := page[i].change
			dead = append(dead, datapump.DeadLetter{
				Seq: c.Seq, Reason: refused.Err.Error(), Space: c.Space, Key: c.Key, Change: c.Append(nil), At: time.Now(),
			})
			page = slices.Delete(page, i, i+1)
		}
	}
}

// page reads entries that were put aside, as changes that write them, after one.
func (r *resync) page(s *session, at int32, key []byte) ([]item, error) {
	rows, err := s.tx.Query(s.ctx, s.sql.stagePage, int16(r.to.Partition), r.build, at, key, stagePage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (item, error) {
		var id int32
		var key, b []byte
		if err := row.Scan(&id, &key, &b); err != nil {
			return item{}, err
		}
		e, _, err := space.DecodeEntry(b)
		return item{r.to.Partition, &space.Change{
			Seq: e.Version, Op: space.Written, Space: space.ID(id), Kind: e.Kind, Key: e.Key, Value: e.Value,
			Order: e.Order, Deadline: e.Deadline, Attempts: e.Attempts,
		}}, err
	})
}

// lay makes letters those of the partition: what the ones from before led to is in
// the replacement.
func (r *resync) lay(s *session, letters []datapump.DeadLetter) error {
	if _, err := s.tx.Exec(s.ctx, s.sql.lettersDrop, int16(r.to.Partition)); err != nil {
		return err
	}
	for i := range letters {
		if err := s.putLetter(r.to.Partition, &letters[i]); err != nil {
			return err
		}
	}
	return nil
}

// Abort removes what was put aside. If that fails, the next resync does it.
func (r *resync) Abort() {
	ctx, cancel := context.WithTimeout(context.Background(), r.w.cfg.StatementTimeout)
	defer cancel()
	_ = r.w.transact(ctx, func(s *session) error {
		if _, err := r.current(s); err != nil {
			return err
		}
		if _, err := s.tx.Exec(ctx, s.sql.stageDrop, int16(r.to.Partition)); err != nil {
			return err
		}
		_, err := s.tx.Exec(ctx, s.sql.markBuild, int16(r.to.Partition), r.build, []byte{}, int64(0))
		return err
	})
}
