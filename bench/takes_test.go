package bench

import (
	"strings"
	"testing"
	"time"
)

// Takes are measured at every size, with what is wanted and how flat they are beside
// them, and with what indexes and comparisons cost one replica.
func TestTakes(t *testing.T) {
	report, err := Takes(t.Context(), TakesConfig{
		Members: 1, Consumers: 8, Sizes: []int{2000, 4000},
		Load: Load{Warmup: 50 * time.Millisecond, Duration: 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range report.Cells {
		c := &report.Cells[i]
		names = append(names, c.Name)
		if c.Result.Ops == 0 || c.Result.Failed > 0 || c.Result.Unanswered > 0 {
			t.Errorf("%s: %+v", c.Name, c.Result)
		}
		if c.Result.Missed > c.Result.Ops/2 {
			t.Errorf("%s: %d of %d takes found nothing: the space does not keep its size", c.Name, c.Result.Missed, c.Result.Ops)
		}
	}
	if got, want := strings.Join(names, " "), "index-upkeep-0 index-upkeep-1 index-upkeep-2 match match takes-2000 takes-4000"; got != want {
		t.Errorf("cells %s, want %s", got, want)
	}
	names = nil
	for _, r := range report.Ratios {
		names = append(names, r.Name)
	}
	if got, want := strings.Join(names, " "), "match takes-2000 takes-4000 takes-flat"; got != want {
		t.Errorf("ratios %s, want %s", got, want)
	}
}

// What cannot be measured is refused before anything is started.
func TestTakesRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int
		says  string
	}{
		"descending": {[]int{4000, 2000}, "ascending"},
		"too small":  {[]int{10}, "too few"},
		"too large":  {[]int{10_000, keysMax + 1}, "at most"},
	} {
		if _, err := Takes(t.Context(), TakesConfig{Sizes: c.sizes}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
