package replica

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// A follower that knows its leader to be gone need not wait for its election
// timer: it tells its own raft to stand at once, with the very message by which
// a leader hands over. That message only makes a candidate. Who leads is decided
// by votes as ever: every voter keeps its vote over a crash, gives one in a term,
// and none to a log that ends before its own, so a leader elected early has
// every entry that a majority has stored, and nothing that was answered is lost.
// Nor does anything that is answered rest on there being one leader at a time:
// entries of the old one are refused once a majority is at the new term, and
// reads are confirmed by a majority's terms and not by clocks.
//
// What could be lost is quiet: a candidate of this kind is voted for though the
// voters know a leader. So a follower stands early only if a majority of the
// voters, itself among them, say at the same time that they have lost the same
// leader in the same term. A reset connection, a firewall, or a full table on
// one side of a link is not enough, and a leader that a majority still hears
// stays.

const (
	// standGrace is how long voters that have said nothing yet are waited for
	// when a majority has spoken: one of them may have the longer log. It is
	// several times what the news takes to spread in one place.
	standGrace = 20 * time.Millisecond
	// standStep is how long a replica lets each other one go first whose log is
	// longer: ample for an election with slow disks.
	standStep = 150 * time.Millisecond
)

// position is where a log ends. Votes are given by the same order.
type position struct{ term, index uint64 }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.term, q.term), cmp.Compare(p.index, q.index))
}

// testimony is what a voter says about a leader that it has lost.
type testimony struct {
	from   raft.ServerID
	leader raft.ServerID
	term   uint64 // in which it followed
	// last is where its log ends, behind everything that it was sent.
	last position
	// stands says that its timer has fired already: it asks for pre-votes, which
	// are not given while others know the leader, and cannot be told to stand.
	stands bool
}

// inquest finds out whether a leader is lost, and who should stand in its place.
// It is one voter's view, and knows no clock but what it is told.
type inquest struct {
	self raft.ServerID
	// fresh is for how long a testimony counts.
	fresh time.Duration
	heard map[raft.ServerID]hearing // by voter, itself included: the latest
	// agreed is when a majority began to say the same as this voter; zero while
	// it does not.
	agreed time.Time
}

type hearing struct {
	testimony
	at time.Time
}

func newInquest(self raft.ServerID, fresh time.Duration) *inquest {
	return &inquest{self: self, fresh: fresh, heard: map[raft.ServerID]hearing{}}
}

// hear notes what a voter says. What others say, who do not vote, is dropped, so
// that there is an end to what is kept.
func (q *inquest) hear(t testimony, voters []raft.ServerID, now time.Time) {
	for id := range q.heard {
		if !slices.Contains(voters, id) {
			delete(q.heard, id)
		}
	}
	if slices.Contains(voters, t.from) {
		q.heard[t.from] = hearing{t, now}
	}
}

// retract takes back what this voter has said itself.
func (q *inquest) retract() {
	delete(q.heard, q.self)
	q.agreed = time.Time{}
}

// verdict returns when this voter should stand, if nobody leads by then; ok is
// false while it should not at all. The one with the longest log stands at once,
// of several the one with the lowest id, and the others in turn. Whose timer has
// fired takes no turn.
func (q *inquest) verdict(voters []raft.ServerID, now time.Time) (at time.Time, ok bool) {
	own, spoken := q.heard[q.self]
	agree, ahead := 0, 0
	for _, id := range voters {
		h, said := q.heard[id]
		if !said || !spoken || now.Sub(h.at) > q.fresh || h.leader != own.leader || h.term != own.term || id == own.leader {
			continue
		}
		agree++
		if c := h.last.compare(own.last); !h.stands && (c > 0 || c == 0 && id < q.self) {
			ahead++
		}
	}
	if own.stands || agree <= len(voters)/2 {
		q.agreed = time.Time{}
		return time.Time{}, false
	}
	if q.agreed.IsZero() {
		q.agreed = now
	}
	at = q.agreed.Add(time.Duration(ahead) * standStep)
	if agree < len(voters)-1 { // The leader itself is not expected to speak.
		at = at.Add(standGrace)
	}
	return at, true
}
