package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/spacegrid/spacegrid/datapump"
)

// Writer writes the changes of partitions into a database. All methods may be
// called concurrently.
type Writer struct {
	cfg  Config
	log  *slog.Logger
	pool *pgxpool.Pool

	// mu is held while the tables are checked: whoever comes meanwhile needs what
	// comes of it.
	mu struct {
		sync.Mutex
		ready  *catalog // nil until the tables have been checked
		closed bool
	}
}

var (
	_ datapump.Sink        = (*Writer)(nil)
	_ datapump.Resyncer    = (*Writer)(nil)
	_ datapump.DeadLetters = (*Writer)(nil)
)

// catalog is what a writer knows of its database once the tables have been
// checked. It does not change.
type catalog struct {
	sink   int16
	shared *layout            // of all spaces that are not mapped
	mapped map[string]*layout // by the name of the space
	sql    statements
}

// layout returns where the entries of a space rest, given its name.
func (c *catalog) layout(name string) *layout {
	if l := c.mapped[name]; l != nil {
		return l
	}
	return c.shared
}

// layouts returns every layout once.
func (c *catalog) layouts() []*layout {
	all := []*layout{c.shared}
	for _, l := range c.mapped {
		all = append(all, l)
	}
	return all
}

// Open returns a writer. It does not connect: a database that is down, or not as
// it has to be, fails the first call, as it would fail a later one, and Check.
func Open(cfg Config) (*Writer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	for i := range cfg.Mappings {
		if err := cfg.Mappings[i].Validate(); err != nil {
			return nil, err
		}
	}
	pc, err := cfg.poolConfig()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &Writer{cfg: cfg, log: cfg.Logger, pool: pool}, nil
}

// Close ends the connections; it waits for the calls that are under way. It is
// safe to call twice.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.mu.closed = true
	w.mu.Unlock()
	w.pool.Close()
	return nil
}

// Check connects, creates the missing tables unless Config.CheckOnly is set, and
// checks all of them. It fails with a *SchemaError if one is not as it has to be.
// Every other call does the same before its first work.
func (w *Writer) Check(ctx context.Context) error {
	w.forget()
	_, err := w.catalog(ctx)
	return err
}

// forget makes the next call check the tables again.
func (w *Writer) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.ready = nil
}

// catalog returns what the writer knows of the database, after checking it if
// that has not been done.
func (w *Writer) catalog(ctx context.Context) (*catalog, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed {
		return nil, ErrClosed
	}
	if w.mu.ready != nil {
		return w.mu.ready, nil
	}
	var c *catalog
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
		c, err = w.prepare(ctx, tx)
		return err
	})
	if err != nil {
		return nil, explain(err)
	}
	w.mu.ready = c
	return c, nil
}

// prepare creates and checks the tables and finds the writer's number.
func (w *Writer) prepare(ctx context.Context, tx pgx.Tx) (*catalog, error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return nil, err
	}
	for _, r := range ownRelations(w.cfg.Schema, w.cfg.Journal) {
		if err := r.ensure(ctx, tx, !w.cfg.CheckOnly); err != nil {
			return nil, err
		}
	}
	schema := quote(w.cfg.Schema)
	if err := w.checkFormat(ctx, tx, schema); err != nil {
		return nil, err
	}
	c := &catalog{mapped: map[string]*layout{}}
	if err := w.number(ctx, tx, schema, &c.sink); err != nil {
		return nil, err
	}
	c.shared = sharedLayout(w.cfg.Schema, c.sink)
	for i := range w.cfg.Mappings {
		m := &w.cfg.Mappings[i]
		l, err := m.layout(c.sink)
		if err != nil {
			return nil, err
		}
		c.mapped[m.Space] = l
	}
	for _, l := range c.layouts() {
		r := l.relation()
		if err := r.ensure(ctx, tx, !w.cfg.CheckOnly); err != nil {
			return nil, err
		}
	}
	c.sql = newStatements(schema, c.sink)
	if err := w.checkPlaces(ctx, tx, c); err != nil {
		return nil, err
	}
	return c, w.warn(ctx, tx)
}

// checkFormat refuses tables of another version of the writer.
func (w *Writer) checkFormat(ctx context.Context, tx pgx.Tx, schema string) error {
	var version int
	err := tx.QueryRow(ctx, "SELECT version FROM "+schema+".format").Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = tx.Exec(ctx, "INSERT INTO "+schema+".format VALUES ($1)", schemaFormat)
		return err
	}
	if err == nil && version != schemaFormat {
		return &SchemaError{
			Table: w.cfg.Schema + ".format", Problem: fmt.Sprintf("the tables have the format %d, this writer knows %d", version, schemaFormat),
			Hint: "use the version of the program that wrote them, or another schema",
		}
	}
	return err
}

// number finds the number of the sink, or gives it one.
func (w *Writer) number(ctx context.Context, tx pgx.Tx, schema string, id *int16) error {
	var partitions *int
	err := tx.QueryRow(ctx, "SELECT id, partitions FROM "+schema+".sink WHERE name = $1", w.cfg.Name).Scan(id, &partitions)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return tx.QueryRow(ctx, "INSERT INTO "+schema+".sink (name, partitions) VALUES ($1, NULLIF($2, 0)) RETURNING id",
			w.cfg.Name, w.cfg.Partitions).Scan(id)
	case err != nil || w.cfg.Partitions == 0:
		return err
	case partitions == nil:
		_, err := tx.Exec(ctx, "UPDATE "+schema+".sink SET partitions = $2 WHERE id = $1", *id, w.cfg.Partitions)
		return err
	case *partitions != w.cfg.Partitions:
		return &SchemaError{
			Table:   w.cfg.Schema + ".sink",
			Problem: fmt.Sprintf("the sink %q holds a grid of %d partitions, not %d", w.cfg.Name, *partitions, w.cfg.Partitions),
			Hint:    "start the grid with that number, or give the sink another name",
		}
	}
	return nil
}

// checkPlaces refuses a configuration under which a space that has been written
// would rest in another table than it does.
func (w *Writer) checkPlaces(ctx context.Context, tx pgx.Tx, c *catalog) error {
	rows, err := tx.Query(ctx, c.sql.places)
	if err != nil {
		return err
	}
	var name, relation string
	_, err = pgx.ForEachRow(rows, []any{&name, &relation}, func() error {
		if want := c.layout(name).table.String(); relation != want {
			return &SchemaError{
				Table: relation, Problem: fmt.Sprintf("the sink %q keeps space %q there, and its configuration says %s", w.cfg.Name, name, want),
				Hint: "map the space as before, or give the sink another name: it then begins anew",
			}
		}
		return nil
	})
	return err
}

// warn tells an operator of settings under which a crash of the server loses what
// it has acknowledged.
func (w *Writer) warn(ctx context.Context, tx pgx.Tx) error {
	var fsync, synchronous string
	err := tx.QueryRow(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(&fsync, &synchronous)
	if err != nil {
		return err
	}
	if fsync == "off" || synchronous == "off" {
		w.log.Warn("postgres: a crash of the server will lose acknowledged changes", "sink", w.cfg.Name,
			"fsync", fsync, "synchronous_commit", synchronous)
	}
	return nil
}
