package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/bench"
)

// benchFlags are those of every benchmark.
type benchFlags struct {
	workload bench.Workload
	load     bench.Load
	runs     int
}

func (f *benchFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.IntVar(&f.workload.Keys, "keys", 0, "how many keys (default 100000)")
	p.IntVar(&f.workload.ValueSize, "value-bytes", 0, "bytes of a value (default 100)")
	p.Float64Var(&f.workload.Zipf, "zipf", 0, "skew of the keys; 0 draws them evenly")
	p.DurationVar(&f.load.Duration, "duration", 5*time.Second, "how long each cell is measured")
	p.DurationVar(&f.load.Warmup, "warmup", time.Second, "how long nothing is counted before that")
	p.Float64Var(&f.load.Rate, "rate", 0, "operations due a second, whatever the answers (open load); 0 asks again after each answer")
	p.Uint64Var(&f.load.Seed, "seed", 1, "makes the operations drawn the same again")
	p.IntVar(&f.runs, "runs", 1, "how often each cell is measured; the report has the median")
}

func (a *app) benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a grid, beside its peers where there are any",
		Example: `  spacegrid bench compare                     # beside Redis, and beside replication without consensus
  spacegrid bench kv --resp 127.0.0.1:7379 --pipeline 16
  spacegrid bench replicated --callers 64,1024`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.benchKVCommand(), a.benchEmbeddedCommand(), a.benchReplicatedCommand(), a.benchTakesCommand(), a.benchFailoverCommand(), a.benchCompareCommand())
	return c
}

func (a *app) benchKVCommand() *cobra.Command {
	var f benchFlags
	var cfg bench.KVConfig
	c := &cobra.Command{
		Use:   "kv",
		Short: "Measure any server that speaks RESP, by GET and SET",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Workload, cfg.Load, cfg.Runs, cfg.Progress = f.workload, f.load, f.runs, a.progress
			report, err := bench.KV(c.Context(), cfg)
			return errors.Join(a.showReport(&report), err)
		},
	}
	f.register(c)
	c.Flags().StringVar(&cfg.Addr, "resp", defaultRESP, "address of the server")
	c.Flags().IntVar(&f.load.Clients, "clients", 0, "connections (default 50)")
	c.Flags().IntVar(&f.load.Pipeline, "pipeline", 0, "operations that a connection sends at once (default 1)")
	c.Flags().Float64Var(&f.workload.Reads, "reads", 0.5, "share of reads")
	return c
}

func (a *app) benchEmbeddedCommand() *cobra.Command {
	var f benchFlags
	var cfg bench.EmbeddedConfig
	c := &cobra.Command{
		Use:   "embedded",
		Short: "Measure a member inside an application, by reads and writes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Workload, cfg.Load, cfg.Runs, cfg.Progress = f.workload, f.load, f.runs, a.progress
			report, err := bench.Embedded(c.Context(), cfg)
			return errors.Join(a.showReport(&report), err)
		},
	}
	f.register(c)
	c.Flags().IntVar(&cfg.Members, "members", 1, "members in this process; the callers use the first")
	c.Flags().IntSliceVar(&cfg.Callers, "callers", nil, "callers at once, each number a pair of cells (default 1,64)")
	return c
}

func (a *app) benchReplicatedCommand() *cobra.Command {
	var f benchFlags
	cfg := bench.ReplicatedConfig{}
	c := &cobra.Command{
		Use:   "replicated",
		Short: "Measure replicated writes to three member processes, beside a primary with two backups",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if cfg.Start, err = startMembers(); err != nil {
				return err
			}
			cfg.Workload, cfg.Load, cfg.Runs, cfg.Progress = f.workload, f.load, f.runs, a.progress
			report, err := bench.Replicated(c.Context(), cfg)
			return errors.Join(a.showReport(&report), err)
		},
	}
	f.register(c)
	c.Flags().IntVar(&cfg.Members, "members", 0, "member processes (default 3)")
	c.Flags().IntSliceVar(&cfg.Callers, "callers", nil, "callers at once, each number a cell (default 64,1024)")
	return c
}

func (a *app) benchCompareCommand() *cobra.Command {
	var f benchFlags
	var cfg bench.CompareConfig
	c := &cobra.Command{
		Use:   "compare",
		Short: "Measure beside the peers, and print the ratios",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if cfg.Start, err = startMembers(); err != nil {
				return err
			}
			cfg.Workload, cfg.Load, cfg.Runs, cfg.Progress = f.workload, f.load, f.runs, a.progress
			report, err := bench.Compare(c.Context(), cfg)
			return errors.Join(a.showReport(&report), err)
		},
	}
	f.register(c)
	c.Flags().StringSliceVar(&cfg.Parts, "parts", nil, "what is compared: resp, replicated (default both)")
	return c
}

func (a *app) progress(line string) { a.notef("%s", line) }

// showReport prints what was measured, also if not all of it was.
func (a *app) showReport(r *bench.Report) error {
	if len(r.Cells) == 0 {
		return nil
	}
	if a.flags.output == outputJSON {
		return r.WriteJSON(a.out)
	}
	return r.WriteText(a.out)
}

// startMembers starts members as processes of this binary, in memory.
func startMembers() (bench.Start, error) {
	program, err := os.Executable()
	if err != nil {
		return bench.Start{}, err
	}
	return bench.Start{Program: program, Args: func(m bench.Member) []string {
		return []string{
			"serve", "--name", m.Name, "--listen", m.Listen, "--gossip", m.Gossip, "--resp", m.RESP, "--http", m.HTTP,
			"--join", strings.Join(m.Seeds, ","), "--expect", strconv.Itoa(max(m.Expect, 1)), "--log-level", "warn",
		}
	}}, nil
}
