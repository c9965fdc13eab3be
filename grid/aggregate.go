package grid

import (
	"context"
	"fmt"
	"slices"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// AggregateSpec says what an aggregate computes; see package aggregate.
type AggregateSpec = aggregate.Spec

// AggregateResult is the answer: rows of Go values.
type AggregateResult = aggregate.Result

// Ranked is an entry in a column of Top or Bottom.
type Ranked = aggregate.Ranked

// Aggregation is one part of what an aggregate computes: a column such as
// Sum("price"), or what concerns its rows, such as GroupBy("section").
type Aggregation interface {
	addTo(q *aggregateQuery)
}

type aggregateQuery struct {
	spec  aggregate.Spec
	level cluster.Level
	err   error
}

// Column is a column of an aggregate.
type Column struct{ column aggregate.Column }

func (c Column) addTo(q *aggregateQuery) { q.spec.Columns = append(q.spec.Columns, c.column) }

// As returns the column under another name than "sum_price" and its like.
func (c Column) As(name string) Column { return Column{c.column.As(name)} }

// Count counts entries.
func Count() Column { return Column{aggregate.Count()} }

// CountOf counts the entries that have a value at the path.
func CountOf(path string) Column { return Column{aggregate.CountOf(path)} }

// Sum adds the numbers at the path, exactly: an integer if all of them are.
func Sum(path string) Column { return Column{aggregate.Sum(path)} }

// Min is the lowest value at the path.
func Min(path string) Column { return Column{aggregate.Min(path)} }

// Max is the highest value at the path.
func Max(path string) Column { return Column{aggregate.Max(path)} }

// Avg is the mean of the numbers at the path, a float.
func Avg(path string) Column { return Column{aggregate.Avg(path)} }

// Distinct counts the different values at the path.
func Distinct(path string) Column { return Column{aggregate.Distinct(path)} }

// Top is the n entries with the highest values at the path, highest first.
func Top(n int, path string) Column { return Column{aggregate.Top(n, path)} }

// Bottom is the n entries with the lowest values at the path, lowest first.
func Bottom(n int, path string) Column { return Column{aggregate.Bottom(n, path)} }

type aggregationFunc func(q *aggregateQuery)

func (f aggregationFunc) addTo(q *aggregateQuery) { f(q) }

// GroupBy makes one row for each combination of values at the paths.
func GroupBy(paths ...string) Aggregation {
	return aggregationFunc(func(q *aggregateQuery) { q.spec.GroupBy = append(q.spec.GroupBy, paths...) })
}

// Having keeps the rows of which a condition is true, written as for [Where] over
// the columns' names: Having("sum_price > ?", 1000).
func Having(text string, args ...any) Aggregation {
	c := Where(text, args...)
	return aggregationFunc(func(q *aggregateQuery) {
		if _, _, err := c.parts(); err != nil {
			q.err = err
			return
		}
		q.spec.Having = c.p
	})
}

// OrderBy puts the rows in the order of columns or of paths grouped by, the first
// name first; a minus before a name turns its order round.
func OrderBy(names ...string) Aggregation {
	return aggregationFunc(func(q *aggregateQuery) {
		for _, name := range names {
			o := aggregate.Order{Name: name}
			if len(name) > 1 && name[0] == '-' {
				o = aggregate.Order{Name: name[1:], Descending: true}
			}
			q.spec.OrderBy = append(q.spec.OrderBy, o)
		}
	})
}

// Limit cuts the answer behind n rows.
func Limit(n int) Aggregation {
	return aggregationFunc(func(q *aggregateQuery) { q.spec.Limit = n })
}

// Nearest reads what the nearest replica has, which may be old.
func Nearest() Aggregation {
	return aggregationFunc(func(q *aggregateQuery) { q.level = cluster.Local })
}

// Aggregate computes over the entries of a space that pass a filter, beside the
// data; parts add to the specification. Each partition is seen at one moment,
// another one for each. Any number of entries may be looked at: no write waits for
// that. What does not fit the limits of package aggregate is refused with
// ErrTooLarge, a sum over something that is no number with ErrWrongKind.
func (g *Grid) Aggregate(ctx context.Context, spaceName string, f Filter, spec AggregateSpec, parts ...Aggregation) (*AggregateResult, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	return g.aggregate(ctx, &def, f, spec, parts)
}

func (g *Grid) aggregate(ctx context.Context, def *space.Definition, f Filter, spec AggregateSpec, parts []Aggregation) (*AggregateResult, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	template, condition, err := filterFor(def, f)
	if err != nil {
		return nil, err
	}
	// What the parts add must not end up in the caller's slices.
	spec.GroupBy, spec.Columns, spec.OrderBy = slices.Clip(spec.GroupBy), slices.Clip(spec.Columns), slices.Clip(spec.OrderBy)
	q := aggregateQuery{spec: spec}
	for _, p := range parts {
		p.addTo(&q)
	}
	if q.err != nil {
		return nil, q.err
	}
	if err := checkPaths(def, &q.spec); err != nil {
		return nil, err
	}
	total, err := g.router.Aggregate(ctx, q.level, cluster.Aggregate{Space: def.ID, Template: template, Predicate: condition, Spec: &q.spec})
	if err != nil {
		return nil, err
	}
	return total.Result()
}

// checkPaths refuses paths to fields that are not declared in a space that
// declares its fields.
func checkPaths(def *space.Definition, spec *AggregateSpec) error {
	if len(def.Fields) == 0 {
		return nil
	}
	paths := slices.Clone(spec.GroupBy)
	for i := range spec.Columns {
		if path := spec.Columns[i].Path; path != "" {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		p, err := predicate.IsNull(path)
		if err != nil {
			return fmt.Errorf("%w: %w", space.ErrInvalid, err)
		}
		if err := def.CheckFilter(nil, p.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// Count returns how many entries of a space pass a filter. Without a filter no
// entry is looked at.
func (g *Grid) Count(ctx context.Context, spaceName string, f Filter) (int64, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return 0, err
	}
	return g.count(ctx, &def, f)
}

// CountAll returns how many entries the space of an id has, without looking at
// them.
func (g *Grid) CountAll(ctx context.Context, id space.ID) (int64, error) {
	return g.count(ctx, &space.Definition{ID: id}, nil)
}

func (g *Grid) count(ctx context.Context, def *space.Definition, f Filter) (int64, error) {
	r, err := g.aggregate(ctx, def, f, AggregateSpec{}, []Aggregation{Count()})
	if err != nil {
		return 0, err
	}
	return r.Rows[0].Values[0].(int64), nil
}

// Count returns how many entries pass a filter; nil counts all, without looking
// at them.
func (s *Space[T]) Count(ctx context.Context, f Filter) (int64, error) {
	return s.g.count(ctx, &s.typed, f)
}

// Aggregate computes over the entries that pass a filter, beside the data:
//
//	rows, err := seats.Aggregate(ctx, grid.Where("price < ?", 20),
//		grid.GroupBy("section"), grid.Count(), grid.Sum("price"))
//
// Paths are those of the stored fields. See [Grid.Aggregate].
func (s *Space[T]) Aggregate(ctx context.Context, f Filter, parts ...Aggregation) (*AggregateResult, error) {
	return s.g.aggregate(ctx, &s.typed, f, AggregateSpec{}, parts)
}
