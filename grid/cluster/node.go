package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Invoker runs the handlers of units that this process hosts.
type Invoker interface {
	// Invoke runs one call as a transaction over v and returns the operations
	// that make it: checks of what was read, writes, and the response. It has no
	// other effect and may be run again. An error refuses the call; the checks of
	// what led to it are returned all the same.
	Invoke(ctx context.Context, call *Invocation, v View) ([]space.Op, error)
}

// View is a partition as a handler sees it, on the leader.
type View interface {
	Partitions() int
	// Definition returns the definition of a space by name, nil if there is none.
	Definition(name string) *space.Definition
	// Get returns an entry; one whose lease has ended is not found.
	Get(id space.ID, key []byte) (space.Entry, space.Code)
}

// NodeConfig says who a member is, where it keeps what it has and whom it meets.
// The zero value is a grid of one member in memory.
type NodeConfig struct {
	// Name is the member's name, unique in the cluster and the same after a
	// restart. Empty: the one that is kept in Dir, or a new one.
	Name MemberID
	// Dir keeps logs and identity; the member is its only user. Empty: everything
	// is in memory, and a restarted member is a new one that takes its state
	// from the others.
	Dir string
	// Durability of the groups, decided by the member that forms the cluster.
	// Default Disk with a Dir, Memory without.
	Durability Durability

	// Listen is the host:port for other members and remote clients, port 0 picks
	// one. Empty: none, and no gossip; a grid of one member.
	Listen string
	// Advertise is what others are told instead of the address listened on.
	Advertise string
	// GossipAddr, GossipAdvertise, GossipKey and Seeds are those of GossipConfig.
	GossipAddr      string
	GossipAdvertise string
	GossipKey       []byte
	Seeds           []string
	ClusterName     string
	// Source is the address that outgoing connections are bound to, those of gossip
	// too, if any. Empty: the system chooses for members, and gossip leaves from
	// where it listens.
	Source string
	// Zone names what fails together with this member.
	Zone string
	// RESP and HTTP are the addresses of this member's doors, for others to tell
	// their clients.
	RESP, HTTP string
	// Version of the program, for listings.
	Version string

	// Expect is how many members form the cluster together, if there is none to
	// join. 0 and 1: this one alone.
	Expect int
	// Partitions and Copies of a cluster that this member forms; see Form.
	Partitions, Copies int
	// AcceptLoss lets a cold start go on without the stores of members that do
	// not answer, and lose what only they had.
	AcceptLoss bool

	// Changes are kept for Retention, but no more than RetentionBytes of them on
	// this member; what a required sink lacks is kept in any case. 0:
	// DefaultRetention, DefaultRetentionBytes.
	Retention      time.Duration
	RetentionBytes int64

	// VerifyEvery is how long the leaders take to compare the replicas of all their
	// partitions once. 0: DefaultVerifyEvery; negative: only when asked to.
	VerifyEvery time.Duration
	// BacklogBytes is how many bytes of changes this member keeps for required
	// sinks that are behind, and HoldBackWait for how long commands that would add
	// to them wait before they are refused with a *HeldBackError. 0:
	// DefaultBacklogBytes, DefaultHoldBackWait; a negative wait refuses at once.
	BacklogBytes int64
	HoldBackWait time.Duration

	// Store keeps the record of the partitions, if there is to be one.
	Store Store
	// Sinks feeds external sinks from the partitions that this member leads; nil:
	// they are fed by the others.
	Sinks Sinks
	// Handlers run units' requests, if there are any.
	Handlers Invoker

	// Timing of every group.
	Timing replica.Timing
	// Wall tells the time of day wherever a decision depends on it. It may be wrong
	// and may jump. Nil: the system's.
	Wall func() time.Time
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// SnapshotLogBytes is how much log a group applies between snapshots. Default
	// replica.DefaultSnapshotLogBytes.
	SnapshotLogBytes int64
	// Logs and Snapshots are how logs and snapshots are kept in Dir. Their Dir is
	// not looked at.
	Logs      replica.LogStorageConfig
	Snapshots replica.SnapshotStoreConfig
	// Network replaces TCP and UDP, for simulations.
	Network Network
}

// Network is how a member reaches others.
type Network struct {
	Listen func(addr string) (net.Listener, error)
	Dial   wire.Dialer
	Gossip *MemTransport
}

// Node is one member of a cluster: it takes part in the control group, holds
// replicas of groups, and serves both its own process and, through its listener,
// others.
//
// Its goroutines are: one that forms or joins a cluster, one that opens and
// closes replicas as the table says, one that governs the cluster while this
// member leads the control group, and one for each replica held.
type Node struct {
	cfg         NodeConfig
	log         *slog.Logger
	name        MemberID
	incarnation uint64 // of what the replicas of partitions hold
	controlID   replica.ServerID
	boot        uint64
	fresh       bool      // without a memory of an earlier life
	aside       string    // the damaged folder that this member's own has replaced; "" if none
	outranked   sync.Once // it was told that its incarnation is too low

	storage   *replica.LogStorage // nil: in memory
	dial      wire.Dialer
	mux       *wire.Mux
	addr      string // told to others
	transport *replica.Transport
	links     links
	control   *Control
	cgroup    *replica.Group
	gossip    *Gossip // nil: alone
	router    *Router

	states  bell // the control state has changed
	roles   bell // this member has begun or ceased to lead a group
	peering bell // what gossip knows has changed
	consent consent

	backlog  atomic.Int64 // bytes of all changelogs here, about
	caughtUp atomic.Bool  // the control state has been the newest one since the start
	groups   [MaxGroups + 1]atomic.Pointer[held]
	holding  sync.Mutex  // held while replicas are opened and closed
	hashing  sync.Mutex  // held while a digest is computed: one at a time, whatever the number of groups
	bound    *StoredGrid // what the store has been told; of the goroutine that holds replicas

	opened atomic.Bool     // cgroup and router are there
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed sync.Once
	failed error // of Close
}

// OpenNode starts a member. It returns once the member runs; Ready tells when the
// cluster serves. Errors are those of its folder and addresses.
func OpenNode(ctx context.Context, cfg NodeConfig) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Logger, control: NewControl()}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.cfg.Durability == 0 {
		n.cfg.Durability = Memory
		if cfg.Dir != "" {
			n.cfg.Durability = Disk
		}
	}
	if n.cfg.Wall == nil {
		n.cfg.Wall = time.Now
	}
	n.cfg.Retention = cmp.Or(n.cfg.Retention, DefaultRetention)
	n.cfg.VerifyEvery = cmp.Or(n.cfg.VerifyEvery, DefaultVerifyEvery)
	n.cfg.RetentionBytes = cmp.Or(n.cfg.RetentionBytes, DefaultRetentionBytes)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open starts everything, from the disk up. What it has started is closed by
// Close, also after an error.
func (n *Node) open(ctx context.Context) error {
	if n.cfg.Durability == Disk && n.cfg.Dir == "" {
		return errors.New("cluster: durability disk needs a data directory (set Dir, or choose memory)")
	}
	for _, step := range []func() error{n.openStorage, n.identify, n.listen, n.openGossip, n.outlive, n.openTransport, n.openControl} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	n.router = NewRouter(RouterConfig{Topology: topology{n}, Self: n.name, Local: n, Dial: n.dial})
	n.serve()
	n.wg.Go(n.settle)
	n.wg.Go(n.hold)
	n.wg.Go(n.govern)
	n.wg.Go(n.resolve)
	return nil
}

// Name returns the member's name.
func (n *Node) Name() MemberID { return n.name }

// Addr returns the address that other members and remote clients are told, "" if
// there is no listener.
func (n *Node) Addr() string {
	if n.cfg.Listen == "" {
		return ""
	}
	return n.addr
}

// GossipAddr returns the address that others may be given as a seed, "" if there
// is no listener.
func (n *Node) GossipAddr() string {
	for _, p := range n.peers() {
		if n.gossip != nil && p.Member == n.name {
			return p.Gossip.String()
		}
	}
	return ""
}

// Router returns the way to all partitions through this member. It is closed with
// the Node.
func (n *Node) Router() *Router { return n.router }

// Ready waits until the cluster is formed and every group has a leader that
// serves.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.router.Ready(ctx); err != nil {
		return err
	}
	for _, g := range n.control.State().Groups {
		for {
			_, err := ask(ctx, n.router, g.ID, Linearizable, func(ctx context.Context, s Service) ([]Greeting, error) { return s.Hello(ctx, g.ID) })
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("cluster: group %d does not serve yet: %w", g.ID, err)
			}
		}
	}
	// A member that was away knows spaces again once it has what was agreed on
	// meanwhile.
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		err := n.Refresh(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("cluster: this member does not know what the cluster has decided meanwhile: %w", err)
		}
	}
}

// held returns the replica of a group on this member that may be used, or nil.
func (n *Node) held(g GroupID) *held {
	if int64(g) >= int64(len(n.groups)) {
		return nil
	}
	if h := n.groups[g].Load(); h != nil && !h.outcast.Load() {
		return h
	}
	return nil
}

const (
	// handOver bounds how long a closing member waits for others to take over
	// what it leads, and flushTime how long for its store.
	handOver  = 2 * time.Second
	flushTime = 10 * time.Second
	leaveTime = time.Second
)

// Close hands over what this member leads, tells the others that it goes, lets
// its store catch up, each for a bounded time, and stops. It is safe to call
// twice.
func (n *Node) Close() error {
	n.closed.Do(func() {
		if n.router != nil && n.ctx.Err() == nil {
			n.handOver()
		}
		// Most of the backlog, while the others are served yet.
		flushed := n.flush()
		n.failed = errors.Join(flushed, n.stop(n.flush))
	})
	return n.failed
}

// flush waits until the store has all that has been applied here.
func (n *Node) flush() error {
	if n.cfg.Store == nil || n.router == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	return n.cfg.Store.Flush(ctx)
}

// handOver makes other members lead what this one leads, where they can.
func (n *Node) handOver() {
	if n.gossip != nil {
		// So that nobody hands back what this member hands over.
		meta := n.describe()
		meta.Flags |= FlagDraining
		if err := n.gossip.UpdateMeta(meta); err != nil {
			n.log.Debug("others do not hear that this member goes", "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, handOver)
	defer cancel()
	var wg sync.WaitGroup
	for i := range n.groups {
		if h := n.groups[i].Load(); h != nil && h.serving() != nil {
			wg.Go(func() { h.handOver(ctx) })
		}
	}
	if _, leads := n.cgroup.Leading(); leads {
		wg.Go(func() { n.handOverControl(ctx) })
	}
	wg.Wait()
	if n.gossip != nil {
		if err := n.gossip.Leave(leaveTime); err != nil {
			n.log.Debug("leaving was not heard by all", "err", err)
		}
	}
}

// stop ends everything, in the reverse order of open. settle is called when nothing can
// be applied or answered any more and the store is still fed; nil is a member that dies.
func (n *Node) stop(settle func() error) error {
	var failed error
	note := func(err error) { failed = errors.Join(failed, err) }
	n.cancel()
	if n.gossip != nil {
		note(n.gossip.Close())
	}
	n.holding.Lock()
	var ended []*held
	for i := range n.groups {
		if h := n.groups[i].Load(); h != nil {
			note(h.end())
			ended = append(ended, h)
			n.groups[i].Store(nil)
		}
	}
	n.holding.Unlock()
	// Now that nothing more can be answered: what was answered until a moment ago may
	// be in logs alone, and a cluster that stops as a whole starts from its stores if
	// the logs are gone.
	if settle != nil {
		note(settle())
	}
	for _, h := range ended {
		h.detach()
	}
	if n.cgroup != nil {
		note(n.cgroup.Close())
	}
	n.wg.Wait()
	if n.router != nil {
		note(n.router.Close())
	}
	if n.links.mu != nil {
		note(n.links.close())
	}
	if n.transport != nil {
		note(n.transport.Close())
	}
	if n.mux != nil {
		note(n.mux.Close())
	}
	if n.storage != nil {
		note(n.storage.Close())
	}
	return failed
}
