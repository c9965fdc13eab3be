package aggregate

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Result is the finished answer.
type Result struct {
	// Groups are the paths grouped by and Columns the columns' titles, in the
	// order of the specification.
	Groups  []string
	Columns []string
	Rows    []Row
}

// Row is the answer for one group.
type Row struct {
	// Groups holds the group's values and Values those of the columns: nil for
	// null, int64 (uint64 and *big.Int beyond its range), float64, bool, string,
	// []byte, time.Time, []any, map[string]any. A count is an int64, a column of
	// Top or Bottom a []Ranked.
	Groups []any
	Values []any

	key   []byte   // canonical values of the groups
	plain [][]byte // canonical values of the columns; nil for lists of entries
}

// Value returns the value of a column by its title, or that of a group by its
// path, and whether there is one. It panics if row is not in the result.
func (r *Result) Value(row int, name string) (any, bool) {
	if i := slices.Index(r.Columns, name); i >= 0 {
		return r.Rows[row].Values[i], true
	}
	if i := slices.Index(r.Groups, name); i >= 0 {
		return r.Rows[row].Groups[i], true
	}
	return nil, false
}

// By returns the value that ranked the entry, as a Go value.
func (e *Ranked) By() any {
	v, err := msgp.Decode(e.by)
	if err != nil {
		panic("aggregate: a value that was checked does not decode: " + err.Error())
	}
	return v
}

// Result finishes the answer. p may be used further; the result shares nothing
// with it but the bytes of ranked entries, which must not be changed.
func (p *Partial) Result() (*Result, error) {
	r := &Result{Groups: slices.Clone(p.spec.GroupBy)}
	for i := range p.spec.Columns {
		r.Columns = append(r.Columns, p.spec.Columns[i].Title())
	}
	for _, key := range slices.Sorted(maps.Keys(p.groups)) {
		row, err := p.row([]byte(key), p.groups[key])
		if err != nil {
			return nil, err
		}
		keep, err := p.keeps(r, &row)
		if err != nil {
			return nil, err
		}
		if keep {
			r.Rows = append(r.Rows, row)
		}
	}
	order := p.spec.ordering()
	slices.SortFunc(r.Rows, func(a, b Row) int { return order(&a, &b) })
	if p.spec.Limit > 0 && len(r.Rows) > p.spec.Limit {
		r.Rows = slices.Clip(r.Rows[:p.spec.Limit])
	}
	return r, nil
}

func (p *Partial) row(key []byte, g *group) (Row, error) {
	row := Row{key: key}
	for rest := key; len(rest) > 0; {
		var v []byte
		v, rest = cut(rest)
		x, err := msgp.Decode(v)
		if err != nil {
			return Row{}, fmt.Errorf("aggregate: a group's value: %w", err)
		}
		row.Groups = append(row.Groups, x)
	}
	for i := range g.cells {
		v, err := p.spec.Columns[i].finish(&g.cells[i])
		if err != nil {
			return Row{}, err
		}
		row.Values = append(row.Values, v)
		row.plain = append(row.plain, canonical(v))
	}
	return row, nil
}

// cut returns the first of some canonical values and the others.
func cut(b []byte) (v, rest []byte) {
	rest, err := msgp.Skip(b)
	if err != nil {
		panic("aggregate: a value that was checked does not scan: " + err.Error())
	}
	return b[:len(b)-len(rest)], rest
}

// finish returns the column's value.
func (c *Column) finish(x *cell) (any, error) {
	switch c.Func {
	case FuncCount, FuncDistinct:
		return int64(x.n), nil
	case FuncTop, FuncBottom:
		return slices.Clone(x.best), nil
	}
	if x.n == 0 {
		return nil, nil
	}
	switch c.Func {
	case FuncSum:
		return x.sum.value(), nil
	case FuncAvg:
		return x.sum.mean(x.n), nil
	}
	v, err := msgp.Decode(x.value)
	if err != nil {
		return nil, fmt.Errorf("aggregate: %s: %w", c.Title(), err)
	}
	return v, nil
}

// canonical returns the encoded form of a column's value, in which an integer
// beyond 64 bits is the nearest float; nil for a list of entries.
func canonical(v any) []byte {
	switch x := v.(type) {
	case []Ranked:
		return nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(x).Float64()
		return msgp.AppendFloat(nil, f)
	}
	b, err := msgp.AppendValue(nil, v)
	if err != nil {
		panic("aggregate: a value that was decoded does not encode: " + err.Error())
	}
	return b
}

// keeps reports whether a row meets the condition on rows.
func (p *Partial) keeps(r *Result, row *Row) (bool, error) {
	if p.spec.Having == nil {
		return true, nil
	}
	fields := make(map[string]any, len(r.Groups)+len(r.Columns))
	for i, name := range r.Groups {
		fields[name] = row.Groups[i]
	}
	for i, name := range r.Columns {
		switch v := row.Values[i].(type) {
		case []Ranked:
		case *big.Int:
			fields[name], _ = new(big.Float).SetInt(v).Float64()
		default:
			fields[name] = v
		}
	}
	b, err := msgp.AppendValue(nil, fields)
	if err != nil {
		return false, tooMuch("group by less", "a row does not fit a value: %v", err)
	}
	return p.spec.Having.Match(b), nil
}

// ordering returns the order of rows.
func (s *Spec) ordering() func(a, b *Row) int {
	type place struct {
		group, column int // one is -1
		descending    bool
	}
	var places []place
	for _, o := range s.OrderBy {
		places = append(places, place{
			group:      slices.Index(s.GroupBy, o.Name),
			column:     slices.IndexFunc(s.Columns, func(c Column) bool { return c.Title() == o.Name }),
			descending: o.Descending,
		})
	}
	return func(a, b *Row) int {
		for _, at := range places {
			var order int
			if at.column >= 0 {
				order = msgp.Compare(a.plain[at.column], b.plain[at.column])
			} else {
				order = msgp.Compare(nth(a.key, at.group), nth(b.key, at.group))
			}
			if at.descending {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return compareKeys(a.key, b.key)
	}
}

func nth(values []byte, n int) (v []byte) {
	for range n + 1 {
		v, values = cut(values)
	}
	return v
}

// compareKeys orders groups by their values. No two have the same.
func compareKeys(a, b []byte) int {
	x, y := a, b
	for len(x) > 0 && len(y) > 0 {
		var v, w []byte
		v, x = cut(x)
		w, y = cut(y)
		if order := msgp.Compare(v, w); order != 0 {
			return order
		}
	}
	return bytes.Compare(a, b)
}
