package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
)

// table is rows for people.
type table struct {
	header []string
	rows   [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = printable(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

// show writes v as one JSON line, or the table, as the flags say.
func (a *app) show(v any, t *table) error {
	if a.flags.output == outputJSON {
		return a.json(v)
	}
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	line := func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
	line(t.header)
	for _, r := range t.rows {
		line(r)
	}
	return w.Flush()
}

// json writes v as one line of JSON.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
