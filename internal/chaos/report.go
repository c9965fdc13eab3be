package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what runs have shown together.
type Report struct {
	results []Result
	skipped map[string]string // fault → why
}

// Add adds a result.
func (r *Report) Add(res Result) { r.results = append(r.results, res) }

// LeaveOut notes why a fault cannot be done here.
func (r *Report) LeaveOut(fault, why string) {
	if r.skipped == nil {
		r.skipped = map[string]string{}
	}
	r.skipped[fault] = why
}

// Summary is the closing line. Its names in JSON are part of the interface.
type Summary struct {
	Runs             int     `json:"runs"` // those that were carried out
	Passed           int     `json:"passed"`
	Failed           int     `json:"failed"`
	Invalid          int     `json:"invalid"`
	Acked            int     `json:"acked"`
	Refused          int     `json:"refused"`
	Indeterminate    int     `json:"indeterminate"`
	AcknowledgedLost int     `json:"acknowledged_lost"`
	DuplicatedTakes  int     `json:"duplicated_takes"`
	StaleReads       int     `json:"stale_reads"`
	Gaps             int     `json:"gaps"`
	DoubleApplies    int     `json:"double_applies"`
	Phantom          int     `json:"phantom"`
	Wrong            int     `json:"wrong"`
	StoreRows        int     `json:"store_rows"`
	StoreDiffers     int     `json:"store_differences"`
	Unknown          int     `json:"unknown"` // runs with a check that did not end
	FaultsVerified   int     `json:"faults_verified"`
	Skipped          int     `json:"skipped"` // faults that the rights at hand do not allow
	Seconds          float64 `json:"seconds"`
	OK               bool    `json:"ok"`
}

// maxUnknown is the largest share of runs whose checks may not come to an end.
const maxUnknown = 0.01

// Summary adds everything up.
func (r *Report) Summary() Summary {
	var s Summary
	for i := range r.results {
		res, v := &r.results[i], &r.results[i].Verdict
		if res.Outcome == Skipped {
			continue
		}
		s.Runs++
		switch res.Outcome {
		case Passed:
			s.Passed++
		case Failed:
			s.Failed++
		case Invalid:
			s.Invalid++
		case Unknown:
			s.Unknown++
		}
		s.Acked += v.OK
		s.Refused += v.Failed
		s.Indeterminate += v.Indeterminate
		s.AcknowledgedLost += v.AckedLost
		s.DuplicatedTakes += v.Duplicated
		s.StaleReads += v.Stale
		s.Gaps += v.Gaps
		s.DoubleApplies += v.DoubleApplies
		s.Phantom += v.Phantom
		s.Wrong += v.Wrong
		s.StoreRows += res.StoreRows
		s.StoreDiffers += res.StoreDiffers
		s.FaultsVerified += res.verified()
		s.Seconds += res.Took.Seconds()
	}
	s.Skipped = len(r.skipped)
	s.OK = s.Runs > 0 && s.Failed == 0 && s.Invalid == 0 && float64(s.Unknown) <= maxUnknown*float64(s.Runs)
	return s
}

// disclaimer goes with every report.
const disclaimer = "These runs were made by the project itself, with its own harness, on one machine. Nobody else has certified them."

// grid is the results by workload and fault, each in the order of first coming.
type grid struct {
	workloads, faults []string
	cells             map[[2]string]*cell
}

// cell is all runs of one workload under one fault.
type cell struct {
	runs, struck                  int
	ok, refused, unknown          int
	byOutcome                     map[Outcome]int
	lost, twice, stale, gaps, bad int
}

func (r *Report) grid() *grid {
	g := &grid{cells: map[[2]string]*cell{}}
	for i := range r.results {
		res := &r.results[i]
		if !slices.Contains(g.workloads, res.Workload) {
			g.workloads = append(g.workloads, res.Workload)
		}
		if !slices.Contains(g.faults, res.Fault) {
			g.faults = append(g.faults, res.Fault)
		}
		at := [2]string{res.Workload, res.Fault}
		c := g.cells[at]
		if c == nil {
			c = &cell{byOutcome: map[Outcome]int{}}
			g.cells[at] = c
		}
		c.add(res)
	}
	return g
}

func (c *cell) add(res *Result) {
	v := &res.Verdict
	c.byOutcome[res.Outcome]++
	if res.Outcome != Skipped {
		c.runs++
	}
	c.struck += res.verified()
	c.ok, c.refused, c.unknown = c.ok+v.OK, c.refused+v.Failed, c.unknown+v.Indeterminate
	c.lost, c.twice, c.stale, c.gaps = c.lost+v.AckedLost, c.twice+v.Duplicated, c.stale+v.Stale, c.gaps+v.Gaps
	c.bad += v.DoubleApplies + v.Phantom + v.Wrong + res.StoreDiffers
}

// outcome says in a word what all runs of a cell show: the worst of them.
func (c *cell) outcome() string {
	for _, o := range []Outcome{Failed, Unknown, Invalid, Passed, Skipped} {
		if n := c.byOutcome[o]; n > 0 {
			return string(o)
		}
	}
	return "-"
}

var tableHeader = []string{"workload", "fault", "runs", "faults", "ok", "failed", "indeterminate", "lost", "twice", "stale", "gaps", "wrong", "outcome"}

// rows returns a line for each cell, with text in every column.
func (r *Report) rows() [][]string {
	g := r.grid()
	var rows [][]string
	for _, f := range g.faults {
		for _, w := range g.workloads {
			c := g.cells[[2]string{w, f}]
			if c == nil {
				continue
			}
			row := []string{w, f}
			for _, n := range []int{c.runs, c.struck, c.ok, c.refused, c.unknown, c.lost, c.twice, c.stale, c.gaps, c.bad} {
				row = append(row, fmt.Sprint(n))
			}
			rows = append(rows, append(row, c.outcome()))
		}
	}
	return rows
}

// WriteText writes the table for a terminal, with what was skipped and what failed.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(tableHeader, "\t"))
	for _, row := range r.rows() {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range r.remarks() {
		fmt.Fprintln(w, line)
	}
	_, err := fmt.Fprintln(w, disclaimer)
	return err
}

// remarks are a line for each fault skipped and each run that did not pass.
func (r *Report) remarks() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(r.skipped)) {
		lines = append(lines, fmt.Sprintf("skipped: %s: %s", name, r.skipped[name]))
	}
	for i := range r.results {
		res := &r.results[i]
		if res.Outcome == Passed || res.Outcome == Skipped {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s under %s, seed %d: %s (%s)", res.Outcome, res.Workload, res.Fault, res.Seed, res.Reason, res.Folder))
		for _, c := range res.Verdict.Complaints {
			lines = append(lines, "  "+c)
		}
	}
	return lines
}

// WritePage writes the report as a page of Markdown.
func (r *Report) WritePage(w io.Writer, machine string, when time.Time) error {
	s := r.Summary()
	var b strings.Builder
	fmt.Fprintf(&b, "# What the fault harness has shown\n\n%s\n\n", disclaimer)
	fmt.Fprintf(&b, "`make chaos`, %s, %s: %d runs, %.0f minutes, %d faults that are known to have happened.\n", when.Format(time.DateOnly), machine, s.Runs, s.Seconds/60, s.FaultsVerified)
	fmt.Fprintf(&b, "Operations: %d ok, %d failed, %d indeterminate. Acknowledged and lost: %d. Handed out twice: %d. Stale reads: %d. Gaps: %d.\n",
		s.Acked, s.Refused, s.Indeterminate, s.AcknowledgedLost, s.DuplicatedTakes, s.StaleReads, s.Gaps)
	fmt.Fprintf(&b, "Applied twice: %d. Store rows compared: %d, different: %d. Runs whose checks did not come to an end: %d.\n\n",
		s.DoubleApplies, s.StoreRows, s.StoreDiffers, s.Unknown)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(tableHeader, " | "), strings.Repeat("---|", len(tableHeader)))
	for _, row := range r.rows() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	for _, line := range r.remarks() {
		fmt.Fprintf(&b, "\n- %s", strings.TrimSpace(line))
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}
