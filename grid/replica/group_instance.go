package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadsBuffer is how many changes of leadership raft may tell before it waits
// for us. Each takes an election.
const leadsBuffer = 64

// instance is one raft instance. A Group goes through several: raft must be
// started anew after some snapshots, and after Found.
//
// Raft drops answers when it shuts down: whoever then waits for a future waits
// for ever. So everybody who uses a future does so between begin and end, and
// stop lets all of them have their answers before it shuts raft down.
type instance struct {
	raft  *raft.Raft
	trans *raftTransport
	// leads and changed wake the group's goroutine, which then looks for itself.
	leads   chan bool
	changed chan struct{}
	// ready is closed when raft is set: raft's goroutines run before NewRaft returns.
	ready chan struct{}

	mu struct {
		sync.Mutex
		ending bool
	}
	users sync.WaitGroup // between begin and end
}

// openInstance starts raft over g's storage. The state machine is restored from
// the newest snapshot, unless that is the one at index held, whose state it has
// already; 0 for none.
func (g *Group) openInstance(held uint64) (*instance, error) {
	s := &g.cfg.Storage
	index, term, err := s.newest()
	if err != nil {
		return nil, fmt.Errorf("replica: group %d: look for the newest snapshot: %w", g.cfg.ID, err)
	}
	emptied, err := AlignLog(s.log, index, term)
	if err != nil {
		return nil, err
	}
	if emptied {
		g.cfg.Logger.Info("log emptied behind a snapshot", "snapshot", index)
	}
	in := &instance{leads: make(chan bool, leadsBuffer), changed: make(chan struct{}, 1), ready: make(chan struct{})}
	endpoint, err := g.cfg.Transport.Group(GroupTransportConfig{
		ID: g.cfg.ID, Self: g.cfg.Self.raftID(),
		LastIndex:           in.lastIndex,
		OnSnapshotInstalled: g.snapshotInstalled,
		onGone:              func(member raft.ServerAddress) { g.hinted(hint{gone: member}) },
		onTestimony:         func(t testimony) { g.hinted(hint{said: t}) },
	})
	if err != nil {
		return nil, err
	}
	in.trans = newRaftTransport(endpoint, g)
	config := g.cfg.raftConfig(in.leads)
	config.NoSnapshotRestoreOnStart = held != 0 && held == index
	err = g.machine.whileStarting(func() (err error) {
		in.raft, err = raft.NewRaft(config, g.machine, s.log, s.stable, s.snapshots, in.trans)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("replica: group %d: start raft: %w", g.cfg.ID, errors.Join(err, endpoint.Close()))
	}
	close(in.ready)
	last := in.raft.LastIndex
	in.trans.last.Store(&last)
	in.raft.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if o.Data == raft.Candidate {
			g.elections.Add(1)
		}
		signal(in.changed) // in the role or in who leads; anything else does no harm
		return false
	}))
	signal(in.changed)
	return in, nil
}

// lastIndex returns where raft's log ends. It is called from raft's own
// goroutine.
func (in *instance) lastIndex() uint64 {
	<-in.ready
	return in.raft.LastIndex()
}

// begin takes part in the instance, unless it is ending. The caller calls end
// if and only if begin is true.
func (in *instance) begin() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.mu.ending {
		return false
	}
	in.users.Add(1)
	return true
}

func (in *instance) end() { in.users.Done() }

// stop shuts raft down and waits for everybody who uses it. What is in progress
// has up to grace to succeed; then the transport closes, on which raft steps
// down and answers.
func (in *instance) stop(grace time.Duration) error {
	in.mu.Lock()
	in.mu.ending = true
	in.mu.Unlock()
	unused := make(chan struct{})
	go func() {
		in.users.Wait()
		close(unused)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-unused:
	case <-timer.C:
		// It only ends waiting; its error has no reader.
		_ = in.trans.Close()
		<-unused
	}
	return in.raft.Shutdown().Error()
}

// leadsIn tells whether raft leads in term at this moment.
func (in *instance) leadsIn(term uint64) bool {
	return in.raft.State() == raft.Leader && in.raft.CurrentTerm() == term
}

// leader returns who leads as far as this replica knows.
func (in *instance) leader() ServerID {
	_, id := in.raft.LeaderWithID()
	return serverID(id)
}

// notLeader returns the error for what has to be asked of the leader.
func (in *instance) notLeader() error { return &NotLeaderError{Leader: in.leader()} }

// servers returns the group's replicas as this one knows them. The caller must
// not change them.
func (in *instance) servers() []raft.Server {
	return in.raft.GetConfiguration().Configuration().Servers
}

// votes tells whether a replica has a vote.
func (in *instance) votes(id ServerID) bool { return slices.Contains(in.voters(), id.raftID()) }

// voters returns the ids of those who vote.
func (in *instance) voters() (ids []raft.ServerID) {
	for _, s := range in.servers() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
