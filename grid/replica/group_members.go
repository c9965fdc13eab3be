package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// caughtUpLag is how many entries a learner may be behind and count as
	// caught up. While commands flow, some are always under way.
	caughtUpLag = 256
	// heardBeats is how many heartbeat timeouts old the last word of a replica
	// may be for it to count.
	heardBeats = 2
)

// ErrNotCaughtUp is returned by AddVoter for a replica that is not a learner that
// has caught up. Nothing has changed; try again later.
var ErrNotCaughtUp = errors.New("replica: not a learner that has caught up")

// ErrChanging is returned for a change of the members while an earlier one, or the
// start of a leadership, is not agreed on. Nothing has changed; try again later.
var ErrChanging = errors.New("replica: an earlier change is not agreed on yet; try again later")

// AddLearner adds a replica that receives everything and does not vote. Only the
// leader can. It blocks until the change is agreed on.
//
// Here and in AddVoter and Remove, ErrIndeterminate means that the change may
// still happen; to ask for it again does no harm. ErrChanging means that it is not
// its turn.
func (g *Group) AddLearner(ctx context.Context, id ServerID) error {
	return g.change(ctx, id, func(r *raft.Raft) raft.Future {
		return r.AddNonvoter(id.raftID(), id.raftAddress(), 0, g.cfg.Timing.Election)
	})
}

// AddVoter gives a learner a vote. It fails with ErrNotCaughtUp unless the learner
// is CaughtUp: the group might have to wait for it, or, if the others fail, stay
// without a leader, because a voter refuses its vote to members it has not heard
// of. For the same reason every voter should know of a new one (GroupStatus.Members
// on each) before the next change or a planned stop.
func (g *Group) AddVoter(ctx context.Context, id ServerID) error {
	in := g.current.Load()
	if in.raft.State() != raft.Leader {
		return in.notLeader()
	}
	if !g.CaughtUp(id) && !slices.Contains(in.voters(), id.raftID()) {
		return fmt.Errorf("%w: %v", ErrNotCaughtUp, id)
	}
	return g.change(ctx, id, func(r *raft.Raft) raft.Future {
		change := r.AddVoter(id.raftID(), id.raftAddress(), 0, g.cfg.Timing.Election)
		g.followUp(r)
		return change
	})
}

// followUp appends an entry behind a change that raft has taken up, and waits until
// it is agreed on.
//
// Raft sends the entry that makes a voter before it begins to count that voter's
// answers. An answer that is there first is lost, for nobody is asked twice about
// an entry. If the change needs that voter, as it does when another one is dead, it
// then stays open until an entry follows. Commands do not see to that: perhaps
// nobody writes, and if one is under way it stays open with the change, while all
// others wait for it.
func (g *Group) followUp(r *raft.Raft) {
	for {
		err := r.Barrier(g.cfg.Timing.Election).Error()
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) && !errors.Is(err, raft.ErrEnqueueTimeout) {
			// It is there, and so is the change; or another leader decides on both.
			return
		}
		time.Sleep(retryPause) // the transfer may fail, and this replica lead on
	}
}

// Remove removes a replica. A leader that removes itself steps down. The removed
// replica learns nothing of it; its owner closes it.
func (g *Group) Remove(ctx context.Context, id ServerID) error {
	err := g.change(ctx, id, func(r *raft.Raft) raft.Future {
		return r.RemoveServer(id.raftID(), 0, g.cfg.Timing.Election)
	})
	if err == nil {
		g.acks.forget(id.raftID())
	}
	return err
}

func (g *Group) change(ctx context.Context, id ServerID, start func(*raft.Raft) raft.Future) error {
	if err := id.validate(); err != nil {
		return err
	}
	in := g.current.Load()
	answered, err := g.await(ctx, in, start)
	switch {
	case !answered:
		return err
	case errors.Is(err, raft.ErrEnqueueTimeout) && in.raft.State() == raft.Leader:
		return fmt.Errorf("%w: %v", ErrChanging, id)
	}
	return in.outcome(err)
}

// Transfer hands the leadership to a voter, which then stands for election; it
// waits until this replica leads no more. While it is under way commands are
// refused as by a NotLeaderError. The transfer fails when the voter cannot catch
// up within Timing.Election; this replica then leads on.
func (g *Group) Transfer(ctx context.Context, to ServerID) error {
	in := g.current.Load()
	answered, err := g.await(ctx, in, func(r *raft.Raft) raft.Future {
		return r.LeadershipTransferToServer(to.raftID(), to.raftAddress())
	})
	switch {
	case !answered || err == nil:
		return err
	case errors.Is(err, raft.ErrNotLeader):
		return in.notLeader()
	}
	return fmt.Errorf("replica: transfer to %v: %w", to, err)
}

// Snapshot takes a snapshot of the state machine and truncates the log behind
// it, on this replica alone. It does nothing if nothing has been applied.
func (g *Group) Snapshot(ctx context.Context) error {
	answered, err := g.await(ctx, g.current.Load(), func(r *raft.Raft) raft.Future { return r.Snapshot() })
	switch {
	case !answered:
		return err
	case err == nil, errors.Is(err, raft.ErrNothingNewToSnapshot):
		return nil
	}
	return fmt.Errorf("replica: snapshot: %w", err)
}

// await starts something that raft answers to and waits for the answer. The
// error is raft's, or, if there was no answer, what to return.
func (g *Group) await(ctx context.Context, in *instance, start func(*raft.Raft) raft.Future) (answered bool, err error) {
	if !in.begin() {
		return false, g.gone()
	}
	answer := make(chan error, 1)
	go func() { // instance.stop waits for it
		defer in.end()
		answer <- start(in.raft).Error()
	}()
	select {
	case err := <-answer:
		return true, err
	case <-ctx.Done():
		return false, indeterminate(ctx.Err())
	}
}

// gone returns the error for an instance that has ended.
func (g *Group) gone() error {
	select {
	case <-g.stop:
		return ErrGroupClosed
	default:
		return &NotLeaderError{}
	}
}

// CaughtUp tells whether a replica has nearly all of the log: it has answered
// within the last heartbeats, was at most a few messages behind, and knows all
// members. Only the leader knows; others say no.
func (g *Group) CaughtUp(id ServerID) bool {
	in := g.current.Load()
	if in.raft.State() != raft.Leader {
		return false
	}
	c, ok := in.trans.contact(id.raftID())
	return ok && !g.RolledBack(id) && c.lag <= caughtUpLag && c.last >= g.machine.configured.Load() && time.Since(c.at) <= heardBeats*g.cfg.Timing.Heartbeat
}
