package main

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

func (a *app) devCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run one member in memory, all doors open on loopback",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.config.Expect = 1
			if f.config.Name == "" {
				f.config.Name = "dev"
			}
			if err := f.complete(); err != nil {
				return err
			}
			return a.runMember(c.Context(), &f, func(_ context.Context, _ *grid.Grid) error {
				a.notef("spacegrid %s  dev: data in memory, no TLS, loopback only; not for production", version)
				if f.config.RESP != "" {
					a.notef("  redis      redis-cli -h %s", hostPortFlags(f.config.RESP))
				}
				if f.config.HTTP != "" {
					a.notef("  http       curl http://%s/v1/spaces", f.config.HTTP)
					a.notef("  websocket  ws://%s/v1/ws", f.config.HTTP)
					a.notef("  metrics    http://%s/metrics", f.config.HTTP)
				}
				a.notef("  watch      spacegrid watch default --addr %s", f.config.Listen)
				a.notef("  go         grid.Dial(ctx, %q)", f.config.Listen)
				return nil
			})
		},
	}
	f.register(c)
	if err := c.Flags().Set("log-level", "warn"); err != nil {
		panic(err)
	}
	return c
}

// hostPortFlags turns host:port into what redis-cli takes.
func hostPortFlags(addr string) string {
	host, port := splitHostPort(addr)
	return host + " -p " + port
}

func splitHostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return host, port
}
