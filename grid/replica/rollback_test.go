package replica

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// A follower is rolled back if and only if its log ends before what it had
// acknowledged in the same term; only then, in that term, until it is forgotten, nothing that it says counts.
func TestAnAnswerAccusesOnlyWhoHasLostEntries(t *testing.T) {
	type step struct {
		term, prev, entries, commit uint64 // of the question; all but the term 0: a heartbeat
		before                      int    // asked before the answers to so many steps ahead of it were there
		answer                      raft.AppendEntriesResponse
		lost, forget                bool
	}
	said := func(term, last uint64, success bool) raft.AppendEntriesResponse {
		return raft.AppendEntriesResponse{Term: term, LastLog: last, Success: success}
	}
	for name, script := range map[string][]step{
		"goes on": {
			{term: 2, prev: 10, entries: 5, commit: 10, answer: said(2, 10, true)},
			{term: 2, prev: 15, entries: 1, commit: 15, answer: said(2, 15, true)},
			{term: 2, answer: said(2, 16, true)},
		},
		"lost in the same term, seen by a heartbeat": {
			{term: 2, prev: 10, entries: 5, commit: 10, answer: said(2, 10, true)},
			{term: 2, answer: said(2, 14, true), lost: true},
			{term: 2, prev: 15, entries: 1, commit: 15, answer: said(2, 15, true), lost: true},
		},
		"lost in the same term, seen by entries": {
			{term: 2, prev: 10, entries: 5, commit: 10, answer: said(2, 10, true)},
			{term: 2, prev: 15, entries: 1, commit: 15, answer: said(2, 9, false), lost: true},
		},
		"a suffix that was never acknowledged is cut": {
			{term: 2, prev: 20, entries: 1, commit: 15, answer: said(2, 30, false)},
			{term: 2, prev: 15, entries: 1, commit: 15, answer: said(2, 30, true)},
			{term: 2, answer: said(2, 16, true)},
		},
		"a suffix that was acknowledged and not committed is cut in a later term": {
			{term: 2, prev: 10, entries: 5, commit: 12, answer: said(2, 10, true)},
			{term: 4, answer: said(4, 12, true)},
		},
		"what is lost in a later term is not known any more": {
			{term: 2, prev: 10, entries: 5, commit: 12, answer: said(2, 10, true)},
			{term: 4, answer: said(4, 11, true)},
		},
		"an old answer that comes late": {
			{term: 2, prev: 10, entries: 5, commit: 10, answer: said(2, 10, true)},
			{term: 2, before: 1, answer: said(2, 10, true)},
		},
		"an answer from a later term": {
			{term: 2, prev: 10, entries: 5, commit: 10, answer: said(2, 10, true)},
			{term: 2, answer: said(3, 3, false)},
		},
		"out of the group and in again": {
			{term: 2, prev: 10, entries: 5, commit: 15, answer: said(2, 10, true)},
			{term: 2, answer: said(2, 3, true), lost: true, forget: true},
			{term: 2, prev: 3, entries: 12, commit: 15, answer: said(2, 3, true)},
			{term: 2, answer: said(2, 15, true)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAcknowledgements()
			floors := []uint64{0}
			for i, s := range script {
				args := &raft.AppendEntriesRequest{Term: s.term, PrevLogEntry: s.prev, LeaderCommitIndex: s.commit, Entries: make([]*raft.Log, s.entries)}
				was := a.rolledBack("f")
				floor, err := a.floor("f", args)
				if refused := errors.Is(err, errRolledBack); refused != (was && s.entries > 0) {
					t.Fatalf("step %d: to be sent: %v", i, err)
				}
				floors = append(floors, floor)
				found, err := a.judge("f", floors[len(floors)-1-s.before], args, &s.answer)
				switch lost := a.rolledBack("f"); {
				case lost != s.lost, found != (lost && !was):
					t.Fatalf("step %d: rolled back: %v, news: %v", i, lost, found)
				case (err != nil) != (lost && s.entries > 0):
					t.Fatalf("step %d: counts: %v", i, err)
				}
				if s.forget {
					a.forget("f")
				}
			}
		})
	}
}
