package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// coldStart stops all members, removes their logs, the control group's too, starts
// them again, and counts what differs from before. afterStop is called while
// nothing runs, if it is not nil.
func (t *trial) coldStart(ctx context.Context, afterStop func() error) (differences int, definitionsEqual bool, err error) {
	if err := t.cluster.AwaitAligned(ctx, alignTime); err != nil {
		return 0, false, err
	}
	if _, err := t.cluster.AwaitPump(ctx, alignTime); err != nil {
		return 0, false, err
	}
	before, err := t.everything(ctx)
	if err != nil {
		return 0, false, err
	}
	defsBefore, err := t.definitions(ctx)
	if err != nil {
		return 0, false, err
	}
	t.hangUp()
	if err := t.cluster.StopAll(); err != nil {
		return 0, false, err
	}
	if afterStop != nil {
		if err := afterStop(); err != nil {
			return 0, false, err
		}
	}
	for _, m := range t.cluster.All() {
		if err := m.RemoveLogs(); err != nil {
			return 0, false, err
		}
	}
	if err := t.cluster.StartAll(); err != nil {
		return 0, false, err
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return 0, false, err
	}
	t.report.ColdStarts++
	defsAfter, err := t.definitions(ctx)
	if err != nil {
		return 0, false, err
	}
	if definitionsEqual = defsBefore == defsAfter; !definitionsEqual {
		t.findingf("definitions were %s and are %s", defsBefore, defsAfter)
	}
	after, err := t.everything(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		n, first := difference(before[name], after[name])
		if n > 0 {
			t.findingf("space %s differs in %d entries after the cold start: %s", name, n, first)
		}
		differences += n
	}
	return differences, definitionsEqual, nil
}

// definitions returns all definitions as text.
func (t *trial) definitions(ctx context.Context) (string, error) {
	defs, err := t.g.Spaces(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%+v", defs), nil
}

// everything reads the spaces of the trial from the grid.
func (t *trial) everything(ctx context.Context) (map[string]jsonRows, error) {
	all := map[string]jsonRows{}
	for _, name := range []string{dataSpace, lastSpace, ballast, feedSpace, markedSpace} {
		rows, err := t.rows(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("space %s: %w", name, err)
		}
		all[name] = rows
	}
	return all, nil
}

// firstColdStart starts from the stores, with the export compared with the input
// once more, and the stores read while nothing runs.
func (t *trial) firstColdStart(ctx context.Context) error {
	partitions := t.g.Partitions()
	n, defs, err := t.coldStart(ctx, func() error { return t.socketAgainstStores(ctx, partitions) })
	if err != nil {
		return err
	}
	t.report.DefinitionsEqual = defs
	differ, err := t.exportDiffers(ctx)
	if err != nil {
		return err
	}
	t.report.ColdStartEqual = n == 0 && differ == 0
	return nil
}

// changedEvery is how many rows there are for each one that a round changes, and
// for each one that it removes.
const changedEvery = 40

// secondRound writes over a cold start, starts cold, and does both again.
func (t *trial) secondRound(ctx context.Context) error {
	for round := range 2 {
		if err := t.change(ctx, round); err != nil {
			return err
		}
		rows, err := t.rows(ctx, dataSpace)
		if err != nil {
			return err
		}
		n, first := difference(t.want, rows)
		if n > 0 {
			t.findingf("round %d: %d rows are not as written: %s", round+1, n, first)
		}
		lost, defs, err := t.coldStart(ctx, nil)
		if err != nil {
			return err
		}
		t.report.DefinitionsEqual = t.report.DefinitionsEqual && defs
		again, err := t.exportDiffers(ctx)
		if err != nil {
			return err
		}
		t.report.SecondRoundBad += n + lost + again
	}
	return nil
}

// change removes some rows, changes some and adds some, in the grid and in what
// is expected of it. Versions must go on above those of before.
func (t *trial) change(ctx context.Context, round int) error {
	def, err := t.g.Describe(ctx, dataSpace)
	if err != nil {
		return err
	}
	highest := map[space.PartitionID]grid.Version{}
	for e, err := range t.g.Query(ctx, dataSpace, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return err
		}
		p := space.PartitionOf(e.Key, t.g.Partitions())
		highest[p] = max(highest[p], e.Version)
	}
	b := t.g.NewBatch()
	for i, key := range slices.Sorted(maps.Keys(t.want)) {
		switch i % changedEvery {
		case 2 * round:
			b.Do(space.Op{Code: space.OpTake, Space: def.ID, Key: []byte(key)})
			delete(t.want, key)
		case 2*round + 1:
			id, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
			fields := map[string]any{t.key: id, "round": int64(round), "place": int64(i)}
			value, err := grid.FieldsOf(fields)
			if err != nil {
				return err
			}
			b.Do(space.Op{Code: space.OpWrite, Space: def.ID, Kind: grid.Fields, Key: []byte(key), Value: value})
			text, err := json.Marshal(fields)
			if err != nil {
				return err
			}
			t.want[key] = string(text)
		}
	}
	if err := t.g.Run(ctx, b); err != nil {
		return err
	}
	for i := range b.Len() {
		if _, err := b.Result(i); err != nil {
			return fmt.Errorf("change %d of round %d: %w", i, round+1, err)
		}
	}
	rows, err := gridSpace(ctx, t.g, dataSpace)
	if err != nil {
		return err
	}
	for key, r := range rows {
		p := space.PartitionOf([]byte(key), t.g.Partitions())
		if strings.Contains(t.want[key], fmt.Sprintf(`"round":%d`, round)) && r.Version <= highest[p] {
			t.findingf("row %s was written as version %d, not above %d", key, r.Version, highest[p])
			t.report.SecondRoundBad++
		}
	}
	return nil
}
