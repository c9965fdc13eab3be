package cluster

import (
	"slices"
)

// GroupsFor returns how many groups a new cluster gets: one per member, at most
// [MaxGroups] and never more than partitions. Agreement is paid per round of a
// group, so that more groups than members only cost.
func GroupsFor(members, partitions int) int {
	return max(1, min(members, MaxGroups, partitions))
}

// InitialVoters chooses who votes in the control group of a new cluster: up to
// [MaxVoters] active members, zones apart, an odd number where there are more
// than two, since an even number survives no more losses than one less. The
// result is in the order of preference for leadership.
func InitialVoters(members []Member) []MemberID {
	return newLayout(members, 1).chooseVoters()
}

// DesiredVoters chooses who should vote in the control group from now on: as
// [InitialVoters], but whoever votes goes on voting unless the member is leaving
// or lost, or zones can be better apart. It returns nil when no member is
// active. The shell changes raft's configuration one voter at a time and records
// the result by [SetVoters].
func DesiredVoters(s *State) []MemberID {
	l := newLayout(s.Members, 1)
	for _, id := range s.Voters() {
		if m, ok := l.find(id); ok {
			l.add(0, m)
		}
	}
	return l.chooseVoters()
}

func (l *layout) chooseVoters() []MemberID {
	n := min(len(l.ids), MaxVoters)
	if n > 2 && n%2 == 0 {
		n--
	}
	if n == 0 {
		return nil
	}
	l.shrink(0, n)
	l.fill(0, n)
	l.spreadZones(0)
	var ids []MemberID
	for _, m := range l.groups[0] {
		ids = append(ids, l.ids[m])
	}
	return ids
}

// InitialPlacement lays out a new cluster: the replicas of each group, all of
// them voters and the preferred leader first, and the group of each partition.
// The groups own contiguous runs of partitions of equal length, give or take
// one. Members that are not [Active] get nothing; one at least must be.
func InitialPlacement(members []Member, partitions, copies int) (replicas [][]Replica, table []GroupID) {
	groups := GroupsFor(len(members), partitions)
	l := newLayout(members, groups)
	l.arrange(copies)
	for g := range l.groups {
		replicas = append(replicas, l.replicas(g))
	}
	table = make([]GroupID, partitions)
	for p := range table {
		table[p] = GroupID(p*groups/partitions + 1)
	}
	return replicas, table
}

// Move is what one group lacks to be where it should be.
type Move struct {
	Group   GroupID
	Version uint64 // of the group when the move was planned
	// Want are the replicas to end with, all voters, the preferred leader first.
	Want []Replica
	// Add and Remove are the differences to the present replicas; both are
	// empty when only the preferred leader changes or a learner is to be
	// promoted. An incarnation that gave way to a newer one is removed and the
	// newer one added.
	Add    []Replica
	Remove []Replica
}

// Desired plans the moves that bring every group to Copies replicas on active
// members, with as many zones apart as can be, replicas and preferred leaders
// spread evenly. It moves no more than that needs: replicas stay where they are
// unless their member is leaving, lost or at a newer incarnation, or the spread
// demands it. It depends on the state alone and has nothing to say about a
// state that it made.
//
// The control group is not part of it.
func Desired(s *State) []Move {
	if !s.Formed() {
		return nil
	}
	l := newLayout(s.Members, len(s.Groups))
	if len(l.ids) == 0 {
		return nil // nobody to move to: groups keep what they have
	}
	for g := range s.Groups {
		for _, r := range s.Groups[g].Replicas {
			if m, ok := l.find(r.Member); ok {
				l.add(g, m)
			}
		}
	}
	l.arrange(s.Copies)
	var moves []Move
	for g := range s.Groups {
		if m, ok := moveTo(&s.Groups[g], l.replicas(g)); ok {
			moves = append(moves, m)
		}
	}
	return moves
}

// moveTo compares a group with what it should be.
func moveTo(g *Group, want []Replica) (Move, bool) {
	m := Move{Group: g.ID, Version: g.Version, Want: want}
	in := func(rs []Replica, r Replica) bool {
		return slices.ContainsFunc(rs, func(o Replica) bool { return o.Member == r.Member && o.Incarnation == r.Incarnation })
	}
	for _, r := range want {
		if !in(g.Replicas, r) {
			m.Add = append(m.Add, r)
		}
	}
	for _, r := range g.Replicas {
		if !in(want, r) {
			m.Remove = append(m.Remove, r)
		}
	}
	settled := len(m.Add) == 0 && len(m.Remove) == 0 && g.Replicas[0] == want[0] &&
		!slices.ContainsFunc(g.Replicas, func(r Replica) bool { return r.Role != Voter })
	return m, !settled
}
