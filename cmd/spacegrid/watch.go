package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// eventView is an event as JSON shows it.
type eventView struct {
	Op        string          `json:"op"`
	Partition uint16          `json:"partition"`
	Seq       uint64          `json:"seq,omitempty"`
	Key       string          `json:"key,omitempty"`
	Cause     string          `json:"cause,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Before    json.RawMessage `json:"before,omitempty"`
	Cursor    grid.Cursor     `json:"cursor,omitempty"`
}

var eventWords = map[grid.EventKind]string{
	grid.Snapshot: "snapshot", grid.SnapshotEnd: "snapshot_end", grid.Written: "written", grid.Updated: "updated",
	grid.Removed: "removed", grid.Matched: "matched", grid.Unmatched: "unmatched", grid.Claimed: "claimed",
	grid.Released: "released", grid.Reset: "reset", grid.Mark: "mark",
}

func (a *app) watchCommand() *cobra.Command {
	var snapshot, claims bool
	var from string
	var filter filterFlags
	var limit int
	c := &cobra.Command{
		Use:   "watch SPACE",
		Short: "Print what happens in a space, as it happens",
		Example: `  spacegrid watch default
  spacegrid watch seats --snapshot --match '{"row":1}' -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := filter.form()
			if err == nil {
				_, err = f.Parse()
			}
			if err != nil {
				return err
			}
			g, err := a.dial(c.Context())
			if err != nil {
				return err
			}
			defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			o := grid.WatchOptions{From: grid.Cursor(from), Now: !snapshot && from == "", Template: f.Template, Claims: claims}
			if f.Where != "" {
				o.Where = grid.Where(f.Where, f.Args...)
			}
			w, err := g.Watch(ctx, args[0], o)
			if err != nil {
				return err
			}
			return a.printEvents(ctx, w, limit)
		},
	}
	c.Flags().BoolVar(&snapshot, "snapshot", false, "begin with the entries that are there")
	c.Flags().StringVar(&from, "from", "", "continue at a cursor")
	filter.register(c)
	c.Flags().BoolVar(&claims, "claims", false, "show claims and releases of entries too")
	c.Flags().IntVar(&limit, "limit", 0, "end after so many events; 0 goes on until interrupted")
	return c
}

func (a *app) printEvents(ctx context.Context, w *grid.Watcher, limit int) error {
	n := 0
	for e, err := range w.Events(ctx) {
		if err != nil {
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil
			}
			return err
		}
		if e.Kind == grid.Mark {
			continue
		}
		if err := a.printEvent(e, w.Cursor()); err != nil {
			return err
		}
		if n++; n == limit {
			return nil
		}
	}
	return nil
}

func (a *app) printEvent(e grid.Event, at grid.Cursor) error {
	v := eventView{Op: eventWords[e.Kind], Partition: uint16(e.Partition), Seq: uint64(e.Seq), Key: string(e.Entry.Key), Cause: e.Cause}
	if e.Entry.Key != nil && e.Kind != grid.Removed && e.Kind != grid.Claimed {
		entry, err := viewEntry(e.Entry)
		if err != nil {
			return err
		}
		v.Value = entry.Value
	}
	if e.Before.Value != nil {
		entry, err := viewEntry(e.Before)
		if err != nil {
			return err
		}
		v.Before = entry.Value
	}
	if a.flags.output == outputJSON {
		v.Cursor = at
		return a.json(v)
	}
	_, err := fmt.Fprintf(a.out, "%-12s %-24s %s%s\n", v.Op, printable(v.Key), printable(string(v.Value)), v.Cause)
	return err
}
