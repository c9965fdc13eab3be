package replica

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// maxHints bounds the news about a lost leader that wait for the group's
// goroutine. What is beyond is dropped: without it the election timers rule.
const maxHints = 64

// hint is a piece of news about the leader: that a member is gone, or what
// another voter says.
type hint struct {
	gone raft.ServerAddress // empty: said is meant
	said testimony
}

// stander decides when this replica stands for election before its timer. It
// belongs to the group's goroutine.
//
// A leader is lost to a follower in one of two ways. Its process is gone: all its
// connections have ended, and where it listened nobody does. Or it is silent:
// nothing has been heard of it for one and a half heartbeat timeouts, as when it
// is cut off, paused, or its host has vanished. Raft's own timers would end that
// as well, but each follower's fires at a moment of its own, up to three times the
// timeout after the last contact, and no pre-vote is given before the second one's
// has; by speaking to each other they know at once what they would find out then.
type stander struct {
	g       *Group
	timer   *time.Timer
	inquest *inquest
	gone    raft.ServerAddress // the member that seems to be; empty: none
	last    followed
	said    time.Time // when this replica last told the others
	stood   time.Time // when it last stood early
}

// followed is a leader that this replica has followed in a term.
type followed struct {
	leader ServerID
	term   uint64
}

// loss is a leader that is lost to this replica.
type loss struct {
	followed
	in     *instance
	stands bool // this replica's timer has fired already
}

func newStander(g *Group) *stander {
	return &stander{
		g: g, timer: time.NewTimer(g.cfg.Timing.Heartbeat),
		inquest: newInquest(g.cfg.Self.raftID(), g.cfg.Timing.Heartbeat/2),
	}
}

// repeat is how often a replica says that a leader is lost, while it is.
func (s *stander) repeat() time.Duration { return s.inquest.fresh / 2 }

// patience is how long a leader may be silent.
func (s *stander) patience() time.Duration { return s.g.cfg.Timing.Heartbeat * 3 / 2 }

// hear takes a piece of news.
func (s *stander) hear(h hint) {
	switch {
	case h.gone == "":
		s.inquest.hear(h.said, s.g.current.Load().voters(), time.Now())
	case s.g.cfg.Transport.connected(h.gone):
		return // it is back
	default:
		s.gone, s.said = h.gone, time.Time{}
	}
	s.look()
}

// look tells the others if the leader is lost, and stands if it is time to.
func (s *stander) look() {
	now := time.Now()
	l, lost := s.loss()
	if !lost {
		s.inquest.retract()
		s.said = time.Time{}
		s.timer.Reset(max(s.patience()-s.silence(), s.repeat()))
		return
	}
	voters := l.in.voters()
	if now.Sub(s.said) >= s.repeat() {
		s.said = now
		s.testify(l, voters, now)
	}
	next := s.said.Add(s.repeat())
	at, stands := s.inquest.verdict(voters, now)
	switch {
	case !stands || now.Sub(s.stood) < s.g.cfg.Timing.Election:
	case now.Before(at):
		if at.Before(next) {
			next = at
		}
	default:
		s.stood = now
		s.stand(l)
	}
	s.timer.Reset(max(next.Sub(now), time.Millisecond))
}

// silence is for how long nothing has been heard of the leader.
func (s *stander) silence() time.Duration {
	return time.Since(s.g.current.Load().raft.LastContact())
}

// loss returns the leader that is lost to this replica, if it follows one that is
// and has a vote.
func (s *stander) loss() (loss, bool) {
	in := s.g.current.Load()
	now, role := followed{in.leader(), in.raft.CurrentTerm()}, in.raft.State()
	switch {
	case now.leader == s.g.cfg.Self:
		return loss{}, false
	case now.leader != ServerID{}:
		s.last = now
	}
	l := loss{followed: s.last, in: in, stands: role == raft.Candidate}
	follows := s.last.leader != ServerID{} && now.term == s.last.term && (role == raft.Follower || role == raft.Candidate)
	return l, follows && in.votes(s.g.cfg.Self) && s.lost(l)
}

// lost tells whether the leader of l is gone or silent.
func (s *stander) lost(l loss) bool {
	leader := raft.ServerAddress(l.leader.Member)
	if s.gone == leader && !s.g.cfg.Transport.connected(leader) {
		return true
	}
	return s.silence() >= s.patience()
}

// testify tells the other voters.
func (s *stander) testify(l loss, voters []raft.ServerID, now time.Time) {
	last, err := s.g.cfg.Storage.end()
	if err != nil {
		s.g.cfg.Logger.Warn("where the log ends is not known; an election waits for its timer", "err", err)
		return
	}
	t := testimony{from: s.g.cfg.Self.raftID(), leader: l.leader.raftID(), term: l.term, last: last, stands: l.stands}
	s.inquest.hear(t, voters, now)
	for _, id := range voters {
		if id == t.from || id == t.leader {
			continue
		}
		s.g.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.inquest.fresh)
			defer cancel()
			// Who cannot be told does not stand early, and that is all.
			_ = l.in.trans.testify(ctx, id, member(id), &t)
		})
	}
}

// stand has this replica's raft stand for election, unless it has heard of a
// leader by the time it gets to it.
func (s *stander) stand(l loss) {
	gone := s.gone != "" && string(s.gone) == l.leader.Member
	s.g.cfg.Logger.Info("stands for election early", "lost", l.leader.String(), "term", l.term, "gone", gone)
	s.g.early.Add(1)
	silent, patience, transport := l.in.raft.LastContact, s.patience(), s.g.cfg.Transport
	l.in.trans.standNow(func() bool {
		still := l.in.raft.State() == raft.Follower && l.in.raft.CurrentTerm() == l.term && l.in.leader() == l.leader
		return still && (gone && !transport.connected(raft.ServerAddress(l.leader.Member)) || time.Since(silent()) >= patience)
	})
}

// hinted hands a piece of news to the group's goroutine. It does not block.
func (g *Group) hinted(h hint) {
	select {
	case g.hints <- h:
	default:
	}
}
