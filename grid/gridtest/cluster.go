package gridtest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// patience is how long the cluster waits for what has to happen, in its own
	// time. An election takes a second, giving up on a silent member a few.
	patience = time.Minute
	pollTime = 20 * time.Millisecond
	// partitions keeps a small cluster small.
	partitions = 12
	// clientHost is where remote handles dial from.
	clientHost = "client"
)

// Cluster is a grid of members in this process. Its methods are for the goroutine
// of the test; what goes wrong fails the test. Members are numbered from 0.
type Cluster struct {
	t       testing.TB
	config  grid.Config
	net     *wire.Network
	gossip  *cluster.MemNet
	seeds   []string
	members []*grid.Grid // nil: not running
}

// Option changes what New and Run start.
type Option func(*grid.Config)

// WithConfig lets change the configuration that every member starts with.
// Addresses, names and data folders are the cluster's own.
func WithConfig(change func(*grid.Config)) Option { return change }

// Run runs a test with a cluster whose members all serve, in a bubble with a
// clock of its own. What body starts has to end with it, as testing/synctest says.
func Run(t *testing.T, members int, body func(t *testing.T, c *Cluster), options ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { body(t, New(t, members, options...)) })
}

// New starts a cluster and returns when all its members serve. It ends with the
// test.
func New(t testing.TB, members int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, net: wire.NewNetwork(), gossip: cluster.NewMemNet(1), members: make([]*grid.Grid, members)}
	c.config = grid.Config{Partitions: partitions, Expect: members}
	for _, o := range options {
		o(&c.config)
	}
	for i := range members {
		tr := c.gossip.Transport(c.Name(i))
		c.seeds = append(c.seeds, tr.Addr())
		c.check(tr.Shutdown())
	}
	t.Cleanup(c.end)
	for i := range members {
		c.open(i)
	}
	c.Ready()
	return c
}

func (c *Cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("gridtest: %v", err)
	}
}

// end stops what runs and lets what gossip has begun run out.
func (c *Cluster) end() {
	for _, g := range c.members {
		if g != nil {
			// The cluster is going: the last members cannot agree on anything.
			_ = g.Close()
		}
	}
	time.Sleep(5 * time.Second)
}

// Name returns the name of a member.
func (c *Cluster) Name(member int) string { return fmt.Sprintf("m%d", member+1) }

func (c *Cluster) addr(member int) string { return c.Name(member) + ":1" }

// open starts a member.
func (c *Cluster) open(member int) {
	c.t.Helper()
	name := c.Name(member)
	config := c.config
	config.Name, config.Listen, config.Join = name, c.addr(member), c.seeds
	config.Dir, config.Gossip = "", ""
	tune := config.Tune
	config.Tune = func(n *cluster.NodeConfig) {
		n.Network = cluster.Network{Listen: c.net.Listen, Dial: c.net.Dialer(name), Gossip: c.gossip.Transport(name)}
		if tune != nil {
			tune(n)
		}
	}
	g, err := grid.Open(context.WithoutCancel(c.t.Context()), config)
	c.check(err)
	c.members[member] = g
}

// Member returns the handle of a running member.
func (c *Cluster) Member(member int) *grid.Grid {
	c.t.Helper()
	if c.members[member] == nil {
		c.t.Fatalf("gridtest: member %s does not run", c.Name(member))
	}
	return c.members[member]
}

// Dial returns a remote handle, closed with the test.
func (c *Cluster) Dial() *grid.Grid {
	c.t.Helper()
	var addrs []string
	for i := range c.members {
		addrs = append(addrs, c.addr(i))
	}
	g, err := grid.DialWith(c.t.Context(), func(ctx context.Context, addr string) (net.Conn, error) {
		return c.net.Dialer(clientHost)(ctx, addr)
	}, addrs...)
	c.check(err)
	c.t.Cleanup(func() { _ = g.Close() }) // a remote handle: nothing is lost with it
	return g
}

// Ready waits until all running members serve.
func (c *Cluster) Ready() {
	c.t.Helper()
	for i, g := range c.members {
		if g == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		err := g.Ready(ctx)
		cancel()
		if err != nil {
			c.t.Fatalf("gridtest: member %s is not ready: %v", c.Name(i), err)
		}
	}
}

// Kill ends a member as kill -9 would: nobody hears from it any more.
func (c *Cluster) Kill(member int) {
	c.t.Helper()
	g := c.Member(member)
	c.gossip.Isolate(c.Name(member))
	c.net.Crash(c.Name(member))
	c.members[member] = nil
	// It is cut off from the others, so its farewell fails.
	_ = g.Close()
}

// Start starts a member that was killed.
func (c *Cluster) Start(member int) {
	c.t.Helper()
	if c.members[member] != nil {
		c.t.Fatalf("gridtest: member %s runs", c.Name(member))
	}
	c.gossip.Reconnect(c.Name(member))
	c.open(member)
}

// Cut cuts the link between two members, in both directions. What is sent over it
// arrives when it is healed.
func (c *Cluster) Cut(a, b int) {
	c.CutOneWay(a, b)
	c.CutOneWay(b, a)
}

// CutOneWay cuts the way from one member to another.
func (c *Cluster) CutOneWay(from, to int) {
	c.net.CutOneWay(c.Name(from), c.Name(to))
	c.gossip.Cut(c.Name(from), c.Name(to))
}

// Isolate cuts a member off from all others, and from remote handles.
func (c *Cluster) Isolate(member int) {
	for i := range c.members {
		if i != member {
			c.Cut(member, i)
		}
	}
	c.net.Cut(c.Name(member), clientHost)
}

// Heal undoes all cuts.
func (c *Cluster) Heal() {
	for i := range c.members {
		for j := range c.members {
			if i != j {
				c.net.Heal(c.Name(i), c.Name(j))
				c.gossip.Heal(c.Name(i), c.Name(j))
			}
		}
		c.net.Heal(c.Name(i), clientHost)
	}
}

// Leader returns the member that leads the partition of a key, once there is one.
func (c *Cluster) Leader(key string) int {
	c.t.Helper()
	leader := -1
	c.Await("the partition of "+key+" is led", func() bool {
		for i, g := range c.members {
			if g != nil && c.leads(g, space.PartitionOf([]byte(key), g.Partitions())) {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// leads reports whether a member serves as the leader of a partition.
func (c *Cluster) leads(g *grid.Grid, p space.PartitionID) bool {
	table := g.Router().State().Table
	if int(p) >= len(table) {
		return false
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err := g.Node().Hello(ctx, table[p])
	return err == nil
}

// Await waits until a condition holds.
func (c *Cluster) Await(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			c.t.Fatalf("gridtest: after %v still not: %s", patience, what)
		}
		time.Sleep(pollTime)
	}
}
