package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// GroupTransportConfig configures one group's share of a Transport.
type GroupTransportConfig struct {
	// ID names the group; every member uses the same one.
	ID uint32
	// Self is this replica's server id, member and incarnation. Requests for
	// any other are refused.
	Self raft.ServerID

	// LastIndex returns the raft instance's LastIndex. It is called when raft
	// takes a snapshot in, from raft's own goroutine. Needed with
	// OnSnapshotInstalled.
	LastIndex func() uint64
	// OnSnapshotInstalled is told after raft has installed a snapshot that
	// ends at snapIndex over a log that ended at lastBefore. If
	// RestartAfterSnapshot says so, the owner must then shut this raft
	// instance down and start another; from here on this GroupTransport
	// refuses everything with ErrGroupRestarting. It is called from one of the
	// transport's goroutines, so it must hand the work on and return. nil means
	// that nobody restarts, and nothing is refused.
	OnSnapshotInstalled func(lastBefore, snapIndex uint64)

	// onGone is told that a member's process seems to be gone, when raft has
	// answered all that it had sent: its connections have ended, and nobody
	// listens at its address. onTestimony is told what other replicas say
	// about a lost leader. Both are called from the transport's goroutines and
	// must not block; nil ignores.
	onGone      func(member raft.ServerAddress)
	onTestimony func(testimony)
}

// RestartAfterSnapshot tells whether a raft instance whose log reached
// lastBefore must be restarted after it has installed a snapshot that ends at
// snapIndex. Raft keeps the old log's end in memory; when that is at or beyond
// the snapshot, it compares the entries that follow with a log that is no
// longer there, and refuses them for ever. A new instance over the emptied log,
// with NoSnapshotRestoreOnStart and a log store that is monotonic, goes on from
// the snapshot.
func RestartAfterSnapshot(lastBefore, snapIndex uint64) bool { return lastBefore >= snapIndex }

// GroupTransport is one group's raft.Transport. Raft closes it when it shuts
// down; another one can then be made for the same group.
type GroupTransport struct {
	t   *Transport
	cfg GroupTransportConfig

	ctx      context.Context // ends with Close or the Transport's
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	consumer chan raft.RPC
	queue    chan *delivery
	taken    chan *delivery // by raft, in order, not yet answered
	// halted is set between the installation of a snapshot that calls for a
	// restart and that restart.
	halted atomic.Bool
}

var (
	_ raft.Transport   = (*GroupTransport)(nil)
	_ raft.WithPreVote = (*GroupTransport)(nil)
	_ raft.WithClose   = (*GroupTransport)(nil)
)

// Group registers a group and starts delivering its requests. It fails when the
// group is registered already.
func (t *Transport) Group(cfg GroupTransportConfig) (*GroupTransport, error) {
	if cfg.Self == "" || len(cfg.Self) > maxName {
		return nil, fmt.Errorf("replica: group %d: server id of %d bytes, want 1 to %d", cfg.ID, len(cfg.Self), maxName)
	}
	if cfg.OnSnapshotInstalled != nil && cfg.LastIndex == nil {
		return nil, fmt.Errorf("replica: group %d: OnSnapshotInstalled needs LastIndex", cfg.ID)
	}
	g := &GroupTransport{
		t: t, cfg: cfg,
		consumer: make(chan raft.RPC),
		queue:    make(chan *delivery, maxQueued),
		taken:    make(chan *delivery, maxTaken),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mu.closed:
		return nil, ErrTransportClosed
	case t.mu.groups[cfg.ID] != nil:
		return nil, fmt.Errorf("replica: group %d is registered already; close it first", cfg.ID)
	}
	g.ctx, g.cancel = context.WithCancel(t.ctx)
	g.wg.Go(g.deliver)
	g.wg.Go(g.answer)
	t.mu.groups[cfg.ID] = g
	return g, nil
}

// Close stops delivery, fails requests in progress and waits for the group's
// goroutines. Raft calls it at the end of Shutdown; calling it before makes
// Shutdown quick. Closing twice is harmless.
func (g *GroupTransport) Close() error {
	g.t.mu.Lock()
	if g.t.mu.groups[g.cfg.ID] == g {
		delete(g.t.mu.groups, g.cfg.ID)
	}
	g.t.mu.Unlock()
	g.stop()
	return nil
}

// stop is Close for a GroupTransport that is no longer registered.
func (g *GroupTransport) stop() {
	g.cancel()
	g.wg.Wait()
}

// Consumer returns the channel of requests for raft.
func (g *GroupTransport) Consumer() <-chan raft.RPC { return g.consumer }

// LocalAddr returns the member's id, which is an address to every Transport.
func (g *GroupTransport) LocalAddr() raft.ServerAddress { return g.t.cfg.Self }

// EncodePeer returns the address as bytes.
func (g *GroupTransport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

// DecodePeer reverses EncodePeer.
func (g *GroupTransport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler does nothing: heartbeats go through Consumer. See
// Transport for why.
func (g *GroupTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries sends entries, or a heartbeat, and waits for the reply. It may
// shorten args.Entries to what fits one frame; raft goes on after the last
// entry that args then holds.
func (g *GroupTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	ctx, cancel := context.WithTimeout(g.ctx, g.t.cfg.StaleAfter)
	defer cancel()
	call, err := g.startAppend(ctx, id, target, args)
	if err != nil {
		return err
	}
	return call.wait(ctx, resp)
}

// RequestVote asks for a vote.
func (g *GroupTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return call(g, id, target, kindRequestVote, args, appendRequestVote, parseRequestVoteResponse, resp)
}

// RequestPreVote asks whether a vote would be given.
func (g *GroupTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return call(g, id, target, kindRequestPreVote, args, appendRequestPreVote, parseRequestPreVoteResponse, resp)
}

// TimeoutNow tells a follower to stand for election.
func (g *GroupTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return call(g, id, target, kindTimeoutNow, args, appendTimeoutNow, parseTimeoutNowResponse, resp)
}

// call makes one request on the control link and overwrites resp with the
// reply.
func call[Q, R any](g *GroupTransport, id raft.ServerID, target raft.ServerAddress, kind uint8, args *Q,
	encode func([]byte, *Q) []byte, parse func(*wire.Parser) R, resp *R) error {
	return callIn(g.ctx, g, id, target, kind, args, encode, parse, resp)
}

// callIn is call that ctx ends too.
func callIn[Q, R any](ctx context.Context, g *GroupTransport, id raft.ServerID, target raft.ServerAddress, kind uint8, args *Q,
	encode func([]byte, *Q) []byte, parse func(*wire.Parser) R, resp *R) error {
	ctx, cancel := context.WithTimeout(ctx, g.t.cfg.RPCTimeout)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	l, err := g.t.link(target, wire.PurposeControl)
	if err != nil {
		return err
	}
	conn, err := l.get(ctx)
	if err != nil {
		return err
	}
	pending, err := conn.Start(ctx, kind, func(dst []byte) []byte {
		return encode(appendAddress(dst, g.cfg.ID, id), args)
	})
	if err != nil {
		return err
	}
	body, err := pending.Wait(ctx)
	if err != nil {
		return decodeError(err)
	}
	return parseReply(body, parse, resp)
}

// parseReply overwrites resp with the reply in body, or leaves it alone.
func parseReply[R any](body []byte, parse func(*wire.Parser) R, resp *R) error {
	p := wire.NewParser(body)
	r := parse(p)
	if err := p.End(); err != nil {
		return fmt.Errorf("replica: reply of type %T: %w", r, err)
	}
	*resp = r
	return nil
}

// appendCall is an AppendEntries that has been sent.
type appendCall struct {
	l       *link
	pending *wire.Pending
	started time.Time
	stale   time.Duration
}

// startAppend sends an AppendEntries: a heartbeat on the control link, anything
// else on the bulk link, where order is kept.
func (g *GroupTransport) startAppend(ctx context.Context, id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest) (*appendCall, error) {
	started := time.Now()
	purpose := wire.PurposeBulk
	if isHeartbeat(args) {
		purpose = wire.PurposeControl
	}
	l, err := g.t.link(target, purpose)
	if err != nil {
		return nil, err
	}
	conn, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	args.Entries = fitting(args.Entries, int(l.appendBytes.Load()))
	pending, err := conn.Start(ctx, kindAppendEntries, func(dst []byte) []byte {
		return appendAppendEntries(appendAddress(dst, g.cfg.ID, id), args)
	})
	if err != nil {
		return nil, err
	}
	return &appendCall{l: l, pending: pending, started: started, stale: g.t.cfg.StaleAfter}, nil
}

// wait waits for the reply and refuses one that is too old. The age is
// measured, not left to ctx: after a pause of the process the reply and the
// end of ctx are both there.
func (c *appendCall) wait(ctx context.Context, resp *raft.AppendEntriesResponse) error {
	body, err := c.pending.Wait(ctx)
	age := time.Since(c.started)
	switch {
	case err == nil && age > c.stale:
		err = fmt.Errorf("%w: after %v, limit %v", ErrStaleReply, age, c.stale)
	case err == nil:
		if age < c.stale/4 {
			c.l.prompt()
		}
		return parseReply(body, parseAppendEntriesResponse, resp)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrStaleReply) {
		c.l.late()
	}
	return decodeError(err)
}

// isHeartbeat recognises what raft sends as a heartbeat: a term and nothing
// else.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// fitting returns the entries at the front that fit into so many bytes, at
// least one. Sending fewer is what a smaller MaxAppendEntries would do: raft
// counts as stored what the request holds when the reply comes.
func fitting(entries []*raft.Log, bytes int) []*raft.Log {
	for i, l := range entries {
		bytes -= logSize(l)
		if bytes < 0 && i > 0 {
			return entries[:i]
		}
	}
	return entries
}
