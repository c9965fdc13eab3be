package replica

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Role is what a replica does at the moment.
type Role uint8

// The roles.
const (
	Follower Role = iota + 1
	Candidate
	Leader
	Closed
)

// String returns the role in words.
func (r Role) String() string {
	switch r {
	case Follower:
		return "follower"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

func roleOf(s raft.RaftState) Role {
	switch s {
	case raft.Leader:
		return Leader
	case raft.Candidate:
		return Candidate
	case raft.Shutdown:
		return Closed
	}
	return Follower
}

// GroupStatus is one replica's view of its group at one moment.
type GroupStatus struct {
	Role   Role
	Term   uint64
	Leader ServerID // zero while unknown
	// Serving is set when this replica leads and has applied all that was
	// answered before it did.
	Serving bool

	Applied  uint64 // by the state machine
	Last     uint64 // where the log ends
	Snapshot uint64 // what the newest snapshot covers, 0 if none
	LogBytes int64  // of log applied since then, roughly

	Waiting   int    // commands that wait for an entry
	Elections uint64 // in which this replica stood since OpenGroup
	Early     uint64 // how often it has told itself to, because the leader was lost
	Restarts  uint64 // of raft after a snapshot since OpenGroup

	Members []GroupMember
}

// GroupMember is one replica in GroupStatus.
type GroupMember struct {
	ID    ServerID
	Voter bool
	// Heard is the age of its last answer, Lag by how many entries its log was
	// behind then. Only the leader knows; Heard is negative if it does not, as
	// of itself.
	Heard time.Duration
	Lag   uint64
}

// Status returns the replica's view of the group.
func (g *Group) Status() GroupStatus {
	in := g.current.Load()
	_, serving := g.Leading()
	s := GroupStatus{
		Role: roleOf(in.raft.State()), Term: in.raft.CurrentTerm(), Leader: in.leader(), Serving: serving,
		Applied: g.Applied(), Last: in.raft.LastIndex(),
		Snapshot: g.machine.covered.Load(), LogBytes: g.machine.since.Load(),
		Waiting: g.queue.len(), Elections: g.elections.Load(), Early: g.early.Load(), Restarts: g.restarts.Load(),
	}
	for _, server := range in.servers() {
		m := GroupMember{ID: serverID(server.ID), Voter: server.Suffrage == raft.Voter, Heard: -1}
		if c, ok := in.trans.contact(server.ID); ok && s.Role == Leader {
			m.Heard, m.Lag = time.Since(c.at), c.lag
		}
		s.Members = append(s.Members, m)
	}
	return s
}

// Leader returns who leads as far as this replica knows, and the term. ok is
// false while nobody is known to.
func (g *Group) Leader() (leader ServerID, term uint64, ok bool) {
	in := g.current.Load()
	term = in.raft.CurrentTerm()
	leader = in.leader()
	return leader, term, leader != ServerID{}
}

// Leading returns the term in which this replica leads and has applied all that
// was answered before; ok is false while it does not. Whoever reads notes the
// term before, for Confirm.
func (g *Group) Leading() (term uint64, ok bool) {
	term = g.leading.Load()
	return term, term != 0 && g.current.Load().leadsIn(term)
}
