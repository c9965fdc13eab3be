package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// rig is a cluster in one process: networks in memory whose links can be cut,
// disks in memory that lose what was not synced, time that the test decides.
type rig struct {
	t      *testing.T
	net    *wire.Network
	gossip *MemNet
	cfg    NodeConfig
	seeds  []string
	disks  map[string]*vfs.MemFS
	nodes  map[string]*Node
	stores map[string]*memoryStore // of members that have one
}

// newRig prepares members a, b, c, … that form a cluster together. It runs in a
// bubble.
func newRig(t *testing.T, members int, cfg NodeConfig) *rig {
	g := &rig{
		t: t, net: wire.NewNetwork(), gossip: NewMemNet(1), cfg: cfg,
		disks: map[string]*vfs.MemFS{}, nodes: map[string]*Node{},
	}
	g.cfg.Expect = members
	if g.cfg.Partitions == 0 {
		g.cfg.Partitions = 12
	}
	for i := range members {
		tr := g.gossip.Transport(name(i))
		g.seeds = append(g.seeds, tr.Addr())
		if err := tr.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range g.nodes {
			n.stop(nil)
		}
		time.Sleep(5 * time.Second) // probes of gossip that are under way
		synctest.Wait()
	})
	return g
}

func name(i int) string { return string(rune('a' + i)) }

// start starts a member, with the disk that it left if the rig has disks.
func (g *rig) start(names ...string) {
	g.t.Helper()
	for _, name := range names {
		cfg := g.cfg
		cfg.Name, cfg.Listen, cfg.Seeds = MemberID(name), name+":1", g.seeds
		cfg.Network = Network{Listen: g.net.Listen, Dial: g.net.Dialer(name), Gossip: g.gossip.Transport(name)}
		g.gossip.Reconnect(name)
		if cfg.Dir != "" {
			if g.disks[name] == nil {
				g.disks[name] = vfs.NewCrashableMem()
			}
			cfg.Logs.FS, cfg.Snapshots.FS = g.disks[name], g.disks[name]
			cfg.Logs.MemTableBytes = 1 << 20
		}
		if st := g.stores[name]; st != nil {
			cfg.Store = st
		}
		if os.Getenv("RIG_LOG") != "" {
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		n, err := OpenNode(g.t.Context(), cfg)
		if err != nil {
			g.t.Fatalf("start %s: %v", name, err)
		}
		g.nodes[name] = n
	}
}

// crash ends a member as a loss of power would.
func (g *rig) crash(name string) {
	n := g.nodes[name]
	g.gossip.Isolate(name)
	g.net.Crash(name)
	if d := g.disks[name]; d != nil {
		g.disks[name] = d.CrashClone(vfs.CrashCloneCfg{})
	}
	n.stop(nil)
	delete(g.nodes, name)
}

func (g *rig) ready() {
	g.t.Helper()
	for _, name := range sortedKeys(g.nodes) {
		ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
		if err := g.nodes[name].Ready(ctx); err != nil {
			g.describe()
			g.t.Fatalf("%s is not ready: %v", name, err)
		}
		cancel()
	}
}

// describe logs how the members stand.
func (g *rig) describe() {
	for _, name := range sortedKeys(g.nodes) {
		b, err := g.nodes[name].Inspect(context.Background(), "status")
		g.t.Logf("%s: %s %v", name, b, err)
		for _, gr := range g.nodes[name].control.State().Groups {
			if h := g.nodes[name].held(gr.ID); h != nil {
				g.t.Logf("  group %d: %v, table %v, members %v", gr.ID, gr.Stage, gr.Replicas, h.group.Status().Members)
			}
		}
	}
}

// patience is how long a condition is waited for, in virtual time.
const patience = time.Minute

// eventually waits until a condition holds.
func (g *rig) eventually(what string, cond func() bool) {
	g.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			g.describe()
			g.t.Fatalf("after %v still not: %s", patience, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// whole reports whether every group has all the replicas that the table names as
// voters, and no others, and is led by the preferred one, and the control group
// has the voters that it should have.
func (g *rig) whole() bool {
	var leaders int
	var groups int
	for _, n := range g.nodes {
		s := n.control.State()
		if want := DesiredVoters(s); len(want) != len(s.Voters()) || len(n.cgroup.Status().Members) != len(s.Members) {
			return false
		}
		groups = len(s.Groups)
		for i := range s.Groups {
			h := n.held(s.Groups[i].ID)
			if h == nil || h.serving() == nil {
				continue
			}
			st := h.group.Status()
			if len(st.Members) != len(s.Groups[i].Replicas) {
				return false
			}
			for _, m := range st.Members {
				if !m.Voter || !slices.ContainsFunc(s.Groups[i].Replicas, func(r Replica) bool { return s.Groups[i].server(r) == m.ID }) {
					return false
				}
			}
			if p, _ := s.Groups[i].Preferred(); p.Member == n.name {
				leaders++
			}
		}
	}
	return leaders == groups && groups > 0
}

// agree waits until all replicas of every partition are the same.
func (g *rig) agree() {
	g.t.Helper()
	g.eventually("all replicas are the same", func() bool {
		seen := map[space.PartitionID]string{}
		copies := map[space.PartitionID]int{}
		for _, n := range g.nodes {
			b, err := n.Inspect(g.t.Context(), "digest")
			if err != nil {
				return false
			}
			var views []digestView
			if err := json.Unmarshal(b, &views); err != nil {
				g.t.Fatal(err)
			}
			for _, v := range views {
				if old, ok := seen[v.Partition]; ok && old != v.State {
					return false
				}
				seen[v.Partition] = v.State
				copies[v.Partition]++
			}
		}
		for _, c := range copies {
			if c != min(DefaultCopies, len(g.nodes)) {
				return false
			}
		}
		return len(copies) == g.cfg.Partitions
	})
}

// Members that start together form one cluster, in which every group has its
// replicas and its preferred leader, and serve through any of them.
func TestMembersFormACluster(t *testing.T) {
	for _, members := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, members, NodeConfig{})
				for i := range members {
					g.start(name(i))
				}
				start := time.Now()
				g.ready()
				t.Logf("ready after %v", time.Since(start))
				g.eventually("the cluster is whole", g.whole)
				t.Logf("whole after %v", time.Since(start))
				r := g.nodes["a"].Router()
				id := defaultSpace(t, r)
				for i := range 30 {
					write(t, g.nodes[name(i%members)].Router(), id, fmt.Sprint("k", i), fmt.Sprint(i))
				}
				for i := range 30 {
					if v, _ := read(t, g.nodes[name((i+1)%members)].Router(), id, fmt.Sprint("k", i)); v != fmt.Sprint(i) {
						t.Errorf("k%d is %q", i, v)
					}
				}
				g.agree()
				var clusters []ClusterID
				for _, n := range g.nodes {
					clusters = append(clusters, n.control.State().Cluster)
				}
				if len(slices.Compact(clusters)) != 1 {
					t.Errorf("there are several clusters: %v", clusters)
				}
			})
		})
	}
}
