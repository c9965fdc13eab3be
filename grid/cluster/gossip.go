package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrClosed is returned by a [Gossip] that has been closed.
var ErrClosed = errors.New("cluster: gossip is closed")

// Gossip tells which members seem to be alive and how to reach them. It is the
// member's ear and voice among the others; nothing it says is agreed upon.
//
// Its own goroutines are three: one joins, one announces, one calls back. What
// it knows of others is kept by itself, from the notifications of the library
// below, because the library's own list may not be read while it changes.
type Gossip struct {
	cfg  GossipConfig
	log  *slog.Logger
	list *memberlist.Memberlist
	self netip.AddrPort
	born time.Time

	stop   context.Context // done when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	changed   chan struct{}       // something for OnChange; one slot
	conflicts chan *ConflictError // something for OnConflict; one slot
	announce  chan struct{}       // new meta to be spread; one slot
	rejoin    chan struct{}       // new seeds; one slot
	joined    chan struct{}       // closed when another member has been reached

	mu struct {
		sync.Mutex
		meta    []byte          // encoded, what NodeMeta returns
		seeds   []string        // at most MaxSeeds
		peers   map[string]Peer // by name; at most MaxMembers, Status never Suspect
		clashed time.Time       // of the last conflict that was reported
	}
	// turn has one token, for the calls of list that must not meet: UpdateNode,
	// Leave and Shutdown. They wait for others, which a mutex held meanwhile
	// would hide from virtual time. It is taken before mu.
	turn   chan struct{}
	closed bool // belongs to the holder of the turn, as does the next
	left   bool
}

// StartGossip listens and begins to look for the seeds; it does not wait for
// them. The member is known to itself at once.
func StartGossip(cfg GossipConfig) (*Gossip, error) {
	meta, err := cfg.Meta.encode()
	if err != nil {
		return nil, err
	}
	if err := checkSeeds(cfg.Seeds); err != nil {
		return nil, err
	}
	g := &Gossip{
		cfg: cfg, log: cfg.Logger, born: time.Now(),
		changed:   make(chan struct{}, 1),
		conflicts: make(chan *ConflictError, 1),
		announce:  make(chan struct{}, 1),
		rejoin:    make(chan struct{}, 1),
		joined:    make(chan struct{}),
		turn:      make(chan struct{}, 1),
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.log = g.log.With("member", string(cfg.Meta.Member))
	g.mu.meta = meta
	g.mu.seeds = slices.Clone(cfg.Seeds)
	g.mu.peers = map[string]Peer{}
	g.stop, g.cancel = context.WithCancel(context.Background())

	conf, err := g.listConfig()
	if err != nil {
		g.cancel()
		return nil, err
	}
	if g.list, err = memberlist.Create(conf); err != nil {
		g.cancel()
		_ = conf.Transport.Shutdown() // of a transport that nobody used: why Create failed is what counts
		return nil, fmt.Errorf("cluster: start gossip: %w", err)
	}
	g.mu.Lock()
	g.self = g.mu.peers[string(cfg.Meta.Member)].Gossip
	g.mu.Unlock()
	g.wg.Go(g.callBack)
	g.wg.Go(g.announceAll)
	g.wg.Go(g.keepJoined)
	return g, nil
}

// Members returns everybody who is known, the member itself included, by name.
// Those that died or left stay until they are forgotten or, over [MaxMembers],
// displaced. The caller owns the result.
func (g *Gossip) Members() []Peer {
	g.mu.Lock()
	out := make([]Peer, 0, len(g.mu.peers))
	alive := 0
	for _, p := range g.mu.peers {
		out = append(out, p)
		if p.Status == Alive {
			alive++
		}
	}
	g.mu.Unlock()
	// Everybody else is probed once a round, in an order that changes from
	// round to round: between two probes of one member lie up to two rounds.
	quiet := time.Duration(2*alive) * probeInterval
	for i := range out {
		p := &out[i]
		heard := p.Since
		if p.LastAck.After(heard) {
			heard = p.LastAck
		}
		if p.Status == Alive && p.Member != g.cfg.Meta.Member && time.Since(heard) > quiet {
			p.Status = Suspect
		}
	}
	slices.SortFunc(out, func(a, b Peer) int { return strings.Compare(string(a.Member), string(b.Member)) })
	return out
}

// UpdateMeta changes what others are told of this member, without waiting until
// they are. The name stays.
func (g *Gossip) UpdateMeta(m Meta) error {
	if m.Member != g.cfg.Meta.Member {
		return fmt.Errorf("cluster: member %q cannot become %q while it gossips", g.cfg.Meta.Member, m.Member)
	}
	m.Flags &^= FlagLeaving
	b, err := m.encode()
	if err != nil {
		return err
	}
	if g.stop.Err() != nil {
		return ErrClosed
	}
	g.mu.Lock()
	g.mu.meta = b
	g.mu.Unlock()
	poke(g.announce)
	return nil
}

// Forget removes a member that died or left from the list, so that it is not
// looked for any more.
func (g *Gossip) Forget(id MemberID) {
	g.mu.Lock()
	if p, ok := g.mu.peers[string(id)]; ok && p.Status != Alive {
		delete(g.mu.peers, string(id))
	}
	g.mu.Unlock()
	poke(g.changed)
}

// Leave tells the others that this member goes and waits until some have heard
// it, at most for timeout, which must be positive. The member is then not seen
// as dead but as left. After an error the member has left as well, but others
// may have to find out by themselves. Close is still to be called.
func (g *Gossip) Leave(timeout time.Duration) error {
	if timeout < 2 {
		return errors.New("cluster: leave: the timeout must be positive")
	}
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.closed {
		return ErrClosed
	}
	g.left = true
	g.sayLeaving(timeout / 2)
	if err := g.list.Leave(timeout / 2); err != nil {
		return fmt.Errorf("cluster: leave: %w", err)
	}
	return nil
}

// sayLeaving puts the intention into the description, so that others can tell
// this departure from a death. Whoever misses it takes it for one, which is why
// failing to say it stops nobody from leaving.
func (g *Gossip) sayLeaving(timeout time.Duration) {
	g.mu.Lock()
	m, err := decodeMeta(g.mu.meta)
	m.Flags |= FlagLeaving
	var b []byte
	if err == nil {
		b, err = m.encode()
	}
	if err == nil {
		g.mu.meta = b
	}
	g.mu.Unlock()
	if err == nil {
		err = g.list.UpdateNode(timeout)
	}
	if err != nil {
		g.log.Debug("leaving is not announced", "err", err)
	}
}

// Close stops listening, ends the calls back and waits for them. Without Leave
// the others will see this member die. It is safe to call twice. Probes and
// exchanges of the library below that are under way end by themselves, within
// three seconds; they touch nothing any more.
func (g *Gossip) Close() error {
	g.cancel()
	g.turn <- struct{}{}
	var err error
	if !g.closed {
		g.closed = true
		err = g.list.Shutdown()
	}
	<-g.turn
	g.wg.Wait()
	if err != nil {
		return fmt.Errorf("cluster: close gossip: %w", err)
	}
	return nil
}

// poke fills a one-slot channel.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (g *Gossip) callBack() {
	for {
		select {
		case <-g.stop.Done():
			return
		case <-g.changed:
			if g.cfg.OnChange != nil {
				g.cfg.OnChange()
			}
		case c := <-g.conflicts:
			if g.cfg.OnConflict != nil {
				g.cfg.OnConflict(c)
			}
		}
	}
}

// announceAll spreads new meta. Meta that changes again meanwhile is spread
// once more.
func (g *Gossip) announceAll() {
	for {
		select {
		case <-g.stop.Done():
			return
		case <-g.announce:
			g.announceOnce()
		}
	}
}

func (g *Gossip) announceOnce() {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.closed || g.left {
		return
	}
	// A timeout is no loss: the news stays queued, and the next full exchange
	// carries it as well.
	if err := g.list.UpdateNode(announceTimeout); err != nil {
		g.log.Debug("announcing takes long", "err", err)
	}
}
