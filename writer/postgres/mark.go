package postgres

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// mark is a row of the table watermark.
type mark struct {
	history space.History // zero if the sink holds nothing yet
	epoch   space.Epoch   // the highest that has fenced
	seq     space.Seq
	clock   space.Time
	// The replacement under way, if its history is not zero.
	build        int64
	buildHistory space.History
	buildEpoch   space.Epoch
	settled      uint64 // as datapump.Standing has it
}

func (m *mark) position() space.Position { return space.Position{History: m.history, Seq: m.seq} }

// admit refuses whoever comes with a lower epoch than one that was there.
func (m *mark) admit(h space.History, e space.Epoch) error {
	switch {
	case m.history == h && m.epoch > e:
		return fmt.Errorf("%w: epoch %d, here is %d", datapump.ErrFenced, m.epoch, e)
	case m.buildHistory == h && !h.IsZero() && m.buildEpoch > e:
		return fmt.Errorf("%w: epoch %d, here is %d", datapump.ErrFenced, m.buildEpoch, e)
	}
	return nil
}

// lock reads the marks of partitions and keeps everybody else from them until the
// transaction ends. They are locked in ascending order, whatever the order of the
// argument, so that two transactions wait for each other in one direction only.
// A partition that was never seen is absent.
func (s *session) lock(partitions []int16) (map[space.PartitionID]*mark, error) {
	rows, err := s.tx.Query(s.ctx, s.sql.markRead, partitions)
	if err != nil {
		return nil, err
	}
	marks := make(map[space.PartitionID]*mark, len(partitions))
	var (
		p                                         int16
		epoch, seq, clock, build, bEpoch, settled int64
		history, bHistory                         []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&p, &history, &epoch, &seq, &clock, &build, &bHistory, &bEpoch, &settled}, func() error {
		m := &mark{
			epoch: space.Epoch(epoch), seq: space.Seq(seq), clock: space.Time(clock),
			build: build, buildEpoch: space.Epoch(bEpoch), settled: uint64(settled),
		}
		copy(m.history[:], history)
		copy(m.buildHistory[:], bHistory)
		marks[space.PartitionID(p)] = m
		return nil
	})
	return marks, err
}

// lockOne reads the mark of a partition as lock does, and makes one that holds
// nothing if there is none.
func (s *session) lockOne(p space.PartitionID) (*mark, error) {
	one := []int16{int16(p)}
	marks, err := s.lock(one)
	if err != nil || marks[p] != nil {
		return marks[p], err
	}
	// Somebody else may make it at the same time: then this waits, and finds his.
	if _, err := s.tx.Exec(s.ctx, s.sql.markNew, one[0]); err != nil {
		return nil, err
	}
	marks, err = s.lock(one)
	if err == nil && marks[p] == nil {
		err = fmt.Errorf("postgres: the watermark of partition %d was removed by somebody (leave the tables to the writer)", p)
	}
	return marks[p], err
}

// bytesOf returns a history as it is stored: nothing for none.
func bytesOf(h space.History) []byte {
	if h.IsZero() {
		return []byte{}
	}
	return h[:]
}
