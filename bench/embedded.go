package bench

import (
	"context"
	"errors"
	"fmt"
)

// EmbeddedConfig says how members inside this process are measured. A zero field
// means its default.
type EmbeddedConfig struct {
	// Members is how many form the grid; the callers use the first. Default 1.
	Members int
	// Callers are how many callers read, or write, at once; each number is a
	// pair of cells. Default 1 and 64.
	Callers  []int
	Workload Workload // Reads is not looked at
	// Load is looked at for everything but Clients.
	Load Load
	// Runs is how often each cell is measured; the report has the median.
	// Default 1.
	Runs     int
	Progress func(string)
}

// Embedded measures what an application has that carries a member in its own
// process: writes, and linearizable reads, with everything in memory.
func Embedded(ctx context.Context, cfg EmbeddedConfig) (report Report, err error) {
	orDefault(&cfg.Members, 1)
	orDefault(&cfg.Runs, 1)
	if len(cfg.Callers) == 0 {
		cfg.Callers = []int{1, 64}
	}
	report = newReport("embedded", cfg.Load.withDefaults().Seed)
	p := plan{runs: cfg.Runs, progress: cfg.Progress}
	p.sayf("start %d members", cfg.Members)
	m, err := startMembers(ctx, Start{}, cfg.Members)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	report.notef("embedded: %s", m.where())
	for _, callers := range cfg.Callers {
		for _, kind := range []struct {
			name  string
			reads float64
		}{{"write", 0}, {"read", 1}} {
			w, l := cfg.Workload, cfg.Load
			w.Reads, l.Clients = kind.reads, callers
			cells, err := p.cell(ctx, fmt.Sprintf("embedded-%s-%d", kind.name, callers), w, l, target{name: "spacegrid", dial: DialGrid(m.grids[0])})
			if err != nil {
				return report, err
			}
			report.Cells = append(report.Cells, cells...)
		}
	}
	return report, nil
}
