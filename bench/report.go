package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Schema names the form of a Report as JSON. Fields may be added under the same
// name; a field that changes its meaning gets the form another one.
const Schema = "spacegrid.bench/1"

// Report is what came out of one or more runs on one machine.
type Report struct {
	Schema  string    `json:"schema"`
	Command string    `json:"command"` // kv, embedded, replicated, takes or compare
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Seed    uint64    `json:"seed"`
	Cells   []Cell    `json:"cells"`
	Ratios  []Ratio   `json:"ratios"`
	// Notes say what a reader of the figures has to know, such as a peer that
	// was not installed.
	Notes []string `json:"notes"`
}

// Cell is one workload under one load at one target: the run of several whose
// throughput is the median (the lower one of an even number).
type Cell struct {
	// Name says what was done, such as resp-pipeline-16-set; Target to whom, such
	// as "spacegrid" or "redis 7.0.15".
	Name     string   `json:"name"`
	Target   string   `json:"target"`
	Workload Workload `json:"workload"`
	Load     Load     `json:"load"`
	Result   Result   `json:"result"`
	// Runs is how many runs there were, Low and High their lowest and highest
	// throughput, in operations a second.
	Runs int     `json:"runs"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// OthersCores is how many cores programs that are no part of the run kept
	// busy, on average over the run in which they did most, its warm-up included.
	// It is absent where the system does not tell.
	OthersCores *float64 `json:"others_cores,omitempty"`
}

// Ratio sets a throughput beside the one of a peer, measured in the same run.
type Ratio struct {
	Name   string  `json:"name"` // of the two cells
	Target string  `json:"target"`
	Peer   string  `json:"peer"`
	Ours   float64 `json:"ours_per_second"`
	Theirs float64 `json:"theirs_per_second"`
	Ratio  float64 `json:"ratio"`
	// AtLeast is the ratio to reach; Met whether it was.
	AtLeast float64 `json:"at_least"`
	Met     bool    `json:"met"`
}

// newReport begins the report of a command, with the machine as it is now.
func newReport(command string, seed uint64) Report {
	return Report{
		Schema: Schema, Command: command, Started: time.Now().UTC().Truncate(time.Second), Machine: ThisMachine(),
		Seed: seed, Cells: []Cell{}, Ratios: []Ratio{}, Notes: []string{},
	}
}

// newCell makes a cell of at least one run.
func newCell(name, target string, w Workload, l Load, of runs) Cell {
	sorted := slices.Clone(of.results)
	slices.SortFunc(sorted, func(a, b Result) int {
		if a.PerSecond < b.PerSecond {
			return -1
		}
		return 1
	})
	last := len(sorted) - 1
	return Cell{
		Name: name, Target: target, Workload: w.withDefaults(), Load: l.withDefaults(), Result: sorted[last/2],
		Runs: len(sorted), Low: sorted[0].PerSecond, High: sorted[last].PerSecond, OthersCores: of.others,
	}
}

// newRatio compares two cells of one name.
func newRatio(ours, theirs Cell, atLeast float64) Ratio {
	r := Ratio{
		Name: ours.Name, Target: ours.Target, Peer: theirs.Target,
		Ours: ours.Result.PerSecond, Theirs: theirs.Result.PerSecond, AtLeast: atLeast,
	}
	if r.Theirs > 0 {
		r.Ratio = r.Ours / r.Theirs
		r.Met = r.Ratio >= atLeast
	}
	return r
}

// WriteJSON writes the report as one line of JSON.
func (r Report) WriteJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(r)
}

// WriteText writes the report for a person: the machine, a row for each cell,
// a line for each ratio. No line begins with a brace.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "machine  %s\n", r.Machine)
	fmt.Fprintf(&b, "run      %s, seed %d, %s\n", r.Command, r.Seed, r.Started.Format(time.RFC3339))
	for _, text := range r.settings() {
		fmt.Fprintf(&b, "load     %s\n", text)
	}
	if len(r.Cells) > 0 {
		fmt.Fprintln(&b)
		r.table(&b)
	}
	if len(r.Ratios) > 0 {
		fmt.Fprintln(&b)
		r.ratios(&b)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(&b)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "note     %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// settings describes the workloads and loads of the cells, each once. What a
// row of the table says is left out.
func (r Report) settings() []string {
	var texts []string
	for i := range r.Cells {
		c := &r.Cells[i]
		kind := "closed loop"
		if c.Load.Rate > 0 {
			kind = fmt.Sprintf("open loop, %s operations due a second, latency from when due", grouped(c.Load.Rate))
		}
		keys := "uniform"
		if c.Workload.Zipf != 0 {
			keys = fmt.Sprintf("zipf %.2f", c.Workload.Zipf)
		}
		text := fmt.Sprintf("%s; %s %s keys of %d B, values of %d B; warm-up %v, then %v measured",
			kind, grouped(float64(c.Workload.Keys)), keys, c.Workload.KeySize, c.Workload.ValueSize, c.Load.Warmup, c.Load.Duration)
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

func (r Report) table(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cell\ttarget\tclients\tdepth\treads\tops/s\tlow\thigh\tp50 µs\tp90\tp99\tp99.9\tp99.99\tmax\tfailed\tmissed\tunanswered\tothers\t")
	for i := range r.Cells {
		c := &r.Cells[i]
		l := c.Result.Latency
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.0f%%\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t\n",
			c.Name, c.Target, c.Load.Clients, c.Load.Pipeline, 100*c.Workload.Reads,
			grouped(c.Result.PerSecond), grouped(c.Low), grouped(c.High),
			microText(l.P50), microText(l.P90), microText(l.P99), microText(l.P999), microText(l.P9999), microText(l.Max),
			c.Result.Failed, c.Result.Missed, c.Result.Unanswered, coresText(c.OthersCores))
	}
	_ = t.Flush() // into memory
	fmt.Fprintln(b, "low, high: throughput of the slowest and fastest run; latencies in µs; others: cores that foreign programs kept busy meanwhile")
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Result.Failure != "" {
			fmt.Fprintf(b, "failure of %s at %s: %s\n", c.Name, c.Target, c.Result.Failure)
		}
		if s := c.Result.Slip; s != nil {
			fmt.Fprintf(b, "slip of the generator in %s at %s, part of its latencies: p50 %s µs, p99 %s µs\n", c.Name, c.Target, microText(s.P50), microText(s.P99))
		}
	}
}

func (r Report) ratios(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, x := range r.Ratios {
		verdict := "met"
		if !x.Met {
			verdict = "not met"
		}
		fmt.Fprintf(t, "ratio\t%s\t%s %s/s\t%s %s/s\t%.2f ×\tat least %.2f ×\t%s\n",
			x.Name, x.Target, grouped(x.Ours), x.Peer, grouped(x.Theirs), x.Ratio, x.AtLeast, verdict)
	}
	_ = t.Flush() // into memory
}

// coresText prints a number of cores, or a dash if it is not known.
func coresText(cores *float64) string {
	if cores == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *cores)
}

// microText prints microseconds with as many decimals as they deserve.
func microText(us float64) string {
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f", us)
	case us < 100:
		return fmt.Sprintf("%.1f", us)
	}
	return grouped(us)
}

// grouped prints a number without decimals and its thousands apart.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// notef adds a note, once.
func (r *Report) notef(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}
