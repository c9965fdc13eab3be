package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// groupID is the group of all tests here.
const groupID = 7

// cluster is a set of members in memory, each with a replica of one group.
type cluster struct {
	t      *testing.T
	net    *wire.Network
	rng    *rand.Rand
	disk   bool // else the log is in memory and only votes are on disk
	adjust func(*replica.GroupConfig)
	// dial, if set, is asked instead of the network; it may ask next in turn.
	dial func(ctx context.Context, from, to string, next wire.Dialer) (net.Conn, error)
	// logBytes bounds logs in memory.
	logBytes int64
	members  map[string]*groupMember
	wg       sync.WaitGroup // members that crashed and are being cleared away

	confirms atomic.Int64 // questions that members were asked

	mu      sync.Mutex
	digests map[uint64]uint64 // of the state after an entry, as the first replica there had it
}

// saw checks that replicas that are equally far have the same state.
func (c *cluster) saw(index, digest uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, ok := c.digests[index]; ok && first != digest {
		c.t.Errorf("two states after entry %d: digests %x and %x", index, first, digest)
	}
	c.digests[index] = digest
}

// groupMember is one life of a process: after a crash another one follows.
type groupMember struct {
	c         *cluster
	name      string
	id        replica.ServerID
	fs        *vfs.MemFS
	tap       *writeTap // on fs
	mux       *wire.Mux
	transport *replica.Transport
	logs      *replica.LogStorage
	sm        *registers
	group     *replica.Group
	journal   *observations

	mu   sync.Mutex
	dead bool
}

// writeTap counts the writing operations of a file system.
type writeTap struct {
	mu   sync.Mutex
	n    int
	each func(n int)
}

// arm has each called before every writing operation from here on, with how many
// came before it.
func (w *writeTap) arm(each func(n int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.each = 0, each
}

// MaybeError implements errorfs.Injector. It injects nothing.
func (w *writeTap) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.each != nil {
		w.each(w.n)
		w.n++
	}
	return nil
}

func (w *writeTap) String() string { return "write tap" }

func (m *groupMember) tapped() vfs.FS { return errorfs.Wrap(m.fs, m.tap) }

// observations is an Observer that checks what it is promised.
type observations struct {
	t *testing.T

	mu      sync.Mutex
	leading uint64
	terms   []uint64 // of Leading, in order
	leader  replica.ServerID
}

func (o *observations) Leading(term uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leading != 0 {
		o.t.Errorf("Leading(%d) follows Leading(%d) without Following in between", term, o.leading)
	}
	if n := len(o.terms); n > 0 && o.terms[n-1] >= term {
		o.t.Errorf("Leading(%d) after Leading(%d)", term, o.terms[n-1])
	}
	o.leading = term
	o.terms = append(o.terms, term)
}

func (o *observations) Following(leader replica.ServerID, _ uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leading, o.leader = 0, leader
}

// leads returns the term of the last Leading that was not followed by Following.
func (o *observations) leads() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leading
}

func newCluster(t *testing.T, seed uint64, disk bool) *cluster {
	return &cluster{
		t: t, net: wire.NewNetwork(), rng: rand.New(rand.NewPCG(seed, 7)), disk: disk, logBytes: 64 << 20,
		members: map[string]*groupMember{}, digests: map[uint64]uint64{},
	}
}

// start runs a member. fs is what an earlier life left, or nil.
func (c *cluster) start(name string, incarnation uint64, fs *vfs.MemFS) *groupMember {
	c.t.Helper()
	m, err := c.tryStart(name, incarnation, fs, newRegisters())
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *cluster) tryStart(name string, incarnation uint64, fs *vfs.MemFS, sm *registers) (*groupMember, error) {
	sm.saw = c.saw
	if fs == nil {
		fs = vfs.NewCrashableMem()
	}
	m := &groupMember{
		c: c, name: name, id: replica.ServerID{Member: name, Incarnation: incarnation}, fs: fs, tap: &writeTap{},
		sm: sm, journal: &observations{t: c.t},
	}
	if err := m.open(); err != nil {
		m.close()
		return nil, err
	}
	c.members[name] = m
	return m, nil
}

func (m *groupMember) open() error {
	l, err := m.c.net.Listen(m.name)
	if err != nil {
		return err
	}
	m.mux = wire.NewMux(l, wire.MuxConfig{})
	m.transport, err = replica.OpenTransport(replica.TransportConfig{
		Self: raft.ServerAddress(m.name), Mux: m.mux, Dial: m.dial,
		Resolve: func(a raft.ServerAddress) (string, error) { return string(a), nil },
		Confirm: m.atTerm,
	})
	if err != nil {
		return err
	}
	m.logs, err = replica.OpenLogStorage(replica.LogStorageConfig{
		Dir: "log", FS: m.tapped(), MemTableBytes: 1 << 20, OnFatal: func(err error) { m.c.t.Errorf("%s: %v", m.name, err) },
	})
	if err != nil {
		return err
	}
	storage, err := m.storage()
	if err != nil {
		return err
	}
	cfg := replica.GroupConfig{
		ID: groupID, Self: m.id, Storage: storage, Transport: m.transport, StateMachine: m.sm, Observer: m.journal,
	}
	if m.c.adjust != nil {
		m.c.adjust(&cfg)
	}
	g, err := replica.OpenGroup(cfg)
	m.mu.Lock()
	m.group = g
	m.mu.Unlock()
	return err
}

func (m *groupMember) dial(ctx context.Context, addr string) (net.Conn, error) {
	next := m.c.net.Dialer(m.name)
	if m.c.dial == nil {
		return next(ctx, addr)
	}
	return m.c.dial(ctx, m.name, addr, next)
}

func (m *groupMember) storage() (replica.GroupStorage, error) {
	if m.c.disk {
		return replica.DiskStorage(m.logs, replica.SnapshotStoreConfig{Dir: "snapshots", FS: m.tapped()}, groupID)
	}
	return replica.MemoryStorage(replica.MemoryStorageConfig{Votes: m.logs, LogBytes: m.c.logBytes}, groupID)
}

// atTerm answers other members' Confirm.
func (m *groupMember) atTerm(group uint32, term uint64) bool {
	m.c.confirms.Add(1)
	m.mu.Lock()
	g := m.group
	m.mu.Unlock()
	return group == groupID && g != nil && g.AtTerm(term)
}

func (m *groupMember) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// close ends a member in the order in which an owner would.
func (m *groupMember) close() {
	m.mu.Lock()
	g := m.group
	m.mu.Unlock()
	if g != nil {
		if err := g.Close(); err != nil {
			m.c.t.Errorf("%s: close: %v", m.name, err)
		}
	}
	if m.transport != nil {
		m.transport.Close()
	}
	if m.mux != nil {
		m.mux.Close()
	}
	if m.logs != nil {
		if err := m.logs.Close(); err != nil {
			m.c.t.Errorf("%s: close log storage: %v", m.name, err)
		}
	}
}

// crash ends a member as a loss of power would, and returns its disk. What
// it says from here on nobody hears.
func (c *cluster) crash(m *groupMember) *vfs.MemFS {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	c.net.Crash(m.name)
	disk := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
	delete(c.members, m.name)
	c.wg.Go(m.close)
	return disk
}

func (c *cluster) close() {
	for _, m := range c.members {
		c.wg.Go(m.close)
	}
	c.wg.Wait()
}

// threeMembers starts a, b and c with one group of which all are voters.
func threeMembers(t *testing.T, c *cluster) (members []*groupMember) {
	t.Helper()
	a := c.start("a", 1, nil)
	if err := a.group.Found(); err != nil {
		t.Fatal(err)
	}
	c.leader()
	members = append(members, a)
	for _, name := range []string{"b", "c"} {
		m := c.start(name, 1, nil)
		c.join(a, m)
		members = append(members, m)
	}
	return members
}

// join brings a new replica into the group, by way of a learner.
func (c *cluster) join(leader, m *groupMember) {
	c.t.Helper()
	ctx := context.Background()
	if err := leader.group.AddLearner(ctx, m.id); err != nil {
		c.t.Fatal(err)
	}
	c.until(fmt.Sprintf("%v is caught up", m.id), func() bool { return leader.group.CaughtUp(m.id) })
	if err := leader.group.AddVoter(ctx, m.id); err != nil {
		c.t.Fatal(err)
	}
	// A voter that has not heard of it yet would refuse it its vote.
	voters := len(leader.group.Status().Members)
	c.until("all voters know the new one", func() bool {
		for _, member := range leader.group.Status().Members {
			other, known := c.members[member.ID.Member]
			if !known || other.id != member.ID {
				continue
			}
			members := other.group.Status().Members
			if len(members) != voters || slices.ContainsFunc(members, func(x replica.GroupMember) bool { return !x.Voter }) {
				return false
			}
		}
		return true
	})
}

// until waits for a condition.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, m := range c.members {
		c.t.Logf("%v: %+v", m.id, m.group.Status())
	}
	c.t.Fatalf("not after 20 s: %s", what)
}

// leader waits until a member leads and may serve, and returns it.
func (c *cluster) leader() (leader *groupMember) {
	c.t.Helper()
	c.until("somebody leads", func() bool {
		for _, m := range c.members {
			if term, ok := m.group.Leading(); ok && m.group.Confirm(context.Background(), term) == nil {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

// write sets a register through whoever leads, and tries again when told that
// nothing was taken up.
func (c *cluster) write(name, value string) {
	c.t.Helper()
	for {
		_, err := c.leader().group.Propose(context.Background(), []byte(name+"="+value))
		if err == nil {
			return
		}
		if !errors.Is(err, replica.ErrNotLeader) {
			c.t.Fatalf("write %s=%s: %v", name, value, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// agree waits until all members have the same state, and that it is what want
// says.
func (c *cluster) agree(want map[string]string) {
	c.t.Helper()
	c.until("all members agree", func() bool {
		var index, digest uint64
		first := true
		for _, m := range c.members {
			i, d := m.sm.state()
			if !first && (i != index || d != digest) {
				return false
			}
			index, digest, first = i, d, false
			for name, value := range want {
				if m.sm.read(name) != value {
					return false
				}
			}
		}
		return true
	})
}
