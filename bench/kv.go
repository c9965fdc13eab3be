package bench

import (
	"context"
	"fmt"
)

// runsMax bounds how often a cell is measured.
const runsMax = 100

// KVConfig says how a server that speaks RESP is measured. A zero optional field
// means its default.
type KVConfig struct {
	// Addr is the server's TCP address. Required.
	Addr string
	// Target is what the report calls it. Default "resp".
	Target   string
	Workload Workload
	Load     Load
	// Runs is how often it is measured; the report has the median. Default 1.
	Runs int
	// Progress, if set, is told what begins, a line at a time.
	Progress func(string)
}

// KV measures any server that speaks RESP, Redis included, by GET and SET. It
// writes to the keys of the workload, whatever they hold, and leaves them there.
func KV(ctx context.Context, cfg KVConfig) (Report, error) {
	if cfg.Addr == "" {
		return Report{}, fmt.Errorf("bench: no address to measure at (give host:port)")
	}
	orDefault(&cfg.Target, "resp")
	orDefault(&cfg.Runs, 1)
	report := newReport("kv", cfg.Load.withDefaults().Seed)
	p := plan{runs: cfg.Runs, progress: cfg.Progress}
	cell, err := p.cell(ctx, "kv", cfg.Workload, cfg.Load, target{name: cfg.Target, dial: DialRESP(cfg.Addr)})
	if err != nil {
		return Report{}, err
	}
	report.Cells = cell
	return report, nil
}

// target is what a cell is measured at.
type target struct {
	name string
	dial Dial
}

// runs are those of one cell at one target.
type runs struct {
	results []Result
	others  *float64 // the most cores that others kept busy during one of them
}

// add adds a run.
func (r *runs) add(result Result, others *float64) {
	r.results = append(r.results, result)
	if r.others == nil || others != nil && *others > *r.others {
		r.others = others
	}
}

// plan says how cells are measured.
type plan struct {
	runs     int
	pids     []int // of the processes that were started for it
	progress func(string)
}

// cell measures one workload at every target, in turns, so that what else the
// machine does meanwhile meets them alike. Later runs draw other operations.
func (p plan) cell(ctx context.Context, name string, w Workload, l Load, targets ...target) ([]Cell, error) {
	if p.runs < 1 || p.runs > runsMax {
		return nil, fmt.Errorf("bench: %d runs (give 1 to %d)", p.runs, runsMax)
	}
	measured := make([]runs, len(targets))
	l = l.withDefaults()
	for turn := range p.runs {
		for i, t := range targets {
			p.sayf("%s at %s, run %d of %d", name, t.name, turn+1, p.runs)
			load := l
			load.Seed += uint64(turn)
			before := readCores(p.pids)
			r, err := Run(ctx, w, load, t.dial)
			if err != nil {
				return nil, fmt.Errorf("%s at %s: %w", name, t.name, err)
			}
			measured[i].add(r, readCores(p.pids).others(before))
		}
	}
	cells := make([]Cell, len(targets))
	for i, t := range targets {
		cells[i] = newCell(name, t.name, w, l, measured[i])
	}
	return cells, nil
}

func (p plan) sayf(format string, args ...any) {
	if p.progress != nil {
		p.progress(fmt.Sprintf(format, args...))
	}
}
