package replica

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// errRolledBack keeps entries from a follower that has lost some that it had
// acknowledged. It stays inside: raft takes it for a follower that is away.
var errRolledBack = errors.New("replica: the follower has lost entries that it had acknowledged")

// acknowledgements are what the followers of a group have acknowledged to this
// replica as their leader, which is what they must still have. One who answers that
// its log ends before has been rolled back: its disk is a copy from before.
//
// Why nothing legitimate looks like that. A follower acknowledges an entry when it
// is durable, or lives in the memory of a process that never comes back under the
// same server id. By acknowledging an entry in a term it says that its log is the
// leader's as far as there. In that term it takes entries from that leader alone,
// whose log only grows, so nothing conflicts with them and nothing is cut off:
// conflicting suffixes are cut before the acknowledgement. A later term may cut
// off what is acknowledged but not committed; therefore an answer is held only
// against what was acknowledged in its own term. A snapshot counts as the log that it
// stands for, so neither taking nor installing one moves the end of a log back. And
// answers that overtake each other accuse nobody: an answer is held against what had
// been acknowledged when its question was sent.
//
// What it cannot see. A new leader knows nothing, and the same one in a later term
// has to begin anew: it can change the group's members only when a majority has
// agreed with it in that term, so one of two that refused to count the other before
// would wait for ever. If the only one that had the
// acknowledgement dies before the follower has answered it again, the follower is
// brought up to date like any that was away, and an entry that only those two had is
// lost with the leader. A follower that was rolled back and had acknowledged nothing
// to this replica since the copy has lost, as far as can be told, nothing; but it
// may have forgotten a vote. A majority that is rolled back together elects its
// leader among itself, and the others follow that one.
//
// The verdict ends when the follower is out of the group. The same replica may be
// added again: as a learner it counts for nothing until it has everything, with the
// entries of the present term, and then its log refuses its vote to whoever might
// have had use for a second one.
type acknowledgements struct {
	mu sync.Mutex
	by map[raft.ServerID]*acknowledged // at most the group's replicas, past ones included
}

type acknowledged struct {
	term  uint64 // to which the rest belongs
	index uint64 // that was acknowledged
	lost  bool   // rolled back
}

func newAcknowledgements() *acknowledgements {
	return &acknowledgements{by: make(map[raft.ServerID]*acknowledged)}
}

// floor returns where a follower's log must not end before, for a question that is
// about to be sent in a term. It fails for one that is rolled back, unless the
// question carries no entries: the heartbeats go on, so that the leadership lasts
// until the follower is out of the group.
func (a *acknowledgements) floor(id raft.ServerID, args *raft.AppendEntriesRequest) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.by[id]
	switch {
	case k == nil || k.term != args.Term:
		return 0, nil
	case k.lost && !isHeartbeat(args):
		return 0, fmt.Errorf("%w: %s", errRolledBack, id)
	}
	return k.index, nil
}

// judge takes the answer to a question for which floor was returned, before raft
// has it. It fails if the answer must not count; found is set when that is news.
func (a *acknowledgements) judge(id raft.ServerID, floor uint64, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (found bool, err error) {
	if resp.Term != args.Term {
		// It is in a later term: this replica leads no more, and the answer counts for
		// nothing.
		return false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.by[id]
	if k == nil {
		k = &acknowledged{}
		a.by[id] = k
	}
	if k.term > args.Term {
		return false, nil // from a leadership that is over
	}
	if k.term < args.Term {
		*k = acknowledged{term: args.Term}
	}
	if resp.LastLog < floor && !k.lost {
		k.lost, found = true, true
	}
	if isHeartbeat(args) {
		return found, nil
	}
	if k.lost {
		return found, fmt.Errorf("%w: %s had %d entries and has %d", errRolledBack, id, floor, resp.LastLog)
	}
	if resp.Success {
		k.index = max(k.index, args.PrevLogEntry+uint64(len(args.Entries)))
	}
	return false, nil
}

// rolledBack tells whether a follower has lost what it had acknowledged.
func (a *acknowledgements) rolledBack(id raft.ServerID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.by[id]
	return k != nil && k.lost
}

// forget drops what is known of a replica that is out of the group.
func (a *acknowledgements) forget(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.by, id)
}

// RolledBack tells whether a replica has lost entries that it had acknowledged to
// this one as its leader. Its acknowledgements are not counted. Its vote is, until
// Remove, which the leader's owner should call at once; that ends the verdict.
func (g *Group) RolledBack(id ServerID) bool { return g.acks.rolledBack(id.raftID()) }

// foundRolledBack is called once for a replica that is found rolled back.
func (g *Group) foundRolledBack(id raft.ServerID) {
	g.cfg.Logger.Error("a replica has lost entries that it had acknowledged: its disk was rolled back; it does not count any more", "replica", string(id))
	if g.cfg.OnRolledBack != nil {
		g.cfg.OnRolledBack()
	}
}
