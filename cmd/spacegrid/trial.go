package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// Spaces that the trial makes: the data, what is written when everybody dies,
// large values that fill the logs, what the WebSocket client follows, and the
// marked writes that are looked for in system calls.
const (
	dataSpace   = "cities"
	lastSpace   = "last-words"
	ballast     = "ballast"
	feedSpace   = "feed"
	markedSpace = "marked"
)

const (
	trialMembers = 3
	trialTime    = 15 * time.Minute
	alignTime    = 60 * time.Second
	cliTimeout   = "120s"
)

// trialReport is the trial's last line as JSON. Its names are part of the
// interface.
type trialReport struct {
	Rows             int     `json:"rows"`
	RowsAfterKill    int     `json:"rows_after_kill"`
	ContentDiffers   int     `json:"content_differences"`
	LeadingMembers   int     `json:"leading_members"`
	Killed           int     `json:"killed"`
	ExportEqual      bool    `json:"export_equal"`
	DigestsEqual     bool    `json:"digests_equal"`
	Partitions       int     `json:"partitions"`
	SnapshotReceived bool    `json:"snapshot_received"`
	SocketEvents     int     `json:"socket_events"`
	SocketRepeated   int     `json:"socket_repeated"`
	SocketResets     int     `json:"socket_resets"`
	SocketViolations int     `json:"socket_violations"`
	SocketAwayMS     int64   `json:"socket_away_ms"`
	SocketEqual      bool    `json:"socket_equal"`
	RedisMembers     int     `json:"redis_benchmark_members"`
	SyncedBefore     bool    `json:"fsync_before_ack"`
	AckedBeforeKill  int     `json:"acknowledged_before_kill_all"`
	LostAfterKillAll int     `json:"lost_after_kill_all"`
	ColdStartEqual   bool    `json:"cold_start_equal"`
	DefinitionsEqual bool    `json:"definitions_equal"`
	ColdStarts       int     `json:"cold_starts"`
	SecondRoundBad   int     `json:"second_round_differences"`
	Seconds          float64 `json:"seconds"`
	OK               bool    `json:"ok"`
}

func (r *trialReport) good() bool {
	return r.Rows > 0 && r.RowsAfterKill == r.Rows && r.ContentDiffers == 0 && r.LeadingMembers >= 2 && r.ExportEqual &&
		r.DigestsEqual && r.SnapshotReceived && r.SocketEqual && r.SocketResets == 0 && r.SocketViolations == 0 && r.SyncedBefore &&
		r.AckedBeforeKill > 0 && r.LostAfterKillAll == 0 && r.ColdStartEqual && r.DefinitionsEqual && r.SecondRoundBad == 0
}

func (a *app) trialCommand() *cobra.Command {
	var data, key string
	var keep bool
	c := &cobra.Command{
		Use:    "trial",
		Short:  "Try out on real data what the grid promises when processes die",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), trialTime)
			defer cancel()
			return a.trial(ctx, data, key, keep)
		},
	}
	c.AddCommand(a.trialTakesCommand(), a.trialClaimsCommand())
	c.Flags().StringVar(&data, "data", "", "JSON lines to import, .gz too")
	c.Flags().StringVar(&key, "key", "id", "the member of each line that is its key")
	c.Flags().BoolVar(&keep, "keep", false, "leave the data folder, with the members' logs")
	return c
}

func (a *app) trial(ctx context.Context, data, key string, keep bool) (err error) {
	start := time.Now()
	want, err := readRows(data, key)
	if err != nil {
		return fmt.Errorf("the trial's data: %w", err)
	}
	folder, err := os.MkdirTemp("", "spacegrid-trial-")
	if err != nil {
		return err
	}
	lc, err := lab.Open(ctx, lab.Config{Folder: folder, Members: trialMembers, Doors: true, Flags: []string{"--durability", "disk"}, DiskBytes: noDisks})
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	t := &trial{app: a, data: data, key: key, folder: folder, cluster: lc, want: want, start: start}
	t.report.Rows = len(want)
	defer func() {
		t.hangUp()
		err = errors.Join(err, lc.End())
		if keep {
			a.notef("the data is in %s", folder)
			return
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	if err := t.run(ctx); err != nil {
		return err
	}
	t.report.Killed = lc.Killed()
	t.report.Seconds = time.Since(start).Round(time.Millisecond).Seconds()
	t.report.OK = t.report.good()
	if err := a.json(&t.report); err != nil {
		return err
	}
	if !t.report.OK {
		return &quietError{exitError}
	}
	return nil
}

// trial is one run, from an empty cluster to the last cold start.
type trial struct {
	app     *app
	data    string
	key     string
	folder  string
	cluster *lab.Lab
	want    jsonRows // the input
	start   time.Time
	report  trialReport

	g    *grid.Grid // dialled anew after every restart of all
	feed *follower
}

func (t *trial) run(ctx context.Context) error {
	if err := t.cluster.StartAll(); err != nil {
		return err
	}
	for _, step := range []struct {
		says string
		do   func(context.Context) error
	}{
		{"import with a leader killed half way", t.importUnderFire},
		{"digests of all replicas, each by its own word", t.compareDigests},
		{"export against the input", t.compareExport},
		{"a member stays away until only a snapshot can help it", t.needSnapshot},
		{"a WebSocket client loses its member", t.followThroughKill},
		{"redis-benchmark against each member", t.redisTools},
		{"system calls of one durable write", t.traceSync},
		{"all members killed right after an acknowledgement", t.killAll},
		{"cold start from the stores alone", t.firstColdStart},
		{"write, cold start, write, cold start", t.secondRound},
	} {
		t.sayf("%s", step.says)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.says, err)
		}
	}
	return nil
}

// sayf tells people how far the trial is.
func (t *trial) sayf(format string, args ...any) {
	t.app.notef("%6.1fs  %s", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

// findingf tells people about something that should not be.
func (t *trial) findingf(format string, args ...any) {
	t.app.notef("         NOT AS IT SHOULD BE: %s", fmt.Sprintf(format, args...))
}

func (t *trial) hangUp() {
	if t.g != nil {
		_ = t.g.Close() // a client's handle: nothing is lost with it
		t.g = nil
	}
}

// dial waits until the cluster serves and connects to it.
func (t *trial) dial(ctx context.Context, leaders int) (map[string][]int, error) {
	t.hangUp()
	led, err := t.cluster.AwaitSpread(ctx, leaders)
	if err != nil {
		return nil, err
	}
	t.g, err = grid.Dial(ctx, t.cluster.Addrs()...)
	return led, err
}

// command runs a subcommand of this program to its end and returns what it wrote.
func (t *trial) command(ctx context.Context, name string, args ...string) ([]string, error) {
	args = append(args, "--addr", strings.Join(t.cluster.Addrs(), ","), "--timeout", cliTimeout)
	c, err := t.cluster.Start(name, append([]string{t.cluster.Binary()}, args...)...)
	if err != nil {
		return nil, err
	}
	return c.Output(ctx)
}

// importUnderFire imports the data and kills the busiest leader when half of it
// is there.
func (t *trial) importUnderFire(ctx context.Context) error {
	led, err := t.dial(ctx, 2)
	if err != nil {
		return err
	}
	t.report.LeadingMembers = len(led)
	type outcome struct {
		lines []string
		err   error
	}
	imported := make(chan outcome, 1)
	go func() {
		lines, err := t.command(ctx, "import", "import", dataSpace, t.data, "--key", t.key, "-o", "json")
		imported <- outcome{lines, err}
	}()
	victim := t.cluster.Busiest(led)
	watcher := t.cluster.All()[0]
	if watcher == victim {
		watcher = t.cluster.All()[1]
	}
	err = lab.Poll(ctx, trialTime, "wait for half of the import", func(ctx context.Context) error {
		var s lab.Status
		if err := watcher.Ask(ctx, "status", &s); err != nil {
			return err
		}
		if s.Entries < len(t.want)/2 {
			return fmt.Errorf("%d entries", s.Entries)
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case o := <-imported:
		return fmt.Errorf("the import ended before half of it was seen: %w", o.err)
	default:
	}
	t.sayf("kill -9 %d: member %s, which leads groups %v", victim.PID(), victim.Name(), led[victim.Name()])
	victim.Kill()
	sleep(ctx, deadTime)
	if err := victim.Start(); err != nil {
		return err
	}
	o := <-imported
	if o.err != nil {
		return o.err
	}
	t.sayf("import: %s", strings.Join(o.lines, " "))
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	rows, err := t.rows(ctx, dataSpace)
	if err != nil {
		return err
	}
	t.report.RowsAfterKill = len(rows)
	var first string
	if t.report.ContentDiffers, first = difference(t.want, rows); t.report.ContentDiffers > 0 {
		t.findingf("%d rows differ: %s", t.report.ContentDiffers, first)
	}
	return nil
}

// rows reads a space from the grid.
func (t *trial) rows(ctx context.Context, name string) (jsonRows, error) {
	entries, err := gridSpace(ctx, t.g, name)
	if err != nil {
		return nil, err
	}
	return rowsOf(entries)
}

// digestStatus is the digest of a member's own replica of one partition.
type digestStatus struct {
	lab.PartitionStatus
	Content string `json:"content"`
	State   string `json:"state"`
}

// compareDigests asks every member for the digests of its own replicas until they
// stand at the same change, and compares them.
func (t *trial) compareDigests(ctx context.Context) error {
	return lab.Poll(ctx, alignTime, "wait for equal positions", func(ctx context.Context) error {
		if err := t.cluster.AwaitAligned(ctx, alignTime); err != nil {
			return err
		}
		all := make([]map[int]digestStatus, len(t.cluster.All()))
		for i, m := range t.cluster.All() {
			var ds []digestStatus
			if err := m.Ask(ctx, "digest", &ds); err != nil {
				return fmt.Errorf("member %s: %w", m.Name(), err)
			}
			all[i] = map[int]digestStatus{}
			for _, d := range ds {
				all[i][d.Partition] = d
			}
		}
		unequal := 0
		for id, want := range all[0] {
			for i := range all {
				have := all[i][id]
				if have.Seq != want.Seq || have.History != want.History {
					return fmt.Errorf("partition %d moved on meanwhile", id)
				}
				if have.Content != want.Content {
					unequal++
					t.findingf("partition %d at change %d: digest %s on %s, %s on %s", id, want.Seq, want.Content, t.cluster.All()[0].Name(), have.Content, t.cluster.All()[i].Name())
				}
			}
		}
		t.report.Partitions = len(all[0])
		t.report.DigestsEqual = unequal == 0 && len(all[0]) > 0
		return nil
	})
}

// compareExport exports the data and compares it with the input.
func (t *trial) compareExport(ctx context.Context) error {
	n, err := t.exportDiffers(ctx)
	t.report.ExportEqual = err == nil && n == 0
	return err
}

func (t *trial) exportDiffers(ctx context.Context) (int, error) {
	path := filepath.Join(t.folder, "export.jsonl.gz")
	if _, err := t.command(ctx, "export", "export", dataSpace, path); err != nil {
		return 0, err
	}
	have, err := readRows(path, t.key)
	if err != nil {
		return 0, err
	}
	n, first := difference(t.want, have)
	if n > 0 {
		t.findingf("the export differs in %d rows: %s", n, first)
	}
	return n, nil
}
