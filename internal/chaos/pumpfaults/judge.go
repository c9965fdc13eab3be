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

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// maxMemory is what a member may have at its peak: backlogs are bounded, and the
// entries of ten minutes take less than half of it.
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

// judgePostgres looks into the table and into the journal.
func (t *trial) judgePostgres(ctx context.Context, inGrid content) (f faults, err error) {
	err = t.connected(ctx, func(c *pgx.Conn) error {
		have := content{}
		var key string
		var version int64
		rows, err := c.Query(ctx, "SELECT id, grid_version FROM "+spaceName)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&key, &version}, func() error {
			have[key] = grid.Version(version)
			return nil
		})
		if err != nil {
			return err
		}
		f.add(t.record.judge(have, inGrid))
		err = c.QueryRow(ctx, `SELECT coalesce(sum(n - 1), 0) FROM
			(SELECT count(*) AS n FROM spacegrid.journal GROUP BY sink, partition, history, seq) AS x`).Scan(&version)
		if err != nil {
			return err
		}
		f.twice += int(version)
		err = c.QueryRow(ctx, `SELECT count(*) FROM (SELECT seq, max(seq) OVER (PARTITION BY sink, partition, history, space, key
			ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM spacegrid.journal) AS x WHERE seq < before`).Scan(&version)
		if err != nil {
			return err
		}
		f.disorder += int(version)
		missing, err := t.missing(ctx, c)
		f.lost += missing
		return err
	})
	return f, err
}

// missing counts what was acknowledged and is not in the journal.
func (t *trial) missing(ctx context.Context, c *pgx.Conn) (n int, err error) {
	type change struct {
		key     string
		version grid.Version // 0 for the removal
	}
	due := make(map[change]struct{}, t.record.acked)
	for key, k := range t.record.keys {
		for _, v := range k.versions {
			due[change{key, v}] = struct{}{}
		}
		if k.gone {
			due[change{key, 0}] = struct{}{}
		}
	}
	rows, err := c.Query(ctx, "SELECT key, seq, op FROM spacegrid.journal")
	if err != nil {
		return 0, err
	}
	var key []byte
	var seq int64
	var op int16
	_, err = pgx.ForEachRow(rows, []any{&key, &seq, &op}, func() error {
		if space.ChangeOp(op) == space.Removed {
			seq = 0
		}
		delete(due, change{string(key), grid.Version(seq)})
		return nil
	})
	return len(due), err
}

// journalled returns the number of the last row of the journal.
func (t *trial) journalled(ctx context.Context) (n int64, err error) {
	err = t.connected(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM spacegrid.journal").Scan(&n)
	})
	return n, err
}

func (t *trial) exec(ctx context.Context, sql string) error {
	return t.connected(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql)
		return err
	})
}

func (t *trial) connected(ctx context.Context, do func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, t.server.DSN(database))
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close(ctx))
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
