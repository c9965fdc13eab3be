package cluster

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

func servingControl(t testing.TB) *Control {
	c := NewControl()
	c.Apply(EncodeCommand(&Form{Cluster: ClusterID{7}, Partitions: 64, Durability: Disk, Members: testMembers(4, noZone)}))
	s := c.State()
	r := s.Groups[0].Replicas[0]
	c.Apply(EncodeCommand(&BeginBootstrap{1, s.Groups[0].Version, r.Member, r.Incarnation, nil, sourcesFor(s, 1)}))
	c.Apply(EncodeCommand(&EndBootstrap{1, 1}))
	if got := c.State().Groups[0].Stage; got != Serving {
		t.Fatalf("group 1 is %s", got)
	}
	return c
}

// A table routes every key to a group of its slot, with the preferred leader
// first, and says which groups serve.
func TestTableRoutes(t *testing.T) {
	s := servingControl(t).State()
	tab := NewTable(s)
	if tab.Partitions() != 64 || tab.Version != s.TableVersion || tab.Cluster != s.Cluster {
		t.Fatalf("table %+v", tab)
	}
	for _, key := range []string{"a", "order:17", "{tag}x", "{tag}y"} {
		p := tab.PartitionOf([]byte(key))
		g := tab.GroupOf(p)
		want, _ := s.Group(s.Table[p])
		pref, _ := want.Preferred()
		if g.ID != want.ID || g.Replicas[0].Member != pref.Member || g.Replicas[0].Peer == "" || len(g.Replicas) != 3 {
			t.Errorf("key %q: group %+v", key, g)
		}
		if g.Serving != (g.ID == 1) {
			t.Errorf("group %d: serving is %v", g.ID, g.Serving)
		}
	}
	if tab.GroupOf(64) != nil {
		t.Error("a partition that does not exist has a group")
	}
	next, total := 0, 0
	for _, r := range tab.SlotRanges() {
		if int(r.First) != next || tab.Owners[space.PartitionOfSlot(r.First, 64)] != r.Group || tab.Owners[space.PartitionOfSlot(r.Last, 64)] != r.Group {
			t.Errorf("slots %+v follow %d", r, next)
		}
		next = int(r.Last) + 1
		total++
	}
	if next != space.Slots || total != len(s.Groups) {
		t.Errorf("%d runs end at slot %d", total, next)
	}
	if empty := NewTable(NewControl().State()); empty.Partitions() != 0 || empty.GroupOf(0) != nil || len(empty.SlotRanges()) != 0 {
		t.Errorf("the table of no cluster: %+v", empty)
	}
}

// Clients are not sent to replicas that cannot lead: learners, and the life of a
// member that is over.
func TestTableLeavesOutWhoCannotLead(t *testing.T) {
	c := servingControl(t)
	g := c.State().Groups[0]
	m, _ := c.State().Member(g.Replicas[0].Member)
	again := *m
	again.Incarnation++
	c.Apply(EncodeCommand(&AdmitMember{again}))
	c.Apply(EncodeCommand(&SetReplicas{1, g.Version, append(g.Replicas[:3:3], Replica{again.ID, again.Incarnation, Learner})}))
	if got := NewTable(c.State()).Groups[0].Replicas; len(got) != 2 || got[0].Member != g.Replicas[1].Member {
		t.Errorf("replicas %+v of %+v", got, c.State().Groups[0])
	}
}

// A table survives its binary form and its JSON.
func TestTableTravels(t *testing.T) {
	tab := NewTable(servingControl(t).State())
	b, err := tab.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got, fromJSON Table
	if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(&got, tab) {
		t.Errorf("binary: %+v, want %+v (%v)", got, tab, err)
	}
	j, err := json.Marshal(tab)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(j, &fromJSON); err != nil || !reflect.DeepEqual(&fromJSON, tab) {
		t.Errorf("JSON: %+v, want %+v (%v)", fromJSON, tab, err)
	}
	if err := got.UnmarshalBinary(b[:len(b)-1]); err == nil || !reflect.DeepEqual(&got, tab) {
		t.Errorf("half a table was taken: %v", err)
	}
}

// Whatever bytes arrive as a table, one that is accepted can be routed by and
// travels on unchanged.
func FuzzTable(f *testing.F) {
	b, _ := NewTable(servingControl(f).State()).MarshalBinary()
	f.Add(b)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var tab, again Table
		if tab.UnmarshalBinary(b) != nil {
			return
		}
		for p := range tab.Owners {
			if tab.GroupOf(space.PartitionID(p)) == nil {
				t.Fatalf("partition %d has no group", p)
			}
		}
		tab.SlotRanges()
		out, err := tab.MarshalBinary()
		if err == nil {
			err = again.UnmarshalBinary(out)
		}
		if err != nil || !reflect.DeepEqual(tab, again) {
			t.Fatalf("%+v became %+v (%v)", tab, again, err)
		}
	})
}
