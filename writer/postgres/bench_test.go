package postgres_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/writer/postgres"
	"github.com/spacegrid/spacegrid/writer/postgres/pgtest"
)

const (
	benchPartitions = 64
	benchKeys       = 100_000 // of all partitions together
	benchValue      = 100     // bytes
	rawRows         = 1000
)

// changes makes batches of overwrites of uniformly drawn keys of 16 bytes.
type changes struct {
	rng   *rand.Rand
	value []byte
	last  [benchPartitions]space.Seq
}

func newChanges() *changes {
	c := &changes{rng: rand.New(rand.NewPCG(1, 1)), value: make([]byte, benchValue)}
	for i := range c.value {
		c.value[i] = byte(c.rng.Uint32()) & 15 // compresses to about half
	}
	return c
}

// key draws a key of a partition.
func (c *changes) key(partition int) []byte {
	k := make([]byte, 16)
	binary.BigEndian.PutUint64(k, uint64(partition))
	binary.BigEndian.PutUint64(k[8:], c.rng.Uint64N(benchKeys/benchPartitions))
	return k
}

// batch returns one of n changes, spread over all partitions.
func (c *changes) batch(n int) *datapump.Batch {
	b := &datapump.Batch{}
	for p := range benchPartitions {
		x := datapump.Section{
			Partition: space.PartitionID(p), History: space.History{1}, Epoch: 1, After: c.last[p], Clock: 1,
		}
		for range n / benchPartitions {
			c.last[p]++
			x.Changes = append(x.Changes, space.Change{
				Seq: c.last[p], Op: space.Updated, Space: 1, Order: 1, Previous: 1, Key: c.key(p), Value: c.value,
			})
		}
		x.Through = c.last[p]
		b.Sections = append(b.Sections, x)
	}
	return b
}

// The writer's batches of 4096 changes beside plain upserts of 1000 rows into a table
// of key and value, each committed durably. They take turns on one server, so that
// whatever else the machine does slows both: rows a second of each, and the ratio.
func BenchmarkUpsert(b *testing.B) {
	server, err := pgtest.Start("max_wal_size = 4GB")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	dsn := server.NewDatabase(b)
	w := open(b, postgres.Config{DSN: postgres.DSN(dsn)})
	src := newChanges()
	for p := range benchPartitions {
		if _, err := w.Fence(b.Context(), datapump.Fence{Partition: space.PartitionID(p), History: space.History{1}, Epoch: 1}); err != nil {
			b.Fatal(err)
		}
	}
	d := look(b, dsn)
	d.exec("CREATE TABLE raw (key bytea PRIMARY KEY, value bytea NOT NULL)")
	raw := newChanges()
	var ours, theirs time.Duration
	const rounds = datapump.DefaultBatchChanges / rawRows // of plain upserts in a turn
	for b.Loop() {
		batch := src.batch(datapump.DefaultBatchChanges)
		began := time.Now()
		if err := w.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		for range rounds {
			keys, values := raw.rows(rawRows)
			began := time.Now()
			_, err := d.conn.Exec(b.Context(), `INSERT INTO raw (key, value) SELECT x.key, x.value FROM unnest($1::bytea[], $2::bytea[]) AS x(key, value)
				ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value`, keys, values)
			if err != nil {
				b.Fatal(err)
			}
			theirs += time.Since(began)
		}
	}
	rate := func(rows int, d time.Duration) float64 { return float64(rows*b.N) / d.Seconds() }
	mine, plain := rate(datapump.DefaultBatchChanges, ours), rate(rounds*rawRows, theirs)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(mine, "rows/s")
	b.ReportMetric(plain, "raw-rows/s")
	b.ReportMetric(mine/plain, "ratio")
}

// rows returns n rows of different keys: an upsert takes a key once only.
func (c *changes) rows(n int) (keys, values [][]byte) {
	seen := map[string]bool{}
	for len(keys) < n {
		if k := c.key(c.rng.IntN(benchPartitions)); !seen[string(k)] {
			seen[string(k)] = true
			keys, values = append(keys, k), append(values, c.value)
		}
	}
	return keys, values
}
