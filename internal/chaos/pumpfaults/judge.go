package pumpfaults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// maxMemory is what a member may have at its peak. Backlogs are bounded by
// themselves; this leaves room for the entries of a long burst.
const maxMemory = 2 << 30

// Store names of lines.
const (
	pebble   = "pebble"
	relation = "postgres"
)

// lines ends the clients, waits until the stores have everything and judges them.
func (t *trial) lines(ctx context.Context) ([]Line, error) {
	t.load.stop()
	if err := errors.Join(t.flush(ctx), t.lab.AwaitSettled(ctx), t.remember()); err != nil {
		return nil, fmt.Errorf("pumpfaults: after all proofs: %w", err)
	}
	all, err := workload.GridContent(ctx, t.grid, spaceName)
	if err != nil {
		return nil, err
	}
	partitions := t.grid.Partitions()
	inGrid := versions(all)
	relational, err := t.judgePostgres(ctx, inGrid)
	if err != nil {
		return nil, err
	}
	if err := t.lab.StopAll(); err != nil {
		return nil, err
	}
	embedded := faults{lost: t.record.wrong}
	for _, m := range t.lab.All() {
		have, err := workload.StoreContent(ctx, m.StoreDir(), partitions)
		if err != nil {
			return nil, err
		}
		embedded.add(t.record.judge(versions(have), inGrid))
	}
	relational.lost += t.record.wrong
	return []Line{t.line(pebble, embedded, 0), t.line(relation, relational, t.letters)}, nil
}

func versions(all workload.Content) content {
	c := make(content, len(all[spaceName]))
	for key, e := range all[spaceName] {
		c[key] = e.Version
	}
	return c
}

func (t *trial) line(store string, f faults, letters int) Line {
	l := Line{
		Store: store, Acked: t.record.acked, Lost: f.lost, AppliedTwice: f.twice, OutOfOrder: f.disorder, DeadLetters: letters,
		Proofs: t.proofs, Skipped: append([]string{}, t.skipped...), Failed: t.failed, PeakMiB: t.peak >> 20,
		Seconds: float64(time.Since(t.began).Milliseconds()) / 1000,
	}
	l.OK = f == faults{} && l.Acked > 0 && len(l.Failed) == 0 && l.Proofs+len(l.Skipped) == len(proofs()) && t.peak <= maxMemory
	return l
}

// Questions to the journal. Its numbers are in the order of the transactions, as far
// as one partition is concerned: they wait for each other.
const (
	askTwice = `SELECT coalesce(sum(n - 1), 0)::bigint FROM
		(SELECT count(*) AS n FROM spacegrid.journal GROUP BY sink, partition, history, seq) AS x`
	askDisorder = `SELECT count(*) FROM
		(SELECT seq, max(seq) OVER (PARTITION BY sink, partition, history, space, key
			ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM spacegrid.journal) AS x
		WHERE seq < before`
	askLast = `SELECT coalesce(max(id), 0) FROM spacegrid.journal`
)

// judgePostgres looks into the table and into the journal.
func (t *trial) judgePostgres(ctx context.Context, inGrid content) (f faults, err error) {
	have, err := t.table(ctx)
	if err != nil {
		return f, err
	}
	f = t.record.judge(have, inGrid)
	twice, err := t.number(ctx, askTwice)
	if err != nil {
		return f, err
	}
	disorder, err := t.number(ctx, askDisorder)
	if err != nil {
		return f, err
	}
	missing, err := t.missing(ctx)
	f.add(faults{lost: missing, twice: twice, disorder: disorder})
	return f, err
}

// table reads what the mapped table has.
func (t *trial) table(ctx context.Context) (have content, err error) {
	c, err := t.server.Connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	rows, err := c.Query(ctx, "SELECT id, grid_version FROM "+spaceName)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have = content{}
	for rows.Next() {
		var key string
		var version int64
		if err := rows.Scan(&key, &version); err != nil {
			return nil, err
		}
		have[key] = grid.Version(version)
	}
	return have, rows.Err()
}

// change is one row of the journal.
type change struct {
	key     string
	version grid.Version // 0 for the removal
}

// missing counts what was acknowledged and is not in the journal.
func (t *trial) missing(ctx context.Context) (n int, err error) {
	due := make(map[change]struct{}, t.record.acked)
	for key, k := range t.record.keys {
		for _, v := range k.versions {
			due[change{key, v}] = struct{}{}
		}
		if k.gone {
			due[change{key, 0}] = struct{}{}
		}
	}
	c, err := t.server.Connect(ctx, database)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	rows, err := c.Query(ctx, "SELECT key, seq, op FROM spacegrid.journal")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		var seq int64
		var op int16
		if err := rows.Scan(&key, &seq, &op); err != nil {
			return 0, err
		}
		if space.ChangeOp(op) == space.Removed {
			seq = 0
		}
		delete(due, change{string(key), grid.Version(seq)})
	}
	return len(due), rows.Err()
}

// number asks for one number.
func (t *trial) number(ctx context.Context, sql string) (n int, err error) {
	c, err := t.server.Connect(ctx, database)
	if err != nil {
		return 0, err
	}
	err = c.QueryRow(ctx, sql).Scan(&n)
	return n, errors.Join(err, c.Close(ctx))
}

// journalled returns the number of the last row of the journal.
func (t *trial) journalled(ctx context.Context) (int, error) { return t.number(ctx, askLast) }

func (t *trial) exec(ctx context.Context, sql string) error {
	c, err := t.server.Connect(ctx, database)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql)
	return errors.Join(err, c.Close(ctx))
}

// remember notes the most memory that the members have had since they started.
func (t *trial) remember() error {
	for _, m := range t.lab.All() {
		f, err := os.Open("/proc/" + strconv.Itoa(m.PID()) + "/status")
		if err != nil {
			return err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if text, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
				kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
				if err != nil {
					return errors.Join(err, f.Close())
				}
				t.peak = max(t.peak, kib<<10)
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
