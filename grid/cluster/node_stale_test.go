package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A follower that comes back with an older copy of its disk costs nothing that was
// acknowledged, even if the leader dies at once, and if the leader lives long enough
// to hear of it, another replica takes its place.
func TestARolledBackFollowerIsReplaced(t *testing.T) {
	for _, members := range []int{2, 3} {
		for _, delay := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
			for _, rebooted := range []bool{false, true} {
				if members == 2 && delay == 0 {
					continue // Two members serve without neither of them.
				}
				t.Run(fmt.Sprintf("%d members, %v, rebooted %v", members, delay, rebooted), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testRolledBack(t, members, delay, rebooted) })
				})
			}
		}
	}
}

func testRolledBack(t *testing.T, members int, delay time.Duration, rebooted bool) {
	g := newRig(t, members, NodeConfig{Dir: damageDir, Partitions: 4})
	for i := range members {
		g.start(name(i))
	}
	g.ready()
	g.eventually("the cluster is whole", g.whole)
	leader, followers := g.roles("k7")
	victim := followers[0]
	id := defaultSpace(t, g.nodes[leader].Router())
	put := func(v string) {
		for i := range 20 {
			write(t, g.nodes[leader].Router(), id, fmt.Sprint("k", i), v)
		}
	}
	check := func(through, want string) {
		t.Helper()
		for i := range 20 {
			if v, _ := read(t, g.nodes[through].Router(), id, fmt.Sprint("k", i)); v != want {
				t.Errorf("k%d is %q, want %q", i, v, want)
			}
		}
	}
	put("old")
	backup := g.disks[victim].CrashClone(vfs.CrashCloneCfg{})
	if rebooted {
		// The copy then starts under the number that was seen of this life.
		g.crash(victim)
		g.start(victim)
		g.ready()
		g.eventually("the cluster is whole", g.whole)
	}
	put("acknowledged")
	g.agree()
	if now, _ := g.roles("k7"); now != leader {
		t.Fatalf("%s leads, not %s", now, leader)
	}
	g.crash(victim)
	g.disks[victim] = backup
	g.start(victim)
	time.Sleep(delay)
	if members > 2 {
		third := followers[1]
		g.crash(leader)
		// A stale replica does not count. Until another one has taken its place the
		// group may wait for the leader, but never says anything else.
		time.Sleep(3 * time.Second)
		for i := range 20 {
			found, err := tryRead(g.nodes[third].Router(), id, fmt.Sprint("k", i))
			if err == nil && found != "acknowledged" {
				t.Errorf("without the leader k%d is %q", i, found)
			}
			if err != nil && delay >= time.Second {
				t.Errorf("without the leader k%d: %v", i, err)
			}
		}
		g.start(leader)
	}
	g.ready()
	g.eventually("the cluster is whole again", g.whole)
	check(victim, "acknowledged")
	g.agree()
	if n := g.mended(victim, "k7"); delay >= time.Second && n != 1 {
		t.Errorf("the replica was begun anew %d times", n)
	}
	if n := g.mended(leader, "k7"); n != 0 {
		t.Errorf("the leader's was begun anew %d times", n)
	}
	put("new")
	check(victim, "new")
}
