package chaos

import (
	"fmt"
	"testing"
	"time"
)

// What goes up and down around a level is flat; what grows through the last
// quarters is not, however slowly it began.
func TestGrowth(t *testing.T) {
	for _, test := range []struct {
		name string
		disk func(minute int) int64
		flat bool
	}{
		{"level", func(int) int64 { return 100 << 20 }, true},
		{"filling up at first", func(m int) int64 { return int64(min(m, 10)) << 20 }, true},
		{"up and down", func(m int) int64 { return int64(100+m%10) << 20 }, true},
		{"growing", func(m int) int64 { return int64(100+2*m) << 20 }, false},
		{"growing late", func(m int) int64 { return int64(100+max(0, m-40)*4) << 20 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var looks []Look
			for m := range 60 {
				for member := range 3 {
					looks = append(looks, Look{
						Member: fmt.Sprintf("m%d", member+1), At: time.Duration(m) * time.Minute,
						Goroutines: 100, Files: 30, Resident: 50 << 20, Disk: test.disk(m),
					})
				}
			}
			all := growth(looks)
			if len(all) != 3*4 {
				t.Fatalf("%d comparisons", len(all))
			}
			for _, g := range all {
				if want := test.flat || g.What != "disk bytes"; g.Flat != want {
					t.Errorf("%+v: flat is to be %v", g, want)
				}
			}
		})
	}
}

// Too few looks prove nothing.
func TestGrowthNeedsLooks(t *testing.T) {
	if g := growth(make([]Look, looksNeeded-1)); len(g) != 0 {
		t.Errorf("%+v", g)
	}
}
