package cluster

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func testMember(i int, zone string) Member {
	return Member{ID: MemberID(fmt.Sprintf("m%02d", i)), Incarnation: 1, Peer: fmt.Sprintf("10.0.0.%d:7381", i), Zone: zone, State: Active}
}

func testMembers(n int, zoneOf func(i int) string) []Member {
	var ms []Member
	for i := range n {
		ms = append(ms, testMember(i, zoneOf(i)))
	}
	return ms
}

func noZone(int) string { return "" }

// formed returns the state of a cluster that has just been formed.
func formed(t interface{ Fatalf(string, ...any) }, copies int, members []Member) *State {
	s, reply := (&State{}).after(&Form{Cluster: ClusterID{1}, Copies: copies, Durability: Disk, Members: members})
	if err := reply.Err(); err != nil {
		t.Fatalf("form: %v", err)
	}
	return s
}

// carryOut applies every move at once.
func carryOut(t interface{ Fatalf(string, ...any) }, s *State, moves []Move) *State {
	for _, m := range moves {
		next, reply := s.after(&SetReplicas{Group: m.Group, Version: m.Version, Replicas: m.Want})
		if err := reply.Err(); err != nil {
			t.Fatalf("move of group %d: %v", m.Group, err)
		}
		s = next
	}
	return s
}

// spread is how replicas and preferred leaders lie on the active members.
type spread struct{ replicas, leaders map[MemberID]int }

func spreadOf(s *State) spread {
	sp := spread{map[MemberID]int{}, map[MemberID]int{}}
	for _, m := range s.Members {
		if m.State == Active {
			sp.replicas[m.ID], sp.leaders[m.ID] = 0, 0
		}
	}
	for _, g := range s.Groups {
		for _, r := range g.Replicas {
			sp.replicas[r.Member]++
		}
		sp.leaders[g.Replicas[0].Member]++
	}
	return sp
}

func bounds(m map[MemberID]int) (lo, hi int) {
	lo = math.MaxInt
	for _, n := range m {
		lo, hi = min(lo, n), max(hi, n)
	}
	return lo, hi
}

// checkPlacement holds a state against what placement promises.
func checkPlacement(t *rapid.T, s *State) {
	zones := map[string]bool{}
	active := 0
	for _, m := range s.Members {
		if m.State == Active {
			active++
			zones[m.Zone] = true
		}
	}
	want := min(s.Copies, active)
	for _, g := range s.Groups {
		seen, in := map[MemberID]bool{}, map[string]int{}
		for _, r := range g.Replicas {
			m, ok := s.Member(r.Member)
			if !ok || m.State != Active || m.Incarnation != r.Incarnation || seen[r.Member] {
				t.Fatalf("group %d: replica %+v", g.ID, r)
			}
			seen[r.Member] = true
			in[m.Zone]++
		}
		if len(seen) != want {
			t.Fatalf("group %d has %d replicas, want %d", g.ID, len(seen), want)
		}
		if len(in) != min(want, len(zones)) {
			t.Fatalf("group %d lies in %d zones of %d: %v", g.ID, len(in), len(zones), g.Replicas)
		}
	}
	sp := spreadOf(s)
	lo, hi := bounds(sp.replicas)
	if len(zones) == 1 && hi-lo > 1 {
		t.Fatalf("replicas are uneven: %v", sp.replicas)
	}
	leastLeads, mostLeads := bounds(sp.leaders)
	if mostLeads > (hi+want-1)/want || leastLeads < lo/want {
		t.Fatalf("leaders are uneven: %v of replicas %v", sp.leaders, sp.replicas)
	}
}

// Every group has as many distinct members as it wants, zones apart where
// possible, replicas and leaders spread evenly: when the cluster forms and
// after every plan for members that came, went or returned without their state.
func TestPlacementKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 4).Draw(t, "zones")
		zoneOf := func(int) string { return fmt.Sprint("z", rapid.IntRange(1, zones).Draw(t, "zone")) }
		n := rapid.IntRange(1, 10).Draw(t, "members")
		s := formed(t, rapid.IntRange(1, MaxCopies).Draw(t, "copies"), testMembers(n, zoneOf))
		checkPlacement(t, s)
		if moves := Desired(s); len(moves) != 0 {
			t.Fatalf("a new cluster wants moves: %+v", moves)
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			var c Command
			m := s.Members[rapid.IntRange(0, len(s.Members)-1).Draw(t, "which")]
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				n++
				c = &AdmitMember{testMember(n, zoneOf(n))}
			case 1:
				c = &DeclareLost{m.ID, m.Incarnation}
			case 2:
				m.Incarnation++
				c = &AdmitMember{m}
			case 3:
				c = &DrainMember{m.ID, m.State == Active}
			}
			if next, _ := s.after(c); next != nil {
				s = next
			}
			moves := Desired(s)
			if !reflect.DeepEqual(moves, Desired(s)) {
				t.Fatalf("two plans for one state differ")
			}
			s = carryOut(t, s, moves)
			if again := Desired(s); len(again) != 0 {
				t.Fatalf("the plan's end wants more: %+v", again)
			}
			if slices.ContainsFunc(s.Members, func(m Member) bool { return m.State == Active }) {
				checkPlacement(t, s)
			}
		}
	})
}

// A plan that is made anew after every single step of its execution comes to an
// end, and on the way no group has fewer voters than it should, nor more than one
// replica too many.
func TestPlansAreStableUnderway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 3).Draw(t, "zones")
		zoneOf := func(int) string { return fmt.Sprint("z", rapid.IntRange(1, zones).Draw(t, "zone")) }
		n := rapid.IntRange(3, 7).Draw(t, "members")
		s := formed(t, 3, testMembers(n, zoneOf))
		for range rapid.IntRange(1, 4).Draw(t, "more") {
			n++
			s, _ = s.after(&AdmitMember{testMember(n, zoneOf(n))})
		}
		gone := s.Members[rapid.IntRange(0, 2).Draw(t, "leaving")].ID
		s, _ = s.after(&DrainMember{gone, true})
		for steps := 0; ; steps++ {
			moves := Desired(s)
			if len(moves) == 0 {
				break
			}
			if steps == 400 {
				t.Fatalf("no end, next %+v", moves)
			}
			m := moves[rapid.IntRange(0, len(moves)-1).Draw(t, "move")]
			g, _ := s.Group(m.Group)
			next, reply := s.after(&SetReplicas{m.Group, m.Version, m.Next(g).Replicas})
			if err := reply.Err(); err != nil {
				t.Fatal(err)
			}
			s = next
			for _, g := range s.Groups {
				voters := 0
				for _, r := range g.Replicas {
					if r.Role == Voter {
						voters++
					}
				}
				if voters < 3 || voters > 4 || len(g.Replicas) > 4 {
					t.Fatalf("group %d has %d voters: %+v", g.ID, voters, g.Replicas)
				}
			}
		}
		checkPlacement(t, s)
	})
}

// Who votes in the control group stays, unless leaving; the number stays odd.
func TestControlVotersStay(t *testing.T) {
	s := formed(t, 3, testMembers(4, noZone))
	before := s.Voters()
	if got := DesiredVoters(s); !slices.Equal(got, before) || len(got) != 3 {
		t.Errorf("voters %v of %v", got, before)
	}
	s, _ = s.after(&AdmitMember{testMember(4, "")})
	got := DesiredVoters(s)
	if len(got) != 5 || !slices.Equal(got[:3], before) {
		t.Errorf("with a fifth member %v, before %v", got, before)
	}
	s, _ = s.after(&SetVoters{got})
	s, _ = s.after(&DeclareLost{got[1], 1})
	if got := DesiredVoters(s); len(got) != 3 || slices.Contains(got, s.Members[1].ID) {
		t.Errorf("after a loss %v", got)
	}
	if got := DesiredVoters(&State{}); got != nil {
		t.Errorf("nobody votes as %v", got)
	}
}

// A member that joins takes its fair share of replicas and nothing else moves.
func TestAMemberMoreMovesItsShareOnly(t *testing.T) {
	for n := 3; n < 12; n++ {
		s := formed(t, 3, testMembers(n, noZone))
		s, _ = s.after(&AdmitMember{testMember(n, "")})
		added := 0
		for _, m := range Desired(s) {
			for _, r := range m.Add {
				added++
				if r.Member != testMember(n, "").ID {
					t.Errorf("%d members and one: group %d moves to %q", n, m.Group, r.Member)
				}
			}
		}
		if share := len(s.Groups) * 3 / (n + 1); added != share {
			t.Errorf("%d members and one: %d replicas moved, its share is %d", n, added, share)
		}
	}
}

// A lost member's replicas are the only ones that are replaced.
func TestALostMemberMovesItsReplicasOnly(t *testing.T) {
	s := formed(t, 3, testMembers(6, func(i int) string { return fmt.Sprint("z", i%3) }))
	lost := s.Members[2]
	held := spreadOf(s).replicas[lost.ID]
	s, _ = s.after(&DeclareLost{lost.ID, lost.Incarnation})
	added := 0
	for _, m := range Desired(s) {
		added += len(m.Add)
	}
	if added < held || added > held+1 {
		t.Errorf("%d replicas move for %d lost ones", added, held)
	}
}

// The first leaders are spread evenly, and the groups own equal runs of
// partitions.
func TestInitialPlacementIsEven(t *testing.T) {
	for n := 1; n <= 12; n++ {
		s := formed(t, 3, testMembers(n, noZone))
		if want := min(n, MaxGroups); len(s.Groups) != want {
			t.Errorf("%d members: %d groups, want %d", n, len(s.Groups), want)
		}
		if lo, hi := bounds(spreadOf(s).leaders); hi-lo > 1 {
			t.Errorf("%d members: leaders %v", n, spreadOf(s).leaders)
		}
		owned := map[MemberID]int{}
		for _, g := range s.Groups {
			owned[MemberID(fmt.Sprint(g.ID))] = len(s.PartitionsOf(g.ID))
		}
		if lo, hi := bounds(owned); hi-lo > 1 || len(s.Table) != DefaultPartitions || !slices.IsSorted(s.Table) {
			t.Errorf("%d members: partitions %v", n, owned)
		}
	}
}

// The control group's voters are an odd number of members, zones apart.
func TestInitialVotersAreOddAndApart(t *testing.T) {
	for n, want := range []int{1: 1, 2: 2, 3: 3, 4: 3, 5: 5, 6: 5, 9: 5} {
		if n == 0 || want == 0 {
			continue
		}
		ms := testMembers(n, func(i int) string { return fmt.Sprint("z", i/2) })
		ids := InitialVoters(ms)
		in := map[string]bool{}
		for _, m := range ms {
			if slices.Contains(ids, m.ID) {
				in[m.Zone] = true
			}
		}
		if len(ids) != want || len(in) != min(want, (n+1)/2) {
			t.Errorf("%d members: voters %v in zones %v, want %d", n, ids, in, want)
		}
	}
}
