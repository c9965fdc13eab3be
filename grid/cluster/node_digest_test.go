package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
)

// verifyOften compares everything once in this time in tests.
const verifyOften = 12 * time.Second

// compared is a cluster of members whose replicas are compared all the time, with
// an entry under every key from k0 to k29.
func compared(t *testing.T, cfg NodeConfig, members ...string) (*rig, space.ID) {
	cfg.VerifyEvery = verifyOften
	g := newRig(t, len(members), cfg)
	g.start(members...)
	g.ready()
	g.eventually("the cluster is whole", g.whole)
	id := defaultSpace(t, g.nodes["a"].Router())
	for i := range 30 {
		write(t, g.nodes["a"].Router(), id, fmt.Sprint("k", i), "right")
	}
	return g, id
}

// damage changes a byte of an entry in the memory of one replica.
func (g *rig) damage(member, key string, id space.ID, by byte) {
	g.t.Helper()
	p := space.PartitionOf([]byte(key), g.cfg.Partitions)
	n := g.nodes[member]
	h := n.held(n.control.State().Table[p])
	synctest.Wait() // nobody reads it
	err := h.group.Inspect(g.t.Context(), func() {
		e, code := h.host.partition(p).Get(id, []byte(key))
		if code != space.OK {
			g.t.Fatalf("%s is not on %s: %v", key, member, code)
		}
		e.Value[0] ^= by // which is the memory that the entry lies in
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// seen returns what a member's own replica has under a key, "" if it does not say.
func (g *rig) seen(member, key string, id space.ID) string {
	p := space.PartitionOf([]byte(key), g.cfg.Partitions)
	n := g.nodes[member]
	found, err := n.Read(g.t.Context(), n.control.State().Table[p], Local, []Get{{Partition: p, Space: id, Key: []byte(key)}})
	if err != nil || found[0].Code != space.OK {
		return ""
	}
	return string(found[0].Entry.Value)
}

// roles returns the leader and the followers of the group of a key.
func (g *rig) roles(key string) (leader string, followers []string) {
	p := space.PartitionOf([]byte(key), g.cfg.Partitions)
	for _, name := range sortedKeys(g.nodes) {
		n := g.nodes[name]
		if h := n.held(n.control.State().Table[p]); h != nil && h.serving() != nil {
			leader = name
		} else {
			followers = append(followers, name)
		}
	}
	return leader, followers
}

// mended returns how often a member's replica of a key's group was begun anew.
func (g *rig) mended(member, key string) uint64 {
	s := g.nodes[member].control.State()
	return s.Groups[s.Table[space.PartitionOf([]byte(key), g.cfg.Partitions)]-1].MendedTimes(MemberID(member))
}

// A replica whose memory is damaged is found within one round, is not read any
// more from then on, and another one takes its place, which has the state of the
// others: a follower's, a leader's, in memory and on disk.
func TestADamagedReplicaIsReplaced(t *testing.T) {
	for _, kind := range []string{"memory", "disk"} {
		for _, role := range []string{"follower", "leader"} {
			t.Run(role+" in "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := NodeConfig{}
					if kind == "disk" {
						cfg.Dir = "data"
					}
					g, id := compared(t, cfg, "a", "b", "c")
					leader, followers := g.roles("k7")
					odd := followers[0]
					if role == "leader" {
						odd = leader
					}
					g.damage(odd, "k7", id, 1)
					if v := g.seen(odd, "k7", id); v != "sight" {
						t.Fatalf("the damaged replica says %q", v)
					}
					begun := time.Now()
					found := false
					h := g.nodes[odd].held(g.nodes[odd].control.State().Table[space.PartitionOf([]byte("k7"), g.cfg.Partitions)])
					g.eventually("the replica is begun anew", func() bool {
						found = found || h.outcast.Load()
						if v := g.seen(odd, "k7", id); found && v != "" && v != "right" {
							t.Fatalf("after it was found the replica says %q", v)
						}
						return found && g.mended(odd, "k7") == 1 && g.seen(odd, "k7", id) == "right"
					})
					if d := time.Since(begun); d > 2*verifyOften {
						t.Errorf("that took %v, a round takes %v", d, verifyOften)
					}
					g.eventually("the cluster is whole", g.whole)
					g.agree()
					for i := range 30 {
						if v, _ := read(t, g.nodes["b"].Router(), id, fmt.Sprint("k", i)); v != "right" {
							t.Errorf("k%d is %q", i, v)
						}
					}
					time.Sleep(3 * verifyOften)
					for _, m := range []string{"a", "b", "c"} {
						if n := g.mended(m, "k7"); (m == odd) != (n == 1) {
							t.Errorf("the replica on %s was begun anew %d times", m, n)
						}
					}
					if kind == "disk" {
						g.crash(odd)
						g.start(odd)
						g.ready()
						g.eventually("the cluster is whole again", g.whole)
						g.agree()
					}
				})
			})
		}
	}
}

// Without a majority for one of the states nobody is touched: the leader serves on,
// and the status says which partitions differ.
func TestWithoutAMajorityNobodyIsTouched(t *testing.T) {
	for name, members := range map[string][]string{"two": {"a", "b"}, "three": {"a", "b", "c"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, id := compared(t, NodeConfig{}, members...)
				leader, followers := g.roles("k7")
				for i, f := range followers {
					g.damage(f, "k7", id, byte(1<<i))
				}
				p := space.PartitionOf([]byte("k7"), g.cfg.Partitions)
				g.eventually("the status says so", func() bool {
					for _, gr := range g.status(leader).Groups {
						if gr.State == "replicas differ" && slices.Equal(gr.Differing, []space.PartitionID{p}) {
							return true
						}
					}
					return false
				})
				time.Sleep(3 * verifyOften)
				for _, m := range members {
					if n := g.mended(m, "k7"); n != 0 {
						t.Errorf("the replica on %s was begun anew %d times", m, n)
					}
				}
				if v, _ := read(t, g.nodes[leader].Router(), id, "k7"); v != "right" {
					t.Errorf("the leader serves %q", v)
				}
				write(t, g.nodes[leader].Router(), id, "k7", "new")
				g.eventually("replicas that are the same again are found to be", func() bool {
					return !slices.ContainsFunc(g.status(leader).Groups, func(v groupView) bool { return v.State != "" })
				})
			})
		})
	}
}

func (g *rig) status(member string) (v statusView) {
	g.inspect(member, "status", &v)
	return v
}

func (g *rig) inspect(member, what string, v any) {
	g.t.Helper()
	b, err := g.nodes[member].Inspect(g.t.Context(), what)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// Whoever asks has the replicas compared at once, and is told of each partition
// what that came to.
func TestComparisonOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{VerifyEvery: -1})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		write(t, g.nodes["a"].Router(), id, "k7", "right")
		p := space.PartitionOf([]byte("k7"), g.cfg.Partitions)
		_, followers := g.roles("k7")
		verify := func() map[space.PartitionID]checkView {
			all := map[space.PartitionID]checkView{}
			for name := range g.nodes {
				var views []checkView
				g.inspect(name, "verify", &views)
				for _, v := range views {
					all[v.Partition] = v
				}
			}
			return all
		}
		all := verify()
		if len(all) != g.cfg.Partitions {
			t.Fatalf("%d of %d partitions were compared", len(all), g.cfg.Partitions)
		}
		for _, v := range all {
			if v.Result != "equal" || len(v.Replicas) != 3 {
				t.Errorf("%+v", v)
			}
		}
		g.damage(followers[1], "k7", id, 1)
		time.Sleep(2 * time.Minute)
		if n := g.mended(followers[1], "k7"); n != 0 {
			t.Fatal("replicas were compared though nobody asked")
		}
		all = verify()
		for q, v := range all {
			odd := slices.IndexFunc(v.Replicas, func(r checkedReplica) bool { return r.Odd })
			switch {
			case q == p && (v.Result != "mended" || string(v.Replicas[odd].Member) != followers[1]):
				t.Errorf("%+v", v)
			case q != p && v.Result != "equal" && v.Result != "not compared":
				t.Errorf("%+v", v)
			}
		}
		g.eventually("the replica is right again", func() bool { return g.seen(followers[1], "k7", id) == "right" })
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}

// A minority never decides, and who says nothing counts.
func TestJudge(t *testing.T) {
	const none = 0
	for _, c := range []struct {
		states []byte // of the voters a, b, …
		odd    string
		torn   bool
	}{
		{[]byte{1, 1, 1}, "", false},
		{[]byte{1, 1, 2}, "c", false},
		{[]byte{2, 1, 1}, "a", false},
		{[]byte{1, 1, none}, "", false},
		{[]byte{1, 2, none}, "", true},
		{[]byte{1, 2, 3}, "", true},
		{[]byte{1, 2}, "", true},
		{[]byte{1, none}, "", false},
		{[]byte{none, none, none}, "", false},
		{[]byte{1, 1, 1, 2, 3}, "de", false},
		{[]byte{1, 1, 2, 2, 3}, "", true},
		{[]byte{1, 1, 2, none, none}, "", true},
		{[]byte{1, 1, 1, 2, none}, "d", false},
		{[]byte{1, 1, 2, 2}, "", true},
	} {
		var opinions []opinion
		for i, s := range c.states {
			opinions = append(opinions, opinion{voter: replica.ServerID{Member: name(i), Incarnation: 1}, known: s != none, state: [16]byte{s}})
		}
		v := judge(opinions)
		odd := ""
		for _, id := range v.odd {
			odd += id.Member
		}
		if odd != c.odd || v.torn != c.torn {
			t.Errorf("%v: odd %q, torn %v; want %q, %v", c.states, odd, v.torn, c.odd, c.torn)
		}
	}
}

// Digests that are computed in different ways are not compared.
func TestDigestsOfOtherFormatsAreUnknown(t *testing.T) {
	d := space.Digest{State: [16]byte{1, 2, 3}}
	b := encodeDigest(d, true)
	if state, known, err := decodeDigest(b); state != d.State || !known || err != nil {
		t.Errorf("%v %v %v", state, known, err)
	}
	if _, known, err := decodeDigest(encodeDigest(d, false)); known || err != nil {
		t.Errorf("what is not there is known: %v, %v", known, err)
	}
	other := append([]byte{space.DigestFormat + 1}, "a form that nobody here knows"...)
	if _, known, err := decodeDigest(other); known || err != nil {
		t.Errorf("a digest of another format: known %v, %v", known, err)
	}
	for i := range b {
		if _, known, err := decodeDigest(b[:i]); known || err == nil {
			t.Errorf("%d of %d bytes: known %v, %v", i, len(b), known, err)
		}
	}
}

// A member that is away while its replica is mended comes back with another one,
// whatever lies on its disk.
func TestAReplicaIsMendedWhileItsMemberIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := compared(t, NodeConfig{Dir: "data"}, "a", "b", "c")
		g.crash("c")
		n := g.nodes["a"]
		table := n.control.State().Groups
		before := map[GroupID]replica.ServerID{}
		for i := range table {
			r, _ := table[i].Replica("c")
			before[table[i].ID] = table[i].server(r)
			reply, err := n.decide(t.Context(), &MendReplica{Group: table[i].ID, Member: "c", Incarnation: r.Incarnation, Times: 1})
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		write(t, n.Router(), id, "k7", "new")
		g.start("c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		g.agree()
		for gid, old := range before {
			if h := g.nodes["c"].held(gid); h.self.Incarnation <= old.Incarnation {
				t.Errorf("group %d: %v came after %v", gid, h.self, old)
			}
		}
		g.crash("c")
		g.start("c")
		g.ready()
		g.eventually("the cluster is whole again", g.whole)
		g.agree()
	})
}

// What a replica has fed to its member's store before it was found to differ is
// replaced as well.
func TestTheStoreOfADamagedReplicaIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{VerifyEvery: verifyOften})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		r := g.nodes["a"].Router()
		id := defaultSpace(t, r)
		write(t, r, id, "k7", "right")
		_, followers := g.roles("k7")
		odd := followers[0]
		p := space.PartitionOf([]byte("k7"), g.cfg.Partitions)
		stored := func() string {
			s := g.stores[odd]
			s.mu.Lock()
			defer s.mu.Unlock()
			return string(s.rows[p].Spaces[id]["k7"].Value)
		}
		g.eventually("the store has it", func() bool { return stored() == "right" })
		g.damage(odd, "k7", id, 1)
		c := &Call{Partition: p, Ops: []space.Op{{Code: space.OpChange, Space: id, Key: []byte("k7"), Mutations: []space.Mutation{{Code: space.MutAppend, Arg: []byte("!")}}}}}
		r.Do(t.Context(), []*Call{c})
		if err := c.failure(); err != nil {
			t.Fatal(err)
		}
		g.eventually("the damage has reached the store", func() bool { return stored() == "sight!" })
		g.eventually("the store is right", func() bool { return stored() == "right!" })
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}
