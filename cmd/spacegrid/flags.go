package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// Default ports of a member.
const (
	defaultRESP   = "127.0.0.1:7379"
	defaultHTTP   = "127.0.0.1:7380"
	defaultPeer   = "127.0.0.1:7381"
	defaultGossip = "127.0.0.1:7382"
)

// globalFlags are those of every subcommand that talks to a grid.
type globalFlags struct {
	addrs   []string
	output  string
	timeout time.Duration
}

const (
	outputTable = "table"
	outputJSON  = "json"
)

func (f *globalFlags) register(root *cobra.Command) {
	p := root.PersistentFlags()
	p.StringSliceVar(&f.addrs, "addr", []string{defaultPeer}, "peer address of a member, or several")
	p.StringVarP(&f.output, "output", "o", outputTable, "table or json")
	p.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long a command may take")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if f.output != outputTable && f.output != outputJSON {
			return usagef("unknown output %q: table or json", f.output)
		}
		if f.timeout <= 0 {
			return usagef("the timeout must be positive")
		}
		return nil
	}
}

// dial connects to the grid that the flags name.
func (a *app) dial(ctx context.Context) (*grid.Grid, error) {
	dialCtx, cancel := context.WithTimeout(ctx, a.flags.timeout)
	defer cancel()
	g, err := grid.Dial(dialCtx, a.flags.addrs...)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", a.flags.addrs, err)
	}
	return g, nil
}

// withGrid runs fn with a connection and the command's timeout.
func (a *app) withGrid(ctx context.Context, fn func(context.Context, *grid.Grid) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.flags.timeout)
	defer cancel()
	g, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }() // a remote handle: nothing is lost with it
	return fn(ctx, g)
}
