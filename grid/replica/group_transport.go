package replica

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// raftTransport is the GroupTransport as raft sees it: addresses are server ids, and
// replies tell how far the followers are.
type raftTransport struct {
	*GroupTransport
	self raft.ServerAddress
	acks *acknowledgements
	// rolledBack is told of a follower that is found to be so; it must not block.
	rolledBack func(raft.ServerID)
	// last returns where this replica's log ends; nil until raft has started.
	last atomic.Pointer[func() uint64]

	mu    sync.Mutex
	heard map[raft.ServerID]contact // at most the group's replicas, past ones included
}

// contact is what a follower's last reply has told.
type contact struct {
	at   time.Time
	last uint64 // where its log ends
	lag  uint64 // entries by which that is behind ours at the sending of the request
}

var (
	_ raft.WithPreVote = (*raftTransport)(nil)
	_ raft.WithClose   = (*raftTransport)(nil)
)

func newRaftTransport(e *GroupTransport, g *Group) *raftTransport {
	return &raftTransport{
		GroupTransport: e, self: g.cfg.Self.raftAddress(), acks: g.acks, rolledBack: g.foundRolledBack,
		heard: make(map[raft.ServerID]contact),
	}
}

// member returns the address of the Transport that holds a replica.
func member(id raft.ServerID) raft.ServerAddress { return raft.ServerAddress(serverID(id).Member) }

// LocalAddr returns this replica's server id.
func (t *raftTransport) LocalAddr() raft.ServerAddress { return t.self }

// AppendEntries sends a heartbeat, or entries that are not pipelined. Every
// follower gets a heartbeat several times in a heartbeat timeout, so that its
// replies are enough to follow it.
func (t *raftTransport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	var ours uint64
	if last := t.last.Load(); last != nil {
		ours = (*last)()
	}
	floor, err := t.acks.floor(id, args)
	if err != nil {
		return err
	}
	var answer raft.AppendEntriesResponse
	if err := t.GroupTransport.AppendEntries(id, member(id), args, &answer); err != nil {
		return err
	}
	if err := t.judge(id, floor, args, &answer); err != nil {
		return err
	}
	*resp = answer
	if resp.Term <= args.Term {
		t.mu.Lock()
		t.heard[id] = contact{at: time.Now(), last: resp.LastLog, lag: ours - min(ours, resp.LastLog)}
		t.mu.Unlock()
	}
	return nil
}

// judge decides whether an answer may count.
func (t *raftTransport) judge(id raft.ServerID, floor uint64, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	found, err := t.acks.judge(id, floor, args, resp)
	if found {
		t.rolledBack(id)
	}
	return err
}

// AppendEntriesPipeline returns a pipeline of entries.
func (t *raftTransport) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.GroupTransport.pipeline(id, member(id))
	if err != nil {
		return nil, err
	}
	p.floor = func(args *raft.AppendEntriesRequest) (uint64, error) { return t.acks.floor(id, args) }
	p.judge = func(floor uint64, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		return t.judge(id, floor, args, resp)
	}
	return p, nil
}

// RequestVote asks for a vote.
func (t *raftTransport) RequestVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.GroupTransport.RequestVote(id, member(id), args, resp)
}

// RequestPreVote asks whether a vote would be given.
func (t *raftTransport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.GroupTransport.RequestPreVote(id, member(id), args, resp)
}

// InstallSnapshot streams a snapshot.
func (t *raftTransport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.GroupTransport.InstallSnapshot(id, member(id), args, resp, data)
}

// TimeoutNow tells a follower to stand for election.
func (t *raftTransport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.GroupTransport.TimeoutNow(id, member(id), args, resp)
}

// contact returns what was last heard of a follower, if anything.
func (t *raftTransport) contact(id raft.ServerID) (contact, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.heard[id]
	return c, ok
}
