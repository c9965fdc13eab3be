package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// clique is a cluster of gossiping members in one virtual network.
type clique struct {
	t       *testing.T
	net     *MemNet
	members map[string]*Gossip
}

func newClique(t *testing.T) *clique {
	return &clique{t: t, net: NewMemNet(1), members: map[string]*Gossip{}}
}

func metaOf(name string) Meta {
	return Meta{Member: MemberID(name), Incarnation: 1, Peer: name + ":7381", Zone: "z1", Version: "1.0"}
}

func (c *clique) start(cfg GossipConfig, seeds ...string) *Gossip {
	c.t.Helper()
	name := string(cfg.Meta.Member)
	cfg.Transport, cfg.Cluster, cfg.Seeds = c.net.Transport(name), "test", seeds
	g, err := StartGossip(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.members[name] = g
	return g
}

// close closes everybody and lets the probes that were under way end.
func (c *clique) close() {
	for _, g := range c.members {
		if err := errors.Join(g.Close(), g.Close()); err != nil {
			c.t.Error(err)
		}
	}
	time.Sleep(5 * time.Second)
}

// sees says how a member sees everybody else: "b:alive c:dead".
func (c *clique) sees(name string) string {
	var out []string
	for _, p := range c.members[name].Members() {
		if string(p.Member) != name {
			out = append(out, fmt.Sprintf("%s:%s", p.Member, p.Status))
		}
	}
	return strings.Join(out, " ")
}

// within waits for a condition and returns how long it took.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

func (c *clique) everybodySees(limit time.Duration, want map[string]string) time.Duration {
	c.t.Helper()
	return within(c.t, limit, fmt.Sprint(want), func() bool {
		for name, sight := range want {
			if c.sees(name) != sight {
				return false
			}
		}
		return true
	})
}

func (c *clique) five() {
	seed := c.net.Transport("a").Addr()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		c.start(GossipConfig{Meta: metaOf(name)}, seed)
	}
	c.everybodySees(2*syncInterval, map[string]string{
		"a": "b:alive c:alive d:alive e:alive",
		"b": "a:alive c:alive d:alive e:alive",
		"c": "a:alive b:alive d:alive e:alive",
		"d": "a:alive b:alive c:alive e:alive",
		"e": "a:alive b:alive c:alive d:alive",
	})
}

// Five members find each other by one seed. One that is cut off is seen dead
// within 1.2 to 4 seconds, sees the others dead as well, and is back soon after
// the cut has healed.
func TestACutMemberIsSeenDeadAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		c.five()
		time.Sleep(10 * time.Second)

		c.net.Isolate("c")
		took := c.everybodySees(4*time.Second, map[string]string{
			"a": "b:alive c:dead d:alive e:alive",
			"b": "a:alive c:dead d:alive e:alive",
			"d": "a:alive b:alive c:dead e:alive",
			"e": "a:alive b:alive c:dead d:alive",
		})
		if took < suspicionMult*probeInterval {
			t.Errorf("seen dead after %v, before it could refute", took)
		}
		c.everybodySees(30*time.Second, map[string]string{"c": "a:dead b:dead d:dead e:dead"})

		c.net.Reconnect("c")
		c.everybodySees(20*time.Second, map[string]string{
			"a": "b:alive c:alive d:alive e:alive",
			"c": "a:alive b:alive d:alive e:alive",
			"e": "a:alive b:alive c:alive d:alive",
		})
	})
}

// The two sides of a cut find each other again, even if it lasted so long that
// the library below has given up, and the seed is gone for good.
func TestALongCutHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		c.five()
		c.members["a"].Close()
		c.net.Isolate("b")
		time.Sleep(5 * time.Minute)
		if got := c.sees("d"); got != "a:dead b:dead c:alive e:alive" {
			t.Errorf("d sees %s", got)
		}
		c.net.Reconnect("b")
		c.everybodySees(30*time.Second, map[string]string{
			"b": "a:dead c:alive d:alive e:alive",
			"d": "a:dead b:alive c:alive e:alive",
		})
	})
}

// A member whose packets are lost in one direction, while connections pass, is
// not taken for dead; at most it is suspect.
func TestLostPacketsKillNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		c.five()
		for _, from := range []string{"a", "b", "d", "e"} {
			c.net.Lose(from, "c", 0.3)
			c.net.Lose("c", from, 0.3)
		}
		c.net.Lose("c", "a", 1)
		suspected := false
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			for _, p := range c.members["a"].Members() {
				if p.Status == Dead {
					t.Fatalf("%s is dead", p.Member)
				}
				suspected = suspected || p.Member == "c" && p.Status == Suspect
			}
		}
		if !suspected {
			t.Error("a never doubted c, which never answers it by packet")
		}
	})
}

// New meta reaches everybody, and each change is told.
func TestMetaTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		var told atomic.Int64
		seed := c.net.Transport("a").Addr()
		c.start(GossipConfig{Meta: metaOf("a"), OnChange: func() { told.Add(1) }}, seed)
		b := c.start(GossipConfig{Meta: metaOf("b")}, seed)
		c.everybodySees(time.Second, map[string]string{"a": "b:alive", "b": "a:alive"})

		for i := range 20 {
			m := metaOf("b")
			m.StateVersion, m.RESP, m.Flags = uint64(i+1), fmt.Sprintf("b:%d", i), FlagAdmitted|FlagDisk
			before := told.Load()
			if err := b.UpdateMeta(m); err != nil {
				t.Fatal(err)
			}
			within(t, 2*time.Second, "the new meta", func() bool {
				return c.members["a"].Members()[1].Meta == m
			})
			within(t, time.Second, "being told", func() bool { return told.Load() > before })
		}
		other := metaOf("z")
		if err := b.UpdateMeta(other); err == nil {
			t.Error("a member changed its name")
		}
		long := metaOf("b")
		long.Peer = strings.Repeat("x", MaxAddressBytes)
		long.RESP = long.Peer
		long.HTTP = long.Peer
		if err := b.UpdateMeta(long); err == nil {
			t.Error("meta over the bound was taken")
		}
	})
}

// A member that leaves is seen as left at once, and is not looked for.
func TestLeavingIsNotDying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		c.five()
		if err := c.members["e"].Leave(time.Second); err != nil {
			t.Fatal(err)
		}
		if err := c.members["d"].Leave(0); err == nil {
			t.Error("d left without time to say so")
		}
		c.everybodySees(time.Second, map[string]string{
			"a": "b:alive c:alive d:alive e:left",
			"d": "a:alive b:alive c:alive e:left",
		})
		if err := c.members["e"].Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.members["e"].Leave(time.Second); !errors.Is(err, ErrClosed) {
			t.Errorf("leaving after Close: %v", err)
		}
		c.members["a"].Forget("e")
		c.members["a"].Forget("b") // who lives is not forgotten
		if got := c.sees("a"); got != "b:alive c:alive d:alive" {
			t.Errorf("a sees %s", got)
		}
	})
}

// A member that is cut off leaves as well, though nobody hears it.
func TestLeavingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		c.five()
		c.net.Isolate("e")
		start := time.Now()
		c.members["e"].Leave(2 * time.Second)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("leaving took %v", took)
		}
		c.members["e"].Close()
		c.everybodySees(5*time.Second, map[string]string{"a": "b:alive c:alive d:alive e:dead"})
	})
}

// A process that takes a living member's name is told, and so is the member; a
// member that restarts elsewhere with a newer life is not.
func TestNameConflictsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		conflicts := make(chan *ConflictError, 100)
		report := func(e *ConflictError) { conflicts <- e }
		seed := c.net.Transport("a").Addr()
		c.start(GossipConfig{Meta: metaOf("a")}, seed)
		c.start(GossipConfig{Meta: metaOf("b"), OnConflict: report}, seed)
		c.everybodySees(2*time.Second, map[string]string{"a": "b:alive", "b": "a:alive"})

		twin, err := StartGossip(GossipConfig{
			Meta: metaOf("b"), Cluster: "test", Transport: c.net.Transport("twin"), Seeds: []string{seed}, OnConflict: report,
		})
		if err != nil {
			t.Fatal(err)
		}
		var got *ConflictError
		within(t, 5*time.Second, "a report", func() bool {
			select {
			case got = <-conflicts:
				return true
			default:
				return false
			}
		})
		if got.Member != "b" || got.Self == got.Other || !got.Other.IsValid() || got.OtherIncarnation != 1 {
			t.Errorf("reported %+v", got)
		}
		if err := twin.Close(); err != nil {
			t.Fatal(err)
		}

		c.members["b"].Close()
		time.Sleep(100 * time.Millisecond)
		for len(conflicts) > 0 {
			<-conflicts
		}
		again := metaOf("b")
		again.Boot = 1
		moved, err := StartGossip(GossipConfig{
			Meta: again, Cluster: "test", Transport: c.net.Transport("elsewhere"), Seeds: []string{seed}, OnConflict: report,
		})
		if err != nil {
			t.Fatal(err)
		}
		within(t, 30*time.Second, "a sees b at its new address", func() bool {
			p := c.members["a"].Members()[1]
			return p.Member == "b" && p.Status == Alive && p.Boot == 1
		})
		if len(conflicts) > 0 {
			t.Errorf("a restart is reported as %v", <-conflicts)
		}
		moved.Close()
	})
}

// Members of another cluster are not heard, nor are those without the key.
func TestStrangersAreNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		key := []byte("0123456789abcdef")
		seed := c.net.Transport("a").Addr()
		c.start(GossipConfig{Meta: metaOf("a"), Key: key}, seed)
		c.start(GossipConfig{Meta: metaOf("b"), Key: key}, seed)
		c.start(GossipConfig{Meta: metaOf("c")}, seed)
		d, err := StartGossip(GossipConfig{Meta: metaOf("d"), Key: key, Cluster: "other", Transport: c.net.Transport("d"), Seeds: []string{seed}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := c.sees("a"); got != "b:alive" {
			t.Errorf("a sees %s", got)
		}
		if n := len(d.Members()); n != 1 {
			t.Errorf("the stranger knows %d members", n)
		}
		d.Close()
	})
}

// Join waits for somebody to be reached, for the context or for Close; a seed
// that starts late is found.
func TestJoinWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		late := c.net.Transport("late")
		late.Shutdown()
		a := c.start(GossipConfig{Meta: metaOf("a")})
		if err := a.Join(t.Context(), nil); err != nil {
			t.Errorf("joining nobody: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := a.Join(ctx, []string{late.Addr()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("joining somebody who is not there: %v", err)
		}
		c.start(GossipConfig{Meta: metaOf("late")})
		within(t, 15*time.Second, "finding the late seed", func() bool { return a.Join(t.Context(), nil) == nil && c.sees("a") == "late:alive" })

		b := c.start(GossipConfig{Meta: metaOf("b")})
		if err := b.Join(t.Context(), []string{c.net.Transport("b2").Addr() + "1"}); err == nil {
			t.Error("a seed with a port that cannot be was accepted")
		}
	})
}

// A member whose only seed is itself has joined: it is the first.
func TestTheFirstMemberJoinsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClique(t)
		defer c.close()
		a := c.start(GossipConfig{Meta: metaOf("a")}, c.net.Transport("a").Addr())
		select {
		case <-a.Joined():
		case <-time.After(time.Second):
			t.Error("the first member waits for itself")
		}
	})
}

// Over a real network members find each other by packets and connections from
// the address they listen on, and leave no goroutine behind.
func TestGossipOverLoopback(t *testing.T) {
	defer noGoroutinesLeft(t)
	start := func(name, bind string, seeds ...string) *Gossip {
		g, err := StartGossip(GossipConfig{Meta: metaOf(name), Cluster: "test", Bind: bind, Seeds: seeds})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	a := start("a", "127.0.0.1:0")
	defer a.Close()
	b := start("b", "127.0.0.1:0", a.self.String())
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := b.Join(ctx, nil); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "each sees the other", func() bool {
		ma, mb := a.Members(), b.Members()
		return len(ma) == 2 && len(mb) == 2 && ma[1].Peer == "b:7381" && mb[0].Peer == "a:7381"
	})
	if err := b.Leave(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "a sees that b left", func() bool { return a.Members()[1].Status == Left })
}

// noGoroutinesLeft waits for the library's probes under way, as Close does not.
func noGoroutinesLeft(t *testing.T) {
	t.Helper()
	var err error
	for range 40 {
		if err = goleak.Find(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error(err)
}

// Configurations that cannot work are refused at once.
func TestGossipRefusesBadConfigurations(t *testing.T) {
	defer noGoroutinesLeft(t)
	for name, cfg := range map[string]GossipConfig{
		"no name":    {Bind: "127.0.0.1:0"},
		"bind":       {Meta: metaOf("a"), Bind: "localhost:0"},
		"port":       {Meta: metaOf("a"), Bind: "127.0.0.1:99999"},
		"advertise":  {Meta: metaOf("a"), Bind: "127.0.0.1:0", Advertise: "host:1"},
		"all of IP6": {Meta: metaOf("a"), Bind: "[::]:0"},
		"key":        {Meta: metaOf("a"), Bind: "127.0.0.1:0", Key: []byte("short")},
		"seeds":      {Meta: metaOf("a"), Bind: "127.0.0.1:0", Seeds: make([]string, MaxSeeds+1)},
		"label":      {Meta: metaOf("a"), Bind: "127.0.0.1:0", Cluster: strings.Repeat("x", 256)},
		"zone":       {Meta: Meta{Member: "a", Zone: strings.Repeat("z", MaxZoneBytes+1)}, Bind: "127.0.0.1:0"},
	} {
		if g, err := StartGossip(cfg); err == nil {
			g.Close()
			t.Errorf("%s: started", name)
		}
	}
}

// Whatever arrives as the description of a member, what is accepted can be sent
// on.
func FuzzMeta(f *testing.F) {
	m := metaOf("a")
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		b, err = m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeMeta(b); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v (%v)", m, again, err)
		}
	})
}
