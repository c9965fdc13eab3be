package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
)

func (a *app) aggregateCommand() *cobra.Command {
	var filter filterFlags
	var q form.Aggregate
	c := &cobra.Command{
		Use:   "aggregate SPACE [COLUMN...]",
		Short: "Count, sum and group entries beside the data",
		Long: `Count, sum and group entries beside the data. Columns are count, count(path),
sum(path), min, max, avg, distinct, top(n, path) and bottom(n, path), each with
"as name" if wanted; without any entries are counted.`,
		Example: `  spacegrid aggregate seats
  spacegrid aggregate seats --by section count "sum(price) as total" --order -total --where "not sold"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := filter.parse()
			if err != nil {
				return err
			}
			q.Columns = args[1:]
			spec, parts, err := q.Parse()
			if err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				r, err := g.Aggregate(ctx, args[0], f, spec, parts...)
				if err != nil {
					return err
				}
				return a.showRows(r)
			})
		},
	}
	filter.register(c)
	c.Flags().StringArrayVar(&q.GroupBy, "by", nil, "make one row for each value of this field (repeat for more fields)")
	c.Flags().StringVar(&q.Having, "having", "", "only rows that meet this condition on the columns")
	c.Flags().StringArrayVar(&q.OrderBy, "order", nil, "put the rows in the order of this column; -column turns it round (repeat for more)")
	c.Flags().IntVar(&q.Limit, "limit", 0, "at most so many rows; 0 is all")
	c.Flags().BoolVar(&q.Local, "local", false, "read what the nearest replica has, which may be old")
	return c
}

// showRows writes rows: one JSON object a line, or a table.
func (a *app) showRows(r *grid.AggregateResult) error {
	t := &table{}
	for _, name := range append(append([]string{}, r.Groups...), r.Columns...) {
		t.header = append(t.header, strings.ToUpper(printable(name)))
	}
	for i := range r.Rows {
		if a.flags.output == outputJSON {
			row, err := form.AppendRow(nil, r, i)
			if err == nil {
				err = a.json(json.RawMessage(row))
			}
			if err != nil {
				return err
			}
			continue
		}
		var cells []any
		for _, v := range append(append([]any{}, r.Rows[i].Groups...), r.Rows[i].Values...) {
			text, err := cell(v)
			if err != nil {
				return err
			}
			cells = append(cells, text)
		}
		t.add(cells...)
	}
	if a.flags.output == outputJSON {
		return nil
	}
	return a.show(nil, t)
}

// cell returns a value as people read it: text without quotes, nothing as a dash,
// of a ranking the keys.
func cell(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "-", nil
	case string:
		return v, nil
	case []grid.Ranked:
		parts := make([]string, len(v))
		for i := range v {
			by, err := cell(v[i].By())
			if err != nil {
				return "", err
			}
			parts[i] = fmt.Sprintf("%s (%s)", v[i].Key, by)
		}
		return strings.Join(parts, ", "), nil
	}
	b, err := form.AppendValue(nil, v)
	return string(b), err
}

func (a *app) explainCommand() *cobra.Command {
	var filter filterFlags
	var limit int
	var scan bool
	c := &cobra.Command{
		Use:   "explain SPACE [TEMPLATE]",
		Short: "Tell how a query would find its entries, and what that costs",
		Example: `  spacegrid explain seats '{"row":1}'
  spacegrid explain seats --where "price < 20"`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				filter.match = args[1]
			}
			f, err := filter.parse()
			if err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				e, err := g.Explain(ctx, args[0], f, limit, scan)
				if err != nil {
					return err
				}
				if a.flags.output == outputJSON {
					return a.json(form.ExplanationOf(&e))
				}
				return a.showExplanation(&e)
			})
		},
	}
	filter.registerWhere(c)
	c.Flags().IntVar(&limit, "limit", 0, "at most so many entries of each partition; 0 is as many as it takes for a picture")
	c.Flags().BoolVar(&scan, "allow-scan", false, "examine any number of entries if no index serves")
	return c
}

// showExplanation writes a table of the ways, and behind it why they were taken.
func (a *app) showExplanation(e *grid.Explanation) error {
	t := &table{header: []string{"WAY", "PARTITIONS", "EXPECTED", "EXAMINED", "MATCHED"}}
	for _, w := range e.Ways {
		way := "every entry"
		if w.Index != "" {
			way = "index " + w.Index
		}
		expected := fmt.Sprint(w.Estimated)
		if w.AtLeast {
			expected += "+"
		}
		t.add(way, fmt.Sprintf("%d of %d", w.Partitions, e.Partitions), expected, w.Examined, w.Matched)
	}
	if err := a.show(nil, t); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", printableLines(e.String()))
	return err
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
