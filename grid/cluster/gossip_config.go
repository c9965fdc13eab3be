package cluster

import (
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// The timing of gossip. A member that dies without a word is seen dead after
// one to three probe intervals until somebody probes it, plus a suspicion of
// four to eight: 1.5 to 3.2 s in clusters of three to ten. Gossip is a hint, and
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
	// Source is the IP that connections leave from, if not that of Bind. Packets
	// always leave from Bind.
	Source string
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
	t, err := listenBound(g.cfg.Bind, g.cfg.Source, c.Logger)
	if err != nil {
		return nil, err
	}
	c.Transport = t
	c.BindPort = t.GetAutoBindPort()
	if t.source == nil && g.cfg.Advertise == "" && !t.ipv4 {
		_ = t.Shutdown() // nothing has come through it
		return nil, fmt.Errorf("cluster: gossip listens on all addresses of %q: say which one to advertise", g.cfg.Bind)
	}
	if g.cfg.Advertise != "" {
		host, port, err := splitIPPort(g.cfg.Advertise)
		if err != nil {
			_ = t.Shutdown() // nothing has come through it
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
