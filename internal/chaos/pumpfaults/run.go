package pumpfaults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/writer/postgres/pgtest"
)

const (
	members  = 3
	sinkName = "pg"
	dsnEnv   = "SPACEGRID_PUMPFAULTS_DSN"
	database = "postgres" // there is one on every new server
	// diskBytes is enough for ten minutes of a burst; images are sparse.
	diskBytes = 4 << 30
	// DefaultRate is how many requests a second all clients make.
	DefaultRate = 100
	// DefaultDown is how long a sink is down, an owner frozen, and leaders are moved.
	DefaultDown = 60 * time.Second
	// DefaultBurst is how long ten times the rate is asked for.
	DefaultBurst = 10 * time.Minute
	// flushTime bounds the wait until the sinks have everything, after each proof.
	flushTime = 2 * time.Minute
)

// sinkConfig makes a table of the space, and keeps the journal.
const sinkConfig = `
dsn: env:` + dsnEnv + `
journal: true
mappings:
  - space: ` + spaceName + `
    table: ` + spaceName + `
    whole: true
    columns:
      - {name: id, type: text, from: $key}
      - {name: n, type: bigint}
      - {name: poison, type: boolean}
`

// Config says how long what lasts. Zero fields are the defaults.
type Config struct {
	Folder string // takes the members' data and logs; it must exist
	Binary string // the program under test
	Rate   int
	Down   time.Duration
	Burst  time.Duration
	Seed   uint64
	Logger *slog.Logger // gets a line for each proof; nil discards them
}

// Line is what one store has come to.
type Line struct {
	Store        string   `json:"store"` // pebble or postgres
	Acked        int      `json:"acked"` // requests that were acknowledged to clients
	Lost         int      `json:"lost"`
	AppliedTwice int      `json:"applied_twice"`
	OutOfOrder   int      `json:"out_of_order"`
	DeadLetters  int      `json:"dead_letters"` // refused by the store, and settled
	Proofs       int      `json:"proofs"`       // that came to their end
	Skipped      []string `json:"skipped"`      // by name, with the reason
	Failed       []string `json:"failed,omitempty"`
	// PeakMiB is the most memory that a member ever had.
	PeakMiB int64   `json:"peak_mib"`
	Seconds float64 `json:"seconds"`
	OK      bool    `json:"ok"`
}

// Run carries out all proofs and returns a line for each store. It fails if they
// could not be begun or judged; what they show is in the lines.
func Run(ctx context.Context, cfg Config) (lines []Line, err error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Down == 0 {
		cfg.Down = DefaultDown
	}
	if cfg.Burst == 0 {
		cfg.Burst = DefaultBurst
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &trial{Config: cfg, record: newRecord(), began: time.Now(), rand: rand.New(rand.NewPCG(cfg.Seed, 0))}
	if err := t.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("pumpfaults: %w", err), t.close())
	}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, p := range proofs() {
		if err := t.prove(ctx, p); err != nil {
			return nil, err
		}
	}
	return t.lines(ctx)
}

// trial is one run under way.
type trial struct {
	Config
	began   time.Time
	rand    *rand.Rand
	server  *pgtest.Server
	lab     *lab.Lab
	grid    *grid.Grid // of the lab itself
	space   *grid.Space[item]
	record  *record
	load    *load
	letters int
	peak    int64 // bytes
	proofs  int
	skipped []string
	failed  []string
}

// open starts the server and the members, defines the sink and starts the clients.
func (t *trial) open(ctx context.Context) (err error) {
	if t.server, err = pgtest.Start(); err != nil {
		return err
	}
	folder := filepath.Join(t.Folder, "members")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	t.lab, err = lab.Open(ctx, lab.Config{
		Folder: folder, Binary: t.Binary, Members: members, DiskBytes: diskBytes, Logger: t.Logger,
		Flags: []string{"--durability", "disk", "--partitions", "24", "--log-level", "warn"},
		Env:   []string{dsnEnv + "=" + t.server.DSN(database)},
	})
	if err != nil {
		return err
	}
	if err := errors.Join(t.lab.StartAll(), t.lab.AwaitReady(ctx)); err != nil {
		return err
	}
	if t.grid, err = t.lab.Connect(ctx); err != nil {
		return err
	}
	if t.space, err = grid.OpenSpace[item](ctx, t.grid, spaceName); err != nil {
		return err
	}
	err = t.grid.AddSink(ctx, grid.SinkDefinition{
		Name: sinkName, Kind: "postgres", Required: true, Spaces: []string{spaceName}, Config: sinkConfig,
	})
	if err != nil {
		return err
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	t.load, err = startLoad(ctx, t.lab, t.record, t.Rate, t.Seed)
	return err
}

// close ends whatever was begun.
func (t *trial) close() error {
	var err error
	if t.load != nil {
		t.load.stop()
	}
	if t.grid != nil {
		err = t.grid.Close()
	}
	if t.lab != nil {
		err = errors.Join(err, t.lab.End())
	}
	if t.server != nil {
		err = errors.Join(err, t.server.Close())
	}
	return err
}

// flush waits until both stores have everything that was written before.
func (t *trial) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	for _, name := range []string{sinkName, "store"} {
		if err := t.grid.FlushSink(ctx, name); err != nil {
			return fmt.Errorf("flush %s: %w", name, err)
		}
	}
	return nil
}

// prove carries out one proof, and has everything whole again before the next.
func (t *trial) prove(ctx context.Context, p proof) error {
	if why := p.missing(t.lab.Rights()); why != "" {
		t.skipped = append(t.skipped, p.name+": "+why)
		return nil
	}
	began, acked := time.Now(), t.record.count()
	err := p.do(t, ctx)
	if err == nil {
		err = t.lab.AwaitReady(ctx)
	}
	if err == nil {
		err = t.flush(ctx)
	}
	if err == nil {
		err = t.remember()
	}
	if err == nil && t.record.count() == acked {
		err = errors.New("nothing was acknowledged meanwhile")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.Logger.Info("pumpfaults: proof", "name", p.name, "took", time.Since(began).Round(time.Millisecond), "acked", t.record.count()-acked, "err", err)
	if err == nil {
		t.proofs++
		return nil
	}
	t.failed = append(t.failed, p.name+": "+err.Error())
	if !t.server.Running() {
		err = t.server.Restart()
	} else {
		err = nil
	}
	for _, m := range t.lab.All() {
		err = errors.Join(err, m.Resume(), m.Mount(ctx), m.Start())
	}
	return errors.Join(err, t.lab.AwaitReady(ctx))
}
