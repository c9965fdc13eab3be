package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// killPeriod is what one kill takes at least: the others take over, the dead
	// one comes back and is ready. A run is to kill a leader as often as it lasts
	// times this.
	killPeriod = 12 * time.Second
	// drainTime is how long clients may take after the load has ended.
	drainTime = 60 * time.Second
	// settleTime is how long everything but the load may take: to start, to drain,
	// to compare.
	settleTime = 3 * time.Minute
	// requestTime bounds one request of a client: longer than any failover.
	requestTime = 30 * time.Second
)

// Verdicts of a run. One that could not be checked to its end is unknown, which is
// as bad as failed for whoever asks for the exit status.
const (
	verdictPassed  = "passed"
	verdictFailed  = "failed"
	verdictUnknown = "unknown"
)

// workFlags are those of every run of clients against leaders that are killed.
type workFlags struct {
	duration  time.Duration
	killEvery time.Duration
	minRate   float64
	keep      bool
}

func (f *workFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.DurationVar(&f.duration, "duration", 2*time.Minute, "how long the load lasts")
	p.DurationVar(&f.killEvery, "kill-every", 6*time.Second, "pause between the kills of leaders, or the time that one takes to come back if that is longer")
	p.Float64Var(&f.minRate, "min-rate", 100, "how much a second has to be done for the run to count")
	p.BoolVar(&f.keep, "keep", false, "leave the data folder, with the histories and the members' logs")
}

func (f *workFlags) check() error {
	if f.duration < time.Second || f.duration > time.Hour {
		return usagef("--duration %s: one second to one hour", f.duration)
	}
	return nil
}

// minKills is how many leaders have to die.
func (f *workFlags) minKills() int { return max(1, int(f.duration/killPeriod)) }

// work is one run: three members with their stores, clients that keep histories in
// files of their own, and somebody who kills leaders.
type work struct {
	app     *app
	flags   workFlags
	folder  string
	cluster *lab.Lab
	start   time.Time
	killer  leaderKiller
	defects []string // what should not be, beside what a checker has found
}

// runWork makes a cluster, lets do run on it, and ends everything.
func (a *app) runWork(ctx context.Context, f workFlags, do func(context.Context, *work) error) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.duration+settleTime)
	defer cancel()
	folder, err := os.MkdirTemp("", "spacegrid-work-")
	if err != nil {
		return err
	}
	lc, err := lab.Open(ctx, lab.Config{Folder: folder, Members: trialMembers, Flags: []string{"--durability", "disk", "--log-level", "warn"}, DiskBytes: noDisks})
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	w := &work{app: a, flags: f, folder: folder, cluster: lc, start: time.Now()}
	w.killer = leaderKiller{work: w}
	defer func() {
		err = errors.Join(err, lc.End())
		if f.keep {
			a.notef("the data is in %s", folder)
			return
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}()
	if err := lc.StartAll(); err != nil {
		return err
	}
	if err := lc.AwaitReady(ctx); err != nil {
		return err
	}
	return do(ctx, w)
}

func (w *work) sayf(format string, args ...any) {
	w.app.notef("%6.1fs  %s", time.Since(w.start).Seconds(), fmt.Sprintf(format, args...))
}

// defectf notes something that should not be.
func (w *work) defectf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.defects = append(w.defects, text)
	w.app.notef("         NOT AS IT SHOULD BE: %s", text)
}

// path is a file of the run.
func (w *work) path(name string) string { return filepath.Join(w.folder, name) }

// client starts this program as a client of the run.
func (w *work) client(name string, args ...string) (*lab.Process, error) {
	command := append([]string{w.cluster.Binary()}, args...)
	return w.cluster.Start(name, append(command, "--addr", strings.Join(w.cluster.Addrs(), ","))...)
}

// enough adds defects if leaders were not killed as often, or work not done as
// fast, as it takes for a run to prove anything.
func (w *work) enough(what string, rate float64) {
	if n, least := w.killer.killed, w.flags.minKills(); n < least {
		w.defectf("%d leaders were killed, and %d is the least", n, least)
	}
	if rate < w.flags.minRate {
		w.defectf("%.0f %s a second, and %.0f is the least", rate, what, w.flags.minRate)
	}
}

// verdict puts together what a run has shown.
func (w *work) verdict(err error, checked bool) string {
	switch {
	case err != nil:
		return verdictUnknown
	case checked && len(w.defects) == 0:
		return verdictPassed
	}
	return verdictFailed
}

// conclude writes the report of a run and returns how the program ends.
func (w *work) conclude(report any, verdict string, complaints []string, err error) error {
	for _, c := range complaints {
		w.app.notef("violation: %s", c)
	}
	if jerr := w.app.json(report); jerr != nil || err != nil {
		return errors.Join(err, jerr)
	}
	if verdict != verdictPassed {
		return &quietError{exitError}
	}
	return nil
}

// settled waits until all members are there and their stores have everything.
func (w *work) settled(ctx context.Context) error {
	if err := w.cluster.AwaitReady(ctx); err != nil {
		return err
	}
	if err := w.cluster.AwaitAligned(ctx, alignTime); err != nil {
		return err
	}
	_, err := w.cluster.AwaitPump(ctx, pumpTime)
	return err
}

// spaceCount is how many entries of a space a member has, hidden ones left out.
type spaceCount struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"`
}

// onlyVisible waits until no member has any entry but those of one space that
// everybody sees: entries that are claimed, or rest after a nack, count as there.
func (w *work) onlyVisible(ctx context.Context, name string) error {
	return lab.Poll(ctx, drainTime, "wait until nothing is hidden", func(ctx context.Context) error {
		for _, m := range w.cluster.All() {
			var s lab.Status
			var spaces []spaceCount
			if err := errors.Join(m.Ask(ctx, "status", &s), m.Ask(ctx, "spaces", &spaces)); err != nil {
				return fmt.Errorf("member %s: %w", m.Name(), err)
			}
			for _, x := range spaces {
				if x.Name == name {
					s.Entries -= x.Entries
				}
			}
			if s.Entries > 0 {
				return fmt.Errorf("%d more entries on member %s", s.Entries, m.Name())
			}
		}
		return nil
	})
}

// contents reads spaces from the grid.
func (w *work) contents(ctx context.Context, names ...string) (all workload.Content, partitions int, err error) {
	g, err := grid.Dial(ctx, w.cluster.Addrs()...)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	all = workload.Content{}
	for _, name := range names {
		if all[name], err = gridSpace(ctx, g, name); err != nil {
			return nil, 0, fmt.Errorf("space %s: %w", name, err)
		}
	}
	return all, g.Partitions(), nil
}

// storesDiffer stops the members and counts the entries in which their stores are
// not what the grid was.
func (w *work) storesDiffer(ctx context.Context, want workload.Content, partitions int) (int, error) {
	if err := w.cluster.StopAll(); err != nil {
		return 0, err
	}
	n := 0
	for _, m := range w.cluster.All() {
		for _, name := range slices.Sorted(maps.Keys(want)) {
			have, err := scanStore(ctx, m.StoreDir(), name, partitions)
			if err != nil {
				return n, fmt.Errorf("store of %s: %w", m.Name(), err)
			}
			bad := 0
			for key, r := range want[name] {
				if x, ok := have[key]; !ok || x.Version != r.Version || !bytes.Equal(x.Value, r.Value) {
					bad++
				}
			}
			for key := range have {
				if _, ok := want[name][key]; !ok {
					bad++
				}
			}
			if bad > 0 {
				w.defectf("the store of %s differs from the grid in %d entries of space %s", m.Name(), bad, name)
			}
			n += bad
		}
	}
	return n, nil
}

// workLog is a file that a client appends its history to, one JSON value a line.
// Each line is one write, so that all of them outlive the client, however it ends.
type workLog struct {
	mu sync.Mutex
	f  *os.File
}

func openWorkLog(path string) (*workLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &workLog{f: f}, nil
}

// note appends a line. It is in the system's hands when note returns.
func (l *workLog) note(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.f.Write(append(b, '\n'))
	return err
}

func (l *workLog) close() error { return l.f.Close() }

// readWorkLog reads a history. A last line that its client did not live to end is
// left out: the client cannot have acted on it. Any other line that does not read
// is an error.
func readWorkLog[T any](path string) ([]T, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(b), "\n")
	all := make([]T, 0, len(lines))
	for i, line := range lines[:len(lines)-1] {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, i+1, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// outcomeOf says what an error proves of a request. An error that is none of the
// grid's ordinary ones is returned: a run does not go on with it.
func outcomeOf(err error) (check.Outcome, error) {
	switch {
	case err == nil:
		return check.Done, nil
	case errors.Is(err, grid.ErrIndeterminate):
		return check.Unknown, nil
	case errors.Is(err, grid.ErrUnavailable), errors.Is(err, grid.ErrNotFound):
		return check.Refused, nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return check.Unknown, nil
	}
	return check.Unknown, err
}

// whileWatched returns a context that ends when standard input does: whoever
// started this client is gone.
func (a *app) whileWatched(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		// Whatever ends the input means the same.
		_, _ = io.Copy(io.Discard, a.in)
	}()
	return ctx, cancel
}

// partitionsOf counts the partitions that keys lie in.
func partitionsOf(keys []string, partitions int) int {
	seen := map[space.PartitionID]bool{}
	for _, k := range keys {
		seen[space.PartitionOf([]byte(k), partitions)] = true
	}
	return len(seen)
}
