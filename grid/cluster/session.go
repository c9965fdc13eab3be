package cluster

import (
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// session is a client's side of the exactly-once table of one partition: it
// gives commands their identity and keeps track of which are settled.
type session struct {
	id space.SessionID

	mu struct {
		sync.Mutex
		history space.History // zero: not known, say hello first
		clock   space.Time    // partition clock at the moment at
		at      time.Time
		next    uint64 // of the next command; from 1
		// settled[i] says whether base+i is settled; base is the lowest that is not.
		base    uint64
		settled []bool
	}
}

// identity is what makes a command the same command when it is repeated.
type identity struct {
	history  space.History
	sequence uint64
	acked    uint64
	deadline space.Time
}

func newSession(id space.SessionID) *session {
	s := &session{id: id}
	s.mu.next, s.mu.base = 1, 1
	return s
}

// greet takes over what a leader said of the partition. What was sent under
// another history is refused by the new one.
func (s *session) greet(h space.History, clock space.Time, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.history != h {
		// Numbers go on: none is given twice, whichever histories come and go.
		s.mu.history = h
		s.mu.base, s.mu.settled = s.mu.next, nil
	}
	s.mu.clock, s.mu.at = clock, now
}

// learn takes over what another session of the same client knows of the
// partition, also that it knows nothing.
func (s *session) learn(from *session) {
	from.mu.Lock()
	history, clock, at := from.mu.history, from.mu.clock, from.mu.at
	from.mu.Unlock()
	if at.IsZero() {
		s.forget()
		return
	}
	s.greet(history, clock, at)
}

// forget makes the next begin fail until somebody greets.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.at = time.Time{}
}

// begin gives a command its identity; false if the partition is not known yet.
// The deadline is on the partition's clock, counted from an estimate that is at
// most as late as the true clock would be had it never stood still.
func (s *session) begin(now time.Time, budget time.Duration) (identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.at.IsZero() {
		return identity{}, false
	}
	id := identity{
		history: s.mu.history, sequence: s.mu.next, acked: s.mu.base,
		deadline: s.mu.clock.Add(now.Sub(s.mu.at)).Add(budget),
	}
	s.mu.next++
	s.mu.settled = append(s.mu.settled, false)
	return id, true
}

// after gives a command that is about another one an identity: under the same
// history and with the same deadline. It is false if the history is not the
// current one any more.
func (s *session) after(id identity) (identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.history != id.history {
		return identity{}, false
	}
	next := identity{history: id.history, sequence: s.mu.next, acked: s.mu.base, deadline: id.deadline}
	s.mu.next++
	s.mu.settled = append(s.mu.settled, false)
	return next, true
}

// settle says that nobody will ask for the command's answer again.
func (s *session) settle(id identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.history != id.history || id.sequence < s.mu.base {
		return
	}
	s.mu.settled[id.sequence-s.mu.base] = true
	n := 0
	for n < len(s.mu.settled) && s.mu.settled[n] {
		n++
	}
	s.mu.settled = s.mu.settled[n:]
	s.mu.base += uint64(n)
}
