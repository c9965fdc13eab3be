package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
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
	_ datapump.Sink     = (*Writer)(nil)
	_ datapump.Resyncer = (*Writer)(nil)
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
		l, err := m.layout(w.cfg.Schema, c.sink)
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

// session is one transaction of one call.
type session struct {
	*catalog
	ctx context.Context
	tx  pgx.Tx
	w   *Writer
}

// transact runs fn in one transaction and returns once it is durable. An error of
// fn rolls it back.
func (w *Writer) transact(ctx context.Context, fn func(*session) error) error {
	c, err := w.catalog(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		return fn(&session{catalog: c, ctx: ctx, tx: tx, w: w})
	})
	if err == nil {
		return nil
	}
	explained := explain(err)
	if _, ok := errors.AsType[*SchemaError](explained); ok {
		w.forget()
	}
	return explained
}

// exec runs a statement whose parameters are arrays in binary form.
func (s *session) exec(sql string, params ...[]byte) error {
	prepared, err := s.tx.Conn().Prepare(s.ctx, sql, sql)
	if err != nil {
		return err
	}
	formats := make([]int16, len(params))
	for i := range formats {
		formats[i] = pgx.BinaryFormatCode
	}
	_, err = s.pg().ExecPrepared(s.ctx, prepared.Name, params, formats, nil).Close()
	return err
}

func (s *session) pg() *pgconn.PgConn { return s.tx.Conn().PgConn() }

// within runs fn in a savepoint, which an error undoes.
func (s *session) within(fn func() error) error {
	return pgx.BeginFunc(s.ctx, s.tx, func(pgx.Tx) error { return fn() })
}

// placed is what is known of a space of a partition.
type place struct {
	partition space.PartitionID
	space     space.ID
}

// statements are the texts of the calls to the writer's own tables.
type statements struct {
	places, markNew, markRead, markFence, markMove, markBuild, markReplace string
	spaces, spacePut, spaceDrop, spacesDrop                                string
	stagePut, stageDrop, stagePage, stageSome                              string
	journal                                                                string
}

func newStatements(schema string, sink int16) statements {
	fill := strings.NewReplacer("{schema}", schema, "{sink}", fmt.Sprintf("%d::smallint", sink)).Replace
	return statements{
		places:  fill("SELECT DISTINCT name, relation FROM {schema}.space WHERE sink = {sink}"),
		markNew: fill(`INSERT INTO {schema}.watermark VALUES ({sink}, $1, '', 0, 0, 0, 0, '', 0) ON CONFLICT DO NOTHING`),
		markRead: fill(`SELECT partition, history, epoch, seq, clock, build, build_history, build_epoch FROM {schema}.watermark
			WHERE sink = {sink} AND partition = ANY ($1) ORDER BY partition FOR NO KEY UPDATE`),
		markFence: fill(`UPDATE {schema}.watermark SET history = $2, epoch = $3 WHERE sink = {sink} AND partition = $1`),
		markMove: fill(`UPDATE {schema}.watermark w SET epoch = x.epoch, seq = x.seq, clock = x.clock
			FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) AS x(partition, history, epoch, seq, clock)
			WHERE w.sink = {sink} AND w.partition = x.partition AND w.history = x.history AND w.epoch <= x.epoch`),
		markBuild: fill(`UPDATE {schema}.watermark SET build = $2, build_history = $3, build_epoch = $4 WHERE sink = {sink} AND partition = $1`),
		markReplace: fill(`UPDATE {schema}.watermark SET history = $2, epoch = $3, seq = $4, clock = $5, build_history = '', build_epoch = 0
			WHERE sink = {sink} AND partition = $1`),
		spaces: fill(`SELECT partition, id, name, relation, definition FROM {schema}.space WHERE sink = {sink} AND partition = ANY ($1) ORDER BY partition, id`),
		spacePut: fill(`INSERT INTO {schema}.space (sink, partition, id, name, relation, definition) VALUES ({sink}, $1, $2, $3, $4, $5)
			ON CONFLICT (sink, partition, id) DO UPDATE SET name = EXCLUDED.name, relation = EXCLUDED.relation, definition = EXCLUDED.definition`),
		spaceDrop:  fill(`DELETE FROM {schema}.space WHERE sink = {sink} AND partition = $1 AND id = $2`),
		spacesDrop: fill(`DELETE FROM {schema}.space WHERE sink = {sink} AND partition = $1`),
		stagePut: fill(`INSERT INTO {schema}.stage (sink, partition, build, space, key, key_text, entry)
			SELECT {sink}, $1, $2, $3, x.* FROM unnest($4::bytea[], $5::text[], $6::bytea[]) AS x`),
		stageDrop: fill(`DELETE FROM {schema}.stage WHERE sink = {sink} AND partition = $1`),
		stagePage: fill(`SELECT space, key, entry FROM {schema}.stage WHERE sink = {sink} AND partition = $1 AND build = $2
			AND (space, key) > ($3, $4) ORDER BY space, key LIMIT $5`),
		journal: fill(`INSERT INTO {schema}.journal (sink, partition, history, seq, op, space, key, value)
			SELECT {sink}, x.* FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::smallint[], $5::integer[], $6::bytea[], $7::bytea[]) AS x`),
	}
}
