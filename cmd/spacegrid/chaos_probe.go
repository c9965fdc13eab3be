package main

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

func (a *app) chaosProbeCommand() *cobra.Command {
	var addrs, resp, http []string
	var what, out string
	var seed uint64
	var clients int
	var rate float64
	var limit time.Duration
	c := &cobra.Command{
		Use:   "probe",
		Short: "Run a workload against a cluster of yours while you injure it, and judge",
		Long: `Run a workload against members that run already. Injure them meanwhile as you see
fit: kill processes, unplug cables, fill disks. When the time is over, let
everything recover; the final reads wait for it. The workload writes into spaces
of its own, whose names begin with "chaos-".`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w, ok := workload.Named(what)
			if !ok {
				return usagef("there is no workload %q: see spacegrid chaos list", what)
			}
			if len(addrs) == 0 {
				return usagef("say where the members are: --addr host:port,...")
			}
			path := out
			if path == "" {
				f, err := os.CreateTemp("", "spacegrid-probe-*.jsonl")
				if err != nil {
					return err
				}
				path = f.Name()
				if err := f.Close(); err != nil {
					return err
				}
			}
			a.notef("%s for %s; the history is in %s", w.Name(), limit, path)
			v, err := chaos.Probe(c.Context(), w, &openPlace{addrs, resp, http}, path, limit, workload.Options{Seed: seed, Clients: clients, Rate: rate})
			if err != nil {
				return err
			}
			return a.chaosVerdict(v)
		},
	}
	p := c.Flags()
	p.StringSliceVar(&addrs, "addr", nil, "addresses of members for clients")
	p.StringSliceVar(&resp, "resp", nil, "their addresses for Redis clients, in the same order, if these are to be used")
	p.StringSliceVar(&http, "http", nil, "their addresses for HTTP, in the same order, if these are to be used")
	p.StringVar(&what, "workload", "set", "what clients do")
	p.StringVar(&out, "out", "", "file for the history (default: a new one in the system's folder for such)")
	p.Uint64Var(&seed, "seed", 1, "the same seed draws the same operations")
	p.IntVar(&clients, "clients", chaos.DefaultClients, "clients at once")
	p.Float64Var(&rate, "rate", chaos.DefaultRate, "operations a second, of all clients")
	p.DurationVar(&limit, "time", time.Minute, "how long the load lasts")
	return c
}

// openPlace is somebody's own cluster, by its addresses.
type openPlace struct{ addrs, resp, http []string }

// Members implements workload.Place.
func (p *openPlace) Members() int { return len(p.addrs) }

// Dial implements workload.Place.
func (p *openPlace) Dial(ctx context.Context, _, member int) (*grid.Grid, error) {
	if member < 0 {
		return grid.Dial(ctx, p.addrs...)
	}
	// The one asked for comes first; the others are known in case it is gone.
	list := append([]string{p.addrs[member]}, p.addrs[:member]...)
	return grid.Dial(ctx, append(list, p.addrs[member+1:]...)...)
}

// Door implements workload.Place.
func (p *openPlace) Door(kind string, member int) string {
	list := p.resp
	if kind == workload.DoorHTTP {
		list = p.http
	}
	if member >= len(list) {
		return ""
	}
	return list[member]
}

// Conn implements workload.Place.
func (p *openPlace) Conn(ctx context.Context, _ int, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, errors.Join(err)
	}
	return c, nil
}
