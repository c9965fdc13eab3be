package replica_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// A leader that was paused between its look at the state and its answer does not
// answer what is out of date, though it still believes that it leads and
// learners that were away with it believe so too.
//
// Raft's own check counts every reply to a heartbeat, those of learners among them, so
// it confirms such a leader. The first case shows that it still does; should it
// fail one day, raft's check may be looked at again. The second shows what
// learners would say if they were asked, and that they do not count.
func TestAPausedLeaderAnswersNothingStale(t *testing.T) {
	t.Run("raft's own check", func(t *testing.T) { simulate(t, pausedRaft) })
	t.Run("ours", func(t *testing.T) { simulate(t, pausedGroup) })
}

// pausedRaft has raft confirm a leader that two of three voters have left.
func pausedRaft(t *testing.T) {
	net := wire.NewNetwork()
	a, b, c, d := newHost(t, net, "a", nil), newHost(t, net, "b", nil), newHost(t, net, "c", nil), newHost(t, net, "d", nil)
	// A paused process does not notice how the time passes; this one has timers
	// that do not tell it.
	patient := settings(a.id())
	patient.HeartbeatTimeout, patient.ElectionTimeout, patient.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
	old := a.startWith(1, patient, nil, a, b, c)
	others := []*instance{b.start(1, a, b, c), c.start(1, a, b, c)}
	learner := d.start(1)
	first := others[leaderOf(t, others)]
	if err := first.raft.AddNonvoter(d.id(), d.name, 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	apply(t, first, "one")
	agree(t, "one", old, others[0], others[1], learner)
	if err := first.raft.LeadershipTransferToServer(a.id(), a.name).Error(); err != nil {
		t.Fatal(err)
	}
	if leaderOf(t, []*instance{old}) != 0 {
		t.Fatal("the transfer failed")
	}
	separate(net)
	apply(t, others[leaderOf(t, others)], "two")
	if old.raft.State() != raft.Leader {
		t.Fatal("the old leader noticed: nothing was tested")
	}
	if err := old.raft.VerifyLeader().Error(); err != nil {
		t.Errorf("raft asks its voters: %v", err)
	}
	agree(t, "one", old) // what it has just confirmed
	join(net)
}

// separate leaves a, d and e to themselves, and join undoes it.
func separate(net *wire.Network) {
	for _, x := range []string{"a", "d", "e"} {
		for _, y := range []string{"b", "c"} {
			net.Cut(x, y)
		}
	}
}

func join(net *wire.Network) {
	for _, x := range []string{"a", "d", "e"} {
		for _, y := range []string{"b", "c"} {
			net.Heal(x, y)
		}
	}
}

// pausedGroup asks a leader to confirm what it read before the others went on.
func pausedGroup(t *testing.T) {
	c := newCluster(t, 6, true)
	c.adjust = func(cfg *replica.GroupConfig) {
		if cfg.Self.Member == "a" {
			cfg.Timing = replica.Timing{Heartbeat: time.Minute, Election: time.Minute, Lease: time.Minute}
		}
	}
	defer c.close()
	a := threeMembers(t, c)[0]
	learners := []*groupMember{c.start("d", 1, nil), c.start("e", 1, nil)}
	for _, m := range learners {
		if err := a.group.AddLearner(t.Context(), m.id); err != nil {
			t.Fatal(err)
		}
		c.until("the learner is caught up", func() bool { return a.group.CaughtUp(m.id) })
	}
	c.write("k", "old")

	term, leads := a.group.Leading()
	value := a.sm.read("k") // The check, and the pause begins.
	if !leads || value != "old" {
		t.Fatalf("a leads: %v, and reads %q", leads, value)
	}
	separate(c.net)
	next, _ := c.successor(a)
	if _, err := next.group.Propose(t.Context(), []byte("k=new")); err != nil {
		t.Fatal(err)
	}
	if now, leads := a.group.Leading(); !leads || now != term {
		t.Fatal("the old leader noticed: nothing was tested")
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := a.group.Confirm(ctx, term); err == nil {
			t.Errorf("confirmed %q when another leader had answered a write of %q", value, next.sm.read("k"))
		}
		cancel()
	}
	for _, m := range learners {
		question := []replica.ConfirmItem{{Group: groupID, Target: raft.ServerID(m.id.String()), Term: term}}
		if yes, err := a.transport.Confirm(t.Context(), raft.ServerAddress(m.name), question); err != nil || !yes[0] {
			t.Errorf("the learner knows better: %v, %v; nothing was tested", yes, err)
		}
	}
	// The pause is over and the news arrives, however late: still nothing stale.
	join(c.net)
	if err := a.group.Confirm(t.Context(), term); err == nil {
		t.Errorf("confirmed %q after the pause", value)
	}
	c.agree(map[string]string{"k": "new"})
}
