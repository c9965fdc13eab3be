package check

import (
	"cmp"
	"maps"
	"slices"
)

// Job names an entry of a queue: its group, and its place in the order in which
// the group's entries were written, from 1.
type Job struct {
	Group string `json:"group"`
	Place int    `json:"place"`
}

// JobWrite is one request to write a job. One writer writes a group, and goes on
// to the next place when the answer is there; after an unknown outcome it leaves
// the group alone.
type JobWrite struct {
	Job
	Outcome Outcome `json:"outcome"`
}

// Token proves a claim. Those of a group are of one partition and only grow.
type Token struct {
	Epoch  uint64 `json:"epoch"`
	Number uint64 `json:"number"`
}

// Compare orders tokens.
func (t Token) Compare(o Token) int {
	return cmp.Or(cmp.Compare(t.Epoch, o.Epoch), cmp.Compare(t.Number, o.Number))
}

// Grant is one claim that somebody was given, and what he did with it. Times are
// nanoseconds on a clock that all clients share.
type Grant struct {
	Job
	Token
	Holder string
	Asked  int64 // the claim was asked for
	Got    int64 // and answered

	// Acked says that the holder asked for the end of the claim with the job
	// done; Ack is the answer.
	Acked            bool
	Ack              Outcome
	AckAsked, AckGot int64
}

// ClaimHistory is everything that was asked for in a run of claims, and what was
// left.
type ClaimHistory struct {
	Writes []JobWrite
	Grants []Grant // in any order
	Left   []Job   // what the grid held when no claim lasted any more
	Dead   []Job   // what the dead-letter space held
}

// ClaimVerdict counts what a history of claims shows. Everything from Lost on
// should be zero.
type ClaimVerdict struct {
	Written  int
	Claimed  int // grants
	Acked    int // jobs with an accepted acknowledgement
	Resolved int // acknowledgements without an answer, of jobs that are gone
	Dead     int
	Left     int

	Lost        int // written, and neither acknowledged nor there nor a dead letter
	DoublyAcked int // jobs that ended more than once
	OutOfOrder  int // grants of a job while an earlier one of its group was not over
	StaleAcks   int // acknowledgements accepted under a token after a later one was given
	TokensBack  int // grants whose token is not above all that were given before in the group
	Regranted   int // grants of a job that was over, or under a token that was given before
	Phantom     int // grants, left entries or dead letters that nobody wrote
	Complaints  []string
}

// OK reports whether the history keeps the promises.
func (v *ClaimVerdict) OK() bool {
	return v.Lost == 0 && v.DoublyAcked == 0 && v.OutOfOrder == 0 && v.StaleAcks == 0 && v.TokensBack == 0 &&
		v.Regranted == 0 && v.Phantom == 0
}

// Claims checks that every job that was written ended once, by an acknowledgement
// or as a dead letter, or is still there; that jobs of a group were handed out in
// their order; that no acknowledgement was accepted after the job, or another one
// of its group, had been handed out under a later token; and that tokens of a
// group only grew.
func Claims(h *ClaimHistory) ClaimVerdict {
	q := queue{jobs: make(map[Job]*job, len(h.Writes)), groups: map[string][]*Grant{}}
	q.v.Claimed, q.v.Dead, q.v.Left = len(h.Grants), len(h.Dead), len(h.Left)
	for i := range h.Writes {
		w := &h.Writes[i]
		if w.Outcome == Refused {
			continue
		}
		if q.jobs[w.Job] != nil {
			panic("check: a history with two writes of one job: " + w.Group)
		}
		q.jobs[w.Job] = &job{known: w.Outcome == Done}
	}
	for _, j := range h.Left {
		q.job(j).left++
	}
	for _, j := range h.Dead {
		q.job(j).dead++
	}
	for i := range h.Grants {
		q.grant(&h.Grants[i])
	}
	for i := range h.Writes {
		if w := &h.Writes[i]; w.Outcome != Refused {
			q.end(w.Job)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(q.groups)) {
		q.order(q.groups[group])
	}
	q.v.Complaints = q.said
	return q.v
}

// job is what is known of one entry.
type job struct {
	known      bool // written, by an answer or by having been seen
	phantom    bool
	left, dead int
	grants     int
	last       *Grant // the one with the highest token: no other can end the job
	accepted   *Grant // under which it was acknowledged
	acks       int    // accepted ones
	open       *Grant // the last one of which the acknowledgement is open
}

// queue is a history while it is judged.
type queue struct {
	jobs   map[Job]*job
	groups map[string][]*Grant
	v      ClaimVerdict
	said   complaints
}

// job returns a job that has been seen.
func (q *queue) job(name Job) *job {
	j := q.jobs[name]
	if j == nil {
		j = &job{phantom: true}
		q.jobs[name] = j
		q.v.Phantom++
		q.said.addf("%+v was never written", name)
	}
	j.known = true
	return j
}

func (q *queue) grant(g *Grant) {
	j := q.job(g.Job)
	if j.grants++; j.last == nil || j.last.Token.Compare(g.Token) < 0 {
		j.last = g
	}
	q.groups[g.Group] = append(q.groups[g.Group], g)
	switch {
	case !g.Acked || g.Ack == Refused:
	case g.Ack == Done:
		j.acks++
		j.accepted = g
	case j.open == nil || j.open.Token.Compare(g.Token) < 0:
		j.open = g
	}
}

// end judges how a written job ended.
func (q *queue) end(name Job) {
	j := q.jobs[name]
	if !j.known {
		return // asked for without an answer, and never seen: not written
	}
	q.v.Written++
	ends := j.acks + j.left + j.dead
	switch {
	case j.acks > 0:
		q.v.Acked++
	case ends == 0 && j.open != nil && j.open == j.last:
		q.v.Resolved++
		j.accepted = j.open
	case ends == 0:
		q.v.Lost++
		q.said.addf("%+v is lost: granted %d times, never acknowledged", name, j.grants)
	}
	if ends > 1 {
		q.v.DoublyAcked++
		q.said.addf("%+v ended %d times: acknowledged %d times, left %d, dead letters %d", name, ends, j.acks, j.left, j.dead)
	}
}

// order judges the grants of one group, one token after the other.
func (q *queue) order(grants []*Grant) {
	slices.SortFunc(grants, func(a, b *Grant) int { return a.Token.Compare(b.Token) })
	q.realTime(grants)
	// frontier is the first place that may be granted: all before it are over.
	frontier := 1
	for i, g := range grants {
		if i > 0 && grants[i-1].Token == g.Token {
			q.v.Regranted++
			q.said.addf("%+v and %+v were both given token %+v", grants[i-1].Job, g.Job, g.Token)
			continue
		}
		for frontier < g.Place && q.over(Job{g.Group, frontier}, g) {
			frontier++
		}
		switch j := q.jobs[g.Job]; {
		case g.Place > frontier:
			q.v.OutOfOrder++
			q.said.addf("%+v was granted to %s before %d was over", g.Job, g.Holder, frontier)
		case j.accepted != nil && j.accepted.Token.Compare(g.Token) < 0:
			if j.acks > 0 && g.Got < j.accepted.AckAsked {
				q.v.StaleAcks++
				q.said.addf("%+v: %s was granted it with %+v, and then %+v was accepted", g.Job, g.Holder, g.Token, j.accepted.Token)
				break
			}
			q.v.Regranted++
			q.said.addf("%+v was granted to %s again after it was over", g.Job, g.Holder)
		}
	}
}

// over reports whether a job was over before a grant of a later one of its group.
func (q *queue) over(name Job, before *Grant) bool {
	j := q.jobs[name]
	switch {
	case j == nil || !j.known || j.dead > 0:
		return true
	case j.accepted == nil:
		// Lost is counted elsewhere and is no matter of order.
		return j.left == 0
	case j.accepted.Token.Compare(before.Token) > 0:
		return false
	case before.Got < j.accepted.AckAsked:
		// It was still held when the later one was handed out.
		return false
	}
	return true
}

// realTime checks that a grant that was asked for after another had been answered
// has the later token. Grants come by token.
func (q *queue) realTime(grants []*Grant) {
	// From the end, least is the earliest answer of all that have later tokens.
	var least *Grant
	for _, g := range slices.Backward(grants) {
		if least != nil && least.Got < g.Asked {
			q.v.TokensBack++
			q.said.addf("%+v was asked for after %+v had been granted, and got a lower token", g.Job, least.Job)
		}
		if least == nil || g.Got < least.Got {
			least = g
		}
	}
}
