package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// doubtAfter is how long an answer may take before the other replicas are asked
	// whether one of them leads by now. Who does says so when it serves, and only
	// then is the first one given up; a leader that is merely slow is left in peace.
	// It is far longer than an answer usually takes, and short beside an election.
	doubtAfter = 100 * time.Millisecond
	// maxHurries bounds how often one request goes on without a pause because a
	// member says that it leads. One that says so and refuses all the same is not
	// asked in a tight loop.
	maxHurries = 4
)

// errElsewhere ends an attempt at a member when another one leads.
var errElsewhere = errors.New("cluster: another member leads by now")

// turn is the search for a group's leader on behalf of one request. Whoever has
// one ends it.
type turn struct {
	r      *Router
	ctx    context.Context
	group  GroupID
	links  *links
	member MemberID
	tried  int
	wait   time.Duration
	reason error // why the last attempt came to nothing

	// now is the context of the attempt that service has begun: it ends with ctx,
	// or when another member is known to lead.
	now context.Context

	mu      sync.Mutex
	told    chan struct{} // rung when a leader is known; one slot; nil until it is listened for
	ended   bool
	attempt uint64
	hurries int                     // pauses that were cut short
	drop    context.CancelCauseFunc // of now; nil between attempts
	timer   *time.Timer             // of doubt
	search  searchKey
	stop    func() // listening to search; nil: not listening
}

func (r *Router) turn(ctx context.Context, g GroupID) *turn {
	return &turn{r: r, ctx: ctx, now: ctx, group: g, links: &r.links, wait: backoffMin}
}

// service returns the service of the member to try, to be used under now.
func (t *turn) service() (Service, error) {
	g, ok := t.r.State().Group(t.group)
	if !ok || len(g.Replicas) == 0 {
		return nil, fmt.Errorf("%w: group %d has no replicas", ErrUnavailable, t.group)
	}
	t.r.mu.Lock()
	t.member = t.r.mu.leaders[t.group]
	t.r.mu.Unlock()
	if t.member == "" {
		t.member = g.Replicas[t.tried%len(g.Replicas)].Member
	}
	t.begin()
	return t.r.memberOver(t.now, t.links, t.member)
}

// begin begins an attempt at t.member.
func (t *turn) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finishLocked()
	if t.now = t.ctx; t.r.cfg.Local != nil && t.member == t.r.cfg.Self {
		return // A member that is cut off reaches nobody else either.
	}
	t.now, t.drop = context.WithCancelCause(t.ctx)
	attempt, member := t.attempt, t.member
	t.timer = time.AfterFunc(doubtAfter, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.attempt == attempt {
			t.listenLocked(member)
		}
	})
}

// finishLocked ends an attempt.
func (t *turn) finishLocked() {
	t.attempt++
	if t.drop != nil {
		t.timer.Stop()
		t.drop(nil)
		t.drop = nil
	}
}

// end ends the turn. Ending it twice is harmless.
func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.finishLocked()
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// listenLocked waits for a leader to make itself known, another one than except.
func (t *turn) listenLocked(except MemberID) {
	key := searchKey{t.group, except}
	if t.ended || t.stop != nil && t.search == key {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	if t.told == nil {
		t.told = make(chan struct{}, 1)
	}
	t.search, t.stop = key, t.r.searches.listen(t.r, key, t.heard)
}

// heard is told that a member leads, once for each listening.
func (t *turn) heard(leader MemberID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = nil
	if t.hurries < maxHurries {
		t.hurries++
		poke(t.told)
	}
	if t.drop != nil && leader != t.member {
		t.drop(errElsewhere)
	}
}

// again learns from a failed attempt and waits for the next one, until somebody
// says that it leads or a while has passed; false when the request's time is up.
func (t *turn) again(err error) bool {
	t.reason = err
	t.tried++
	hint, except := MemberID(""), t.member
	notLeader, isNotLeader := errors.AsType[*NotLeaderError](err)
	switch {
	case isNotLeader:
		// It says so itself, and so it will if it comes to lead.
		hint, except = notLeader.Leader, ""
	case errors.Is(err, ErrOverloaded):
		hint = t.member
	}
	t.r.mu.Lock()
	if at := t.r.mu.leaders[t.group]; at == t.member || at == "" {
		t.r.mu.leaders[t.group] = hint
	}
	t.r.mu.Unlock()
	t.mu.Lock()
	t.finishLocked()
	if !errors.Is(err, ErrOverloaded) && t.hurries < maxHurries {
		t.listenLocked(except)
	}
	told := t.told
	t.mu.Unlock()
	if hint != "" && hint != t.member && t.tried == 1 {
		return t.ctx.Err() == nil // somebody knows better: no need to wait
	}
	if !t.pause(told) {
		return false
	}
	t.wait = min(2*t.wait, backoffMax)
	if t.tried%8 == 0 {
		// The state itself may be out of date; what cannot be learnt now will
		// be asked for again.
		if err := t.r.cfg.Topology.Refresh(t.ctx); err != nil {
			t.reason = errors.Join(t.reason, err)
		}
	}
	return true
}

// pause waits for about t.wait, or until told that a leader is known; false if ctx
// ended first.
func (t *turn) pause(told <-chan struct{}) bool {
	timer := time.NewTimer(jittered(t.wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-told:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// jittered returns about d, so that those who failed together do not come back
// together.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// pause waits for about d; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(jittered(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
