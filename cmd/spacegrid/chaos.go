package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/bench"
	"github.com/spacegrid/spacegrid/internal/chaos"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

func (a *app) chaosCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "chaos",
		Short: "Put clusters under faults, and look whether anything acknowledged is lost",
		Long: `Start member processes, let clients work, injure the members, their disks and
their network, heal them, and judge what the clients have recorded.

Members run in private namespaces: a network in which every member and client has
an address of its own, and a file system for each member on an image file. Nothing
outside is touched, and nothing is left behind. That takes Linux, root, and the
programs nft, mkfs.ext4 and strace; what cannot be done here is skipped by name.

It ends with one line of JSON, and with a status that is not zero if a promise was
broken or if runs prove nothing.`,
		Example: `  spacegrid chaos list
  spacegrid chaos run --workload register --fault pause-leader --seed 7
  spacegrid chaos matrix --time 60m --out results
  spacegrid chaos replay results/register-kill-one-257
  spacegrid chaos probe --addr 10.0.0.1:7381 --workload set --time 10m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.chaosListCommand(), a.chaosRunCommand(), a.chaosMatrixCommand(), a.chaosReplayCommand(), a.chaosProbeCommand(), a.chaosSoakCommand(), a.chaosDamageCommand())
	return c
}

// chaosFlags are those of every command that starts members.
type chaosFlags struct {
	out     string
	seed    uint64
	members int
	clients int
	rate    float64
	minRate float64
	under   time.Duration
	strikes int
	verbose bool
}

func (f *chaosFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.out, "out", "", "folder for results, histories and the data of runs that did not pass (default: a new one in the system's folder for such)")
	p.Uint64Var(&f.seed, "seed", 1, "the same seed draws the same faults and operations")
	p.IntVar(&f.members, "members", chaos.DefaultMembers, "members of a cluster")
	p.IntVar(&f.clients, "clients", chaos.DefaultClients, "clients at once")
	p.Float64Var(&f.rate, "rate", chaos.DefaultRate, "operations a second, of all clients")
	p.Float64Var(&f.minRate, "min-rate", chaos.DefaultMinRate, "operations done a second for a run to count")
	p.DurationVar(&f.under, "under", chaos.DefaultUnder, "how long each run is under faults")
	p.IntVar(&f.strikes, "strikes", 0, "how many faults each run gets, however long that takes, instead of --under")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "tell each fault as it happens")
}

// model returns what the flags say of every run.
func (f *chaosFlags) model(a *app) (chaos.Config, error) {
	if f.members < 3 || f.members > 7 {
		return chaos.Config{}, usagef("--members %d: 3 to 7", f.members)
	}
	if f.under < time.Second || f.under > time.Hour {
		return chaos.Config{}, usagef("--under %s: one second to one hour", f.under)
	}
	binary, err := os.Executable()
	if err != nil {
		return chaos.Config{}, err
	}
	log := slog.New(slog.DiscardHandler)
	if f.verbose {
		log = slog.New(slog.NewTextHandler(a.err, nil))
	}
	return chaos.Config{
		Seed: f.seed, Binary: binary, Members: f.members, Clients: f.clients, Rate: f.rate, MinRate: f.minRate,
		Under: f.under, Strikes: f.strikes, Logger: log,
	}, nil
}

// folder returns where results go.
func (f *chaosFlags) folder() (string, error) {
	if f.out == "" {
		return os.MkdirTemp("", "spacegrid-chaos-")
	}
	return filepath.Abs(f.out)
}

// workloads finds workloads by name; none is all.
func workloads(names []string) ([]workload.Workload, error) {
	if len(names) == 0 {
		return workload.All(), nil
	}
	var list []workload.Workload
	for _, name := range names {
		w, ok := workload.Named(name)
		if !ok {
			return nil, usagef("there is no workload %q: see spacegrid chaos list", name)
		}
		list = append(list, w)
	}
	return list, nil
}

// pairs puts every workload under every column; no names are all there are.
func pairs(what, faults []string) ([]chaos.Pair, error) {
	list, err := workloads(what)
	if err != nil {
		return nil, err
	}
	columns := chaos.Columns()
	if len(faults) > 0 {
		columns = columns[:0]
	}
	for _, name := range faults {
		c, err := chaos.NamedColumn(name)
		if err != nil {
			return nil, usagef("%v: see spacegrid chaos list", err)
		}
		columns = append(columns, c)
	}
	var all []chaos.Pair
	for _, c := range columns {
		for _, w := range list {
			all = append(all, chaos.Pair{Workload: w, Column: c})
		}
	}
	return all, nil
}

// chaosList is what can be done here. Its names in JSON are part of the interface.
type chaosList struct {
	Workloads []string          `json:"workloads"`
	Faults    []string          `json:"faults"`
	Missing   map[string]string `json:"missing"` // fault → why it cannot be done here
}

func (a *app) chaosListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List workloads and faults, and what cannot be done here",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.inLab(c.Context(), func(_ context.Context, rights lab.Rights) error { return a.chaosList(rights) })
		},
	}
}

func (a *app) chaosList(rights lab.Rights) error {
	l := chaosList{Missing: map[string]string{}}
	t := table{header: []string{"", "NAME", "FAMILY", "MISSING"}}
	for _, w := range workload.All() {
		l.Workloads = append(l.Workloads, w.Name())
		t.add("workload", w.Name(), "", "")
	}
	for _, c := range chaos.Columns() {
		for _, f := range c.Faults {
			l.Faults = append(l.Faults, f.Name())
			why := f.Missing(rights)
			if why != "" {
				l.Missing[f.Name()] = why
			}
			t.add("fault", f.Name(), c.Name, why)
		}
	}
	return a.show(l, &t)
}

func (a *app) chaosRunCommand() *cobra.Command {
	var f chaosFlags
	var what, faults string
	times := 1
	c := &cobra.Command{
		Use:   "run",
		Short: "Run one workload under faults",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := pairs([]string{what}, []string{faults})
			if err != nil {
				return err
			}
			return a.chaosMatrix(c.Context(), &f, chaos.MatrixConfig{Pairs: all, Rounds: times}, "")
		},
	}
	f.register(c)
	c.Flags().StringVar(&what, "workload", "register", "what clients do")
	c.Flags().StringVar(&faults, "fault", "kill-leader", "what is done to the cluster: a family, one fault, several joined by + to be drawn from, or none")
	c.Flags().IntVar(&times, "times", 1, "how many runs, each with the next seed")
	return c
}

func (a *app) chaosMatrixCommand() *cobra.Command {
	var f chaosFlags
	var what, faults []string
	var rounds int
	var limit time.Duration
	var page string
	var small bool
	c := &cobra.Command{
		Use:   "matrix",
		Short: "Run every workload under every fault, again and again until the time is over",
		Long: `Run every workload under every fault. With --out and the same --seed a matrix that
was stopped goes on with what is missing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := pairs(what, faults)
			if small {
				all = chaos.Smoke()
			}
			if err != nil {
				return err
			}
			return a.chaosMatrix(c.Context(), &f, chaos.MatrixConfig{Pairs: all, Rounds: rounds, Time: limit}, page)
		},
	}
	f.register(c)
	c.Flags().StringSliceVar(&what, "workload", nil, "what clients do (default: everything there is)")
	c.Flags().StringSliceVar(&faults, "fault", nil, "what is done to the cluster, a column each (default: everything there is, in families)")
	c.Flags().IntVar(&rounds, "rounds", 0, "how often each pair is run (default: until --time is over)")
	c.Flags().DurationVar(&limit, "time", time.Hour, "after how long no further run begins")
	c.Flags().BoolVar(&small, "smoke", false, "instead of everything, the few pairs that are tried before a change lands")
	c.Flags().StringVar(&page, "page", "", "file to write the report to as a page of Markdown")
	return c
}

func (a *app) chaosDamageCommand() *cobra.Command {
	var f chaosFlags
	var what string
	c := &cobra.Command{
		Use:   "damage",
		Short: "Damage every kind of file of one member, and look whether anything wrong is served",
		Long: `Flip bits in, cut and zero each kind of file that a member writes, of members that
were killed and of ones that run, under load. Whatever a member does not repair by
itself it has to refuse, and take from the others.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w, ok := workload.Named(what)
			if !ok {
				return usagef("there is no workload %q: see spacegrid chaos list", what)
			}
			var all []chaos.Pair
			for _, column := range chaos.DamageColumns() {
				all = append(all, chaos.Pair{Workload: w, Column: column})
			}
			return a.chaosMatrix(c.Context(), &f, chaos.MatrixConfig{Pairs: all, Rounds: 1}, "")
		},
	}
	f.register(c)
	f.strikes = 6
	c.Flags().Lookup("strikes").DefValue = "6"
	c.Flags().StringVar(&what, "workload", "register", "what clients do")
	return c
}

func (a *app) chaosMatrix(ctx context.Context, f *chaosFlags, m chaos.MatrixConfig, page string) error {
	m.Seed, m.Told = f.seed, a.chaosTold
	var err error
	if m.Run, err = f.model(a); err != nil {
		return err
	}
	if m.Folder, err = f.folder(); err != nil {
		return err
	}
	return a.inLab(ctx, func(ctx context.Context, rights lab.Rights) error {
		m.Rights = rights
		report, err := chaos.Matrix(ctx, m)
		if report == nil {
			return err
		}
		if werr := report.WriteText(a.err); werr != nil {
			return errors.Join(err, werr)
		}
		if page != "" && err == nil {
			err = writePage(page, report)
		}
		return errors.Join(err, a.chaosEnd(report, m.Folder, f.out == ""))
	})
}

// chaosEnd writes the closing line. A folder that nobody asked for goes if there
// is nothing in it to look at.
func (a *app) chaosEnd(report *chaos.Report, folder string, ours bool) error {
	s := report.Summary()
	if err := a.json(s); err != nil {
		return err
	}
	if s.OK && ours {
		return os.RemoveAll(folder)
	}
	a.notef("results are in %s", folder)
	if !s.OK {
		return &quietError{exitError}
	}
	return nil
}

func writePage(path string, report *chaos.Report) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return report.WritePage(f, bench.ThisMachine().String(), time.Now())
}

// chaosTold tells a result as it comes.
func (a *app) chaosTold(r chaos.Result) {
	line := fmt.Sprintf("%-7s %-9s under %-24s seed %-6d %6d ok %5d failed %4d indeterminate %3d faults %5.0f s",
		r.Outcome, r.Workload, r.Fault, r.Seed, r.Verdict.OK, r.Verdict.Failed, r.Verdict.Indeterminate, len(r.Injuries), r.Took.Seconds())
	if r.Reason != "" {
		line += "  " + r.Reason
	}
	a.notef("%s", line)
}

// chaosVerdict tells what a history shows, and makes it the exit status.
func (a *app) chaosVerdict(v *workload.Verdict) error {
	for _, complaint := range v.Complaints {
		a.notef("violation: %s", complaint)
	}
	if err := a.json(v); err != nil {
		return err
	}
	if v.Word() != workload.Passed {
		return &quietError{exitError}
	}
	return nil
}

func (a *app) chaosReplayCommand() *cobra.Command {
	var what string
	c := &cobra.Command{
		Use:   "replay FOLDER",
		Short: "Judge the history of an earlier run again",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := chaos.Replay(args[0], what)
			if err != nil {
				return err
			}
			return a.chaosVerdict(v)
		},
	}
	c.Flags().StringVar(&what, "workload", "", "what the clients did (default: the beginning of the folder's name)")
	return c
}
