package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/bench"
	"github.com/spacegrid/spacegrid/bench/failover"
	"github.com/spacegrid/spacegrid/internal/chaos/fault"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// Targets of the measurement. redis-default has Redis's own node timeout of 15 s,
// redis one of a second.
const (
	targetDisk         = "spacegrid"
	targetMemory       = "spacegrid-memory"
	targetRedis        = "redis"
	targetRedisDefault = "redis-default"
	targetOlric        = "olric"
)

const (
	redisFast    = time.Second
	redisDefault = 15 * time.Second
)

type benchFailoverFlags struct {
	targets, kinds []string
	times          int
	olricd         string
}

// failoverReport is the closing line. Its names are part of the interface.
type failoverReport struct {
	Schema  string            `json:"schema"`
	Machine bench.Machine     `json:"machine"`
	Seconds float64           `json:"seconds"`
	Results []failover.Report `json:"results"`
}

func (a *app) benchFailoverCommand() *cobra.Command {
	var f benchFailoverFlags
	c := &cobra.Command{
		Use:   "failover",
		Short: "Measure how long clients cannot write after a member was killed, frozen or cut off",
		Long: `Injure members of clusters many times and measure how long clients cannot write.
Cuts need private namespaces (see spacegrid chaos); without them they are skipped
by name. Redis and Olric are measured in the same way where they can be started.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.benchFailover(c.Context(), &f) },
	}
	p := c.Flags()
	p.StringSliceVar(&f.targets, "target", []string{targetDisk, targetMemory, targetRedis, targetOlric}, "what is measured; also "+targetRedisDefault)
	p.StringSliceVar(&f.kinds, "kind", nil, "kill, pause, cut (default all)")
	p.IntVar(&f.times, "times", 100, "injuries of each kind")
	p.StringVar(&f.olricd, "olricd", "", "the program of bench/failover/olricd, built; without it Olric is left out")
	return c
}

func (a *app) benchFailover(ctx context.Context, f *benchFailoverFlags) error {
	for _, k := range f.kinds {
		if !slices.Contains(failover.Kinds, failover.Kind(k)) {
			return usagef("there is no injury %q: kill, pause or cut", k)
		}
	}
	folder, err := os.MkdirTemp("", "spacegrid-failover-")
	if err != nil {
		return err
	}
	err = a.inLab(ctx, func(ctx context.Context, rights lab.Rights) error {
		began := time.Now()
		r := failoverReport{Schema: "spacegrid.failover/1", Machine: bench.ThisMachine()}
		for _, name := range f.targets {
			if err := a.failoverTarget(ctx, f, name, filepath.Join(folder, name), rights, &r); err != nil {
				return err
			}
		}
		r.Seconds = time.Since(began).Seconds()
		if err := failover.WriteText(a.err, r.Results); err != nil {
			return err
		}
		return a.json(&r)
	})
	return errors.Join(err, os.RemoveAll(folder))
}

// failoverTarget measures one target under all kinds of injury.
func (a *app) failoverTarget(ctx context.Context, f *benchFailoverFlags, name, folder string, rights lab.Rights, r *failoverReport) (err error) {
	if name == targetOlric && f.olricd == "" {
		a.notef("olric is left out: build it with go build -C bench/failover/olricd -o FILE . and say --olricd FILE")
		return nil
	}
	t, err := startTarget(ctx, f, name, folder, rights)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	for _, k := range failover.Kinds {
		if len(f.kinds) > 0 && !slices.Contains(f.kinds, string(k)) {
			continue
		}
		report, err := failover.Run(ctx, t, failover.Config{Kind: k, Times: f.times, Told: func(n int, gap time.Duration) {
			a.notef("%-40s %-5s %3d  %6d ms", t.Name(), k, n, gap.Milliseconds())
		}})
		if report.Times() > 0 || report.Skipped != "" {
			r.Results = append(r.Results, report)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func startTarget(ctx context.Context, f *benchFailoverFlags, name, folder string, rights lab.Rights) (failover.Target, error) {
	var net failover.Network
	host := func(int) string { return "127.0.0.1" }
	if rights.Network == "" {
		net, host = fault.Links{}, lab.PeerIP
	}
	switch name {
	case targetDisk, targetMemory:
		durability := "disk"
		if name == targetMemory {
			durability = "memory"
		}
		return failover.StartSpacegrid(ctx, "", folder, durability, net)
	case targetRedis:
		return failover.StartRedisCluster(ctx, folder, redisFast, host, net)
	case targetRedisDefault:
		return failover.StartRedisCluster(ctx, folder, redisDefault, host, net)
	case targetOlric:
		return failover.StartOlric(ctx, f.olricd, folder, host)
	}
	return nil, usagef("there is no target %q", name)
}
