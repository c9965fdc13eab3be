package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
)

// claimView is a claimed entry as JSON shows it.
type claimView struct {
	entryView
	Token    string `json:"token"`
	Attempts int    `json:"attempts"`
	Lease    string `json:"lease"`
}

func (a *app) claimCommand() *cobra.Command {
	var filter filterFlags
	var o grid.ClaimOptions
	c := &cobra.Command{
		Use:   "claim SPACE [KEY]",
		Short: "Hide entries for a while and print them with their tokens",
		Long: `Hide entries for a while and print them with their tokens. Whoever has a token
acknowledges the entry, which removes it, or gives it back. If neither happens
the entry is there again when the lease of the claim ends.`,
		Example: `  spacegrid claim jobs --match '{"state":"new"}' --lease 5m --wait 1m
  spacegrid ack jobs job-17 3-1042`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 && filter.given() {
				return usagef("give a key, or a filter")
			}
			f, err := filter.parse()
			if err != nil {
				return err
			}
			return a.withPatience(c.Context(), o.Wait, func(ctx context.Context, g *grid.Grid) error {
				if len(args) == 2 {
					one, err := g.Claim(ctx, args[0], args[1], o)
					if err != nil {
						return err
					}
					return a.showClaims([]*grid.Claim{one})
				}
				claims, err := g.ClaimMatch(ctx, args[0], f, o)
				if err != nil {
					return err
				}
				return a.showClaims(claims)
			})
		},
	}
	filter.register(c)
	c.Flags().DurationVar(&o.Lease, "lease", 0, "how long the claim lasts; 0 is the space's own")
	c.Flags().DurationVar(&o.Wait, "wait", 0, "wait so long for an entry")
	c.Flags().IntVar(&o.Limit, "limit", 1, "at most so many")
	c.Flags().BoolVar(&o.AllowScan, "allow-scan", false, "examine any number of entries if no index serves")
	return c
}

// showClaims writes claims: one JSON object a line, or a table.
func (a *app) showClaims(claims []*grid.Claim) error {
	t := &table{header: []string{"KEY", "TOKEN", "ATTEMPTS", "LEASE", "VALUE"}}
	for _, x := range claims {
		e, err := viewEntry(x.Entry)
		if err != nil {
			return err
		}
		v := claimView{entryView: e, Token: x.Token.String(), Attempts: x.Attempts, Lease: x.Lease.String()}
		if a.flags.output == outputJSON {
			if err := a.json(v); err != nil {
				return err
			}
			continue
		}
		t.add(v.Key, v.Token, v.Attempts, v.Lease, string(v.Value))
	}
	if a.flags.output == outputJSON {
		return nil
	}
	return a.show(nil, t)
}

// settleCommand is a command that the holder of a claim gives.
func (a *app) settleCommand(use, short string, do func(ctx context.Context, g *grid.Grid, space string, key []byte, t grid.Token) error) *cobra.Command {
	return &cobra.Command{
		Use:   use + " SPACE KEY TOKEN",
		Short: short,
		Args:  cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := grid.ParseToken(args[2])
			if err != nil {
				return err
			}
			return a.withGrid(c.Context(), func(ctx context.Context, g *grid.Grid) error {
				return do(ctx, g, args[0], []byte(args[1]), t)
			})
		},
	}
}

func (a *app) ackCommand() *cobra.Command {
	return a.settleCommand("ack", "Remove an entry that was claimed: the work is done", func(ctx context.Context, g *grid.Grid, space string, key []byte, t grid.Token) error {
		return g.Ack(ctx, space, key, t)
	})
}

func (a *app) nackCommand() *cobra.Command {
	var o grid.NackOptions
	c := a.settleCommand("nack", "Show an entry that was claimed again", func(ctx context.Context, g *grid.Grid, space string, key []byte, t grid.Token) error {
		return g.Nack(ctx, space, key, t, o)
	})
	c.Flags().DurationVar(&o.Delay, "delay", 0, "nobody sees it before that")
	c.Flags().BoolVar(&o.Uncounted, "uncounted", false, "the claim does not count as an attempt")
	return c
}

func (a *app) extendCommand() *cobra.Command {
	var lease time.Duration
	c := a.settleCommand("extend", "Make a claim last from now on", func(ctx context.Context, g *grid.Grid, space string, key []byte, t grid.Token) error {
		return g.Extend(ctx, space, key, t, lease)
	})
	c.Flags().DurationVar(&lease, "lease", 0, "so long; 0 is the space's own")
	return c
}
