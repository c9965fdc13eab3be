package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// watchEvery is how often -w shows the status anew.
const watchEvery = time.Second

func (a *app) pumpCommand() *cobra.Command {
	c := &cobra.Command{Use: "pump", Short: "See how far the sinks are, and operate them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(a.pumpStatusCommand(), a.pumpDeadCommand(),
		a.pumpOrderCommand("pause", "Let changes for a sink pile up, whoever leads, until it is resumed",
			func(ctx context.Context, g *grid.Grid, name string) error {
				return g.AlterSink(ctx, name, grid.SinkAlteration{Paused: new(true)})
			}),
		a.pumpOrderCommand("resume", "Feed a paused sink again",
			func(ctx context.Context, g *grid.Grid, name string) error {
				return g.AlterSink(ctx, name, grid.SinkAlteration{Paused: new(false)})
			}),
		a.pumpOrderCommand("flush", "Wait until a sink has everything that was written before",
			func(ctx context.Context, g *grid.Grid, name string) error { return g.FlushSink(ctx, name) }),
		a.pumpResyncCommand())
	return c
}

func (a *app) pumpOrderCommand(verb, short string, do func(context.Context, *grid.Grid, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " SINK",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error { return do(ctx, g, args[0]) })
		},
	}
}

func (a *app) pumpResyncCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "resync SINK",
		Short: "Bring a sink up again from the entries themselves",
		Long: `Resync replaces what a sink holds by an image of every partition, whatever it
holds: also what another grid has left in it, and its dead letters. Then it follows
as before. It begins at once; spacegrid pump flush waits for the end.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !yes {
				return usagef("what sink %s holds will be replaced: say --yes", args[0])
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error { return g.ResyncSink(ctx, args[0]) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "replace what the sink holds")
	return c
}

func (a *app) pumpStatusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what waits for every sink, what is wrong, and what to do about it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !watch {
				return a.withGrid(c.Context(), a.showPumps)
			}
			g, err := a.dial(c.Context())
			if err != nil {
				return err
			}
			defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
			return a.watchPumps(c.Context(), g)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it anew every second")
	return c
}

// watchPumps shows the status until ctx ends.
func (a *app) watchPumps(ctx context.Context, g *grid.Grid) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if a.flags.output == outputTable && isTerminal(a.out) {
			if _, err := io.WriteString(a.out, "\x1b[H\x1b[2J"); err != nil {
				return err
			}
		}
		round, cancel := context.WithTimeout(ctx, a.flags.timeout)
		err := a.showPumps(round, g)
		cancel()
		var quiet *quietError
		if err != nil && !errors.As(err, &quiet) && ctx.Err() == nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// showPumps writes the status of all sinks once.
func (a *app) showPumps(ctx context.Context, g *grid.Grid) error {
	all := askAll[[]grid.SinkStatus](ctx, g, "sinks")
	if a.flags.output == outputJSON {
		return errors.Join(a.json(all), silent(a, all))
	}
	lines := sumSinks(all, g.Sinks())
	t := &table{header: []string{"SINK", "KIND", "NEED", "STATE", "BACKLOG", "BYTES", "LAG", "RATE/S", "BATCH", "RETRIES", "BREAKER", "DEAD", "PARKED"}}
	for i := range lines {
		l := &lines[i]
		need := "optional"
		if l.required {
			need = "required"
		}
		t.add(l.name, l.kind, need, l.state, l.backlog, sizeText(l.bytes), lagText(l.lag), int(l.rate), int(l.batch), l.retries, l.breaker, l.dead, l.parked)
	}
	err := a.show(nil, t)
	for i := range lines {
		for _, text := range lines[i].advice() {
			if _, wrote := io.WriteString(a.out, printable(text)+"\n"); err == nil {
				err = wrote
			}
		}
	}
	return errors.Join(err, silent(a, all))
}
