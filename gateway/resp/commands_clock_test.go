package resp

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// A moment that a client gives is compared with the member's wall clock, whatever
// that says, and a lease that was granted no longer depends on it.
func TestMomentsAreOfTheMembersClock(t *testing.T) {
	var offset atomic.Int64
	offset.Store(int64(24 * time.Hour))
	g, err := grid.Open(t.Context(), grid.Config{Name: "m1", Partitions: 16, Wall: func() time.Time {
		return time.Now().Add(time.Duration(offset.Load()))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	_, address := startCommands(t, CommandsConfig{Grid: g})
	p := dialPeer(t, address)
	must := func(want string, args ...string) {
		t.Helper()
		if got, err := p.call(args...); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %q", args, got, err, want)
		}
	}
	there := time.Now().Add(24 * time.Hour)
	var told int64
	if got, err := p.call("TIME"); err != nil {
		t.Fatal(err)
	} else if _, err := fmt.Sscanf(got, `["%d"`, &told); err != nil || told < there.Unix() || told > there.Unix()+60 {
		t.Errorf("it is %s there, %v", got, err)
	}
	must("+OK", "SET", "k", "v", "EXAT", fmt.Sprint(there.Add(time.Hour).Unix()))
	must("+OK", "SET", "gone", "v")
	must("1", "EXPIREAT", "gone", fmt.Sprint(time.Now().Add(time.Hour).Unix())) // which is long past there
	must("nil", "GET", "gone")
	offset.Store(int64(20 * 365 * 24 * time.Hour))
	must(`"v"`, "GET", "k")
	if left, err := p.call("TTL", "k"); err != nil || left != "3600" && left != "3599" {
		t.Errorf("%s seconds are left, %v", left, err)
	}
}
