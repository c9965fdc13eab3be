package cluster

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// behind is a cluster of three that has lost its logs: only b's store has what was
// acknowledged last.
func behind(t *testing.T) (*rig, space.ID) {
	g := newRig(t, 3, NodeConfig{})
	g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
	g.start("a", "b", "c")
	g.ready()
	g.eventually("the cluster is whole", g.whole)
	r := g.nodes["a"].Router()
	id := defaultSpace(t, r)
	write(t, r, id, "k", "old")
	time.Sleep(time.Second)
	g.stores["a"].freeze()
	g.stores["c"].freeze()
	write(t, r, id, "k", "new")
	time.Sleep(time.Second)
	for _, m := range []string{"a", "b", "c"} {
		g.stores[m].freeze()
		g.crash(m)
		g.stores[m].thaw()
	}
	time.Sleep(time.Second)
	return g, id
}

// A cold start waits for all members that the stores know, however few are
// expected.
func TestAColdStartWaitsForAllStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := behind(t)
		g.cfg.Expect = 1
		g.start("a", "c")
		time.Sleep(20 * time.Second)
		for _, n := range g.nodes {
			if n.control.State().Formed() {
				t.Fatal("the cluster was formed without the member that has the newest store")
			}
		}
		g.start("b")
		g.ready()
		if v, _ := read(t, g.nodes["b"].Router(), id, "k"); v != "new" {
			t.Errorf("k is %q, what was acknowledged last is gone", v)
		}
	})
}

// A cold start whose source goes away for good begins anew from the other stores,
// when the source is declared lost or at once if loss is accepted, and never ends
// before.
func TestAColdStartOutlivesItsSource(t *testing.T) {
	for name, accept := range map[string]bool{"declared lost": false, "loss accepted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, id := behind(t)
				g.cfg.AcceptLoss = accept
				g.stores["b"].hideRows()
				g.start("a", "b", "c")
				n := g.nodes["a"]
				p := space.PartitionOf([]byte("k"), g.cfg.Partitions)
				source := func() MemberID {
					s := n.control.State()
					if !s.Formed() || s.Groups[s.Table[p]-1].Stage != Bootstrapping {
						return ""
					}
					for _, src := range s.Groups[s.Table[p]-1].Bootstrap.Sources {
						if src.Partition == p {
							return src.Member
						}
					}
					return ""
				}
				g.eventually("b's store is to be read", func() bool { return source() == "b" })
				g.crash("b")
				if !accept {
					time.Sleep(time.Minute)
					if source() != "b" {
						t.Fatal("the start went on without b, which is not lost")
					}
					m, _ := n.control.State().Member("b")
					if _, err := n.Router().Control(t.Context(), &DeclareLost{Member: "b", Incarnation: m.Incarnation}); err != nil {
						t.Fatal(err)
					}
				}
				g.ready()
				if v, _ := read(t, n.Router(), id, "k"); v != "old" {
					t.Errorf("k is %q", v)
				}
			})
		})
	}
}

// Who accepts loss starts cold with more than half of the members, not with less.
func TestLossIsAcceptedByAMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, id := behind(t)
		g.cfg.Expect, g.cfg.AcceptLoss = 1, true
		g.start("a")
		time.Sleep(20 * time.Second)
		if g.nodes["a"].control.State().Formed() {
			t.Fatal("one of three has formed the cluster")
		}
		g.start("c")
		g.ready()
		if v, _ := read(t, g.nodes["a"].Router(), id, "k"); v != "old" {
			t.Errorf("k is %q", v)
		}
	})
}

// Whoever is missing is named by the newest account; a store that came into other
// hands is there.
func TestTheNewestAccountNamesTheMembers(t *testing.T) {
	r := roll{there: map[MemberID]bool{}}
	r.call("a", &StoredGrid{Cluster: ClusterID{1}, Version: 9, Owner: "a", Members: []MemberID{"a", "b", "c"}})
	r.call("x", &StoredGrid{Cluster: ClusterID{1}, Version: 4, Owner: "c", Members: []MemberID{"a", "c", "z"}})
	r.call("y", &StoredGrid{})
	if got := r.absent(); !reflect.DeepEqual(got, []MemberID{"b"}) {
		t.Errorf("%v are missed, want b alone", got)
	}
}

// What a member tells of its store arrives as it is.
func TestAnAccountSurvivesItsEncoding(t *testing.T) {
	want := StoredGrid{
		Cluster: ClusterID{1}, Version: 2, Owner: "a", Members: []MemberID{"a", "b"}, Count: 3,
		Spaces: []space.Definition{{ID: 4, Name: "s", Shape: space.ShapeAny}}, LastSpace: 5,
		Sinks:      []Sink{{Sink: space.Sink{ID: 1, Name: "store", Required: true}}},
		Partitions: []StoredPartition{{ID: 1, Position: space.Position{History: space.History{6}, Seq: 7}, Epoch: 8}},
	}
	if got, err := decodeStored(encodeStored(&want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v (%v)", got, want, err)
	}
}

// A member that has become part of a cluster does not found another one, whatever
// it was about to do, and keeps what it has agreed on.
func TestAFounderThatIsLateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{})
		before := n.control.State()
		if err := n.foundWith(t.Context(), &Form{Cluster: ClusterID{9}, Durability: Memory, Members: []Member{n.self()}}); err == nil {
			t.Error("a second cluster was founded")
		}
		if n.control.State() != before {
			t.Errorf("the member is in cluster %s, was in %s", n.control.State().Cluster, before.Cluster)
		}
	})
}

// slowStore takes its time to tell what it holds.
type slowStore struct{ *memoryStore }

func (s slowStore) Stored(ctx context.Context) (StoredGrid, error) {
	time.Sleep(consentTime + time.Second)
	return s.memoryStore.Stored(ctx)
}

// A founder whose members have agreed to another one while it read their stores
// does not found.
func TestConsentThatRanOutIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := OpenNode(t.Context(), NodeConfig{Store: slowStore{newMemoryStore()}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		time.Sleep(consentTime + time.Second/2)
		if !n.consent.grant("another") {
			t.Fatal("consent does not run out")
		}
		time.Sleep(time.Second)
		if n.control.State().Formed() {
			t.Error("the cluster was founded without consent")
		}
	})
}
