package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

func (a *app) takeCommand() *cobra.Command {
	var filter filterFlags
	var condition conditionFlags
	var o grid.TakeOptions
	c := &cobra.Command{
		Use:   "take SPACE [KEY...]",
		Short: "Remove entries and print them",
		Example: `  spacegrid take jobs job-17
  spacegrid take jobs --match '{"state":"new"}' --wait 1m
  spacegrid take seats A1 --if "not sold"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			keys := args[1:]
			switch {
			case len(keys) > 0 == filter.given():
				return usagef("give keys, or a template with --match, or a condition with --where")
			case condition.text != "" && (len(keys) == 0 || o.Wait != 0):
				return usagef("--if is for keys, without --wait")
			case o.Wait != 0 && len(keys) > 1:
				return usagef("--wait is for one key, or for --match and --where")
			}
			condition.args = filter.where.args
			f, err := filter.parse()
			if len(keys) > 0 {
				f, err = nil, nil
			}
			if err != nil {
				return err
			}
			if len(keys) > 0 && o.Wait == 0 {
				var failed error
				err := a.byKey(c.Context(), args[0], keys, func(b *grid.Batch, def *space.Definition, key []byte) int {
					op := space.Op{Code: space.OpTake, Space: def.ID, Key: key, Flags: space.FlagReturn}
					if failed = condition.require(&op, def); failed != nil {
						return b.Refuse(failed)
					}
					return b.Do(op)
				})
				if failed != nil {
					return failed
				}
				return err
			}
			return a.withPatience(c.Context(), o.Wait, func(ctx context.Context, g *grid.Grid) error {
				if len(keys) > 0 {
					e, err := g.Take(ctx, args[0], keys[0], o)
					if err != nil {
						return err
					}
					return a.showEntries([]grid.Entry{e})
				}
				es, err := g.TakeMatch(ctx, args[0], f, o)
				if err != nil {
					return err
				}
				return a.showEntries(es)
			})
		},
	}
	filter.register(c)
	condition.register(c, "if", "fail unless the entry meets this condition")
	c.Flags().IntVar(&o.Limit, "limit", 1, "at most so many")
	c.Flags().DurationVar(&o.Wait, "wait", 0, "wait so long for an entry")
	c.Flags().BoolVar(&o.AllowScan, "allow-scan", false, "examine any number of entries if no index serves")
	return c
}

// withPatience runs fn as withGrid does, with so much more time.
func (a *app) withPatience(ctx context.Context, wait time.Duration, fn func(context.Context, *grid.Grid) error) error {
	if wait < 0 {
		return usagef("the wait is negative")
	}
	patient := *a
	patient.flags.timeout += wait
	return patient.withGrid(ctx, fn)
}
