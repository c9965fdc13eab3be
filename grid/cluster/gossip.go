package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// The timing of gossip. A member that dies without a word is seen dead after
// one to three probe intervals until somebody probes it, plus a suspicion of
// four to eight: 1.7 to 3.2 s in clusters of three to ten. Gossip is a hint, and
// slower hints are better than members that come and go under load.
const (
	probeInterval       = 300 * time.Millisecond
	probeTimeout        = 150 * time.Millisecond // of the direct probe, before others are asked to try
	suspicionMult       = 4                      // intervals of suspicion once enough others share it
	suspicionMaxMult    = 2                      // times that, while nobody does
	awarenessMax        = 4                      // a member that is slow itself probes up to so much slower
	spreadInterval      = 100 * time.Millisecond // between sendings of news
	spreadMembers       = 3                      // members they are sent to
	retransmitMult      = 8                      // times the digits of the cluster's size: sendings of one piece of news
	syncInterval        = 15 * time.Second       // between full exchanges with somebody
	streamTimeout       = 3 * time.Second        // of a full exchange
	gossipToTheDeadTime = 30 * time.Second       // a dead member is told so for as long
	reclaimTime         = time.Second            // before a dead member's name may come from elsewhere
	handoffDepth        = 4096                   // messages waiting to be handled, more are lost
	announceTimeout     = 500 * time.Millisecond // of one announcement of new meta
)

// ErrClosed is returned by a [Gossip] that has been closed.
var ErrClosed = errors.New("cluster: gossip is closed")

// GossipConfig says who gossips, where and with whom.
type GossipConfig struct {
	// Meta describes the member. Meta.Member is its name: unique in the cluster.
	Meta Meta
	// Cluster separates clusters that share a network: members of others are
	// not heard. At most 255 bytes; empty is a name like any other.
	Cluster string
	// Bind is the IP:port to listen on, for packets and connections, and the
	// source of what is sent. Port 0 picks one. Default 127.0.0.1:7382.
	Bind string
	// Advertise is the IP:port that others are told, if not Bind. Port 0 is
	// the port listened on. A Bind without an IP needs it on hosts without a
	// private address.
	Advertise string
	// Seeds are tried until one has answered, and looked at again whenever one
	// of them is not known to be alive: host:port, at most MaxSeeds.
	Seeds []string
	// Key encrypts and authenticates everything: 16, 24 or 32 bytes, the same
	// on all members. Without it whoever reaches the port can make members up.
	Key []byte
	// Transport replaces the network, for simulations; Bind and Advertise are
	// then not looked at.
	Transport *MemTransport
	// Logger gets one line for each member that comes or goes. Default: none.
	Logger *slog.Logger
	// OnChange is called after anything that Members returns has changed, save
	// for suspicion and round-trip times. Several changes may be one call.
	// Calls come from one goroutine; it may block, later changes then wait.
	// It must not call Close.
	OnChange func()
	// OnConflict is called, from the same goroutine as OnChange, when another
	// process uses this member's name; see [ConflictError].
	OnConflict func(*ConflictError)
}

// MaxSeeds bounds the addresses that a member is told to join by.
const MaxSeeds = 64

// Status is how a member seems to be doing.
type Status uint8

// The statuses of a member.
const (
	Alive   Status = 1
	Suspect Status = 2 // has not answered this member's probes for two rounds, but may to others
	Dead    Status = 3 // does not answer anybody
	Left    Status = 4 // said that it leaves
)

// String returns the word used in listings.
func (s Status) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Peer is a member as gossip sees it. All of it is a hint: what follows from it
// is for the control group to decide.
type Peer struct {
	Meta
	Gossip netip.AddrPort // where gossip reaches it
	Status Status
	Since  time.Time // when it was first seen alive, dead or left
	// LastAck is when it last answered a probe of this member, RTT how fast.
	// Both are zero before the first answer and for the member itself.
	LastAck time.Time
	RTT     time.Duration
}

// ConflictError says that another process goes by this member's name. One of
// the two has to stop: it is this one unless its life is the newer.
type ConflictError struct {
	Member MemberID
	Self   netip.AddrPort
	Other  netip.AddrPort
	// OtherIncarnation and OtherBoot are the other's; compare with Meta.
	OtherIncarnation uint64
	OtherBoot        uint64
}

// Error says who else uses the name and what to do.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("cluster: the name %q of this member at %s is also used at %s, incarnation %d, boot %d (stop one of them, or give it another name)",
		e.Member, e.Self, e.Other, e.OtherIncarnation, e.OtherBoot)
}

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
		conf.Transport.Shutdown()
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

// listConfig translates the configuration.
func (g *Gossip) listConfig() (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = string(g.cfg.Meta.Member)
	c.Label = g.cfg.Cluster
	c.ProbeInterval, c.ProbeTimeout = probeInterval, probeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	c.AwarenessMaxMultiplier = awarenessMax
	c.GossipInterval, c.GossipNodes = spreadInterval, spreadMembers
	c.RetransmitMult = retransmitMult
	c.PushPullInterval, c.TCPTimeout = syncInterval, streamTimeout
	c.GossipToTheDeadTime, c.DeadNodeReclaimTime = gossipToTheDeadTime, reclaimTime
	c.HandoffQueueDepth = handoffDepth
	c.EnableCompression = false // its decoder is one more way in, and messages are small
	c.SecretKey = g.cfg.Key
	c.Logger = log.New(&logBridge{g.log}, "", 0)
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Ping = (*delegate)(g), (*delegate)(g), (*delegate)(g), (*delegate)(g), (*delegate)(g)
	if g.cfg.Transport != nil {
		c.Transport = g.cfg.Transport
		return c, nil
	}
	t, err := listenBound(g.cfg.Bind, c.Logger)
	if err != nil {
		return nil, err
	}
	c.Transport = t
	c.BindPort = t.GetAutoBindPort()
	if t.source == nil && g.cfg.Advertise == "" && !t.ipv4 {
		t.Shutdown()
		return nil, fmt.Errorf("cluster: gossip listens on all addresses of %q: say which one to advertise", g.cfg.Bind)
	}
	if g.cfg.Advertise != "" {
		host, port, err := splitIPPort(g.cfg.Advertise)
		if err != nil {
			t.Shutdown()
			return nil, fmt.Errorf("cluster: gossip advertises %q: %w", g.cfg.Advertise, err)
		}
		c.AdvertiseAddr, c.AdvertisePort = host, port
		if port == 0 {
			c.AdvertisePort = c.BindPort
		}
	}
	return c, nil
}

// splitIPPort splits IP:port. The IP may be empty.
func splitIPPort(addr string) (ip string, port int, err error) {
	ip, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if ip != "" && net.ParseIP(ip) == nil {
		return "", 0, fmt.Errorf("%q is no IP address", ip)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", p)
	}
	return ip, int(n), nil
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
// it, at most for timeout. The member is then not seen as dead but as left.
// Close is still to be called.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.closed {
		return ErrClosed
	}
	g.left = true
	if err := g.sayLeaving(timeout / 2); err != nil {
		return fmt.Errorf("cluster: leave: %w", err)
	}
	if err := g.list.Leave(timeout / 2); err != nil {
		return fmt.Errorf("cluster: leave: %w", err)
	}
	return nil
}

// sayLeaving puts the intention into the description, so that others can tell
// this departure from a death. Whoever misses it takes it for one.
func (g *Gossip) sayLeaving(timeout time.Duration) error {
	g.mu.Lock()
	m, err := decodeMeta(g.mu.meta)
	if err == nil {
		m.Flags |= FlagLeaving
		g.mu.meta, err = m.encode()
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return g.list.UpdateNode(timeout)
}

// Close stops listening, ends the calls back and waits for them. Without Leave
// the others will see this member die. It is safe to call twice. A probe of the
// library below that is under way ends within a second or so by itself; it
// touches nothing any more.
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
