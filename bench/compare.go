package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// The parts of a comparison.
const (
	PartRESP       = "resp"       // Redis clients' reads and writes, beside Redis
	PartReplicated = "replicated" // replicated writes, beside a primary with backups
)

// CompareConfig says how Spacegrid is compared. A zero field means its default.
type CompareConfig struct {
	// Parts are what is compared. Default all.
	Parts []string
	// Start says how members come to be. Default: in this process.
	Start Start
	// Redis is the redis-server program. Default: the one on the search path.
	Redis string
	// Pipelines are the depths at which RESP is measured, over Clients
	// connections. Defaults 1, 16 and 64; 50.
	Pipelines []int
	Clients   int
	// Members and Callers are those of ReplicatedConfig.
	Members int
	Callers []int
	// Workload and Load hold for every cell; the share of reads, clients and
	// pipeline are the cell's own.
	Workload Workload
	Load     Load
	// Runs is how often each cell is measured; the report has the median.
	// Default 3.
	Runs     int
	Progress func(string)
}

func (c CompareConfig) withDefaults() CompareConfig {
	orDefault(&c.Clients, 50)
	orDefault(&c.Runs, 3)
	if len(c.Parts) == 0 {
		c.Parts = []string{PartRESP, PartReplicated}
	}
	if len(c.Pipelines) == 0 {
		c.Pipelines = []int{1, 16, 64}
	}
	return c
}

// Compare measures Spacegrid and its peers in turns, on this machine, and
// reports the ratios beside those to reach. A peer that is not installed is a
// note in the report. On an error the report has what was measured before.
func Compare(ctx context.Context, cfg CompareConfig) (Report, error) {
	cfg = cfg.withDefaults()
	report := newReport("compare", cfg.Load.withDefaults().Seed)
	for _, part := range cfg.Parts {
		if part != PartRESP && part != PartReplicated {
			return report, fmt.Errorf("bench: no comparison is called %q (give %q or %q)", part, PartRESP, PartReplicated)
		}
	}
	report.notef("clients, servers and peers share this machine")
	if slices.Contains(cfg.Parts, PartRESP) {
		if err := cfg.resp(ctx, &report); err != nil {
			return report, err
		}
	}
	if slices.Contains(cfg.Parts, PartReplicated) {
		replicated := ReplicatedConfig{
			Start: cfg.Start, Members: cfg.Members, Callers: cfg.Callers,
			Workload: cfg.Workload, Load: cfg.Load, Runs: cfg.Runs, Progress: cfg.Progress,
		}
		if err := replicated.withDefaults().addTo(ctx, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// resp compares one member with Redis.
func (c CompareConfig) resp(ctx context.Context, report *Report) (err error) {
	p := plan{runs: c.Runs, progress: c.Progress}
	p.sayf("start a member and redis-server")
	m, err := startMembers(ctx, c.Start, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	p.pids = m.pids()
	targets := []target{{name: "spacegrid", dial: DialRESP(m.plans[0].RESP)}}
	redis, err := StartRedis(ctx, c.Redis)
	switch {
	case errors.Is(err, ErrNoRedis):
		report.notef("not compared with Redis: %v", err)
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, redis.Close()) }()
		p.pids = append(p.pids, redis.process.pid())
		targets = append(targets, target{name: redis.Name(), dial: DialRESP(redis.Addr())})
	}
	report.notef("resp: %s", m.where())
	for _, depth := range c.Pipelines {
		for _, kind := range []struct {
			name  string
			reads float64
		}{{"set", 0}, {"get", 1}} {
			w, l := c.Workload, c.Load
			w.Reads, l.Clients, l.Pipeline = kind.reads, c.Clients, depth
			cells, err := p.cell(ctx, fmt.Sprintf("resp-pipeline-%d-%s", depth, kind.name), w, l, targets...)
			if err != nil {
				return err
			}
			report.Cells = append(report.Cells, cells...)
			if len(cells) > 1 {
				report.Ratios = append(report.Ratios, newRatio(cells[0], cells[1], respAtLeast(depth)))
			}
		}
	}
	return nil
}

// respAtLeast is the ratio to reach beside Redis at a pipeline's depth. At 1 the
// kernel's TCP does most of the work for both; the deeper, the more a server
// gains from using every core.
func respAtLeast(depth int) float64 {
	switch {
	case depth < 16:
		return 1.0
	case depth < 64:
		return 1.6
	}
	return 2.2
}
