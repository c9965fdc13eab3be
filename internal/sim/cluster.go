package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	dataFolder = "data"
	logFolder  = "data/raft"
	// patience is how long a cluster without faults may need for something.
	patience = 2 * time.Minute
	pollTime = 50 * time.Millisecond
	// lookTime lies between two comparisons of all replicas.
	lookTime = 300 * time.Millisecond
	// memTableBytes is small, so that flushes of the logs are crashed into.
	memTableBytes = 256 << 10
)

// world is one run.
type world struct {
	t       *testing.T
	o       Options
	rng     *rand.Rand // of the goroutine that makes the faults
	net     *wire.Network
	gossip  *cluster.MemNet
	seeds   []string
	reached *Reached
	gone    sync.WaitGroup // members that crashed and have not noticed yet

	mu      sync.Mutex
	members []*member

	transfers atomic.Int64 // transactions under way
	formed    atomic.Bool  // elections before do not count
	states    states
}

// member is a place for a process: a name, a disk, and the process if it runs.
type member struct {
	name string
	disk *vfs.MemFS
	life *life // nil: it does not run
}

// life is a member's process.
type life struct {
	g      *grid.Grid
	gossip *cluster.MemTransport
	dead   atomic.Bool
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{
		t: t, o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), net: wire.NewNetwork(), gossip: cluster.NewMemNet(o.Seed),
		reached: &Reached{},
	}
	w.states.seen = map[moment]observed{}
	for i := range o.Members {
		m := &member{name: fmt.Sprintf("m%d", i+1), disk: vfs.NewCrashableMem()}
		tr := w.gossip.Transport(m.name)
		w.seeds = append(w.seeds, tr.Addr())
		if err := tr.Shutdown(); err != nil {
			t.Fatal(err)
		}
		w.members = append(w.members, m)
	}
	return w
}

// start starts a member with what its disk has.
func (w *world) start(m *member) {
	w.gossip.Reconnect(m.name)
	l := &life{gossip: w.gossip.Transport(m.name)}
	cfg := grid.Config{
		Name: m.name, Listen: m.name + ":1", Join: w.seeds, Expect: w.o.Members, Partitions: w.o.Partitions, Copies: w.o.Copies,
		Logger: slog.New(listener{w.heard}),
		// A disk that fails was not asked for.
		OnFatal: func(err error) {
			if !l.dead.Load() {
				w.t.Errorf("%s: %v", m.name, err)
			}
		},
	}
	if w.o.Disk {
		cfg.Dir = dataFolder
	}
	cfg.Tune = func(n *cluster.NodeConfig) {
		n.Network = cluster.Network{Listen: w.net.Listen, Dial: w.dialer(m.name, l), Gossip: l.gossip}
		n.Logs.FS, n.Snapshots.FS = m.disk, m.disk
		n.Logs.MemTableBytes = memTableBytes
		n.Timing.Lease = w.o.Lease
		n.SnapshotLogBytes, n.Retention = w.o.SnapshotLogBytes, w.o.Retention
	}
	g, err := grid.Open(context.Background(), cfg)
	if err != nil {
		w.t.Fatalf("%s does not start: %v", m.name, err)
	}
	l.g = g
	w.mu.Lock()
	m.life = l
	w.mu.Unlock()
}

// dialer lets a process out to the network as long as it lives.
func (w *world) dialer(name string, l *life) wire.Dialer {
	dial := w.net.Dialer(name)
	return func(ctx context.Context, addr string) (net.Conn, error) {
		if l.dead.Load() {
			return nil, net.ErrClosed
		}
		return dial(ctx, addr)
	}
}

// crash ends a member as a loss of power does: at this moment, with a part of what
// was not synced. What the process does afterwards reaches neither network nor disk.
func (w *world) crash(m *member) {
	w.mu.Lock()
	l := m.life
	m.life = nil
	w.mu.Unlock()
	l.dead.Store(true)
	w.net.Crash(m.name)
	if err := l.gossip.Shutdown(); err != nil {
		w.t.Error(err)
	}
	m.disk = m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.o.Unsynced, RNG: w.rng})
	w.gone.Go(func() { _ = l.g.Close() }) // nobody hears its farewell
}

// heard listens to what members log.
func (w *world) heard(message string) {
	switch message {
	case "leads":
		if !w.formed.Load() {
			return
		}
		w.reached.Note(LeaderChanged)
		if w.transfers.Load() > 0 {
			w.reached.Note(LeaderChangedInTx)
		}
	case "raft: Installed remote snapshot":
		w.reached.Note(SnapshotInstalled)
	case "writer: the store of a partition was taken over by another history":
		w.reached.Note(StoreReplaced)
	}
}

// running returns the members that run.
func (w *world) running() (ms []*member, gs []*grid.Grid) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if m.life != nil {
			ms, gs = append(ms, m), append(gs, m.life.g)
		}
	}
	return ms, gs
}

// client returns a handle as a client on a host of its own has it.
func (w *world) client(i int) *grid.Grid {
	var addrs []string
	for _, m := range w.members {
		addrs = append(addrs, m.name+":1")
	}
	// Everybody asks another member first.
	for range i % len(addrs) {
		addrs = append(addrs[1:], addrs[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	g, err := grid.DialWith(ctx, w.net.Dialer(clientHost(i)), addrs...)
	if err != nil {
		w.t.Fatalf("client %d: %v", i, err)
	}
	return g
}

func clientHost(i int) string { return fmt.Sprintf("c%d", i) }

// ready waits until all members that run serve.
func (w *world) ready() {
	ms, gs := w.running()
	for i, g := range gs {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := g.Ready(ctx)
		cancel()
		if err != nil {
			w.t.Fatalf("after %v without faults %s is not ready: %v%s", patience, ms[i].name, err, w.describe())
		}
	}
}

// describe tells how the members stand.
func (w *world) describe() (s string) {
	ms, gs := w.running()
	for i, g := range gs {
		b, err := g.Node().Inspect(context.Background(), "status")
		s += fmt.Sprintf("\n%s: %s %v", ms[i].name, b, err)
	}
	return s
}

// eventually waits until a condition holds.
func (w *world) eventually(what string, cond func() bool) {
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(pollTime) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v without faults still not: %s%s", patience, what, w.describe())
		}
	}
}

// end stops all that runs.
func (w *world) end() {
	ms, gs := w.running()
	for i, g := range gs {
		w.gone.Go(func() { _ = g.Close() }) // they cannot agree on anything any more
		w.mu.Lock()
		ms[i].life = nil
		w.mu.Unlock()
	}
	w.gone.Wait()
	time.Sleep(10 * time.Second) // probes of gossip that are under way
}

// digest is what a member says of one of its replicas.
type digest struct {
	Partition int    `json:"partition"`
	History   string `json:"history"`
	Seq       uint64 `json:"seq"`
	Applied   uint64 `json:"applied"`
	Content   string `json:"content"`
	State     string `json:"state"`
}

func digestsOf(g *grid.Grid) (ds []digest, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b, err := g.Node().Inspect(ctx, "digest")
	if err == nil {
		err = json.Unmarshal(b, &ds)
	}
	return ds, err
}

// moment is a place in the life of a partition: an entry of its log, or one of its
// changes.
type moment struct {
	partition int
	history   string
	what      string
	number    uint64
}

type observed struct{ member, digest string }

// states knows the digests of all replicas that were looked at.
type states struct {
	mu       sync.Mutex
	seen     map[moment]observed
	compared int // digests that were there already
}

// look compares the replicas of all members with all that was seen before: equal
// positions, equal states.
func (w *world) look() {
	ms, gs := w.running()
	for i, g := range gs {
		ds, err := digestsOf(g)
		if err != nil {
			continue // It has just crashed.
		}
		for _, d := range ds {
			w.compare(ms[i].name, moment{d.Partition, d.History, "log entry", d.Applied}, d.State)
			w.compare(ms[i].name, moment{d.Partition, d.History, "change", d.Seq}, d.Content)
		}
	}
}

// lookOn looks again and again, until the function that it returns is called.
func (w *world) lookOn() (stop func()) {
	over := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(lookTime):
				w.look()
				w.count()
			}
		}
	})
	return sync.OnceFunc(func() {
		close(over)
		looking.Wait()
	})
}

func (w *world) compare(member string, at moment, digest string) {
	s := &w.states
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.seen[at]
	if !ok {
		s.seen[at] = observed{member, digest}
		return
	}
	if old.member != member {
		s.compared++
	}
	if old.digest != digest {
		w.t.Errorf("replicas differ: partition %d at %s %d is %s on %s and was %s on %s",
			at.partition, at.what, at.number, digest, member, old.digest, old.member)
	}
}

// settled waits until all members run and all replicas are there and the same.
// Nobody may change anything meanwhile.
func (w *world) settled() {
	w.whole()
	w.eventually("all replicas are the same", func() bool {
		w.look()
		states := map[int]string{}
		_, gs := w.running()
		for _, g := range gs {
			ds, err := digestsOf(g)
			if err != nil {
				return false
			}
			for _, d := range ds {
				if old, ok := states[d.Partition]; ok && old != d.State {
					return false
				}
				states[d.Partition] = d.State
			}
		}
		return len(gs) == w.o.Members
	})
}

// whole waits until every group has all its replicas, as voters that are not far
// behind, and no others: then any minority can be lost.
func (w *world) whole() {
	w.eventually("all replicas are there", func() bool {
		goal := map[int]uint64{}
		for _, groups := range w.standings() {
			for _, g := range groups {
				goal[g.Group] = max(goal[g.Group], g.Applied)
			}
		}
		time.Sleep(pollTime)
		replicas, led := map[int]int{}, map[int]bool{}
		for _, groups := range w.standings() {
			for _, g := range groups {
				if g.Applied >= goal[g.Group] {
					replicas[g.Group]++
				}
				if g.Serving {
					led[g.Group] = len(g.Voters) == w.o.Copies && g.Learners == 0
				}
			}
		}
		// A member that has just begun knows of no groups yet.
		known := 0
		_, gs := w.running()
		for _, g := range gs {
			known = max(known, len(g.Router().State().Groups))
		}
		for id := range goal {
			if replicas[id] != w.o.Copies || !led[id] {
				return false
			}
		}
		return len(gs) == w.o.Members && known > 0 && len(goal) == known
	})
}

// standing is what a member says of a group whose replica it has.
type standing struct {
	Group    int      `json:"group"`
	Serving  bool     `json:"serving"`
	Applied  uint64   `json:"applied"`
	Voters   []string `json:"voters"`
	Learners int      `json:"learners"`
}

// standings asks all members that run, but not for the group that they are all in.
func (w *world) standings() (all [][]standing) {
	_, gs := w.running()
	for _, g := range gs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		b, err := g.Node().Inspect(ctx, "status")
		cancel()
		var status struct {
			Groups []standing `json:"groups"`
		}
		if err == nil && json.Unmarshal(b, &status) == nil {
			all = append(all, slices.DeleteFunc(status.Groups, func(x standing) bool { return x.Group == int(cluster.ControlGroup) }))
		}
	}
	return all
}

// count notes what members say of themselves.
func (w *world) count() {
	_, gs := w.running()
	for _, g := range gs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		var partitions []struct {
			Repeats int `json:"repeats"`
			Waiting int `json:"waiting"`
		}
		if b, err := g.Node().Inspect(ctx, "partitions"); err == nil && json.Unmarshal(b, &partitions) == nil {
			for _, p := range partitions {
				w.reached.add(RepeatAnswered, min(p.Repeats, 1))
				w.reached.add(TakeWaited, min(p.Waiting, 1))
			}
		}
		var pump struct {
			Resyncs int `json:"resyncs"`
		}
		if b, err := g.Node().Inspect(ctx, "pump"); err == nil && json.Unmarshal(b, &pump) == nil {
			w.reached.add(StoreReplaced, pump.Resyncs)
		}
		cancel()
	}
}
