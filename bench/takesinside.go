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
	// is measured.
	upkeepEntries = 100_000
	// insideTurns is how many short runs a cell in this process is the median of.
	// Cells that are compared take turns, so that what else the machine does meets
	// them alike. All of a cell's turns take insideMost at most.
	insideTurns = 21
	insideMost  = 2 * time.Second
	// insideRound is how much is done between two looks at the clock.
	insideRound = 1000
	// rawAtLeast is how much faster than decoding it first the comparison of an
	// entry as it rests has to be, on a machine that does other things too.
	rawAtLeast = 3
)

// inside is an operation that is measured in this process.
type inside struct {
	name, target string
	op           func(i int) error
	next         int // the number of the next one
}

// insideCells measures operations in turns. Of the latencies it has the mean alone:
// the operations are shorter than a look at the clock takes.
func insideCells(ctx context.Context, l Load, keys int, of []*inside) ([]Cell, error) {
	l = l.withDefaults()
	l.Clients, l.Warmup, l.Duration = 1, 0, min(l.Duration, insideMost)/insideTurns
	measured := make([]runs, len(of))
	for range insideTurns {
		for i, x := range of {
			r, err := x.turn(ctx, l.Duration)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", x.name, err)
			}
			measured[i].add(r, nil)
		}
	}
	cells := make([]Cell, len(of))
	for i, x := range of {
		cells[i] = newCell(x.name, x.target, Workload{Keys: keys, ValueSize: len(takesValue(0))}, l, measured[i])
	}
	return cells, nil
}

// turn does rounds of the operation for a time.
func (x *inside) turn(ctx context.Context, d time.Duration) (Result, error) {
	begun, n := time.Now(), 0
	for ; n == 0 || time.Since(begun) < d; n += insideRound {
		if ctx.Err() != nil {
			return Result{}, context.Cause(ctx)
		}
		for range insideRound {
			if err := x.op(x.next); err != nil {
				return Result{}, err
			}
			x.next++
		}
	}
	took := time.Since(begun).Seconds()
	return Result{Ops: int64(n), Seconds: took, PerSecond: float64(n) / took, Latency: Latency{Mean: 1e6 * took / float64(n)}}, nil
}

// matchCells measures what needs no cluster: the upkeep of indexes on one replica,
// and the comparison of one entry.
func matchCells(ctx context.Context, p plan, report *Report, l Load) error {
	p.sayf("upkeep of indexes on one replica")
	var writes []*inside
	for n := range 3 {
		write, err := upkeep(n)
		if err != nil {
			return err
		}
		writes = append(writes, &inside{name: fmt.Sprintf("index-upkeep-%d", n), target: "one replica", op: write})
	}
	cells, err := insideCells(ctx, l, upkeepEntries, writes)
	if err != nil {
		return err
	}
	report.Cells = append(report.Cells, cells...)
	report.notef("upkeep of indexes: a write that changes every indexed field costs one replica %s without an index, %s with one, %s with two",
		timeOfOne(&cells[0]), timeOfOne(&cells[1]), timeOfOne(&cells[2]))
	return compareCells(ctx, p, report, l)
}

// timeOfOne says how long one operation of a cell takes.
func timeOfOne(c *Cell) string { return fmt.Sprintf("%.0f ns", 1e9/c.Result.PerSecond) }

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
	ways := []func(v []byte) (bool, error){
		func(v []byte) (bool, error) { return space.Matches(template, space.KindFields, v), nil },
		func(v []byte) (bool, error) {
			m, err := msgp.Decode(v)
			fields, ok := m.(map[string]any)
			return ok && fields["section"] == wanted["section"] && fields["tier"] == wanted["tier"], err
		},
	}
	matches := []*inside{{name: "match", target: "raw"}, {name: "match", target: "decoded"}}
	for n, match := range ways {
		matches[n].op = func(i int) error {
			ok, err := match(values[i%len(values)])
			if ok && i < len(values) {
				found[n]++
			}
			return err
		}
	}
	p.sayf("compare one entry, raw and decoded")
	cells, err := insideCells(ctx, l, len(values), matches)
	if err != nil {
		return err
	}
	if found[0] == 0 || found[0] != found[1] {
		return fmt.Errorf("bench: %d of %d entries match as they rest, %d when decoded (this must not be)", found[0], len(values), found[1])
	}
	report.notef("comparing one entry of 7 fields with a template of two: %s as it rests, the template read each time; %s decoded first",
		timeOfOne(&cells[0]), timeOfOne(&cells[1]))
	report.Cells = append(report.Cells, cells...)
	report.Ratios = append(report.Ratios, newRatio(cells[0], cells[1], rawAtLeast))
	return nil
}
