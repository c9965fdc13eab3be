package replica

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// A process that dies closes its connections before its listener, so the
	// first dials after it may still succeed. goneDials are made, gonePause
	// apart, until two in a row have been refused.
	goneDials = 10
	gonePause = 2 * time.Millisecond
	// gonePatience bounds one of them: a refusal is prompt.
	gonePatience = 200 * time.Millisecond
)

// connected tells whether a connection from a member is open, by which it has
// introduced itself.
func (t *Transport) connected(member raft.ServerAddress) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.callers[member] > 0
}

// called notes that a member's connection has come or gone.
func (t *Transport) called(member raft.ServerAddress, by int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.callers[member] += by; t.mu.callers[member] == 0 {
		delete(t.mu.callers, member)
	}
}

// suspect looks whether a member is gone, to which or from which a connection has
// just ended. If it is, every group is told.
func (t *Transport) suspect(member raft.ServerAddress) {
	t.mu.Lock()
	probe := !t.mu.closed && t.mu.callers[member] == 0 && !t.mu.probing[member]
	if probe {
		t.mu.probing[member] = true
		t.wg.Go(func() { t.probe(member) })
	}
	t.mu.Unlock()
}

// probe dials a member that has lost its connections, and tells the groups if it
// is gone.
func (t *Transport) probe(member raft.ServerAddress) {
	gone := t.refuses(member)
	t.mu.Lock()
	delete(t.mu.probing, member)
	var groups []*GroupTransport
	if gone && t.mu.callers[member] == 0 {
		for _, g := range t.mu.groups {
			groups = append(groups, g)
		}
	}
	t.mu.Unlock()
	for _, g := range groups {
		if g.cfg.onGone != nil {
			g.afterAll(func() { g.cfg.onGone(member) })
		}
	}
}

// refuses tells whether nobody listens where a member should.
func (t *Transport) refuses(member raft.ServerAddress) bool {
	refused := 0
	for range goneDials {
		if t.refusesOnce(member) {
			refused++
		} else {
			refused = 0
		}
		if refused == 2 {
			return true
		}
		select {
		case <-time.After(gonePause):
		case <-t.ctx.Done():
			return false
		}
	}
	return false
}

func (t *Transport) refusesOnce(member raft.ServerAddress) bool {
	addr, err := t.cfg.Resolve(member)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(t.ctx, gonePatience)
	defer cancel()
	nc, err := t.cfg.Dial(ctx, addr)
	if err == nil {
		// Nothing was said on it; its end needs no answer.
		_ = nc.Close()
	}
	return wire.IsRefused(err)
}

// afterAll calls f when raft has answered everything that the group has been sent
// so far. f must not block. It is not called if the group's queue is full, or
// closed before.
func (g *GroupTransport) afterAll(f func()) {
	g.enqueue(&delivery{reached: f, respond: func(raft.RPCResponse) {}})
}

// standNow makes this replica's raft stand for election, behind everything that
// the group has been sent so far, and only if still says so at that moment.
func (g *GroupTransport) standNow(still func() bool) {
	self := []byte(g.cfg.Self)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: self, Addr: self}
	g.enqueue(&delivery{
		cmd: &raft.TimeoutNowRequest{RPCHeader: header}, still: still,
		answers: make(chan raft.RPCResponse, 1), respond: func(raft.RPCResponse) {},
		by: time.Now().Add(g.t.cfg.RPCTimeout),
	})
}

// testify tells another replica about a lost leader. It returns when that one's
// raft has answered everything that it had been sent before.
func (g *GroupTransport) testify(ctx context.Context, id raft.ServerID, target raft.ServerAddress, t *testimony) error {
	var none struct{}
	return callIn(ctx, g, id, target, kindTestimony, t, appendTestimony, func(*wire.Parser) struct{} { return none }, &none)
}

// testimony takes another replica's testimony, in its place among what the group
// is sent.
func (a *asker) testimony(g *GroupTransport, id uint64, t testimony) {
	d := &delivery{respond: func(r raft.RPCResponse) {
		if r.Error != nil {
			_ = a.w.Fail(id, encodeError(r.Error))
		}
	}}
	d.reached = func() {
		if g.cfg.onTestimony != nil {
			g.cfg.onTestimony(t)
		}
		// Who testifies does not depend on an answer.
		_ = a.w.Reply(id, nil)
	}
	g.enqueue(d)
}

func appendTestimony(dst []byte, t *testimony) []byte {
	dst = wire.AppendString(wire.AppendString(dst, string(t.from)), string(t.leader))
	for _, n := range []uint64{t.term, t.last.term, t.last.index} {
		dst = binary.AppendUvarint(dst, n)
	}
	return wire.AppendBool(dst, t.stands)
}

func parseTestimony(p *wire.Parser) testimony {
	return testimony{
		from: raft.ServerID(p.String(maxName)), leader: raft.ServerID(p.String(maxName)),
		term: p.Uvarint(), last: position{p.Uvarint(), p.Uvarint()}, stands: p.Bool(),
	}
}
