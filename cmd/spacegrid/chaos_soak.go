package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/internal/chaos"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

func (a *app) chaosSoakCommand() *cobra.Command {
	var f chaosFlags
	var what []string
	var limit, every time.Duration
	c := &cobra.Command{
		Use:   "soak",
		Short: "Run workloads in peace for long, and look whether anything grows",
		Long: `Run workloads side by side without faults, look at the members' goroutines, file
descriptors, resident memory and disks, and compare the second quarter of the
time with the last.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.chaosSoak(c.Context(), &f, what, limit, every) },
	}
	f.register(c)
	c.Flags().StringSliceVar(&what, "workload", []string{"set", "bank", "queue", "watch"}, "what clients do, side by side")
	c.Flags().DurationVar(&limit, "time", time.Hour, "how long it lasts")
	c.Flags().DurationVar(&every, "every", 15*time.Second, "how often the members are looked at")
	return c
}

func (a *app) chaosSoak(ctx context.Context, f *chaosFlags, what []string, limit, every time.Duration) error {
	s := chaos.SoakConfig{Time: limit, Every: every}
	var err error
	if s.Run, err = f.model(a); err != nil {
		return err
	}
	if s.Workloads, err = workloads(what); err != nil {
		return err
	}
	if s.Run.Folder, err = f.folder(); err != nil {
		return err
	}
	s.Told = func(l chaos.Look) {
		a.notef("%7.0f s  %s  %5d goroutines  %4d files  %6.1f MiB resident  %7.1f MiB on disk",
			l.At.Seconds(), l.Member, l.Goroutines, l.Files, float64(l.Resident)/(1<<20), float64(l.Disk)/(1<<20))
	}
	return a.inLab(ctx, func(ctx context.Context, _ lab.Rights) error {
		r, err := chaos.Soak(ctx, s)
		if r == nil {
			return err
		}
		for _, failure := range r.Failures {
			a.notef("violation: %s", failure)
		}
		if err := errors.Join(err, a.json(r)); err != nil {
			return err
		}
		if !r.Passed {
			a.notef("histories and logs are in %s", s.Run.Folder)
			return &quietError{exitError}
		}
		if f.out == "" {
			return os.RemoveAll(s.Run.Folder)
		}
		return nil
	})
}
