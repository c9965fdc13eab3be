package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// spaceView is a definition as JSON shows it.
type spaceView struct {
	ID      space.ID    `json:"id"`
	Name    string      `json:"name"`
	Shape   string      `json:"shape"`
	Key     string      `json:"key,omitempty"`
	Lease   string      `json:"lease,omitempty"`
	Indexes []indexView `json:"indexes,omitempty"`
}

type indexView struct {
	Name   string   `json:"name"`
	Fields []string `json:"fields"`
	// Ordered indexes serve ranges of their last field.
	Ordered bool `json:"ordered,omitempty"`
}

func viewOf(d *space.Definition) spaceView {
	v := spaceView{ID: d.ID, Name: d.Name, Shape: d.Shape.String(), Key: d.Key}
	if d.Lease > 0 {
		v.Lease = d.Lease.String()
	}
	for _, x := range d.Indexes {
		v.Indexes = append(v.Indexes, indexView(x))
	}
	return v
}

func (v *spaceView) indexes() string {
	parts := make([]string, len(v.Indexes))
	for i, x := range v.Indexes {
		parts[i] = x.Name + "(" + strings.Join(x.Fields, ",") + ")"
	}
	return strings.Join(parts, " ")
}

func (a *app) spacesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "spaces",
		Short: "List the spaces",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				defs, err := g.Spaces(ctx)
				if err != nil {
					return err
				}
				views := make([]spaceView, len(defs))
				t := &table{header: []string{"NAME", "SHAPE", "KEY", "LEASE", "INDEXES"}}
				for i := range defs {
					v := viewOf(&defs[i])
					views[i] = v
					t.add(v.Name, v.Shape, v.Key, v.Lease, v.indexes())
				}
				return a.show(views, t)
			})
		},
	}
}

func (a *app) spaceCommand() *cobra.Command {
	c := &cobra.Command{Use: "space", Short: "Create, describe or drop a space", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(a.spaceCreateCommand(), a.spaceDescribeCommand(), a.spaceDropCommand())
	return c
}

func (a *app) spaceCreateCommand() *cobra.Command {
	var shape, key string
	var indexes []string
	var lease time.Duration
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a space",
		Example: `  spacegrid space create seats --key id --index section --index section,row
  spacegrid space create sessions --shape bytes --lease 30m`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			def := space.Definition{Name: args[0], Key: key, Lease: lease}
			var err error
			if def.Shape, err = space.ParseShape(shape); err != nil {
				return err
			}
			for _, x := range indexes {
				fields := strings.Split(x, ",")
				def.Indexes = append(def.Indexes, space.Index{Name: strings.Join(fields, "-"), Fields: fields})
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				made, err := g.CreateSpace(ctx, def)
				if err != nil {
					return err
				}
				return a.showSpace(&made)
			})
		},
	}
	c.Flags().StringVar(&shape, "shape", "fields", "any, fields or bytes")
	c.Flags().StringVar(&key, "key", "", "field that an entry's key is taken from")
	c.Flags().StringArrayVar(&indexes, "index", nil, "hash index on a field, or on several: a,b (repeat for more indexes)")
	c.Flags().DurationVar(&lease, "lease", 0, "lease of entries written without one; 0 is forever")
	return c
}

func (a *app) showSpace(d *space.Definition) error {
	v := viewOf(d)
	t := &table{header: []string{"NAME", "SHAPE", "KEY", "LEASE", "INDEXES"}}
	t.add(v.Name, v.Shape, v.Key, v.Lease, v.indexes())
	return a.show(v, t)
}

func (a *app) spaceDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show how a space is defined",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				def, err := g.Describe(ctx, args[0])
				if err != nil {
					return err
				}
				return a.showSpace(&def)
			})
		},
	}
}

func (a *app) spaceDropCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "drop NAME --yes",
		Short: "Drop a space with all its entries",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !yes {
				return usagef("dropping %q removes all its entries for good: repeat with --yes", args[0])
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				return g.DropSpace(ctx, args[0])
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "really drop it")
	return c
}
