package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// MatrixConfig describes runs of workloads under faults.
type MatrixConfig struct {
	// Run is the model for every run; its Workload, Column, Seed and Folder are filled
	// in.
	Run    Config
	Pairs  []Pair
	Rights lab.Rights
	// Seed is that of the first round; each round adds one.
	Seed uint64
	// Rounds is how often each cell is run; 0 is until Time is over.
	Rounds int
	// Time is after how long no further run begins.
	Time time.Duration
	// Folder keeps the results, one file a run, so that a matrix that was stopped
	// goes on with what is missing.
	Folder string
	// Told gets each result as it comes, also those that were there already.
	Told func(Result)
}

// retries is how often a run that proved nothing is done again.
const retries = 1

// Matrix runs every workload under every fault, round by round, until the rounds
// or the time are over. Results that its folder has already count as done.
func Matrix(ctx context.Context, cfg MatrixConfig) (*Report, error) {
	m := &matrix{MatrixConfig: cfg, end: time.Now().Add(cfg.Time), report: &Report{}}
	if err := os.MkdirAll(cfg.Folder, 0o755); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	for round := 0; cfg.Rounds == 0 || round < cfg.Rounds; round++ {
		more, err := m.round(ctx, cfg.Seed+uint64(round))
		if err != nil || !more {
			return m.report, err
		}
	}
	return m.report, nil
}

type matrix struct {
	MatrixConfig
	end    time.Time
	report *Report
	ran    bool // whether this round did anything but skip
}

// round does every cell once. It reports false when the time is over, or when
// nothing can be run at all.
func (m *matrix) round(ctx context.Context, seed uint64) (more bool, err error) {
	m.ran = false
	for i, p := range m.Pairs {
		if m.Time > 0 && time.Now().After(m.end) {
			return false, nil
		}
		// A seed of its own for each pair, so that no two see the same schedule.
		if err := m.cell(ctx, p, seed<<8|uint64(i)); err != nil {
			return false, err
		}
	}
	return m.ran, nil
}

func (m *matrix) cell(ctx context.Context, p Pair, seed uint64) error {
	name := fmt.Sprintf("%s-%s-%d", p.Workload.Name(), p.Column.Name, seed)
	path := filepath.Join(m.Folder, name+".json")
	result, err := readResult(path)
	if err == nil {
		m.tell(result)
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	column, why := m.possible(p.Column)
	if why != "" {
		m.tell(Result{Workload: p.Workload.Name(), Fault: column.Name, Seed: seed, Outcome: Skipped, Reason: why})
		return nil
	}
	cfg := m.Run
	cfg.Column, cfg.Seed = column, seed
	for try := 0; ; try++ {
		cfg.Folder = filepath.Join(m.Folder, name)
		if err := os.RemoveAll(cfg.Folder); err != nil {
			return fmt.Errorf("chaos: %w", err)
		}
		if cfg.Workload, err = again(p.Workload); err != nil {
			return err
		}
		if result, err = Run(ctx, cfg); err != nil {
			return err
		}
		if result.Outcome != Invalid || try == retries {
			break
		}
	}
	m.tell(result)
	return writeResult(path, &result)
}

// possible returns a column without the faults that cannot be done here, which are
// noted by name, and why if none is left.
func (m *matrix) possible(c Column) (left Column, why string) {
	left.Name = c.Name
	for _, f := range c.Faults {
		if missing := f.Missing(m.Rights); missing != "" {
			m.report.LeaveOut(f.Name(), missing)
			why = missing
			continue
		}
		left.Faults = append(left.Faults, f)
	}
	if len(left.Faults) > 0 {
		why = ""
	}
	return left, why
}

// again returns a value of a workload that has not been used yet.
func again(w workload.Workload) (workload.Workload, error) {
	fresh, ok := workload.Named(w.Name())
	if !ok {
		return nil, fmt.Errorf("chaos: there is no workload %q", w.Name())
	}
	return fresh, nil
}

func (m *matrix) tell(r Result) {
	if r.Outcome != Skipped {
		m.ran = true
	}
	m.report.Add(r)
	if m.Told != nil {
		m.Told(r)
	}
}

func readResult(path string) (r Result, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("chaos: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("chaos: %s: %w (remove it to do that run again)", path, err)
	}
	return r, nil
}

// writeResult writes a result whole or not at all.
func writeResult(path string, r *Result) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return nil
}
