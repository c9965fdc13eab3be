package replica_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-metrics"
	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// A new voter that takes the place of a dead one gets its vote, even if it has
// answered before the leader counts it.
//
// Raft sends the entry that makes a voter, and only then begins to count that
// voter's answers. One that is there already is lost, and nobody is asked twice
// about an entry. So a change that needs the new voter to be agreed on stays open
// until some other entry follows, and with it the command before it, for which all
// later ones wait; raft takes no other change meanwhile either. The first case
// shows that raft still does so; should it fail one day, AddVoter needs no entry
// behind the change.
func TestAVoteNeedsNoOtherCommand(t *testing.T) {
	t.Run("raft alone", func(t *testing.T) { simulate(t, voteByRaftAlone) })
	for _, c := range []struct {
		name      string
		meanwhile func(ctx context.Context, leader, dead *groupMember) error
	}{
		{"nobody writes", func(context.Context, *groupMember, *groupMember) error { return nil }},
		{"a command is under way", func(ctx context.Context, leader, _ *groupMember) error {
			_, err := leader.group.Propose(ctx, []byte("k=v"))
			return err
		}},
		{"the leader tries in vain to hand over", func(ctx context.Context, leader, dead *groupMember) error {
			time.Sleep(distraction / 2)
			if leader.group.Transfer(ctx, dead.id) == nil {
				return errors.New("the dead one leads")
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachDurability(t, func(t *testing.T, cl *cluster) { replaceTheDead(t, cl, c.meanwhile) })
		})
	}
}

// replaceTheDead has a new replica vote in the place of one that is dead, while
// the leader hears the new one before the other that lives.
func replaceTheDead(t *testing.T, c *cluster, meanwhile func(ctx context.Context, leader, dead *groupMember) error) {
	threeMembers(t, c)
	leader := c.leader()
	others := slices.DeleteFunc([]string{"a", "b", "c"}, func(name string) bool { return name == leader.name })
	dead := c.members[others[0]]
	c.crash(dead)
	heir := c.start(others[0], 2, nil)
	if err := leader.group.AddLearner(t.Context(), heir.id); err != nil {
		t.Fatal(err)
	}
	c.until("the learner is caught up", func() bool { return leader.group.CaughtUp(heir.id) })

	c.net.Delay(leader.name, others[1], 3*distraction)
	times := distract(t, distraction)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- meanwhile(ctx, leader, dead) }()
	synctest.Wait()
	if err := leader.group.AddVoter(ctx, heir.id); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if times() == 0 {
		t.Error("the leader was not distracted; the test does not test what it says")
	}
	c.until("the dead one is removed", func() bool { return leader.group.Remove(t.Context(), dead.id) == nil })
	members := leader.group.Status().Members
	if len(members) != 3 || slices.ContainsFunc(members, func(m replica.GroupMember) bool { return !m.Voter || m.ID == dead.id }) {
		t.Errorf("members %+v", members)
	}
}

func voteByRaftAlone(t *testing.T) {
	net := wire.NewNetwork()
	a, b := newHost(t, net, "a", nil), newHost(t, net, "b", nil)
	dead, heir := newHost(t, net, "c", nil), newHost(t, net, "d", nil)
	hosts, instances := []*host{a, b}, []*instance{a.start(1, a, b, dead), b.start(1, a, b, dead)}
	learner := heir.start(1)
	first := leaderOf(t, instances)
	leader := instances[first]
	if err := leader.raft.AddNonvoter(heir.id(), heir.name, 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	apply(t, leader, "one")
	agree(t, "one", learner)

	net.Delay(string(hosts[first].name), string(hosts[1-first].name), 3*distraction)
	distract(t, distraction)
	vote := make(chan error, 1)
	go func() { vote <- leader.raft.AddVoter(heir.id(), heir.name, 0, 0).Error() }()
	time.Sleep(time.Minute)
	select {
	case err := <-vote:
		t.Fatalf("raft counts early answers: %v", err)
	default:
	}
	for _, in := range append(instances, learner) {
		if last, want := in.raft.LastIndex(), leader.raft.LastIndex(); last != want || leader.raft.State() != raft.Leader {
			t.Errorf("the change is open for another reason: entries to %d, want %d", last, want)
		}
	}
	apply(t, leader, "two")
	if err := <-vote; err != nil {
		t.Error(err)
	}
}

// distraction is how long a distracted leader does nothing.
const distraction = 20 * time.Millisecond

// distract holds every leader up whenever it has sent entries, so that it has the
// answers before it goes on. It ends with the test; times tells how often it
// happened. Raft reports a metric at this very place.
func distract(t *testing.T, by time.Duration) (times func() int64) {
	t.Helper()
	d := &distractor{by: by}
	setMetrics(t, d)
	t.Cleanup(func() { setMetrics(t, &metrics.BlackholeSink{}) })
	return d.times.Load
}

func setMetrics(t *testing.T, sink metrics.MetricSink) {
	if _, err := metrics.NewGlobal(&metrics.Config{FilterDefault: true, TimerGranularity: time.Millisecond}, sink); err != nil {
		t.Error(err)
	}
}

// distractor is a sink of metrics that keeps none.
type distractor struct {
	metrics.BlackholeSink
	by    time.Duration
	times atomic.Int64
}

// AddSampleWithLabels is called by raft's main loop.
func (d *distractor) AddSampleWithLabels(key []string, _ float32, _ []metrics.Label) {
	if strings.Join(key, ".") == "raft.leader.dispatchLog" {
		d.times.Add(1)
		time.Sleep(d.by)
	}
}
