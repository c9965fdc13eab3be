package form

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// Aggregate is what an aggregate computes, as JSON says it.
type Aggregate struct {
	// Columns are written as by ParseColumn; none counts.
	Columns []string `json:"columns"`
	GroupBy []string `json:"group_by"`
	Having  string   `json:"having"`   // a condition on the columns
	OrderBy []string `json:"order_by"` // columns and groups; a minus turns the order round
	Limit   int      `json:"limit"`    // rows
	// Local reads what the nearest replica has, which may be old.
	Local bool `json:"local"`
}

// Parse returns the specification, and what else there is to say.
func (a *Aggregate) Parse() (grid.AggregateSpec, []grid.Aggregation, error) {
	spec := grid.AggregateSpec{GroupBy: a.GroupBy, Limit: a.Limit}
	for _, text := range a.Columns {
		c, err := ParseColumn(text)
		if err != nil {
			return spec, nil, err
		}
		spec.Columns = append(spec.Columns, c)
	}
	if len(spec.Columns) == 0 {
		spec.Columns = []aggregate.Column{aggregate.Count()}
	}
	parts := []grid.Aggregation{grid.OrderBy(a.OrderBy...)}
	if a.Having != "" {
		p, err := ParseCondition(a.Having, nil)
		if err != nil {
			return spec, nil, err
		}
		spec.Having = p
	}
	if a.Local {
		parts = append(parts, grid.Nearest())
	}
	return spec, parts, nil
}

// ParseColumn reads a column: count, count(path), sum(path), min, max, avg,
// distinct, top(n, path) and bottom(n, path), with a name behind "as" if wanted.
func ParseColumn(text string) (aggregate.Column, error) {
	var c aggregate.Column
	call := strings.TrimSpace(text)
	bad := func(what string) (aggregate.Column, error) {
		return c, refuse("write count, sum(price), top(3, price) or avg(price) as mean", "column %q: %s", text, what)
	}
	if as := strings.LastIndex(strings.ToLower(call), " as "); as > 0 {
		c.Name, call = strings.TrimSpace(call[as+len(" as "):]), call[:as]
	}
	name, rest, called := strings.Cut(call, "(")
	var err error
	if c.Func, err = aggregate.ParseFunc(strings.ToLower(strings.TrimSpace(name))); err != nil {
		return c, err
	}
	if !called {
		if c.Func != aggregate.FuncCount {
			return bad("a path is missing")
		}
		return c, nil
	}
	inside, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !closed {
		return bad("the parenthesis is not closed")
	}
	if c.Func == aggregate.FuncTop || c.Func == aggregate.FuncBottom {
		n, path, ok := strings.Cut(inside, ",")
		if c.N, err = strconv.Atoi(strings.TrimSpace(n)); !ok || err != nil {
			return bad("it takes a number and a path")
		}
		inside = path
	}
	c.Path = strings.TrimSpace(inside)
	if c.Path == "" && c.Func != aggregate.FuncCount {
		return bad("a path is missing")
	}
	return c, nil
}

// AppendValue appends a value of a row as JSON: null, numbers, text, or a list
// of entries for top and bottom.
func AppendValue(dst []byte, v any) ([]byte, error) {
	ranked, ok := v.([]grid.Ranked)
	if !ok {
		return appendPlain(dst, v)
	}
	dst = append(dst, '[')
	for i, e := range ranked {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = msgp.AppendJSON(append(dst, `{"key":`...), msgp.AppendString(nil, e.Key)); err != nil {
			return nil, err
		}
		if dst, err = msgp.AppendJSON(append(dst, `,"value":`...), e.Fields); err != nil {
			return nil, err
		}
		dst = append(dst, '}')
	}
	return append(dst, ']'), nil
}

// appendPlain appends what one entry could hold, or an integer that it could not.
func appendPlain(dst []byte, v any) ([]byte, error) {
	b, err := msgp.AppendValue(nil, v)
	if err == nil {
		return msgp.AppendJSON(dst, b)
	}
	text, err := json.Marshal(v)
	return append(dst, text...), err
}

// AppendRow appends a row as a JSON object, the groups before the columns.
func AppendRow(dst []byte, r *grid.AggregateResult, row int) ([]byte, error) {
	dst = append(dst, '{')
	names := append(append([]string{}, r.Groups...), r.Columns...)
	values := append(append([]any{}, r.Rows[row].Groups...), r.Rows[row].Values...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		text, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if dst, err = AppendValue(append(append(dst, text...), ':'), values[i]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
