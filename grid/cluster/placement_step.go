package cluster

import (
	"slices"
)

// StepKind says what one step of a move does.
type StepKind uint8

// The kinds of steps.
const (
	AddLearner StepKind = 1 // add Replica as a learner
	Promote    StepKind = 2 // give Replica a vote, once it has caught up
	Remove     StepKind = 3 // remove Replica; a leader hands over first
	Prefer     StepKind = 4 // make Replica the preferred leader; raft's configuration stays
)

// Step is one change of a group's raft configuration, and what to record by
// [SetReplicas] when it is done.
type Step struct {
	Kind     StepKind
	Replica  Replica
	Replicas []Replica
}

// Next returns the next step of a move for the group as it was when the move was
// planned. After each step the plan is made anew, since members may have come
// or gone. Replicas are exchanged one after the other: at most one learner
// catches up at a time, there is never more than one voter too many, and none
// is removed before its successor votes.
func (m *Move) Next(g *Group) Step {
	rs := slices.Clone(g.Replicas)
	voters, learner, surplus, stale := 0, -1, -1, -1
	for i, r := range rs {
		removed := slices.Contains(m.Remove, r)
		switch {
		case r.Role == Learner && removed:
			stale = i
		case r.Role == Learner:
			learner = i
		case removed:
			surplus = i
		}
		if r.Role == Voter {
			voters++
		}
	}
	if stale < 0 && voters > len(m.Want) {
		stale = surplus
	}
	switch {
	case stale >= 0:
		return Step{Remove, rs[stale], slices.Delete(rs, stale, stale+1)}
	case learner >= 0:
		rs[learner].Role = Voter
		return Step{Promote, rs[learner], rs}
	case len(m.Add) > 0:
		add := m.Add[0]
		add.Role = Learner
		return Step{AddLearner, add, append(rs, add)}
	case surplus >= 0:
		return Step{Remove, rs[surplus], slices.Delete(rs, surplus, surplus+1)}
	}
	return Step{Prefer, m.Want[0], slices.Clone(m.Want)}
}
