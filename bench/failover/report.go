package failover

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is the distribution of gaps of one target under one kind of injury.
type Report struct {
	Target  string
	Kind    Kind
	Keys    int
	Skipped string // why it was not measured; "" if it was
	gaps    []time.Duration
}

func (r *Report) add(gap time.Duration) { r.gaps = append(r.gaps, gap) }

// Times returns how many injuries were measured.
func (r *Report) Times() int { return len(r.gaps) }

// Quantile returns the gap that a share q of all gaps do not exceed, 0 if none was
// measured.
func (r *Report) Quantile(q float64) time.Duration {
	if len(r.gaps) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.gaps))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// MarshalJSON writes the quantiles, and every gap, in milliseconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	all := make([]float64, len(r.gaps))
	for i, g := range r.gaps {
		all[i] = millis(g)
	}
	return json.Marshal(struct {
		Target  string    `json:"target"`
		Kind    Kind      `json:"kind"`
		Times   int       `json:"times"`
		Keys    int       `json:"keys"`
		P50     float64   `json:"p50_ms"`
		P90     float64   `json:"p90_ms"`
		P99     float64   `json:"p99_ms"`
		Max     float64   `json:"max_ms"`
		Skipped string    `json:"skipped,omitempty"`
		Gaps    []float64 `json:"gaps_ms"`
	}{r.Target, r.Kind, r.Times(), r.Keys, millis(r.Quantile(0.5)), millis(r.Quantile(0.9)), millis(r.Quantile(0.99)), millis(r.Quantile(1)), r.Skipped, all})
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// WriteText writes reports as a table.
func WriteText(w io.Writer, reports []Report) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "target\tinjury\ttimes\tp50 ms\tp90 ms\tp99 ms\tmax ms")
	for i := range reports {
		r := &reports[i]
		if r.Skipped != "" {
			fmt.Fprintf(t, "%s\t%s\tskipped: %s\n", r.Target, r.Kind, r.Skipped)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f\n", r.Target, r.Kind, r.Times(),
			millis(r.Quantile(0.5)), millis(r.Quantile(0.9)), millis(r.Quantile(0.99)), millis(r.Quantile(1)))
	}
	return t.Flush()
}
