package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/bench"
)

func (a *app) benchTakesCommand() *cobra.Command {
	var cfg bench.TakesConfig
	c := &cobra.Command{
		Use:     "takes",
		Short:   "Measure takes by an indexed template as the space grows, over three member processes",
		Example: `  spacegrid bench takes --sizes 10000,100000,1000000,5000000`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if cfg.Start, err = startMembers(); err != nil {
				return err
			}
			cfg.Progress = a.progress
			report, err := bench.Takes(c.Context(), cfg)
			return errors.Join(a.showReport(&report), err)
		},
	}
	p := c.Flags()
	p.IntVar(&cfg.Members, "members", 0, "member processes (default 3)")
	p.IntVar(&cfg.Consumers, "consumers", 0, "consumers at once (default 64)")
	p.IntSliceVar(&cfg.Sizes, "sizes", nil, "entries in the space, each number a cell (default 10000,100000,1000000)")
	p.DurationVar(&cfg.Load.Duration, "duration", 5*time.Second, "how long each cell is measured")
	p.DurationVar(&cfg.Load.Warmup, "warmup", time.Second, "how long nothing is counted before that")
	p.Uint64Var(&cfg.Load.Seed, "seed", 1, "seed that the report names")
	p.IntVar(&cfg.Runs, "runs", 1, "how often each cell is measured; the report has the median")
	return c
}
