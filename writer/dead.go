package writer

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
)

// parkedFlag marks the record of a change that waits.
const parkedFlag = 1

// encodeLetter returns the stored form of a letter: flags, time in nanoseconds
// since 1970, reason with its length, then the change, which has all the rest.
func encodeLetter(l *datapump.DeadLetter) []byte {
	flags := byte(0)
	if l.Parked {
		flags |= parkedFlag
	}
	b := binary.AppendVarint([]byte{flags}, l.At.UnixNano())
	b = binary.AppendUvarint(b, uint64(len(l.Reason)))
	b = append(b, l.Reason...)
	return append(b, l.Change...)
}

// decodeLetter reads the stored form; Key and Change alias b.
func decodeLetter(seq space.Seq, b []byte) (datapump.DeadLetter, bool) {
	if len(b) == 0 || b[0]&^parkedFlag != 0 {
		return datapump.DeadLetter{}, false
	}
	l := datapump.DeadLetter{Seq: seq, Parked: b[0] == parkedFlag}
	b = b[1:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return datapump.DeadLetter{}, false
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > datapump.MaxReasonBytes || size > uint64(len(b)-n) {
		return datapump.DeadLetter{}, false
	}
	b = b[n:]
	l.At, l.Reason, l.Change = time.Unix(0, at), string(b[:size]), b[size:]
	c, rest, err := space.DecodeChange(l.Change)
	if err != nil || len(rest) > 0 || c.Seq != seq {
		return datapump.DeadLetter{}, false
	}
	l.Space, l.Key, l.Txn = c.Space, c.Key, c.Txn
	return l, true
}

var errLetter = &store.CorruptError{Record: "dead letter", Reason: "fields"}

func putLetter(tx *store.Tx, p space.PartitionID, l *datapump.DeadLetter) error {
	return tx.SetDead(p, l.Seq, encodeLetter(l))
}

// stand returns how far a partition has come and what it holds back.
func stand(tx *store.Tx, p space.PartitionID, seq space.Seq) (datapump.Standing, error) {
	settled, err := tx.Settled(p)
	if err != nil {
		return datapump.Standing{}, err
	}
	s := datapump.Standing{Seq: seq, Settled: settled}
	err = tx.Dead(p, 0, func(seq space.Seq, b []byte) error {
		l, ok := decodeLetter(seq, b)
		if !ok {
			return errLetter
		}
		l.Key = slices.Clone(l.Key)
		s.Hold(&l)
		return nil
	})
	return s, err
}

// checkSettled refuses a section that parks changes behind letters that were
// settled since its pump last fenced.
func checkSettled(tx *store.Tx, s *datapump.Section) error {
	if !slices.ContainsFunc(s.Dead, func(l datapump.DeadLetter) bool { return l.Parked }) {
		return nil
	}
	settled, err := tx.Settled(s.Partition)
	if err == nil && settled != s.Settled {
		err = datapump.ErrSettled
	}
	return err
}

// errEnough ends a scan.
var errEnough = errors.New("writer: enough")

// List returns the letters after one, as datapump.DeadLetters says.
func (w *Writer) List(ctx context.Context, after datapump.LetterID, limit int) ([]datapump.Letter, error) {
	snapshot, err := w.store.Snapshot()
	if err != nil {
		return nil, err
	}
	var letters []datapump.Letter
	err = snapshot.Dead(ctx, after.Partition, after.Seq, func(p space.PartitionID, seq space.Seq, b []byte) error {
		if len(letters) >= limit {
			return errEnough
		}
		l, ok := decodeLetter(seq, slices.Clone(b))
		if !ok {
			return errLetter
		}
		letters = append(letters, datapump.Letter{Partition: p, DeadLetter: l})
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return letters, errors.Join(err, snapshot.Close())
}

// Replay settles a letter as datapump.DeadLetters says, in one transaction. The
// rows that waited for it are in memory meanwhile.
func (w *Writer) Replay(ctx context.Context, id datapump.LetterID) error {
	return w.settle(ctx, id, false)
}

// Drop settles a letter as datapump.DeadLetters says, in one transaction.
func (w *Writer) Drop(ctx context.Context, id datapump.LetterID) error {
	return w.settle(ctx, id, true)
}

func (w *Writer) settle(ctx context.Context, id datapump.LetterID, drop bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.store.Update(func(tx *store.Tx) error {
		m, err := tx.Mark(id.Partition)
		if err != nil {
			return err
		}
		var scanned error
		s, err := datapump.Settle(func(yield func(datapump.DeadLetter) bool) {
			scanned = tx.Dead(id.Partition, 0, func(seq space.Seq, b []byte) error {
				l, ok := decodeLetter(seq, slices.Clone(b))
				if !ok {
					return errLetter
				}
				if !yield(l) {
					return errEnough
				}
				return nil
			})
		}, id.Seq, drop)
		if scanned != nil && !errors.Is(scanned, errEnough) {
			return scanned
		}
		if err != nil {
			return err
		}
		if err := release(tx, id.Partition, m.Generation, s.Apply); err != nil {
			return err
		}
		for _, seq := range s.Remove {
			if err := tx.DeleteDead(id.Partition, seq); err != nil {
				return err
			}
		}
		settled, err := tx.Settled(id.Partition)
		if err != nil {
			return err
		}
		return tx.SetSettled(id.Partition, settled+1)
	})
}

// release applies letters in order. Entries of a space that is gone are gone with
// it. What the changes say of the entry before them need not be so in the store,
// since a letter before them may have been dropped: rows are counted by looking.
func release(tx *store.Tx, p space.PartitionID, generation uint8, letters []datapump.DeadLetter) error {
	sw := sectionWriter{tx: tx, partition: p, generation: generation, spaces: map[space.ID]*counted{}}
	type entry struct {
		space space.ID
		key   string
	}
	there := map[entry]bool{} // what this transaction has made of rows
	for i := range letters {
		c, _, err := space.DecodeChange(letters[i].Change)
		if err != nil {
			return err
		}
		sp, err := sw.space(c.Space)
		if err != nil {
			return err
		}
		if !sp.defined && c.Op != space.Defined {
			continue
		}
		if len(c.Key) > 0 {
			k := entry{c.Space, string(c.Key)}
			exists, known := there[k]
			if !known {
				if exists, err = tx.Has(p, generation, c.Space, c.Key); err != nil {
					return err
				}
			}
			switch {
			case c.Op == space.Claimed:
			case c.Op == space.Removed:
				c.Previous, there[k] = 0, false
				if exists {
					c.Previous = 1
				}
			case exists:
				c.Op, there[k] = space.Updated, true
			default:
				c.Op, there[k] = space.Written, true
			}
		}
		if err := sw.write(&c); err != nil {
			return err
		}
	}
	return sw.finish()
}
