package chaos

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// The closing line adds up what the runs have shown, and nothing that was skipped,
// unknown or invalid passes for good.
func TestSummary(t *testing.T) {
	passed := Result{
		Workload: "set", Fault: "kill-one", Outcome: Passed, Took: time.Second, StoreRows: 10,
		Verdict:  workload.Verdict{OK: 100, Failed: 3, Indeterminate: 2},
		Injuries: []Injury{{Verified: true}, {Verified: true}},
	}
	with := func(change func(*Result)) Result {
		r := passed
		change(&r)
		return r
	}
	for _, test := range []struct {
		name    string
		results []Result
		ok      bool
		check   func(Summary) bool
	}{
		{"nothing was run", nil, false, func(s Summary) bool { return s.Runs == 0 }},
		{"all passed", []Result{passed, passed}, true, func(s Summary) bool {
			return s.Runs == 2 && s.Acked == 200 && s.Refused == 6 && s.Indeterminate == 4 && s.FaultsVerified == 4 && s.StoreRows == 20
		}},
		{"one lost", []Result{passed, with(func(r *Result) { r.Outcome, r.Verdict.AckedLost = Failed, 1 })}, false,
			func(s Summary) bool { return s.AcknowledgedLost == 1 && s.Failed == 1 }},
		{"one unknown of two", []Result{passed, with(func(r *Result) { r.Outcome, r.Verdict.Unknown = Unknown, 1 })}, false,
			func(s Summary) bool { return s.Unknown == 1 }},
		{"one invalid", []Result{passed, with(func(r *Result) { r.Outcome = Invalid })}, false, func(s Summary) bool { return s.Invalid == 1 }},
		{"a skipped one is no run", []Result{passed, {Outcome: Skipped}}, true, func(s Summary) bool { return s.Runs == 1 }},
		{"skipped alone is not good", []Result{{Outcome: Skipped}}, false, func(s Summary) bool { return s.Runs == 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Report{}
			for _, res := range test.results {
				r.Add(res)
			}
			if s := r.Summary(); s.OK != test.ok || !test.check(s) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The names that scripts read are there.
func TestSummaryNames(t *testing.T) {
	b, err := json.Marshal(Summary{})
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq("runs acked acknowledged_lost duplicated_takes stale_reads gaps double_applies unknown faults_verified skipped") {
		if !strings.Contains(string(b), `"`+name+`":`) {
			t.Errorf("%s is missing in %s", name, b)
		}
	}
}

// A page and a table name every cell, what was skipped and why, and who says so.
func TestReportTellsEverything(t *testing.T) {
	r := &Report{}
	r.Add(Result{Workload: "set", Fault: "kill-one", Outcome: Passed, Verdict: workload.Verdict{OK: 77}})
	r.Add(Result{Workload: "bank", Fault: "power-all", Outcome: Failed, Reason: "wrong", Seed: 42, Verdict: workload.Verdict{Wrong: 1, Complaints: []string{"the sum is 7"}}})
	r.Add(Result{Workload: "set", Fault: "cut-one", Outcome: Skipped})
	r.LeaveOut("cut-one", "nft is not installed")
	var text, page strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WritePage(&page, "two cores", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"set", "kill-one", "77", "bank", "power-all", "failed", "seed 42", "the sum is 7", "nft is not installed", disclaimer} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, page.String())
		}
	}
}
