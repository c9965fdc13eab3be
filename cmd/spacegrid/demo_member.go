package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// deployedLine is what a member of the demo says on standard output when it sells.
const deployedLine = "deployed"

// demoMemberCommand is one member of the demo: serve with the box office in it.
// It ends when its standard input does, so that it cannot outlive the demo.
func (a *app) demoMemberCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:    "member",
		Short:  "Run one member of the demo, with the box office deployed",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			go func() {
				defer cancel()
				// Whatever ends the input means the same: nobody is there any more.
				_, _ = io.Copy(io.Discard, a.in)
			}()
			return a.runMember(ctx, &f, func(ctx context.Context, g *grid.Grid) error {
				err := boxOffice().Deploy(ctx, g)
				switch {
				case err == nil:
					_, err = fmt.Fprintln(a.out, deployedLine)
				case ctx.Err() != nil:
					err = nil // stopped before the cluster was there
				}
				return err
			})
		},
	}
	f.register(c)
	return c
}
