package replica_test

import (
	"fmt"
	"testing"
)

// forEachDurability runs a test with logs on disk and in memory.
func forEachDurability(t *testing.T, f func(t *testing.T, c *cluster)) {
	for _, disk := range []bool{true, false} {
		name := map[bool]string{true: "disk", false: "memory"}[disk]
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c := newCluster(t, 1, disk)
				defer c.close()
				f(t, c)
			})
		})
	}
}

// Three members elect a leader, agree on what it is told, and go on with another
// leader when it is cut off; the old one follows once it is back.
func TestGroupSurvivesACutLeader(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		want := map[string]string{}
		for i := range 3 {
			old := c.leader()
			for name := range c.members {
				c.net.Cut(old.name, name)
			}
			c.until("another member leads", func() bool { return old.journal.leads() == 0 && c.leader() != old })
			name := fmt.Sprint("k", i)
			c.write(name, "v")
			want[name] = "v"
			for name := range c.members {
				c.net.Heal(old.name, name)
			}
			c.agree(want)
		}
	})
}
