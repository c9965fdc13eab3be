package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/bench/primarybackup"
)

// ReplicatedConfig says how replicated writes are measured. A zero field means
// its default.
type ReplicatedConfig struct {
	// Start says how the members come to be. Default: in this process.
	Start Start
	// Members is how many there are. Default 3.
	Members int
	// Callers are how many callers write at once, through one handle from
	// outside; each number is a cell. Default 64 and 1024.
	Callers  []int
	Workload Workload // Reads is not looked at
	// Load is looked at for everything but Clients and Pipeline, which is 1.
	Load     Load
	Runs     int
	Progress func(string)
}

func (c ReplicatedConfig) withDefaults() ReplicatedConfig {
	orDefault(&c.Members, 3)
	orDefault(&c.Runs, 1)
	if len(c.Callers) == 0 {
		c.Callers = []int{64, 1024}
	}
	c.Workload.Reads = 0
	c.Load.Pipeline = 1
	return c
}

// Replicated measures writes to a cluster and, in turns with it, to a loop of a
// primary and backups without consensus, with as many copies.
func Replicated(ctx context.Context, cfg ReplicatedConfig) (Report, error) {
	report := newReport("replicated", cfg.Load.withDefaults().Seed)
	err := cfg.withDefaults().addTo(ctx, &report)
	return report, err
}

// addTo measures and adds to a report.
func (c ReplicatedConfig) addTo(ctx context.Context, report *Report) (err error) {
	if c.Members < 2 {
		return fmt.Errorf("bench: %d members replicate nothing (give 2 or more)", c.Members)
	}
	peer, err := primarybackup.Open(ctx, c.Members-1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	conn, err := primarybackup.Dial(ctx, peer.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	p := plan{runs: c.Runs, progress: c.Progress}
	p.sayf("start %d members", c.Members)
	m, err := startMembers(ctx, c.Start, c.Members)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	p.pids = m.pids()
	g, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	report.notef("replicated writes: %s; the primary and its backups in the measuring process; callers beside them, over TCP", m.where())
	for _, callers := range c.Callers {
		load := c.Load
		load.Clients = callers
		cells, err := p.cell(ctx, fmt.Sprintf("replicated-write-%d", callers), c.Workload, load,
			target{name: "spacegrid", dial: DialGrid(g)}, target{name: "primary-backup", dial: dialBackup(conn)})
		if err != nil {
			return err
		}
		report.Cells = append(report.Cells, cells...)
		report.Ratios = append(report.Ratios, newRatio(cells[0], cells[1], replicatedAtLeast(callers)))
	}
	return nil
}

// replicatedAtLeast is the share of what is possible without consensus that is
// to be reached with it: more where more callers share a round.
func replicatedAtLeast(callers int) float64 {
	if callers < 1024 {
		return 0.5
	}
	return 0.7
}
