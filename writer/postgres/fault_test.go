package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/writer/postgres"
	"github.com/spacegrid/spacegrid/writer/postgres/pgtest"
)

// soon bounds what a test waits for.
const soon = 20 * time.Second

// feed starts a pump of every single change, that is closed with the test.
func feed(t *testing.T, sink datapump.Sink, sources ...*sinktest.Source) *datapump.Pump {
	t.Helper()
	p, err := datapump.Open(datapump.Config{Name: "test", Sink: sink, EveryChange: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	for _, s := range sources {
		if err := p.Add(s.Fence().Partition, s); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// source returns a partition with the spaces that random commands use.
func source(p space.PartitionID) *sinktest.Source {
	src := sinktest.NewSource(p, space.History{byte(p)})
	for id := range space.ID(3) {
		src.Define(id + 1)
	}
	return src
}

func flush(t *testing.T, p *datapump.Pump) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatalf("%v: %+v", err, p.Status())
	}
}

// eventually waits until met.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for began := time.Now(); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > soon {
			t.Fatalf("%s never came", what)
		}
	}
}

// appliedOnce checks by the journal that every change of a source was written once
// and in order, and by the table that they led to the source's content.
func appliedOnce(t *testing.T, d *database, src *sinktest.Source) {
	t.Helper()
	p := int16(src.Fence().Partition)
	rows := one[int](d, "SELECT count(*) FROM spacegrid.journal WHERE partition = $1", p)
	if rows != int(src.Last()) {
		t.Errorf("the journal of partition %d has %d rows for %d changes", p, rows, src.Last())
	}
	swapped := one[int](d, `SELECT count(*) FROM (SELECT seq, lag(seq, 1, 0) OVER (ORDER BY id) AS before
		FROM spacegrid.journal WHERE partition = $1) x WHERE seq <> before + 1`, p)
	if swapped != 0 {
		t.Errorf("the journal of partition %d is out of order at %d places", p, swapped)
	}
	got, at := d.content("test", src.Fence().Partition)
	if want := src.At(src.Last()); at.Seq != src.Last() || got.String() != want.String() {
		t.Errorf("the table stands at %d with\n%s\nwant %d with\n%s", at.Seq, got, src.Last(), want)
	}
}

// A server that dies in the middle of a transaction, again and again, applies every
// change once: the pump goes on when it is back.
func TestServerKilledInTransaction(t *testing.T) {
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dsn := server.NewDatabase(t)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Journal: true})
	src := source(3)
	pump := feed(t, w, src)
	rng := rand.New(rand.NewPCG(1, 1))
	src.Random(rng, 50)
	pump.Notify(3)
	flush(t, pump)
	for range 2 {
		// Whoever holds the space table keeps the writer waiting with its watermark
		// locked and its journal written.
		blocker, watcher := look(t, dsn), look(t, dsn)
		blocker.exec("BEGIN")
		blocker.exec("LOCK spacegrid.entry IN ACCESS EXCLUSIVE MODE")
		src.Random(rng, 100)
		pump.Notify(3)
		eventually(t, "a transaction that waits", func() bool {
			return one[bool](watcher, `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE application_name = 'spacegrid test' AND wait_event_type = 'Lock')`)
		})
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		flush(t, pump)
		appliedOnce(t, look(t, dsn), src)
	}
}

// A commit whose answer never arrives is not repeated: the pump asks how far the
// sink has come.
func TestAnswerOfCommitLost(t *testing.T) {
	server := shared.Server(t)
	dsn := server.NewDatabase(t)
	proxy := pgtest.NewProxy(t, server)
	w := open(t, postgres.Config{DSN: postgres.DSN(proxy.Through(dsn)), Journal: true})
	src := source(3)
	pump := feed(t, w, src)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		flush(t, pump)
		var swallowed atomic.Bool
		proxy.SwallowAnswer(func(piece []byte) bool {
			return bytes.Contains(piece, []byte("commit")) && swallowed.CompareAndSwap(false, true)
		})
		src.Random(rng, 100)
		pump.Notify(3)
		flush(t, pump)
		if !swallowed.Load() {
			t.Fatal("no answer was swallowed")
		}
		appliedOnce(t, look(t, dsn), src)
	}
	if st := pump.Status(); st.Stats.Failures == 0 {
		t.Errorf("the pump has noticed nothing: %+v", st)
	}
}

// Two writers that write the same changes at once, in sections that overlap and in
// batches whose partitions are in different order, write each change once and do
// not lock each other out.
func TestTwoWritersAtOnce(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	var sources []*sinktest.Source
	for p := range space.PartitionID(4) {
		src := source(p + 1)
		src.Random(rand.New(rand.NewPCG(1, uint64(p))), 60)
		sources = append(sources, src)
	}
	var wg sync.WaitGroup
	for n := range 2 {
		w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Journal: true})
		wg.Go(func() {
			for _, src := range sources {
				if _, err := w.Fence(t.Context(), src.Fence()); err != nil {
					t.Error(err)
				}
			}
			for done := false; !done; {
				done = true
				b := &datapump.Batch{}
				for i := range sources {
					src := sources[i]
					if n == 1 {
						src = sources[len(sources)-1-i]
					}
					standing, err := w.Fence(t.Context(), src.Fence())
					if err != nil {
						t.Error(err)
						return
					}
					if standing.Seq < src.Last() {
						done = false
						b.Sections = append(b.Sections, src.Section(standing.Seq, min(src.Last(), standing.Seq+space.Seq(5+3*n))))
					}
				}
				if err := w.Apply(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	d := look(t, dsn)
	for _, src := range sources {
		appliedOnce(t, d, src)
	}
}

// A table that is not as it has to be is an error that names it and says what to
// do; once somebody has done that, the same writer goes on.
func TestWrongSchema(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Journal: true})
	src := source(3)
	pump := feed(t, w, src)
	src.Random(rand.New(rand.NewPCG(1, 1)), 30)
	pump.Notify(3)
	flush(t, pump)
	d := look(t, dsn)
	for _, x := range []struct{ name, breaks, mends, says string }{
		{"a table is gone", "ALTER TABLE spacegrid.entry RENAME TO elsewhere",
			"DROP TABLE spacegrid.entry; ALTER TABLE spacegrid.elsewhere RENAME TO entry", ""},
		{"a column is gone", "ALTER TABLE spacegrid.entry RENAME value TO data",
			"ALTER TABLE spacegrid.entry RENAME data TO value", `ALTER TABLE "spacegrid"."entry" ADD COLUMN "value" bytea`},
		{"a column is of another type", "ALTER TABLE spacegrid.entry ALTER attempts TYPE bigint",
			"ALTER TABLE spacegrid.entry ALTER attempts TYPE integer", "attempts is of type bigint, not integer"},
		{"a column wants a value", "ALTER TABLE spacegrid.entry ADD extra text NOT NULL DEFAULT ''; ALTER TABLE spacegrid.entry ALTER extra DROP DEFAULT",
			"ALTER TABLE spacegrid.entry DROP extra", "extra must not be NULL"},
		{"the unique index is gone", "ALTER TABLE spacegrid.entry DROP CONSTRAINT entry_pkey",
			"ALTER TABLE spacegrid.entry ADD PRIMARY KEY (sink, partition, space, key)", "no unique index"},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := look(t, dsn)
			d.exec(x.breaks)
			err := w.Check(t.Context())
			if x.says != "" {
				var wrong *postgres.SchemaError
				if !errors.As(err, &wrong) || !strings.Contains(err.Error(), x.says) || wrong.Table != "spacegrid.entry" {
					t.Fatalf("the check says %v", err)
				}
			}
			d.exec(x.mends)
			if err := w.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			src.Random(rand.New(rand.NewPCG(1, 2)), 10)
			pump.Notify(3)
			flush(t, pump)
		})
	}
	appliedOnce(t, d, src)
}

// A table that goes wrong while the writer works is retried, not taken for a fault
// of the changes.
func TestSchemaBreaksUnderWay(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), CheckOnly: true})
	var wrong *postgres.SchemaError
	if err := w.Check(t.Context()); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "CREATE TABLE") {
		t.Fatalf("without tables the check says %v", err)
	}
	maker := open(t, postgres.Config{DSN: postgres.DSN(dsn)})
	if err := maker.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := source(3)
	src.Random(rand.New(rand.NewPCG(1, 1)), 30)
	if _, err := w.Fence(t.Context(), src.Fence()); err != nil {
		t.Fatal(err)
	}
	d := look(t, dsn)
	d.exec("ALTER TABLE spacegrid.entry RENAME value TO data")
	b := &datapump.Batch{Sections: []datapump.Section{src.Section(0, src.Last())}}
	var refused *datapump.RefusedError
	for range 2 {
		if err := w.Apply(t.Context(), b); !errors.As(err, &wrong) || errors.As(err, &refused) {
			t.Fatalf("a batch for a broken table is answered with %v", err)
		}
	}
	d.exec("ALTER TABLE spacegrid.entry RENAME data TO value")
	if err := w.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// The connection string is nowhere to be read, whatever goes wrong.
func TestPasswordHidden(t *testing.T) {
	for _, dsn := range []string{
		"postgres://me:s3cret@127.0.0.1:1/db", "host=127.0.0.1 port=1 user=me password=s3cret", "postgres://me:s3cret@127.0.0.1:port/%zz",
	} {
		w, err := postgres.Open(postgres.Config{Name: "test", DSN: postgres.DSN(dsn)})
		if err == nil {
			err = w.Check(t.Context())
			w.Close()
		}
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error is %v", err)
		}
	}
}
