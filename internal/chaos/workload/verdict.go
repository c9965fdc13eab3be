package workload

import (
	"fmt"

	"github.com/spacegrid/spacegrid/internal/check"
)

// Words for what a verdict says.
const (
	Passed    = "passed"
	Failed    = "failed"
	Undecided = "unknown"
)

// maxComplaints bounds the complaints of a verdict: people read a few, and the
// counts have them all.
const maxComplaints = 20

// Verdict is what a history shows. Counts are zero where a workload has no such
// thing.
type Verdict struct {
	OK            int `json:"ok"` // operations by outcome
	Failed        int `json:"failed"`
	Indeterminate int `json:"indeterminate"`

	AckedLost     int `json:"acked_lost"`     // acknowledged, and gone
	Duplicated    int `json:"duplicated"`     // handed out or seen more than once
	Stale         int `json:"stale"`          // reads that missed what was there before they began
	Gaps          int `json:"gaps"`           // changes that a watcher was not given
	DoubleApplies int `json:"double_applies"` // took effect more than once
	Phantom       int `json:"phantom"`        // seen, and never asked for, or refused
	Wrong         int `json:"wrong"`          // any other broken promise
	// Unknown counts checks that did not come to an end, and what could not be
	// read at the end.
	Unknown int `json:"unknown"`

	// Complaints say in words what is wrong, at most twenty. They name keys, and
	// operations by the number of their line.
	Complaints []string `json:"complaints,omitempty"`
}

// Add adds what another verdict has found.
func (v *Verdict) Add(o *Verdict) {
	v.OK, v.Failed, v.Indeterminate = v.OK+o.OK, v.Failed+o.Failed, v.Indeterminate+o.Indeterminate
	v.AckedLost, v.Duplicated, v.Stale = v.AckedLost+o.AckedLost, v.Duplicated+o.Duplicated, v.Stale+o.Stale
	v.Gaps, v.DoubleApplies, v.Phantom = v.Gaps+o.Gaps, v.DoubleApplies+o.DoubleApplies, v.Phantom+o.Phantom
	v.Wrong, v.Unknown = v.Wrong+o.Wrong, v.Unknown+o.Unknown
	v.complain(o.Complaints...)
}

// Word returns "failed" if a promise was broken, "unknown" if a check did not end or
// nothing was done at all, and "passed" otherwise.
func (v *Verdict) Word() string {
	switch {
	case v.AckedLost+v.Duplicated+v.Stale+v.Gaps+v.DoubleApplies+v.Phantom+v.Wrong > 0:
		return Failed
	case v.Unknown > 0, v.OK == 0:
		return Undecided
	}
	return Passed
}

func (v *Verdict) complainf(format string, args ...any) {
	v.complain(fmt.Sprintf(format, args...))
}

func (v *Verdict) complain(texts ...string) {
	room := max(0, maxComplaints-len(v.Complaints))
	v.Complaints = append(v.Complaints, texts[:min(room, len(texts))]...)
}

// malformed notes a line that no client of the workload records: the history is not
// what it seems, and cannot pass.
func (v *Verdict) malformed(op *Op, why string) {
	v.Wrong++
	v.complainf("line %d: this is no history of the workload: %s", op.N, why)
}

// tally counts the operations of a history by outcome, and finds what is wrong with
// any of them by itself. Lines that clients note for themselves are no operations.
func tally(h *History) *Verdict {
	v := &Verdict{}
	for _, op := range h.ops {
		if op.Note() {
			continue
		}
		switch op.Outcome {
		case check.Done:
			v.OK++
		case check.Refused:
			v.Failed++
		case check.Unknown:
			v.Indeterminate++
		}
		if op.Hung {
			v.Wrong++
			v.complainf("line %d: %s of %q had not returned %v after it was asked for", op.N, op.Kind, op.Key, hungTime)
		}
		if op.Bad != "" {
			v.Wrong++
			v.complainf("line %d: %s of %q: %s", op.N, op.Kind, op.Key, op.Bad)
		}
	}
	return v
}
