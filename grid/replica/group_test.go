package replica_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/replica"
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

// A group goes on when links break one way and when connections are reset.
func TestGroupSurvivesBadLinks(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		want := map[string]string{}
		for i, fault := range []func(leader, other string){
			func(leader, other string) { c.net.CutOneWay(leader, other) },
			func(leader, other string) { c.net.CutOneWay(other, leader) },
			c.net.Reset,
		} {
			leader := c.leader()
			for name := range c.members {
				if name != leader.name {
					fault(leader.name, name)
				}
			}
			time.Sleep(3 * time.Second)
			name := fmt.Sprint("k", i)
			c.write(name, "v")
			want[name] = "v"
			for name := range c.members {
				c.net.Heal(leader.name, name)
			}
			c.agree(want)
		}
	})
}

// What was acknowledged survives the loss of power of any member, and of all at
// once, when logs are on disk.
func TestGroupSurvivesCrashes(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 2, true)
		c.adjust = func(cfg *replica.GroupConfig) { cfg.SnapshotLogBytes = 2 << 10 }
		defer c.close()
		threeMembers(t, c)
		want := map[string]string{}
		for i := range 12 {
			name := fmt.Sprint("k", i)
			c.write(name, strings.Repeat("v", 100))
			want[name] = strings.Repeat("v", 100)
			victims := []*groupMember{c.leader()}
			if i%3 == 2 {
				victims = slices.Collect(maps.Values(c.members))
			}
			for _, m := range victims {
				disk := c.crash(m)
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				c.start(m.name, 1, disk)
			}
			c.agree(want)
		}
	})
}

// A group is founded with the state that the state machine holds: it is there
// for members that join later and after a restart.
func TestFoundKeepsTheState(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		sm := newRegisters()
		sm.values["loaded"], sm.digest = "before", 17
		a, err := c.tryStart("a", 1, nil, sm)
		if err != nil {
			t.Fatal(err)
		}
		if empty, err := a.group.Empty(); !empty || err != nil {
			t.Fatalf("empty: %v, %v", empty, err)
		}
		began := time.Now()
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		c.leader()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a group with one voter took %v to lead", took)
		}
		if err := a.group.Found(); !errors.Is(err, replica.ErrNotEmpty) {
			t.Errorf("founded twice: %v", err)
		}
		c.write("k", "v")
		want := map[string]string{"loaded": "before", "k": "v"}
		b := c.start("b", 1, nil)
		c.join(a, b)
		c.agree(want)
		if entries := b.sm.carried(); entries > 1 {
			t.Errorf("the new member was sent %d entries; the first state must come as a snapshot", entries)
		}
		if c.disk {
			for _, m := range []*groupMember{a, b} {
				disk := c.crash(m)
				c.start(m.name, 1, disk)
			}
			c.agree(want)
		}
	})
}

// A crash while a group is founded leaves storage that is empty or a group that
// is founded, at every moment.
func TestFoundSurvivesCrashes(t *testing.T) {
	var founded, empty int
	for at := range 40 {
		simulate(t, func(t *testing.T) {
			c := newCluster(t, uint64(at), true)
			defer c.close()
			sm := newRegisters()
			sm.values["loaded"] = "before"
			a, err := c.tryStart("a", 1, nil, sm)
			if err != nil {
				t.Fatal(err)
			}
			disk := crashDuring(c, a, at, func() { _ = a.group.Found() })
			again := c.start("a", 1, disk)
			isEmpty, err := again.group.Empty()
			if err != nil {
				t.Fatal(err)
			}
			if isEmpty {
				empty++
				again.sm.values["loaded"] = "before"
				if err := again.group.Found(); err != nil {
					t.Fatalf("empty, and yet: %v", err)
				}
			} else {
				founded++
			}
			c.write("k", "v")
			c.agree(map[string]string{"loaded": "before", "k": "v"})
		})
	}
	if founded == 0 || empty == 0 {
		t.Errorf("founded %d times, empty %d times; the crashes must fall before and after", founded, empty)
	}
}

// crashDuring takes the disk that a crash right before the at-th write of the
// file system would leave, lets f finish, and buries the member.
func crashDuring(c *cluster, m *groupMember, at int, f func()) *vfs.MemFS {
	var disk *vfs.MemFS
	m.tap.arm(func(n int) {
		if n == at {
			disk = m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
		}
	})
	f()
	m.tap.arm(nil)
	later := c.crash(m)
	if disk == nil {
		return later
	}
	return disk
}

// A learner is brought up to date by a snapshot when the log does not reach back,
// counts as caught up only then, and votes from its promotion on.
func TestLearnerCatchesUp(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		a := c.start("a", 1, nil)
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for i := range 50 {
			name := fmt.Sprint("k", i)
			c.write(name, "v")
			want[name] = "v"
		}
		b := c.start("b", 1, nil)
		if b.group.CaughtUp(a.id) || a.group.CaughtUp(b.id) {
			t.Error("a replica that was never heard of is caught up")
		}
		c.net.Cut("a", "b")
		if err := a.group.AddLearner(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if a.group.CaughtUp(b.id) {
			t.Error("a learner that cannot be reached is caught up")
		}
		if err := a.group.AddVoter(t.Context(), b.id); !errors.Is(err, replica.ErrNotCaughtUp) {
			t.Errorf("a vote for a learner that cannot be reached: %v", err)
		}
		c.write("without", "the learner")
		c.net.Heal("a", "b")
		c.until("the learner is caught up", func() bool { return a.group.CaughtUp(b.id) })
		c.agree(want)
		if s := b.group.Status(); s.Snapshot == 0 || s.Members[1].Voter {
			t.Errorf("learner after catching up: %+v", s)
		}
		if err := a.group.AddVoter(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		if err := a.group.Transfer(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		c.until("the former learner leads", func() bool { return b.journal.leads() > 0 })
		c.write("with", "the learner")
		if err := b.group.Remove(t.Context(), a.id); err != nil {
			t.Fatal(err)
		}
		c.write("alone", "again")
	})
}

// A member that has lost its storage takes part again under another
// incarnation, and cannot under the old one.
func TestLostStorageReturnsAsAnotherIncarnation(t *testing.T) {
	forEachDurability(t, func(t *testing.T, c *cluster) {
		threeMembers(t, c)
		c.write("k", "v")
		victim := c.members["b"]
		disk := c.crash(victim)
		if c.disk {
			disk = nil
		} else if _, err := c.tryStart("b", 1, disk, newRegisters()); !errors.Is(err, replica.ErrStateLost) {
			t.Fatalf("return under the old incarnation: %v", err)
		}
		c.write("meanwhile", "v")
		b := c.start("b", 2, disk)
		c.join(c.leader(), b)
		if err := c.leader().group.Remove(t.Context(), victim.id); err != nil {
			t.Fatal(err)
		}
		c.agree(map[string]string{"k": "v", "meanwhile": "v"})
		if n := len(c.leader().group.Status().Members); n != 3 {
			t.Errorf("%d replicas, want 3", n)
		}
	})
}

// Storage belongs to the server id that wrote it.
func TestStorageOfAnotherIncarnationIsRefused(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 3, true)
		defer c.close()
		a := c.start("a", 1, nil)
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		disk := c.crash(a)
		if _, err := c.tryStart("a", 2, disk, newRegisters()); !errors.Is(err, replica.ErrOtherIncarnation) {
			t.Fatalf("storage of a#1 opened as a#2: %v", err)
		}
		c.start("a", 1, disk)
		c.leader()
	})
}

// A follower whose log diverged takes a snapshot and what follows it, for which
// raft has to be restarted within the group.
func TestGroupRestartsRaftAfterASnapshot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 4, false)
		c.logBytes = 512 << 10 // so little that nothing stays behind a snapshot
		defer c.close()
		threeMembers(t, c)
		old := c.leader()
		for name := range c.members {
			c.net.Cut(old.name, name)
		}
		// The old leader appends two entries that nobody else gets, as many as
		// the next will when it takes over. Its log then ends where the snapshot
		// of the next does.
		old.group.Submit([]byte("lost=x"), func([]byte, error) {})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := old.group.AddLearner(ctx, replica.ServerID{Member: "d", Incarnation: 1}); !errors.Is(err, replica.ErrIndeterminate) {
			t.Fatalf("change of a leader that is cut off: %v", err)
		}
		c.until("another member leads", func() bool { return old.journal.leads() == 0 && c.leader() != old })
		if err := c.leader().group.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // for requests to end that still carry what is now cut off
		for name := range c.members {
			c.net.Heal(old.name, name)
		}
		c.write("k", "v")
		c.agree(map[string]string{"k": "v", "lost": ""})
		if s := old.group.Status(); s.Restarts != 1 {
			t.Errorf("raft was not restarted: %+v", s)
		}
		if err := c.leader().group.Transfer(t.Context(), old.id); err != nil {
			t.Fatal(err)
		}
		c.until("it can lead again", func() bool { return old.journal.leads() > 0 })
	})
}

// A snapshot that the state machine cannot read keeps the group from opening; an
// older one in its place would leave a hole.
func TestUnreadableSnapshotIsAnError(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := newCluster(t, 11, true)
		defer c.close()
		a := c.start("a", 1, nil)
		if err := a.group.Found(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			c.write("k", fmt.Sprint(i))
			if err := a.group.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		disk := c.crash(a)
		sm := newRegisters()
		sm.unreadable = errors.New("written by a newer version")
		if _, err := c.tryStart("a", 1, disk, sm); !errors.Is(err, sm.unreadable) {
			t.Fatalf("open: %v", err)
		}
		c.start("a", 1, disk)
		c.leader()
		c.agree(map[string]string{"k": "2"})
	})
}
