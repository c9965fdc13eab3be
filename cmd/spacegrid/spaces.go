package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// spaceView is a definition as JSON shows it.
type spaceView struct {
	ID space.ID `json:"id"`
	form.Definition
}

func viewOf(g *grid.Grid, d *space.Definition) spaceView {
	return spaceView{ID: d.ID, Definition: form.DefinitionOf(g, d)}
}

// indexText says what an index is over, and whether it serves yet.
func indexText(x *form.Index) string {
	text := "(" + strings.Join(x.Fields, ",") + ")"
	if x.Ordered {
		text += " ordered"
	}
	if x.Building != nil {
		text += fmt.Sprintf(", being built: %.0f %%", 100**x.Building)
	}
	return text
}

func (v *spaceView) indexes() string {
	parts := make([]string, len(v.Indexes))
	for i := range v.Indexes {
		parts[i] = v.Indexes[i].Name + indexText(&v.Indexes[i])
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
					v := viewOf(g, &defs[i])
					views[i] = v
					t.add(v.Name, v.Shape, v.Key, v.Lease, v.indexes())
				}
				return a.show(views, t)
			})
		},
	}
}

func (a *app) spaceCommand() *cobra.Command {
	c := &cobra.Command{Use: "space", Short: "Create, describe, alter or drop a space", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(a.spaceCreateCommand(), a.spaceDescribeCommand(), a.spaceAlterCommand(), a.spaceDropCommand())
	return c
}

// termFlags are what may be said of a space when it is created and later.
type termFlags struct {
	indexes, ordered, fields []string
	claimLease               time.Duration
	maxAttempts              int
	deadLetter               string
}

func (f *termFlags) register(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.indexes, "index", nil, "index on a field, or on several: a,b (repeat for more indexes)")
	c.Flags().StringArrayVar(&f.ordered, "ordered", nil, "the same, and the last field serves comparisons and ranges too")
	c.Flags().StringArrayVar(&f.fields, "field", nil, "declare a field and its type, path:type (repeat for more fields)")
	c.Flags().DurationVar(&f.claimLease, "claim-lease", 0, "how long a claim lasts that says nothing; 0 is 30s")
	c.Flags().IntVar(&f.maxAttempts, "max-attempts", 0, "claims of an entry that may end without an ack; 0 is no limit")
	c.Flags().StringVar(&f.deadLetter, "dead-letter", "", "space that an entry moves to after that")
}

// parse returns the indexes and the declared fields.
func (f *termFlags) parse() (indexes []space.Index, fields []space.Field, err error) {
	for i, list := range [][]string{f.indexes, f.ordered} {
		for _, x := range list {
			names := strings.Split(x, ",")
			indexes = append(indexes, space.Index{Name: strings.Join(names, "-"), Fields: names, Ordered: i == 1})
		}
	}
	for _, x := range f.fields {
		path, word := x, ""
		if i := strings.LastIndexByte(x, ':'); i >= 0 {
			path, word = x[:i], x[i+1:]
		}
		t, err := form.ParseType(word)
		if err != nil {
			return nil, nil, err
		}
		fields = append(fields, space.Field{Path: path, Type: t})
	}
	return indexes, fields, nil
}

func (a *app) spaceCreateCommand() *cobra.Command {
	var shape string
	var def space.Definition
	var terms termFlags
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a space",
		Example: `  spacegrid space create seats --key id --index section --ordered section,price
  spacegrid space create sessions --shape bytes --lease 30m
  spacegrid space create jobs --key id --group customer --max-attempts 5 --dead-letter failed`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			def.Name, def.ClaimLease, def.MaxAttempts = args[0], terms.claimLease, terms.maxAttempts
			var err error
			if def.Shape, err = space.ParseShape(shape); err != nil {
				return err
			}
			if def.Indexes, def.Fields, err = terms.parse(); err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				if terms.deadLetter != "" {
					if def.DeadLetter, err = g.DeadLetterSpace(ctx, terms.deadLetter, def.Shape); err != nil {
						return err
					}
				}
				made, err := g.CreateSpace(ctx, def)
				if err != nil {
					return err
				}
				v := viewOf(g, &made)
				t := &table{header: []string{"NAME", "SHAPE", "KEY", "LEASE", "INDEXES"}}
				t.add(v.Name, v.Shape, v.Key, v.Lease, v.indexes())
				return a.show(v, t)
			})
		},
	}
	c.Flags().StringVar(&shape, "shape", "fields", "any, fields or bytes")
	c.Flags().StringVar(&def.Key, "key", "", "field that an entry's key is taken from")
	c.Flags().StringVar(&def.Group, "group", "", "field by whose value takes and claims hand entries out in order, one at a time")
	c.Flags().StringVar(&def.Routing, "routing", "", "field whose text is the {tag} of every key, so that equal values lie together")
	c.Flags().DurationVar(&def.Lease, "lease", 0, "lease of entries written without one; 0 is forever")
	terms.register(c)
	return c
}

// alterable are the flags that say what to alter.
var alterable = []string{"index", "ordered", "field", "claim-lease", "max-attempts", "dead-letter", "drop-index", "drop-field"}

func (a *app) spaceAlterCommand() *cobra.Command {
	var terms termFlags
	var change grid.Alteration
	c := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change indexes, declared fields and the terms of claims",
		Long: `Change indexes, declared fields and the terms of claims of a space, all of what is
given or nothing. A new index serves once every entry is in it; describe shows
how far it is.`,
		Example: `  spacegrid space alter seats --ordered price --drop-index section
  spacegrid space alter jobs --claim-lease 5m --max-attempts 3 --dead-letter failed`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.ContainsFunc(alterable, c.Flags().Changed) {
				return usagef("say what to alter")
			}
			var err error
			if change.AddIndexes, change.AddFields, err = terms.parse(); err != nil {
				return err
			}
			if c.Flags().Changed("claim-lease") {
				change.ClaimLease = &terms.claimLease
			}
			if c.Flags().Changed("max-attempts") {
				change.MaxAttempts = &terms.maxAttempts
			}
			if c.Flags().Changed("dead-letter") {
				change.DeadLetter = &terms.deadLetter
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				def, err := g.AlterSpace(ctx, args[0], change)
				if err != nil {
					return err
				}
				return a.describe(ctx, g, &def)
			})
		},
	}
	terms.register(c)
	c.Flags().StringArrayVar(&change.DropIndexes, "drop-index", nil, "drop the index of this name (repeat for more)")
	c.Flags().StringArrayVar(&change.DropFields, "drop-field", nil, "declare a field no more (repeat for more)")
	return c
}

// describe shows all that a definition says, a line each.
func (a *app) describe(ctx context.Context, g *grid.Grid, d *space.Definition) error {
	v := spaceView{ID: d.ID}
	var err error
	if v.Definition, err = form.Describe(ctx, g, d); err != nil {
		return err
	}
	t := &table{header: []string{"SPACE", v.Name}}
	line := func(what, text string) {
		if text != "" {
			t.add(what, text)
		}
	}
	line("shape", v.Shape)
	line("key", v.Key)
	line("lease", v.Lease)
	line("group", v.Group)
	line("routing", v.Routing)
	line("claim lease", v.ClaimLease)
	if v.MaxAttempts > 0 {
		t.add("max attempts", v.MaxAttempts)
	}
	line("dead letters", v.DeadLetter)
	for i := range v.Indexes {
		t.add("index "+v.Indexes[i].Name, indexText(&v.Indexes[i]))
	}
	for _, f := range v.Fields {
		t.add("field "+f.Path, f.Type)
	}
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
				return a.describe(ctx, g, &def)
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
