package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// maxConfigBytes bounds a file of settings.
const maxConfigBytes = 64 << 10

func (a *app) sinkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sink",
		Short: "Define where committed changes go beside the members' own stores",
		Long: `Every committed change goes, in order, to the store of every member and to the
sinks that are defined here, each of which the leader of a partition feeds. A
required sink loses nothing: changes are kept until it has them, and writes are
held back before there are too many. An optional one starts over from an image
when it was away for too long.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.sinkAddCommand(), a.sinkListCommand(), a.sinkAlterCommand(), a.pumpOrderCommand(
		"remove", "Feed a sink no more; what it holds stays",
		func(ctx context.Context, g *grid.Grid, name string) error { return g.RemoveSink(ctx, name) }))
	return c
}

// readConfig returns the settings that a flag names: the text itself, or a file
// after an @.
func readConfig(s string) (string, error) {
	path, file := strings.CutPrefix(s, "@")
	if !file {
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err == nil && len(b) > maxConfigBytes {
		err = fmt.Errorf("%s has more than %d bytes", path, maxConfigBytes)
	}
	return string(b), err
}

func (a *app) sinkAddCommand() *cobra.Command {
	var d grid.SinkDefinition
	var config string
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Define a sink and feed it from now on",
		Example: `  spacegrid sink add pg --kind postgres --required --config @pg.yaml
  spacegrid sink add orders --kind postgres --space orders --space customers --config @orders.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d.Name = args[0]
			var err error
			if d.Config, err = readConfig(config); err != nil {
				return err
			}
			if err := checkSink(d.Kind, d.Config); err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error { return g.AddSink(ctx, d) })
		},
	}
	c.Flags().StringVar(&d.Kind, "kind", "", "what it is: one of the kinds that the members know")
	c.Flags().BoolVar(&d.Required, "required", false, "keep every change until the sink has it")
	c.Flags().StringArrayVar(&d.Spaces, "space", nil, "feed it the changes of this space only (repeat for more)")
	c.Flags().StringVar(&config, "config", "", "settings of the kind, or @FILE; secrets belong into the environment of the members")
	_ = c.MarkFlagRequired("kind") // fails for unknown flags only
	return c
}

// checkAltered reports what is wrong with new settings of a sink, if they are.
func checkAltered(sinks []grid.SinkDefinition, name string, config *string) error {
	for _, d := range sinks {
		if d.Name == name && config != nil {
			return checkSink(d.Kind, *config)
		}
	}
	return nil
}

func (a *app) sinkAlterCommand() *cobra.Command {
	var required bool
	var config string
	c := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change the settings of a sink, or whether it is required",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var change grid.SinkAlteration
			if c.Flags().Changed("required") {
				change.Required = &required
			}
			if c.Flags().Changed("config") {
				text, err := readConfig(config)
				if err != nil {
					return err
				}
				change.Config = &text
			}
			if change == (grid.SinkAlteration{}) {
				return usagef("nothing to alter: say --required or --config")
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				if err := checkAltered(g.Sinks(), args[0], change.Config); err != nil {
					return err
				}
				return g.AlterSink(ctx, args[0], change)
			})
		},
	}
	c.Flags().BoolVar(&required, "required", false, "keep every change until the sink has it")
	c.Flags().StringVar(&config, "config", "", "settings of the kind, or @FILE")
	return c
}

func (a *app) sinkListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the sinks",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withGrid(c.Context(), func(_ context.Context, g *grid.Grid) error {
				defs := g.Sinks()
				t := &table{header: []string{"NAME", "KIND", "NEED", "SPACES", "STATE"}}
				for _, d := range defs {
					need, state, spaces := "optional", "fed", "all"
					if d.Required {
						need = "required"
					}
					if d.Paused {
						state = "paused"
					}
					if len(d.Spaces) > 0 {
						spaces = strings.Join(d.Spaces, ",")
					}
					t.add(d.Name, d.Kind, need, spaces, state)
				}
				return a.show(defs, t)
			})
		},
	}
}
