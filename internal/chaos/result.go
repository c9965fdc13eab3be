package chaos

import (
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Outcome of a run.
type Outcome string

// The outcomes of a run. Only passed is good.
const (
	// Passed: the faults happened, the clients got on, every check came to its end
	// and found nothing.
	Passed Outcome = "passed"
	// Failed: a promise was broken.
	Failed Outcome = "failed"
	// Unknown: a check did not come to its end.
	Unknown Outcome = "unknown"
	// Invalid: the run proves nothing, because a fault did not happen, the clients
	// did too little or the harness itself was held up.
	Invalid Outcome = "invalid"
	// Skipped: the rights at hand do not allow the fault.
	Skipped Outcome = "skipped"
)

// Result is what became of a run. Its names in JSON are part of the interface.
type Result struct {
	Workload string           `json:"workload"`
	Fault    string           `json:"fault"` // names, joined by +
	Seed     uint64           `json:"seed"`
	Outcome  Outcome          `json:"outcome"`
	Reason   string           `json:"reason,omitempty"` // of every outcome but passed
	Verdict  workload.Verdict `json:"verdict"`
	Injuries []Injury         `json:"injuries,omitempty"`
	// StoreRows is how many rows were compared with the stores of the members, and
	// StoreDiffers in how many they differ.
	StoreRows    int           `json:"store_rows"`
	StoreDiffers int           `json:"store_differs"`
	Rate         float64       `json:"rate"` // operations done a second under load
	Stall        time.Duration `json:"harness_stall_ns"`
	Took         time.Duration `json:"took_ns"`
	Folder       string        `json:"folder,omitempty"` // history, logs and data of a run that did not pass
}

// Injury is a fault that was injected.
type Injury struct {
	Fault    string        `json:"fault"`
	What     string        `json:"what"`
	At       time.Duration `json:"at_ns"` // since the load began
	Held     time.Duration `json:"held_ns"`
	Verified bool          `json:"verified"`
}

// verified counts the faults that are known to have happened.
func (r *Result) verified() int {
	n := 0
	for i := range r.Injuries {
		if r.Injuries[i].Verified {
			n++
		}
	}
	return n
}

// broken says in a word what is wrong with a verdict, "" if nothing is.
func broken(v *workload.Verdict) string {
	for _, c := range []struct {
		n    int
		word string
	}{
		{v.AckedLost, "acknowledged and lost"}, {v.Duplicated, "handed out twice"}, {v.Stale, "stale reads"},
		{v.Gaps, "gaps"}, {v.DoubleApplies, "applied twice"}, {v.Phantom, "never written"}, {v.Wrong, "wrong"},
	} {
		if c.n > 0 {
			return c.word
		}
	}
	return ""
}
