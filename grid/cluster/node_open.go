package cluster

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Names of what a member knows of itself before any group starts.
const (
	metaName        = "member"
	metaIncarnation = "incarnation"
	metaBoot        = "boot"
	metaNext        = "next"     // incarnation to take with the next start, if it is greater
	metaAttempt     = "attempt/" // and the group: the life of its replica, which begins with the bootstrap
)

// aloneAddr is where a member without a listener listens, on a network of its own.
const aloneAddr = "alone:1"

func (n *Node) listen() error {
	listen, addr := n.cfg.Network.Listen, n.cfg.Listen
	n.dial = n.cfg.Network.Dial
	switch {
	case addr == "":
		// A network of its own: the same way as with others, without others.
		alone := wire.NewNetwork()
		listen, addr, n.dial = alone.Listen, aloneAddr, alone.Dialer("alone")
	case listen == nil:
		listen = func(addr string) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(n.ctx, "tcp", addr)
		}
	}
	if n.dial == nil {
		var err error
		if n.dial, err = wire.TCPDialer(n.cfg.Source); err != nil {
			return err
		}
	}
	l, err := listen(addr)
	if err != nil {
		return fmt.Errorf("cluster: listen for other members: %w", err)
	}
	n.addr = l.Addr().String()
	n.links = newLinks(n.dial)
	n.mux = wire.NewMux(l, wire.MuxConfig{Log: n.log})
	if n.cfg.Advertise != "" {
		n.addr = n.cfg.Advertise
	} else if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Errorf("cluster: this member listens on all addresses of its host at %s (say which one to advertise)", n.addr)
	}
	return nil
}

// serve begins to answer requests, when there is something to answer with.
func (n *Node) serve() {
	n.opened.Store(true)
	s := &server{service: n, node: n}
	n.mux.Handle(wire.PurposeRequests, wire.NewServer(wire.ServerConfig{Handle: s.call, Stream: s.stream, MaxFrame: maxRequestBytes}).Serve)
}

func (n *Node) openTransport() error {
	var err error
	cfg := replica.TransportConfig{
		Mux: n.mux, Dial: n.dial, HeartbeatTimeout: n.cfg.Timing.Heartbeat, Log: n.log,
		Confirm: func(group uint32, term uint64) bool {
			if !n.opened.Load() {
				return false
			}
			if group == uint32(ControlGroup) {
				return n.cgroup.AtTerm(term)
			}
			h := n.held(GroupID(group))
			return h != nil && h.group.AtTerm(term)
		},
	}
	assign(&cfg.Self, string(n.name))
	resolveBy(&cfg.Resolve, n.peerAddr)
	n.transport, err = replica.OpenTransport(cfg)
	return err
}

// assign and resolveBy fill fields of types that belong to the library behind
// replica, which only replica imports.
func assign[T ~string](field *T, value string) { *field = T(value) }

func resolveBy[T ~string](field *func(T) (string, error), resolve func(string) (string, error)) {
	*field = func(id T) (string, error) { return resolve(string(id)) }
}

// groupStorage opens what a group rests on.
func (n *Node) groupStorage(g GroupID) (replica.GroupStorage, error) {
	durable := n.cfg.Durability == Disk
	if st, ok := n.control.State().Group(g); ok {
		durable = st.Durability == Disk
	}
	if n.storage == nil || !durable && g != ControlGroup {
		return replica.MemoryStorage(replica.MemoryStorageConfig{}, uint32(g))
	}
	return replica.DiskStorage(n.storage, n.snapshots(g), uint32(g))
}

func (n *Node) snapshots(g GroupID) replica.SnapshotStoreConfig {
	cfg := n.snapshotRoot()
	cfg.Dir = filepath.Join(cfg.Dir, strconv.Itoa(int(g)))
	return cfg
}

// snapshotRoot is the folder with a folder for each group's snapshots.
func (n *Node) snapshotRoot() replica.SnapshotStoreConfig {
	cfg := n.cfg.Snapshots
	cfg.Dir = filepath.Join(n.cfg.Dir, "snapshots")
	if cfg.Logger == nil {
		cfg.Logger = n.log
	}
	return cfg
}

// openControl opens the control group's replica, empty or with what it had.
func (n *Node) openControl() error {
	storage, err := n.groupStorage(ControlGroup)
	if err != nil {
		return err
	}
	n.cgroup, err = replica.OpenGroup(replica.GroupConfig{
		ID: uint32(ControlGroup), Self: n.controlID, Storage: storage, Transport: n.transport,
		StateMachine: &controlMachine{n.control, n.states.ring}, Timing: n.cfg.Timing,
		Observer: controlObserver{n}, OnRolledBack: n.roles.ring, Logger: n.log.With("group", uint32(ControlGroup)),
	})
	if err != nil {
		return n.damaged(fmt.Errorf("cluster: open the control group: %w", err))
	}
	return nil
}

func (n *Node) openGossip() error {
	if n.cfg.Listen == "" {
		return nil
	}
	var err error
	n.gossip, err = StartGossip(GossipConfig{
		Meta: n.describe(), Cluster: n.cfg.ClusterName, Bind: n.cfg.GossipAddr, Advertise: n.cfg.GossipAdvertise,
		Seeds: n.cfg.Seeds, Key: n.cfg.GossipKey, Source: n.cfg.Source, Transport: n.cfg.Network.Gossip, Logger: n.log,
		OnChange: n.peering.ring,
		OnConflict: func(c *ConflictError) {
			n.log.Error("another process uses this member's name", "err", c)
		},
	})
	return err
}

// self is this member as it wants to be admitted.
func (n *Node) self() Member {
	return Member{
		ID: n.name, Incarnation: n.incarnation, Boot: n.boot, Peer: n.addr,
		RESP: n.cfg.RESP, HTTP: n.cfg.HTTP, Zone: n.cfg.Zone, State: Active,
	}
}

// describe is this member as gossip tells others.
func (n *Node) describe() Meta {
	m := n.self()
	meta := Meta{
		Member: m.ID, Incarnation: m.Incarnation, Boot: m.Boot, Peer: m.Peer,
		RESP: m.RESP, HTTP: m.HTTP, Zone: m.Zone, Version: n.cfg.Version,
	}
	s := n.control.State()
	if s.Formed() {
		meta.Flags |= FlagAdmitted
	}
	if n.storage != nil {
		meta.Flags |= FlagDisk
	}
	return meta
}

// peers returns the members that seem to be alive, this one included.
func (n *Node) peers() []Peer {
	if n.gossip == nil {
		return []Peer{{Meta: n.describe(), Status: Alive}}
	}
	all := n.gossip.Members()
	alive := all[:0]
	for _, p := range all {
		if p.Status == Alive || p.Status == Suspect {
			alive = append(alive, p)
		}
	}
	return alive
}
