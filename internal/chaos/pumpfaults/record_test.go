package pumpfaults

import (
	"maps"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
)

// Whatever a store may do wrong is counted under its name, and what nobody can know
// is compared with the grid.
func TestJudge(t *testing.T) {
	r := newRecord()
	r.wrote("kept", 3)
	r.wrote("kept", 7)
	r.wrote("removed", 4)
	r.removed("removed", true)
	r.wrote("perhaps newer", 5)
	r.doubted("perhaps newer", false)
	r.wrote("perhaps gone", 6)
	r.doubted("perhaps gone", true)
	r.doubted("perhaps there", false)
	if r.wrong != 0 || r.count() != 6 {
		t.Fatalf("%d wrong of %d", r.wrong, r.count())
	}
	right := content{"kept": 7, "perhaps newer": 9}
	for _, c := range []struct {
		name string
		at   string
		v    grid.Version // 0: no entry
		want faults
	}{
		{"as it should be", "kept", 7, faults{}},
		{"a write is missing", "kept", 0, faults{lost: 1}},
		{"an earlier write came after a later one", "kept", 3, faults{disorder: 1}},
		{"a write came again as another", "kept", 8, faults{twice: 1}},
		{"a removed entry is back", "removed", 4, faults{twice: 1}},
		{"nobody wrote it", "never", 1, faults{twice: 1}},
		{"a doubtful write that the grid has is missing", "perhaps newer", 0, faults{lost: 1}},
		{"it is there, but older than what was acknowledged", "perhaps newer", 4, faults{disorder: 1}},
		{"it is there, but older than what the grid has", "perhaps newer", 5, faults{disorder: 1}},
		{"a doubtful removal that the grid has is missing", "perhaps gone", 6, faults{disorder: 1}},
	} {
		have := maps.Clone(right)
		if have[c.at] = c.v; c.v == 0 {
			delete(have, c.at)
		}
		if got := r.judge(have, right); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Answers that contradict earlier ones are counted: a version that is not above the
// one before, an entry that was not found.
func TestRecordContradiction(t *testing.T) {
	r := newRecord()
	r.wrote("a", 2)
	r.wrote("a", 2)
	r.removed("a", false)
	if r.wrong != 2 {
		t.Errorf("%d are wrong, not 2", r.wrong)
	}
}
