package cluster

import (
	"context"
	"sync"
	"time"
)

// searchAgain is how long a member that could not be asked whether it leads is
// left alone, and searchRound how long a search goes on before it looks anew
// who the replicas are.
const (
	searchAgain = 50 * time.Millisecond
	searchRound = 5 * time.Second
)

// searchKey names a search: for the leader of a group, another one than except.
type searchKey struct {
	group  GroupID
	except MemberID // who has failed, or is slow; empty: nobody
}

// searches are a router's searches for leaders. Each replica is asked to answer as
// soon as it serves as the leader, so that nobody has to keep trying. Requests that
// look for the same leader share one search, which lasts while there are any.
type searches struct {
	wg sync.WaitGroup

	mu struct {
		sync.Mutex
		closed bool
		by     map[searchKey]*search
	}
}

// search is one search. Its fields belong to the lock of the searches.
type search struct {
	listeners map[*listener]struct{}
	cancel    context.CancelFunc
}

type listener struct{ heard func(MemberID) }

// listen has heard called when a leader is found, once and on another goroutine,
// unless stop was called before. heard must not block.
func (s *searches) listen(r *Router, key searchKey, heard func(MemberID)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return func() {}
	}
	found := s.mu.by[key]
	if found == nil {
		ctx, cancel := context.WithCancel(context.Background())
		found = &search{listeners: map[*listener]struct{}{}, cancel: cancel}
		if s.mu.by == nil {
			s.mu.by = map[searchKey]*search{}
		}
		s.mu.by[key] = found
		s.wg.Go(func() {
			defer cancel()
			if leader, ok := r.search(ctx, key); ok {
				r.found(key, found, leader)
			}
		})
	}
	l := &listener{heard}
	found.listeners[l] = struct{}{}
	return func() { s.leave(key, found, l) }
}

// leave ends a listening, and the search with the last one.
func (s *searches) leave(key searchKey, of *search, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(of.listeners, l)
	if len(of.listeners) == 0 {
		s.dropLocked(key, of)
	}
}

func (s *searches) dropLocked(key searchKey, of *search) {
	of.cancel()
	if s.mu.by[key] == of {
		delete(s.mu.by, key)
	}
}

// close ends all searches and waits for them.
func (s *searches) close() {
	s.mu.Lock()
	s.mu.closed = true
	for key, of := range s.mu.by {
		s.dropLocked(key, of)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// found tells everybody who listens.
func (r *Router) found(key searchKey, of *search, leader MemberID) {
	r.mu.Lock()
	r.mu.leaders[key.group] = leader
	r.mu.Unlock()
	s := &r.searches
	s.mu.Lock()
	listeners := of.listeners
	of.listeners = map[*listener]struct{}{}
	s.dropLocked(key, of)
	s.mu.Unlock()
	for l := range listeners {
		l.heard(leader)
	}
}

// search asks the replicas until one of them leads; false when ctx ended first.
func (r *Router) search(ctx context.Context, key searchKey) (MemberID, bool) {
	for ctx.Err() == nil {
		round, cancel := context.WithTimeout(ctx, searchRound)
		leader := make(chan MemberID, 1)
		var asking sync.WaitGroup
		if g, ok := r.State().Group(key.group); ok {
			for _, replica := range g.Replicas {
				if replica.Member != key.except {
					asking.Go(func() {
						if r.leads(round, key.group, replica.Member) {
							select {
							case leader <- replica.Member:
							default: // another one was faster
							}
						}
					})
				}
			}
		}
		var m MemberID
		select {
		case m = <-leader:
		case <-round.Done():
		}
		cancel()
		asking.Wait()
		if m != "" {
			return m, true
		}
	}
	return "", false
}

// leads returns true when a member leads a group, false when ctx ended first.
func (r *Router) leads(ctx context.Context, g GroupID, m MemberID) bool {
	for {
		svc, err := r.member(ctx, m)
		if err == nil {
			if err = svc.Await(ctx, g); err == nil {
				return true
			}
		}
		if !pause(ctx, searchAgain) {
			return false
		}
	}
}
