package replica

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// maxQueued bounds the requests that wait for a group's raft. A leader has
	// a handful in flight; what is beyond comes from others and is refused.
	maxQueued = 128
	// maxTaken bounds the requests that raft has taken and not answered. Raft
	// works on one at a time.
	maxTaken = 16

	// minIdle is how long a link may at least be silent before the answering
	// side gives it up. The asking side pings far more often, so silence means
	// that its host has vanished.
	minIdle = 30 * time.Second
)

// delivery is one request on its way to raft and back.
type delivery struct {
	cmd    any
	reader io.Reader // of a snapshot, else nil
	// settled is closed when a snapshot's consequences are drawn; nothing else
	// is delivered until then. nil for other requests.
	settled <-chan struct{}
	// answers has one slot, so raft never waits for us.
	answers chan raft.RPCResponse
	// respond sends the answer back. It does not block and is called once.
	respond func(raft.RPCResponse)
	// reached, if set, is called instead of handing a request to raft: when raft
	// has answered all requests before this one.
	reached func()
	// still, if set, is asked just before raft gets the request.
	still func() bool
	// by is when the sender has given up: raft should not be bothered then.
	by time.Time
}

// refuse answers a request that raft has not seen, or will not answer.
func (d *delivery) refuse(err error) { d.respond(raft.RPCResponse{Error: err}) }

// served wraps a handler for the Mux so that Close ends its connections and
// waits for it.
func (t *Transport) served(serve func(net.Conn)) func(net.Conn) {
	return func(nc net.Conn) {
		t.mu.Lock()
		if t.mu.closed {
			t.mu.Unlock()
			return
		}
		t.wg.Add(1)
		t.mu.serving[nc] = struct{}{}
		t.mu.Unlock()
		defer func() {
			nc.Close()
			t.mu.Lock()
			delete(t.mu.serving, nc)
			t.mu.Unlock()
			t.wg.Done()
		}()
		serve(nc)
	}
}

// asker is another member's link, seen from the side that answers.
type asker struct {
	t      *Transport
	w      *wire.Writer
	member raft.ServerAddress // empty until it has introduced itself
}

// serveLink reads a control or bulk connection. It only decodes and queues, in
// the order of arrival; raft answers in its own time.
func (t *Transport) serveLink(nc net.Conn) {
	a := &asker{t: t, w: wire.NewWriter(nc, t.cfg.MaxFrame)}
	defer a.w.Close()
	idle := max(minIdle, 4*t.cfg.RPCTimeout)
	frames := wire.NewFrameReader(&stallConn{Conn: nc, timeout: idle}, t.cfg.MaxFrame)
	var err error
	for err == nil {
		var f wire.Frame
		if f, err = frames.Next(); err == nil {
			err = a.handle(f)
		}
	}
	if a.member != "" {
		t.called(a.member, -1)
		t.observe(a.member, LinkBroken, err)
		t.suspect(a.member)
	}
}

// handle answers or queues one request. An error ends the connection: the asker
// has broken the protocol, or does not read its replies.
func (a *asker) handle(f wire.Frame) error {
	p := wire.NewParser(f.Body)
	switch f.Kind {
	case wire.KindPing:
		return a.w.Reply(f.ID, nil)
	case wire.KindCancel:
		return nil // what is queued expires by itself
	case kindHello:
		member := raft.ServerAddress(p.String(maxName))
		switch err := p.End(); {
		case err != nil:
			return fmt.Errorf("replica: introduction: %w", err)
		case member == "" || a.member != "":
			return fmt.Errorf("replica: introduction of %q as %q: %w", a.member, member, wire.ErrProtocol)
		}
		a.member = member
		a.t.called(member, 1)
		a.t.observe(a.member, LinkUp, nil)
		return a.w.Reply(f.ID, nil)
	case kindConfirm:
		return a.confirm(f.ID, p)
	}
	group, target := parseAddress(p)
	var cmd any
	if f.Kind == kindTestimony {
		cmd = parseTestimony(p)
	} else {
		cmd = parseCommand(f.Kind, p)
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("replica: request of kind %d: %w", f.Kind, err)
	}
	g, err := a.t.addressed(group, target)
	if err != nil {
		return a.w.Fail(f.ID, encodeError(err))
	}
	if said, ok := cmd.(testimony); ok {
		a.testimony(g, f.ID, said)
		return nil
	}
	w, id := a.w, f.ID
	g.enqueue(&delivery{
		cmd:     cmd,
		answers: make(chan raft.RPCResponse, 1),
		respond: func(r raft.RPCResponse) { respond(w, id, r) },
		by:      time.Now().Add(a.t.cfg.RPCTimeout),
	})
	return nil
}

// parseCommand decodes a request for raft.
func parseCommand(kind uint8, p *wire.Parser) any {
	switch kind {
	case kindAppendEntries:
		return parseAppendEntries(p)
	case kindRequestVote:
		return parseRequestVote(p)
	case kindRequestPreVote:
		return parseRequestPreVote(p)
	case kindTimeoutNow:
		return parseTimeoutNow(p)
	}
	p.Fail(wire.ErrProtocol)
	return nil
}

// respond sends raft's answer. When the member does not read its replies they
// are lost with its connection, and it asks again.
func respond(w *wire.Writer, id uint64, r raft.RPCResponse) {
	err := r.Error
	if err == nil {
		switch resp := r.Response.(type) {
		case *raft.AppendEntriesResponse:
			err = w.Reply(id, func(dst []byte) []byte { return appendAppendEntriesResponse(dst, resp) })
		case *raft.RequestVoteResponse:
			err = w.Reply(id, func(dst []byte) []byte { return appendRequestVoteResponse(dst, resp) })
		case *raft.RequestPreVoteResponse:
			err = w.Reply(id, func(dst []byte) []byte { return appendRequestPreVoteResponse(dst, resp) })
		case *raft.TimeoutNowResponse:
			err = w.Reply(id, func(dst []byte) []byte { return appendTimeoutNowResponse(dst, resp) })
		case *raft.InstallSnapshotResponse:
			err = w.Reply(id, func(dst []byte) []byte { return appendInstallSnapshotResponse(dst, resp) })
		default:
			panic(fmt.Sprintf("replica: raft answered with %T", resp))
		}
		if err == nil {
			return
		}
	}
	_ = w.Fail(id, encodeError(err))
}

// addressed finds the group that a request is meant for.
func (t *Transport) addressed(group uint32, target raft.ServerID) (*GroupTransport, error) {
	g := t.group(group)
	switch {
	case g == nil:
		return nil, ErrNoGroup
	case g.cfg.Self != target:
		return nil, ErrWrongIncarnation
	}
	return g, nil
}

// enqueue hands a request to the group, or refuses it.
func (g *GroupTransport) enqueue(d *delivery) {
	if g.ctx.Err() != nil {
		d.refuse(ErrNoGroup)
		return
	}
	select {
	case g.queue <- d:
	default:
		d.refuse(ErrGroupBusy)
		return
	}
	if g.ctx.Err() != nil {
		g.refuseQueued() // deliver may have gone before d was there
	}
}

// deliver offers the queued requests to raft, one after the other.
func (g *GroupTransport) deliver() {
	defer g.refuseQueued()
	defer close(g.taken)
	for {
		select {
		case d := <-g.queue:
			g.offer(d)
		case <-g.ctx.Done():
			return
		}
	}
}

// refuseQueued empties the queue of a closed group.
func (g *GroupTransport) refuseQueued() {
	for {
		select {
		case d := <-g.queue:
			d.refuse(ErrNoGroup)
		default:
			return
		}
	}
}

// offer gives raft a request, unless it is too late to.
func (g *GroupTransport) offer(d *delivery) {
	if g.halted.Load() {
		d.refuse(ErrGroupRestarting)
		return
	}
	if d.reached != nil {
		g.taken <- d
		return
	}
	if d.still != nil && !d.still() {
		return
	}
	if err := g.hand(d); err != nil {
		d.refuse(err)
		return
	}
	g.taken <- d
	if d.settled != nil {
		<-d.settled
	}
}

// hand waits until raft takes a request.
func (g *GroupTransport) hand(d *delivery) error {
	rpc := raft.RPC{Command: d.cmd, Reader: d.reader, RespChan: d.answers}
	select {
	case g.consumer <- rpc: // raft is idle: no timer needed
		return nil
	default:
	}
	expired := time.NewTimer(time.Until(d.by))
	defer expired.Stop()
	select {
	case g.consumer <- rpc:
		return nil
	case <-expired.C:
		return ErrGroupBusy
	case <-g.ctx.Done():
		return ErrNoGroup
	}
}

// answer sends raft's answers back, until deliver has ended. Raft answers in
// the order in which it takes requests, so waiting for the oldest delays none
// of the others.
func (g *GroupTransport) answer() {
	for d := range g.taken {
		if d.reached != nil {
			d.reached()
			continue
		}
		select {
		case r := <-d.answers:
			d.respond(r)
		case <-g.ctx.Done():
			d.refuse(ErrNoGroup)
		}
	}
}
