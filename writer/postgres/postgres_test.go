package postgres_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/writer/postgres"
	"github.com/spacegrid/spacegrid/writer/postgres/pgtest"
)

// shared is the server of all tests that do not stop theirs. Nothing of it has to
// survive the machine, and many databases are created on it.
var shared = pgtest.Shared{Settings: []string{"fsync = off"}}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// open returns a writer that is closed with the test.
func open(t testing.TB, cfg postgres.Config) *postgres.Writer {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	w, err := postgres.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// database is a test's own look at what the writer has written.
type database struct {
	t    testing.TB
	conn *pgx.Conn
}

func look(t testing.TB, dsn string) *database {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return &database{t, conn}
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.conn.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatal(err)
	}
}

// one returns the only value of a query.
func one[T any](d *database, sql string, args ...any) T {
	d.t.Helper()
	var v T
	if err := d.conn.QueryRow(d.t.Context(), sql, args...).Scan(&v); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// lines returns the rows of a query as text, one line each.
func (d *database) lines(sql string, args ...any) (all []string) {
	d.t.Helper()
	rows, err := d.conn.Query(d.t.Context(), sql, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, fmt.Sprint(v...))
	}
	if rows.Err() != nil {
		d.t.Fatal(rows.Err())
	}
	return all
}

// content reads a partition as it rests in the table entry.
func (d *database) content(sink string, p space.PartitionID) (sinktest.Content, space.Position) {
	d.t.Helper()
	ctx := d.t.Context()
	c, at := sinktest.Content{}, space.Position{}
	var id int16
	var history []byte
	var seq int64
	err := d.conn.QueryRow(ctx, `SELECT s.id, w.history, w.seq FROM spacegrid.sink s JOIN spacegrid.watermark w ON w.sink = s.id
		WHERE s.name = $1 AND w.partition = $2`, sink, int16(p)).Scan(&id, &history, &seq)
	if err == pgx.ErrNoRows {
		return c, at
	}
	if err != nil {
		d.t.Fatal(err)
	}
	at.Seq = space.Seq(seq)
	copy(at.History[:], history)
	rows, err := d.conn.Query(ctx, "SELECT definition FROM spacegrid.space WHERE sink = $1 AND partition = $2", id, int16(p))
	if err != nil {
		d.t.Fatal(err)
	}
	var definition []byte
	if _, err := pgx.ForEachRow(rows, []any{&definition}, func() error {
		def, err := space.DecodeDefinition(definition)
		c.Define(&def)
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	rows, err = d.conn.Query(ctx, `SELECT space, key, kind, value, version, ordinal, deadline, attempts FROM spacegrid.entry
		WHERE sink = $1 AND partition = $2`, id, int16(p))
	if err != nil {
		d.t.Fatal(err)
	}
	var (
		sp, attempts               int32
		key, value                 []byte
		kind                       int16
		version, ordinal, deadline int64
	)
	if _, err := pgx.ForEachRow(rows, []any{&sp, &key, &kind, &value, &version, &ordinal, &deadline, &attempts}, func() error {
		c.Put(space.ID(sp), space.Entry{
			Key: key, Value: value, Kind: space.Kind(kind), Version: space.Seq(version), Order: uint64(ordinal),
			Deadline: space.Time(deadline), Attempts: int(attempts),
		})
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return c, at
}

// The writer keeps the contract of a sink.
func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Opened {
		dsn := shared.Server(t).NewDatabase(t)
		d := look(t, dsn)
		var again func() sinktest.Opened
		again = func() sinktest.Opened {
			w := open(t, postgres.Config{DSN: postgres.DSN(dsn)})
			return sinktest.Opened{
				Sink: w,
				Read: func(p space.PartitionID) (sinktest.Content, space.Position) { return d.content("test", p) },
				Reopen: func() sinktest.Opened {
					w.Close()
					return again()
				},
			}
		}
		return again()
	})
}
