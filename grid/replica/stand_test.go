package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// A voter stands early only when a majority of the voters, itself among them, have
// lost the same leader in the same term; the longer log goes first, then the lower
// id.
func TestWhoStands(t *testing.T) {
	const never = -1
	says := func(from raft.ServerID, leader raft.ServerID, term, lastTerm, lastIndex uint64) testimony {
		return testimony{from: from, leader: leader, term: term, last: position{lastTerm, lastIndex}}
	}
	three := []raft.ServerID{"a#1", "b#1", "c#1"}
	five := []raft.ServerID{"a#1", "b#1", "c#1", "d#1", "e#1"}
	own := says("b#1", "a#1", 3, 3, 9)
	stands := func(x testimony) testimony {
		x.stands = true
		return x
	}
	for _, c := range []struct {
		name   string
		voters []raft.ServerID
		heard  []testimony
		wait   time.Duration
	}{
		{"nobody else", three, []testimony{own}, never},
		{"nothing of its own", three, []testimony{says("a#1", "a#1", 3, 3, 9), says("c#1", "a#1", 3, 3, 9)}, never},
		{"both survivors", three, []testimony{own, says("c#1", "a#1", 3, 3, 9)}, 0},
		{"the other has more entries", three, []testimony{own, says("c#1", "a#1", 3, 3, 10)}, standStep},
		{"the other has fewer entries of a later term", three, []testimony{own, says("c#1", "a#1", 3, 4, 2)}, standStep},
		{"the other has more entries of an earlier term", three, []testimony{own, says("c#1", "a#1", 3, 2, 99)}, 0},
		{"the other has the same and a lower id", []raft.ServerID{"0#1", "a#1", "b#1"}, []testimony{own, says("0#1", "a#1", 3, 3, 9)}, standStep},
		{"the other means another term", three, []testimony{own, says("c#1", "a#1", 2, 3, 9)}, never},
		{"the other means another leader", three, []testimony{own, says("c#1", "b#1", 3, 3, 9)}, never},
		{"the leader itself does not count", three, []testimony{own, says("a#1", "a#1", 3, 3, 9)}, never},
		{"a learner does not count", three, []testimony{own, says("d#1", "a#1", 3, 3, 99)}, never},
		{"two of five", five, []testimony{own, says("c#1", "a#1", 3, 3, 9)}, never},
		{"three of five", five, []testimony{own, says("c#1", "a#1", 3, 3, 9), says("d#1", "a#1", 3, 3, 10)}, standGrace + standStep},
		{"four of five", five, []testimony{own, says("c#1", "a#1", 3, 3, 9), says("d#1", "a#1", 3, 3, 8), says("e#1", "a#1", 3, 3, 1)}, 0},
		{"the other's timer has fired", three, []testimony{own, stands(says("c#1", "a#1", 3, 3, 10))}, 0},
		{"its own timer has fired", three, []testimony{stands(own), says("c#1", "a#1", 3, 3, 9)}, never},
		{"two voters", three[:2], []testimony{own}, never},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, now := newInquest("b#1", time.Second), time.Now()
			for _, x := range c.heard {
				q.hear(x, c.voters, now)
			}
			at, ok := q.verdict(c.voters, now)
			if ok != (c.wait != never) || ok && at.Sub(now) != c.wait {
				t.Errorf("stands after %v: %v, want %v", at.Sub(now), ok, c.wait)
			}
			if _, ok := q.verdict(c.voters, now.Add(time.Second+1)); ok {
				t.Error("testimonies count for ever")
			}
			q.retract()
			if _, ok := q.verdict(c.voters, now); ok {
				t.Error("stands after it has found the leader again")
			}
		})
	}
}

// Saying it again does not put the moment off, and falling silent does.
func TestAgreementIsDatedFromItsBeginning(t *testing.T) {
	q, start := newInquest("b", time.Second), time.Now()
	voters := []raft.ServerID{"a", "b", "c"}
	for i := range 5 {
		now := start.Add(time.Duration(i) * 100 * time.Millisecond)
		q.hear(testimony{from: "b", leader: "a", last: position{1, 1}}, voters, now)
		q.hear(testimony{from: "c", leader: "a", last: position{1, 2}}, voters, now)
		if at, ok := q.verdict(voters, now); !ok || !at.Equal(start.Add(standStep)) {
			t.Fatalf("after %d repeats: %v, %v", i, at.Sub(start), ok)
		}
	}
	later := start.Add(time.Minute)
	if _, ok := q.verdict(voters, later); ok {
		t.Fatal("old testimonies count")
	}
	q.hear(testimony{from: "b", leader: "a", last: position{1, 1}}, voters, later)
	q.hear(testimony{from: "c", leader: "a", last: position{1, 2}}, voters, later)
	if at, ok := q.verdict(voters, later); !ok || !at.Equal(later.Add(standStep)) {
		t.Errorf("a new agreement is dated %v", at.Sub(later))
	}
}

// When all survivors speak, exactly one of them stands at once, and no log among
// theirs is longer than its.
func TestOneStandsFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 7).Draw(t, "voters")
		var voters []raft.ServerID
		for i := range n {
			voters = append(voters, raft.ServerID(fmt.Sprintf("m%d#1", i)))
		}
		leader := voters[rapid.IntRange(0, n-1).Draw(t, "leader")]
		var said []testimony
		for _, id := range voters {
			if id != leader {
				last := position{rapid.Uint64Range(1, 3).Draw(t, "term"), rapid.Uint64Range(1, 3).Draw(t, "index")}
				said = append(said, testimony{from: id, leader: leader, term: 3, last: last})
			}
		}
		longest := slices.MaxFunc(said, func(a, b testimony) int { return a.last.compare(b.last) }).last
		now, first := time.Now(), 0
		for _, self := range said {
			q := newInquest(self.from, time.Second)
			for _, x := range said {
				q.hear(x, voters, now)
			}
			at, ok := q.verdict(voters, now)
			if !ok {
				t.Fatalf("%s does not stand though all agree", self.from)
			}
			if at.Equal(now) {
				first++
				if self.last != longest {
					t.Fatalf("%s stands first with its log at %v, another's ends at %v", self.from, self.last, longest)
				}
			}
		}
		if first != 1 {
			t.Fatalf("%d stand first", first)
		}
	})
}
