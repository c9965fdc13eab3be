package replica

import (
	"context"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// confirmer makes reads linearizable: it asks the voters whether they are still
// at the term in which this replica leads.
//
// A voter whose current term is T has not helped to elect a leader of a later
// term. So if a majority says so in answer to a question that was asked after a
// read, then no later leader can have answered a command before the read; and
// the leader of T had applied everything that it, or any leader before it, had
// answered. Answers to earlier questions, heartbeats among them, prove nothing
// of the kind: they may have been under way while the majority moved on.
//
// Readers share questions. One round is asked at a time; those who come while
// it is on its way wait for the next, which begins after they came.
type confirmer struct {
	g      *Group
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	mu struct {
		sync.Mutex
		running bool
		next    *round                      // that has not begun; nil while nobody waits for it
		asking  map[raft.ServerID]*question // by voter with a goroutine: what to ask next, nil for nothing
	}
}

// round is one question to all voters and its outcome.
type round struct {
	over chan struct{} // closed at the end; term and err are set before
	term uint64        // in which this replica led
	err  error
}

// question is what one round asks a voter. A voter that is slow skips the
// questions of rounds that others have settled meanwhile.
type question struct {
	term    uint64
	answers chan<- bool // with room for all
}

func newConfirmer(g *Group) *confirmer {
	c := &confirmer{g: g}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.asking = make(map[raft.ServerID]*question)
	return c
}

// close ends the round in progress and lets no other begin.
func (c *confirmer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
}

// Confirm makes a read linearizable that was made on this replica's state while
// it led in term, after the read: it returns nil if that state was the newest
// when Confirm was called. The term is Leading's, noted before the read.
//
// It blocks for one exchange with a majority of the voters, up to two when
// others are confirming; a group with one voter needs none. NotLeaderError means
// that the read must be made elsewhere, ErrIndeterminate that nothing is
// confirmed; ErrIndeterminate comes with ctx's error when ctx ended first.
func (g *Group) Confirm(ctx context.Context, term uint64) error {
	in := g.current.Load()
	if term == 0 || g.leading.Load() != term || !in.leadsIn(term) {
		return in.notLeader()
	}
	if voters := in.voters(); len(voters) == 1 && voters[0] == g.cfg.Self.raftID() {
		return nil // Nobody else could have been elected.
	}
	r := g.confirm.join()
	if r == nil {
		return ErrGroupClosed
	}
	select {
	case <-r.over:
	case <-ctx.Done():
		return indeterminate(ctx.Err())
	}
	if r.err == nil && r.term != term {
		return in.notLeader() // It led before and leads again; the read was made in between.
	}
	return r.err
}

// AtTerm tells whether this replica's raft is at term. It is the answer to
// another member's Confirm, and does not block.
func (g *Group) AtTerm(term uint64) bool {
	in := g.current.Load()
	// An instance that ends may have a successor already, at a later term.
	if !in.begin() {
		return false
	}
	defer in.end()
	return in.raft.CurrentTerm() == term
}

// join returns the round that begins next, nil after close.
func (c *confirmer) join() *round {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil
	}
	if c.mu.next == nil {
		c.mu.next = &round{over: make(chan struct{})}
	}
	if !c.mu.running {
		c.mu.running = true
		c.g.wg.Go(c.run)
	}
	return c.mu.next
}

// run asks one round after the other while somebody waits.
func (c *confirmer) run() {
	for {
		c.mu.Lock()
		r := c.mu.next
		c.mu.next = nil
		c.mu.running = r != nil
		c.mu.Unlock()
		if r == nil {
			return
		}
		r.term, r.err = c.round()
		close(r.over)
	}
}

// round finds out whether this replica still leads, and in which term.
func (c *confirmer) round() (uint64, error) {
	in, term := c.g.current.Load(), c.g.leading.Load()
	for {
		if term == 0 || !in.leadsIn(term) {
			return 0, in.notLeader()
		}
		voters := in.voters()
		confirmed := c.ask(voters, term)
		switch {
		case c.ctx.Err() != nil:
			return 0, ErrGroupClosed
		case !in.leadsIn(term):
			return 0, in.notLeader()
		case !confirmed:
			return 0, ErrIndeterminate
		case slices.Equal(voters, in.voters()):
			return term, nil
		}
		// The voters changed under the question. Majorities of two sets of
		// voters have a member in common if the sets are one change apart, and
		// there may have been more than one change.
	}
}

// ask asks voters whether they are at term and waits until a majority has said
// so, or cannot any more.
func (c *confirmer) ask(voters []raft.ServerID, term uint64) bool {
	self := c.g.cfg.Self.raftID()
	answers := make(chan bool, len(voters))
	missing, open := len(voters)/2+1, 0
	for _, id := range voters {
		if id == self {
			missing-- // It has just looked.
			continue
		}
		if c.g.acks.rolledBack(id) {
			continue // It may have forgotten a later term.
		}
		open++
		c.question(id, question{term, answers})
	}
	for missing > 0 && missing <= open {
		select {
		case yes := <-answers:
			open--
			if yes {
				missing--
			}
		case <-c.ctx.Done():
			return false
		}
	}
	return missing <= 0
}

// question has a voter asked, at once or after what it is being asked.
func (c *confirmer) question(id raft.ServerID, q question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, running := c.mu.asking[id]
	c.mu.asking[id] = &q
	if !running {
		c.g.wg.Go(func() { c.asker(id) })
	}
}

// asker asks one voter while there are questions.
func (c *confirmer) asker(id raft.ServerID) {
	for {
		c.mu.Lock()
		q := c.mu.asking[id]
		if q == nil {
			delete(c.mu.asking, id)
			c.mu.Unlock()
			return
		}
		c.mu.asking[id] = nil
		c.mu.Unlock()
		yes, err := c.g.cfg.Transport.Confirm(c.ctx, member(id), []ConfirmItem{{Group: c.g.cfg.ID, Target: id, Term: q.term}})
		q.answers <- err == nil && yes[0]
	}
}
