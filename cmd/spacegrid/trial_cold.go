package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// coldStart stops all members, removes their logs, the control group's too, starts
// them again, and counts what differs from before. afterStop is called while
// nothing runs, if it is not nil.
func (t *trial) coldStart(ctx context.Context, afterStop func() error) (differences int, definitionsEqual bool, err error) {
	if _, err := t.cluster.awaitAligned(ctx, alignTime); err != nil {
		return 0, false, err
	}
	if _, err := t.cluster.awaitPump(ctx, alignTime); err != nil {
		return 0, false, err
	}
	before, err := t.everything(ctx)
	if err != nil {
		return 0, false, err
	}
	defsBefore, err := t.definitions(ctx)
	if err != nil {
		return 0, false, err
	}
	t.hangUp()
	if err := t.cluster.stopAll(); err != nil {
		return 0, false, err
	}
	if afterStop != nil {
		if err := afterStop(); err != nil {
			return 0, false, err
		}
	}
	for _, m := range t.cluster.members {
		if err := removeLogs(m); err != nil {
			return 0, false, err
		}
	}
	if err := t.cluster.startAll(); err != nil {
		return 0, false, err
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return 0, false, err
	}
	t.report.ColdStarts++
	defsAfter, err := t.definitions(ctx)
	if err != nil {
		return 0, false, err
	}
	if definitionsEqual = defsBefore == defsAfter; !definitionsEqual {
		t.findingf("definitions were %s and are %s", defsBefore, defsAfter)
	}
	after, err := t.everything(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		n, first := difference(before[name], after[name])
		if n > 0 {
			t.findingf("space %s differs in %d entries after the cold start: %s", name, n, first)
		}
		differences += n
	}
	return differences, definitionsEqual, nil
}

// removeLogs removes everything of a member but its store.
func removeLogs(m *localMember) error {
	if _, err := os.Stat(m.logDir()); err != nil {
		return fmt.Errorf("the logs are not where they should be: %w", err)
	}
	names, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if path := filepath.Join(m.dir, n.Name()); path != m.storeDir() {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// definitions returns all definitions as text.
func (t *trial) definitions(ctx context.Context) (string, error) {
	defs, err := t.g.Spaces(ctx)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(defs)
	return string(b), err
}

// everything reads the spaces of the trial from the grid.
func (t *trial) everything(ctx context.Context) (map[string]jsonRows, error) {
	all := map[string]jsonRows{}
	for _, name := range []string{dataSpace, lastSpace, ballast, feedSpace, markedSpace} {
		rows, err := t.rows(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("space %s: %w", name, err)
		}
		all[name] = rows
	}
	return all, nil
}

// firstColdStart starts from the stores, with the export compared with the input
// once more, and the stores read while nothing runs.
func (t *trial) firstColdStart(ctx context.Context) error {
	partitions := t.g.Partitions()
	n, defs, err := t.coldStart(ctx, func() error { return t.socketAgainstStores(ctx, partitions) })
	if err != nil {
		return err
	}
	t.report.DefinitionsEqual = defs
	differ, err := t.exportDiffers(ctx)
	if err != nil {
		return err
	}
	t.report.ColdStartEqual = n == 0 && differ == 0
	return nil
}

// changedEvery is how many rows there are for each one that a round changes, and
// for each one that it removes.
const changedEvery = 40

// secondRound writes over a cold start, starts cold, and does both again.
func (t *trial) secondRound(ctx context.Context) error {
	for round := range 2 {
		if err := t.change(ctx, round); err != nil {
			return err
		}
		rows, err := t.rows(ctx, dataSpace)
		if err != nil {
			return err
		}
		n, first := difference(t.want, rows)
		if n > 0 {
			t.findingf("round %d: %d rows are not as written: %s", round+1, n, first)
		}
		lost, defs, err := t.coldStart(ctx, nil)
		if err != nil {
			return err
		}
		t.report.DefinitionsEqual = t.report.DefinitionsEqual && defs
		again, err := t.exportDiffers(ctx)
		if err != nil {
			return err
		}
		t.report.SecondRoundBad += n + lost + again
	}
	return nil
}

// change removes some rows, changes some and adds some, in the grid and in what
// is expected of it. Versions must go on above those of before.
func (t *trial) change(ctx context.Context, round int) error {
	def, err := t.g.Describe(ctx, dataSpace)
	if err != nil {
		return err
	}
	highest := map[space.PartitionID]grid.Version{}
	for e, err := range t.g.Query(ctx, dataSpace, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return err
		}
		p := space.PartitionOf(e.Key, t.g.Partitions())
		highest[p] = max(highest[p], e.Version)
	}
	b := t.g.NewBatch()
	for i, key := range slices.Sorted(maps.Keys(t.want)) {
		switch i % changedEvery {
		case 2 * round:
			b.Do(space.Op{Code: space.OpTake, Space: def.ID, Key: []byte(key)})
			delete(t.want, key)
		case 2*round + 1:
			id, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
			fields := map[string]any{t.key: id, "round": int64(round), "place": int64(i)}
			value, err := grid.FieldsOf(fields)
			if err != nil {
				return err
			}
			b.Do(space.Op{Code: space.OpWrite, Space: def.ID, Kind: grid.Fields, Key: []byte(key), Value: value})
			text, err := json.Marshal(fields)
			if err != nil {
				return err
			}
			t.want[key] = string(text)
		}
	}
	if err := t.g.Run(ctx, b); err != nil {
		return err
	}
	for i := range b.Len() {
		r, err := b.Result(i)
		if err != nil {
			return fmt.Errorf("change %d of round %d: %w", i, round+1, err)
		}
		_ = r
	}
	rows, err := gridSpace(ctx, t.g, dataSpace)
	if err != nil {
		return err
	}
	for key, r := range rows {
		p := space.PartitionOf([]byte(key), t.g.Partitions())
		if strings.Contains(t.want[key], fmt.Sprintf(`"round":%d`, round)) && r.version <= highest[p] {
			t.findingf("row %s was written as version %d, not above %d", key, r.version, highest[p])
			t.report.SecondRoundBad++
		}
	}
	return nil
}

const (
	// straceSettle is how long strace gets to attach and, in the end, to write.
	straceSettle = 1500 * time.Millisecond
	marker       = "marked-write-for-the-trace"
)

// traceSync watches the system calls of all members during one write, and looks
// whether they synced before the answer left.
func (t *trial) traceSync(ctx context.Context) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("%w (install strace: the trial looks at system calls)", err)
	}
	if _, err := t.dial(ctx, 1); err != nil {
		return err
	}
	s, err := grid.OpenSpace[word](ctx, t.g, markedSpace)
	if err != nil {
		return err
	}
	// The client learns who leads, so that the marked write goes there at once.
	if _, err := s.Write(ctx, word{ID: marker, Text: "first"}); err != nil {
		return err
	}
	if _, err := t.cluster.awaitAligned(ctx, alignTime); err != nil {
		return err
	}
	led, err := t.cluster.leaders(ctx)
	if err != nil {
		return err
	}
	group := int(t.g.Router().State().Table[space.PartitionOf([]byte(marker), t.g.Partitions())])
	tracers := map[string]*child{}
	for _, m := range t.cluster.members {
		c, err := startProgram("strace", filepath.Join(t.folder, m.name+".strace.log"), strace, "-f", "-ttt", "-yy", "-s", "2048",
			"-e", "trace=read,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync",
			"-o", m.traceFile(t.folder), "-p", strconv.Itoa(m.process().pid()))
		if err != nil {
			return err
		}
		tracers[m.name] = t.cluster.all.add(c)
	}
	sleep(ctx, straceSettle)
	_, failed := s.Write(ctx, word{ID: marker, Text: "second"})
	sleep(ctx, straceSettle)
	for _, c := range tracers {
		if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
			return fmt.Errorf("strace: %w: %s", err, c.tail())
		}
		<-c.ended
	}
	if failed != nil {
		return failed
	}
	var leader []systemCall
	var followers [][]systemCall
	for _, m := range t.cluster.members {
		calls, err := t.traceOf(m)
		if err != nil {
			return err
		}
		if slices.Contains(led[m.name], group) {
			leader = calls
		} else {
			followers = append(followers, calls)
		}
	}
	if err := syncedBeforeAnswer(leader, followers, "/raft/", marker); err != nil {
		t.findingf("%v", err)
		return nil
	}
	t.report.SyncedBefore = true
	return nil
}

func (m *localMember) traceFile(folder string) string {
	return filepath.Join(folder, m.name+".trace")
}

func (t *trial) traceOf(m *localMember) ([]systemCall, error) {
	f, err := os.Open(m.traceFile(t.folder))
	if err != nil {
		return nil, err
	}
	calls, err := parseTrace(f)
	return calls, errors.Join(err, f.Close())
}
