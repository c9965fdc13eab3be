package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// entryView is an entry as JSON shows it.
type entryView struct {
	Key     string          `json:"key"`
	Version grid.Version    `json:"version"`
	Value   json.RawMessage `json:"value"`
}

func viewEntry(e grid.Entry) (entryView, error) {
	v := entryView{Key: string(e.Key), Version: e.Version}
	var err error
	if e.Kind == grid.Fields {
		v.Value, err = msgp.AppendJSON(nil, e.Value)
		return v, err
	}
	if utf8.Valid(e.Value) {
		v.Value, err = json.Marshal(string(e.Value))
		return v, err
	}
	v.Value, err = msgp.AppendJSON(nil, msgp.AppendBytes(nil, e.Value))
	return v, err
}

// showEntries writes entries: one JSON object a line, or a table.
func (a *app) showEntries(entries []grid.Entry) error {
	t := &table{header: []string{"KEY", "VERSION", "VALUE"}}
	for _, e := range entries {
		v, err := viewEntry(e)
		if err != nil {
			return err
		}
		if a.flags.output == outputJSON {
			if err := a.json(v); err != nil {
				return err
			}
			continue
		}
		t.add(v.Key, v.Version, string(v.Value))
	}
	if a.flags.output == outputJSON {
		return nil
	}
	return a.show(nil, t)
}

// valueOf reads a value given on the command line: JSON for fields, text as it is
// for bytes, standard input for "-".
func (a *app) valueOf(def *space.Definition, arg string) ([]byte, grid.Kind, error) {
	b := []byte(arg)
	if arg == "-" {
		var err error
		if b, err = io.ReadAll(io.LimitReader(a.in, 2*space.MaxValueBytes)); err != nil {
			return nil, 0, err
		}
	}
	object := len(b) > 0 && b[0] == '{'
	if def.Shape == space.ShapeBytes || def.Shape == space.ShapeAny && !object {
		return b, grid.Bytes, nil
	}
	value, err := msgp.FromJSON(nil, b)
	if err != nil {
		return nil, 0, usagef("the value is not a JSON object: %w", err)
	}
	if msgp.KindOf(value) != msgp.Map {
		return nil, 0, usagef("the value is not a JSON object")
	}
	return value, grid.Fields, nil
}

func (a *app) writeCommand() *cobra.Command {
	var lease time.Duration
	var insert bool
	var ifVersion uint64
	var condition conditionFlags
	c := &cobra.Command{
		Use:   "write SPACE [KEY] VALUE",
		Short: "Write an entry",
		Long: `Write an entry. VALUE is a JSON object for a space of fields, text for one of
bytes, and - for standard input. Without KEY the key is taken from the space's
key field.`,
		Example: `  spacegrid write seats '{"id":"A1","row":1}'
  spacegrid write default greeting hello`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				def, err := g.Describe(ctx, args[0])
				if err != nil {
					return err
				}
				op := space.Op{Code: space.OpWrite, Space: def.ID, Lease: lease, Match: space.Seq(ifVersion)}
				if insert {
					op.Mode = space.ModeInsert
				}
				if op.Value, op.Kind, err = a.valueOf(&def, args[len(args)-1]); err != nil {
					return err
				}
				if len(args) == 3 {
					op.Key = []byte(args[1])
				} else if op.Key, err = keyFrom(&def, op.Value, op.Kind); err != nil {
					return err
				}
				if err := condition.require(&op, &def); err != nil {
					return err
				}
				b := g.NewBatch()
				at := b.Do(op)
				if err := g.Run(ctx, b); err != nil {
					return err
				}
				r, err := b.Result(at)
				if err != nil {
					return err
				}
				t := &table{header: []string{"KEY", "VERSION"}}
				t.add(string(op.Key), r.Version)
				return a.show(map[string]any{"key": string(op.Key), "version": r.Version}, t)
			})
		},
	}
	c.Flags().DurationVar(&lease, "lease", 0, "how long the entry lives; 0 is the space's default")
	c.Flags().BoolVar(&insert, "insert", false, "fail if the key is present")
	c.Flags().Uint64Var(&ifVersion, "if-version", 0, "fail unless the entry has this version")
	condition.register(c, "if", "fail unless the entry meets this condition")
	return c
}

// keyFrom takes an entry's key from the key field of its space.
func keyFrom(def *space.Definition, value []byte, kind grid.Kind) ([]byte, error) {
	if def.Key == "" || kind != grid.Fields {
		return nil, usagef("space %q has no key field: give a KEY", def.Name)
	}
	field, ok := msgp.Field(value, def.Key)
	if !ok {
		return nil, usagef("the value lacks the key field %q", def.Key)
	}
	return grid.KeyOf(field)
}

func (a *app) readCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "read SPACE KEY...",
		Short:   "Read entries by key",
		Example: `  spacegrid read seats A1`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.byKey(c.Context(), args[0], args[1:], func(b *grid.Batch, def *space.Definition, key []byte) int { return b.Get(def.ID, key) })
		},
	}
}

// byKey runs one operation for each key and prints the entries it returns.
func (a *app) byKey(ctx context.Context, name string, keys []string, add func(*grid.Batch, *space.Definition, []byte) int) error {
	return a.withGrid(ctx, func(ctx context.Context, g *grid.Grid) error {
		def, err := g.Describe(ctx, name)
		if err != nil {
			return err
		}
		b := g.NewBatch()
		for _, k := range keys {
			add(b, &def, []byte(k))
		}
		if err := g.Run(ctx, b); err != nil {
			return err
		}
		var found []grid.Entry
		var failed error
		for i, k := range keys {
			r, err := b.Result(i)
			if err != nil {
				failed = fmt.Errorf("key %q: %w", k, err)
				continue
			}
			for _, e := range r.Entries {
				found = append(found, grid.Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Version: e.Version})
			}
		}
		if len(found) > 0 {
			if err := a.showEntries(found); err != nil {
				return err
			}
		}
		return failed
	})
}

func (a *app) queryCommand() *cobra.Command {
	var o grid.QueryOptions
	var filter filterFlags
	c := &cobra.Command{
		Use:   "query SPACE [TEMPLATE]",
		Short: "Print the entries that match",
		Example: `  spacegrid query seats '{"row":1}' --limit 10
  spacegrid query seats --where "price < 20 and section = 'A'"`,
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
				var es []grid.Entry
				for e, err := range g.Query(ctx, args[0], f, o) {
					if err != nil {
						return err
					}
					es = append(es, e)
				}
				return a.showEntries(es)
			})
		},
	}
	filter.registerWhere(c)
	c.Flags().IntVar(&o.Limit, "limit", 100, "at most so many; 0 is all")
	c.Flags().BoolVar(&o.AllowScan, "allow-scan", false, "examine any number of entries if no index serves")
	c.Flags().BoolVar(&o.Local, "local", false, "read what the nearest replica has, which may be old")
	return c
}
