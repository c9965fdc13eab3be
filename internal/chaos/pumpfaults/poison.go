package pumpfaults

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// poison has the database refuse rows: they become dead letters, what follows on
// their keys waits, everything else flows. When the database is put right they are
// replayed, and nothing is missing.
func (t *trial) poison(ctx context.Context) error {
	const table = "ALTER TABLE " + spaceName
	if err := t.exec(ctx, table+" ADD CONSTRAINT no_poison CHECK (NOT poison)"); err != nil {
		return err
	}
	var bad grid.Version
	for i := range poisoned {
		key := fmt.Sprintf("poison-%d", i)
		for n := range 2 {
			v, err := t.space.Write(ctx, item{ID: key, N: int64(n), Poison: n == 0})
			if err != nil {
				return err
			}
			if t.record.wrote(key, v); i == 0 && n == 0 {
				bad = v
			}
		}
	}
	letters, err := t.awaitLetters(ctx, 2*poisoned)
	if err != nil {
		return err
	}
	at := space.PartitionOf([]byte("poison-0"), t.grid.Partitions())
	if err := t.grid.WaitDurable(ctx, at, bad); !errors.Is(err, grid.ErrDeadLettered) {
		return fmt.Errorf("to wait for a refused row ends with %w", err)
	}
	// What is not at fault has come through, also what shared a batch with it.
	if err := t.flush(ctx); err != nil {
		return err
	}
	if err := t.exec(ctx, table+" DROP CONSTRAINT no_poison"); err != nil {
		return err
	}
	for _, l := range letters {
		if l.Parked {
			continue
		}
		t.letters++
		if err := t.grid.ReplayDeadLetter(ctx, sinkName, l.DeadLetterID); err != nil {
			return fmt.Errorf("replay %+v: %w", l.DeadLetterID, err)
		}
	}
	_, err = t.awaitLetters(ctx, 0)
	return err
}

// awaitLetters waits until there are so many dead letters, and returns them.
func (t *trial) awaitLetters(ctx context.Context, want int) (letters []grid.DeadLetter, err error) {
	err = lab.Poll(ctx, noticeTime, "look at the dead letters", func(ctx context.Context) (err error) {
		letters, err = t.grid.DeadLetters(ctx, sinkName, grid.DeadLetterID{}, 1000)
		if err == nil && len(letters) != want {
			err = fmt.Errorf("there are %d, not %d", len(letters), want)
		}
		return err
	})
	return letters, err
}
