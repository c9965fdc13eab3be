package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	defaultHeartbeatTimeout = 500 * time.Millisecond
	defaultTransferStall    = 5 * time.Second

	// maxMembers bounds the members that one Transport keeps links to. Members
	// that are gone for good are dropped with Forget.
	maxMembers = 1024
)

// ErrTransportClosed is returned by calls on a closed Transport or
// GroupTransport.
var ErrTransportClosed = errors.New("replica: transport closed")

// LinkEvent is what a Transport observes about another member. It is a hint:
// a process may be alive behind a reset connection or a refused dial.
type LinkEvent uint8

// The observations reported to TransportConfig.OnLink.
const (
	// LinkUp: a connection to or from the member now works.
	LinkUp LinkEvent = iota + 1
	// LinkBroken: a connection to or from the member has ended, and not
	// because this side closed it.
	LinkBroken
	// LinkRefused: nothing listens at the member's address.
	LinkRefused
	// LinkUnreachable: dialling failed in another way, most often by timeout.
	LinkUnreachable
)

// String returns the event in words.
func (e LinkEvent) String() string {
	switch e {
	case LinkUp:
		return "up"
	case LinkBroken:
		return "broken"
	case LinkRefused:
		return "refused"
	case LinkUnreachable:
		return "unreachable"
	}
	return fmt.Sprintf("LinkEvent(%d)", uint8(e))
}

// ConfirmHandler tells whether a group's replica on this member is still at
// term. It is called from the goroutine that reads the asker's connection, so
// it must not block. The transport has already checked the group and target.
type ConfirmHandler func(group uint32, term uint64) bool

// TransportConfig configures a Transport. Self, Mux, Dial and Resolve are
// required.
type TransportConfig struct {
	// Self is this member's id. It is what the groups call their address.
	Self raft.ServerAddress
	// Mux is the listener to share. The Transport serves three of its purposes
	// until it is closed; the Mux itself stays the caller's.
	Mux *wire.Mux
	// Dial opens connections to other members, from a bound source address if
	// need be.
	Dial wire.Dialer
	// Resolve maps a member's id to an address for Dial. It is called before
	// every dial, so a member may move.
	Resolve func(raft.ServerAddress) (string, error)
	// Confirm answers other members' Confirm; nil answers false.
	Confirm ConfirmHandler
	// OnLink is told about connections and dials. It is called from the
	// transport's goroutines, one call at a time per connection, and must not
	// block. nil ignores.
	OnLink func(member raft.ServerAddress, event LinkEvent)

	// HeartbeatTimeout is the groups' own setting, from which the timeouts
	// below are derived. Default 500 ms.
	HeartbeatTimeout time.Duration
	// StaleAfter bounds the age of a reply to AppendEntries, counted from the
	// sending of the request: an older one is an error, because raft takes it
	// for fresh contact and would lead on after a pause of the process. One
	// log entry must cross the slowest link and reach the disk within it.
	// Default HeartbeatTimeout / 2.
	StaleAfter time.Duration
	// RPCTimeout bounds a dial and every other request. A control link on which
	// nothing, not even a ping, is answered for as long is given up. Default
	// 2 × HeartbeatTimeout.
	RPCTimeout time.Duration
	// TransferStall is how long data may be under way without any sign of
	// progress: a bulk link that answers nothing, or a snapshot that moves in
	// neither direction, is given up. A snapshot as a whole has no bound.
	// Default 5 s.
	TransferStall time.Duration
	// MaxFrame bounds a frame, in bytes. Default wire.DefaultMaxFrame.
	MaxFrame int
	// Log receives one line per link that comes or goes; nil discards them.
	Log *slog.Logger
}

// validate fills in the defaults.
func (c *TransportConfig) validate() error {
	if c.Self == "" || c.Mux == nil || c.Dial == nil || c.Resolve == nil {
		return errors.New("replica: TransportConfig needs Self, Mux, Dial and Resolve")
	}
	if len(c.Self) > maxName {
		return fmt.Errorf("replica: member id of %d bytes, at most %d", len(c.Self), maxName)
	}
	setDefault(&c.HeartbeatTimeout, defaultHeartbeatTimeout)
	setDefault(&c.StaleAfter, c.HeartbeatTimeout/2)
	setDefault(&c.RPCTimeout, 2*c.HeartbeatTimeout)
	setDefault(&c.TransferStall, defaultTransferStall)
	setDefault(&c.MaxFrame, wire.DefaultMaxFrame)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// setDefault replaces a zero value.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Transport carries the raft traffic of all groups of one member.
//
// Between two members each side keeps two connections for what it asks: one
// for control (votes, heartbeats, confirmations) and one for bulk (log
// entries), so that a heartbeat never waits behind data. A snapshot has a
// connection to itself.
//
// Every request names the group and the server id it is meant for, member and
// incarnation. A member that holds another incarnation answers
// ErrWrongIncarnation and the request is never delivered: a replica that has
// lost its state must not be taken for the one that had it.
//
// Heartbeats are delivered through the group's queue like everything else.
// Raft offers a short cut that answers them beside its main loop; there a
// deposed leader can take over the new term while it still appends entries,
// and its log diverges for good.
type Transport struct {
	cfg    TransportConfig
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine and every handler run by the Mux

	mu struct {
		sync.Mutex
		closed  bool
		groups  map[uint32]*GroupTransport
		links   map[raft.ServerAddress]*memberLinks // at most maxMembers
		serving map[net.Conn]struct{}
		callers map[raft.ServerAddress]int  // connections by which members have introduced themselves
		probing map[raft.ServerAddress]bool // members that may be gone
	}
}

// memberLinks are the ways to one member.
type memberLinks struct{ control, bulk *link }

// OpenTransport starts a Transport on cfg.Mux. The caller closes it.
func OpenTransport(cfg TransportConfig) (*Transport, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Transport{cfg: cfg}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.mu.groups = make(map[uint32]*GroupTransport)
	t.mu.links = make(map[raft.ServerAddress]*memberLinks)
	t.mu.serving = make(map[net.Conn]struct{})
	t.mu.callers = make(map[raft.ServerAddress]int)
	t.mu.probing = make(map[raft.ServerAddress]bool)
	cfg.Mux.Handle(wire.PurposeControl, t.served(t.serveLink))
	cfg.Mux.Handle(wire.PurposeBulk, t.served(t.serveLink))
	cfg.Mux.Handle(wire.PurposeSnapshot, t.served(t.serveSnapshot))
	return t, nil
}

// Forget closes the links to a member that will not come back. A later request
// to it opens new ones.
func (t *Transport) Forget(member raft.ServerAddress) {
	t.mu.Lock()
	p := t.mu.links[member]
	delete(t.mu.links, member)
	t.mu.Unlock()
	if p != nil {
		p.control.close()
		p.bulk.close()
	}
}

// Close closes every GroupTransport, link and connection, and waits for all
// goroutines. The Mux stays open. Closing twice is harmless.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.mu.closed
	t.mu.closed = true
	groups, conns := t.mu.groups, t.mu.serving
	t.mu.groups, t.mu.serving = nil, nil
	t.mu.Unlock()
	if first {
		for _, p := range []wire.Purpose{wire.PurposeControl, wire.PurposeBulk, wire.PurposeSnapshot} {
			t.cfg.Mux.Handle(p, nil)
		}
		t.cancel()
		for _, g := range groups {
			g.stop()
		}
		for nc := range conns {
			nc.Close()
		}
	}
	t.wg.Wait()
	return nil
}

// link returns the link for a request, opening it if need be.
func (t *Transport) link(member raft.ServerAddress, purpose wire.Purpose) (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return nil, ErrTransportClosed
	}
	p := t.mu.links[member]
	if p == nil {
		if len(t.mu.links) >= maxMembers {
			return nil, fmt.Errorf("replica: links to %d members are open; forget the ones that are gone", maxMembers)
		}
		p = &memberLinks{control: newLink(t, member, wire.PurposeControl), bulk: newLink(t, member, wire.PurposeBulk)}
		t.mu.links[member] = p
	}
	if purpose == wire.PurposeBulk {
		return p.bulk, nil
	}
	return p.control, nil
}

// silent is told when a member has left a ping unanswered. Its bulk link gets
// more time by itself, but not when the control link has failed as well.
func (t *Transport) silent(member raft.ServerAddress) {
	t.mu.Lock()
	p := t.mu.links[member]
	t.mu.Unlock()
	if p != nil {
		p.bulk.dropSilent()
	}
}

// start runs f on a goroutine that Close waits for, unless already closed.
func (t *Transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return false
	}
	t.wg.Go(f)
	return true
}

// group returns the group registered under id, or nil.
func (t *Transport) group(id uint32) *GroupTransport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.groups[id]
}

// observe reports a link event, except while closing.
func (t *Transport) observe(member raft.ServerAddress, event LinkEvent, err error) {
	if t.ctx.Err() != nil {
		return
	}
	t.cfg.Log.Debug("replica: link", "member", string(member), "event", event.String(), "err", err)
	if t.cfg.OnLink != nil {
		t.cfg.OnLink(member, event)
	}
}
