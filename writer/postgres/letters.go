package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// putLetter writes a row of the side table.
func (s *session) putLetter(p space.PartitionID, l *datapump.DeadLetter) error {
	_, err := s.tx.Exec(s.ctx, s.sql.letterPut, int16(p), int64(l.Seq), l.Parked, reasonText(l.Reason),
		int32(l.Space), orEmpty(l.Key), l.Change, l.At)
	return err
}

// reasonText returns a reason as a text column can hold it. It may be cut in the
// middle of a letter.
func reasonText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	return s[:min(len(s), datapump.MaxReasonBytes)]
}

// orEmpty keeps nil from becoming NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// letterRow is a row of the side table on its way out; space, key and transaction
// are in the change.
type letterRow struct {
	seq    int64
	parked bool
	reason string
	change []byte
	at     time.Time
}

func (r *letterRow) letter() (datapump.DeadLetter, error) {
	c, _, err := space.DecodeChange(r.change)
	return datapump.DeadLetter{
		Seq: space.Seq(r.seq), Parked: r.parked, Reason: r.reason, Space: c.Space, Key: c.Key, Change: r.change, Txn: c.Txn, At: r.at,
	}, err
}

// eachLetter calls fn for the letters of a partition in the order of Seq.
func (s *session) eachLetter(p space.PartitionID, fn func(*datapump.DeadLetter)) error {
	rows, err := s.tx.Query(s.ctx, s.sql.letters, int16(p))
	if err != nil {
		return err
	}
	var r letterRow
	_, err = pgx.ForEachRow(rows, []any{&r.seq, &r.parked, &r.reason, &r.change, &r.at}, func() error {
		l, err := r.letter()
		if err == nil {
			fn(&l)
		}
		r.change = nil // the next row gets memory of its own
		return err
	})
	return err
}

// List returns the letters after one, as datapump.DeadLetters says.
func (w *Writer) List(ctx context.Context, after datapump.LetterID, limit int) (letters []datapump.Letter, err error) {
	err = w.transact(ctx, func(s *session) error {
		rows, err := s.tx.Query(ctx, s.sql.letterList, int16(after.Partition), int64(after.Seq), limit)
		if err != nil {
			return err
		}
		letters, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (datapump.Letter, error) {
			var p int16
			var r letterRow
			if err := row.Scan(&p, &r.seq, &r.parked, &r.reason, &r.change, &r.at); err != nil {
				return datapump.Letter{}, err
			}
			l, err := r.letter()
			return datapump.Letter{Partition: space.PartitionID(p), DeadLetter: l}, err
		})
		return err
	})
	return letters, err
}

// Replay settles a letter as datapump.DeadLetters says, in one transaction. The
// rows that waited for it are in memory meanwhile.
func (w *Writer) Replay(ctx context.Context, id datapump.LetterID) error {
	err := w.settle(ctx, id, false)
	refused, ok := errors.AsType[*datapump.RefusedError](err)
	if !ok {
		return err
	}
	told := w.transact(ctx, func(s *session) error {
		_, err := s.tx.Exec(ctx, s.sql.letterTell, int16(id.Partition), int64(refused.Seq), reasonText(refused.Err.Error()))
		return err
	})
	return errors.Join(err, told)
}

// Drop settles a letter as datapump.DeadLetters says, in one transaction.
func (w *Writer) Drop(ctx context.Context, id datapump.LetterID) error {
	return w.settle(ctx, id, true)
}

func (w *Writer) settle(ctx context.Context, id datapump.LetterID, drop bool) error {
	return w.transact(ctx, func(s *session) error {
		m, err := s.lockOne(id.Partition)
		if err != nil {
			return err
		}
		s.histories[id.Partition] = m.history
		var letters []datapump.DeadLetter
		if err := s.eachLetter(id.Partition, func(l *datapump.DeadLetter) { letters = append(letters, *l) }); err != nil {
			return err
		}
		done, err := datapump.Settle(slices.Values(letters), id.Seq, drop)
		if err != nil {
			return err
		}
		r := release{session: s, id: id, stays: map[space.Seq]bool{}, held: map[entryID]bool{}}
		if err := r.all(done.Apply); err != nil {
			return err
		}
		var gone []int64
		for _, seq := range done.Remove {
			if !r.stays[seq] {
				gone = append(gone, int64(seq))
			}
		}
		if _, err := s.tx.Exec(ctx, s.sql.letterDrop, int16(id.Partition), gone); err != nil {
			return err
		}
		_, err = s.tx.Exec(ctx, s.sql.settle, int16(id.Partition))
		return err
	})
}

// release applies letters that wait no longer.
type release struct {
	*session
	id    datapump.LetterID
	known places
	stays map[space.Seq]bool // letters that remain after all
	held  map[entryID]bool   // what those hold back
}

// all applies letters in order: together if the database takes all of them, else
// command by command, because one that is refused keeps only its own keys waiting.
func (r *release) all(letters []datapump.DeadLetter) error {
	var err error
	if r.known, err = r.places([]int16{int16(r.id.Partition)}); err != nil {
		return err
	}
	items := make([]item, len(letters))
	for i := range letters {
		c, _, err := space.DecodeChange(letters[i].Change)
		if err != nil {
			return err
		}
		items[i] = item{r.id.Partition, &c}
	}
	if err := r.try(items); err == nil || !forGood(err) {
		return err
	}
	for len(items) > 0 {
		n := min(items[0].change.More+1, len(items))
		if err := r.command(items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// try writes items in a savepoint. Entries of a space that is gone are gone with
// it.
func (r *release) try(items []item) error {
	live := make([]item, 0, len(items))
	for _, x := range items {
		if r.known[place{x.partition, x.change.Space}] != nil || x.change.Op == space.Defined {
			live = append(live, x)
		}
	}
	return r.within(func() error { return r.find(live, r.known) })
}

// command applies the changes of one command. If they are refused they stay, and
// so does what waits for them; if they are what was to be replayed, that is the
// end of it.
func (r *release) command(items []item) error {
	waits := slices.ContainsFunc(items, func(x item) bool {
		at := place{x.partition, x.change.Space}
		return r.held[entryID{at, string(x.change.Key)}] || r.held[entryID{at, ""}]
	})
	var refused *datapump.RefusedError
	if !waits {
		err := r.try(items)
		if err == nil {
			return nil
		}
		var named bool
		if refused, named = errors.AsType[*datapump.RefusedError](err); !named {
			return err
		}
	}
	for _, x := range items {
		if refused != nil && x.change.Seq == r.id.Seq {
			return refused
		}
		r.stays[x.change.Seq] = true
		r.held[entryID{place{x.partition, x.change.Space}, string(x.change.Key)}] = true
	}
	if refused == nil {
		return nil
	}
	_, err := r.tx.Exec(r.ctx, r.sql.letterTell, int16(r.id.Partition), int64(refused.Seq), reasonText(refused.Err.Error()))
	return err
}
