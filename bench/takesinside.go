package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

const (
	// upkeepEntries is how many entries are rewritten when the upkeep of indexes
	// is measured; insideMost bounds how long each such cell takes.
	upkeepEntries = 100_000
	insideMost    = 2 * time.Second
	// insideRound is how much is done between two looks at the clock.
	insideRound = 1000
	// rawAtLeast is how much faster than decoding it first the comparison of an
	// entry as it rests has to be, on a machine that does other things too.
	rawAtLeast = 3
)

// insideCell does rounds of an operation in this process for a time, and reports
// how many a second. Of the latencies it has the mean alone: the operations are
// shorter than a look at the clock takes.
func insideCell(ctx context.Context, name, target string, l Load, keys int, op func(i int) error) (Cell, error) {
	l = l.withDefaults()
	l.Clients, l.Warmup, l.Duration = 1, 0, min(l.Duration, insideMost)
	begun, n := time.Now(), 0
	for time.Since(begun) < l.Duration {
		if ctx.Err() != nil {
			return Cell{}, context.Cause(ctx)
		}
		for range insideRound {
			if err := op(n); err != nil {
				return Cell{}, fmt.Errorf("bench: %s: %w", name, err)
			}
			n++
		}
	}
	took := time.Since(begun).Seconds()
	result := Result{Ops: int64(n), Seconds: took, PerSecond: float64(n) / took, Latency: Latency{Mean: 1e6 * took / float64(n)}}
	return newCell(name, target, Workload{Keys: keys, ValueSize: len(takesValue(0))}, l, runs{results: []Result{result}}), nil
}

// matchCells measures what needs no cluster: the upkeep of indexes on one replica,
// and the comparison of one entry.
func matchCells(ctx context.Context, p plan, report *Report, l Load) error {
	var cost [3]float64 // ns for one write, by the number of indexes
	for n := range cost {
		name := fmt.Sprintf("index-upkeep-%d", n)
		p.sayf("%s on one replica", name)
		write, err := upkeep(n)
		if err != nil {
			return err
		}
		cell, err := insideCell(ctx, name, "one replica", l, upkeepEntries, write)
		if err != nil {
			return err
		}
		cost[n] = 1e9 / cell.Result.PerSecond
		report.Cells = append(report.Cells, cell)
	}
	report.notef("upkeep of indexes: a write that changes every indexed field costs one replica %.0f ns without an index, %.0f ns with one, %.0f ns with two", cost[0], cost[1], cost[2])
	return compareCells(ctx, p, report, l)
}

// upkeep returns a write that changes every indexed field of an entry, in a
// partition with so many indexes.
func upkeep(indexes int) (func(i int) error, error) {
	p := space.New(1, space.History{1})
	def := space.Definition{ID: 1, Name: takesSpace, Shape: space.ShapeFields}
	def.Indexes = []space.Index{{Name: takesIndex, Fields: []string{"section", "tier"}}, {Name: "row", Fields: []string{"row"}}}[:indexes]
	values := make([][]byte, insideRound)
	for i := range values {
		values[i] = takesValue(i)
	}
	command := space.DefineCommand(&def)
	p.Apply(0, &command)
	trim := space.TrimCommand(space.Trim{Floor: 1 << 60})
	var key []byte
	ops := make([]space.Op, 1)
	write := func(n, value int) error {
		key = takesKey(key, n)
		ops[0] = space.Op{Code: space.OpWrite, Space: 1, Key: key, Kind: space.KindFields, Value: values[value%len(values)]}
		r, err := space.DecodeReply(p.Apply(0, &space.Command{Ops: ops}))
		if err == nil {
			err = r.Err()
		}
		if n%(10*insideRound) == 0 {
			p.Apply(0, &trim) // nobody reads what was changed
		}
		return err
	}
	for n := range upkeepEntries {
		if err := write(n, n); err != nil {
			return nil, fmt.Errorf("bench: fill a partition: %w", err)
		}
	}
	return func(i int) error { return write(i*7919%upkeepEntries, i*31+i/upkeepEntries+17) }, nil
}

// compareCells compares entries with a template as they rest, and decoded first.
func compareCells(ctx context.Context, p plan, report *Report, l Load) error {
	values := make([][]byte, insideRound)
	for i := range values {
		values[i] = takesValue(i)
	}
	wanted := takesFields(5)
	template, err := msgp.AppendValue(nil, map[string]any{"section": wanted["section"], "tier": wanted["tier"]})
	if err != nil {
		return err
	}
	found := [2]int{}
	var cells []Cell
	for n, way := range []struct {
		name  string
		match func(v []byte) (bool, error)
	}{
		{"raw", func(v []byte) (bool, error) { return space.Matches(template, space.KindFields, v), nil }},
		{"decoded", func(v []byte) (bool, error) {
			m, err := msgp.Decode(v)
			fields, ok := m.(map[string]any)
			return ok && fields["section"] == wanted["section"] && fields["tier"] == wanted["tier"], err
		}},
	} {
		p.sayf("compare one entry, %s", way.name)
		cell, err := insideCell(ctx, "match", way.name, l, len(values), func(i int) error {
			ok, err := way.match(values[i%len(values)])
			if ok && i < len(values) {
				found[n]++
			}
			return err
		})
		if err != nil {
			return err
		}
		cells = append(cells, cell)
	}
	if found[0] == 0 || found[0] != found[1] {
		return fmt.Errorf("bench: %d of %d entries match as they rest, %d when decoded (this must not be)", found[0], len(values), found[1])
	}
	report.notef("comparing one entry of 7 fields with a template of two: %.0f ns as it rests, the template read each time; %.0f ns decoded first",
		1e9/cells[0].Result.PerSecond, 1e9/cells[1].Result.PerSecond)
	report.Cells = append(report.Cells, cells...)
	report.Ratios = append(report.Ratios, newRatio(cells[0], cells[1], rawAtLeast))
	return nil
}
