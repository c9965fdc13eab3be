package cluster

import (
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Table is what a client needs to route: slot → partition → group → replicas.
// It is a value of its own, made from a [State], that can be sent to remote
// clients and shown. It is never modified after it was made.
type Table struct {
	Cluster ClusterID `json:"cluster"`
	// Version grows with every change of what a table shows. Of two tables of
	// one cluster the one with the greater version is right.
	Version uint64       `json:"version"`
	Groups  []TableGroup `json:"groups"` // the group n is Groups[n-1]
	// Owners names the group of each partition; its length is the partition count.
	Owners []GroupID `json:"owners"`
}

// TableGroup is one group as clients see it.
type TableGroup struct {
	ID      GroupID `json:"id"`
	Serving bool    `json:"serving"`
	// Replicas are in the order of preference for leadership: the first is
	// where the leader should be. Where it is at the moment, the replicas tell.
	// Learners are left out.
	Replicas []TableReplica `json:"replicas"`
}

// TableReplica is a member that holds a group, and how to reach it.
type TableReplica struct {
	Member      MemberID `json:"member"`
	Incarnation uint64   `json:"incarnation"`
	Peer        string   `json:"peer"`
	RESP        string   `json:"resp,omitempty"`
	HTTP        string   `json:"http,omitempty"`
}

// NewTable returns the table of a state. It is empty while the cluster is not
// formed.
func NewTable(s *State) *Table {
	t := &Table{Cluster: s.Cluster, Version: s.TableVersion, Owners: s.Table}
	for i := range s.Groups {
		g := &s.Groups[i]
		tg := TableGroup{ID: g.ID, Serving: g.Stage == Serving}
		for _, r := range g.Replicas {
			m, ok := s.Member(r.Member)
			if !ok || r.Role != Voter || r.Incarnation != m.Incarnation {
				continue
			}
			tg.Replicas = append(tg.Replicas, TableReplica{
				Member: m.ID, Incarnation: r.Incarnation, Peer: m.Peer, RESP: m.RESP, HTTP: m.HTTP,
			})
		}
		t.Groups = append(t.Groups, tg)
	}
	return t
}

// Partitions returns the partition count, 0 while the cluster is not formed.
func (t *Table) Partitions() int { return len(t.Owners) }

// PartitionOf returns the partition of a key. The table must not be empty.
func (t *Table) PartitionOf(key []byte) space.PartitionID {
	return space.PartitionOf(key, len(t.Owners))
}

// GroupOf returns the group of a partition, or nil when there is no such
// partition.
func (t *Table) GroupOf(p space.PartitionID) *TableGroup {
	if int(p) >= len(t.Owners) {
		return nil
	}
	return &t.Groups[t.Owners[p]-1]
}

// SlotRange is a run of hash slots of one group.
type SlotRange struct {
	First, Last uint16 // both included
	Group       GroupID
}

// SlotRanges returns the hash slots as the longest runs that belong to one
// group each, in order.
func (t *Table) SlotRanges() []SlotRange {
	var out []SlotRange
	for p, g := range t.Owners {
		first, last := space.SlotRange(space.PartitionID(p), len(t.Owners))
		if n := len(out); n > 0 && out[n-1].Group == g {
			out[n-1].Last = last
			continue
		}
		out = append(out, SlotRange{First: first, Last: last, Group: g})
	}
	return out
}

const tableFormat = 1

// MarshalBinary returns the compact form of t; the caller owns it.
func (t *Table) MarshalBinary() ([]byte, error) {
	e := &encoder{}
	e.byte(tableFormat)
	e.b = append(e.b, t.Cluster[:]...)
	e.uint(t.Version)
	putList(e, t.Groups, putTableGroup)
	putTable(e, t.Owners)
	return e.b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote. It keeps no reference to b;
// after an error, which is an [*CorruptError], t is as before.
func (t *Table) UnmarshalBinary(b []byte) error {
	d := &decoder{b: b}
	if f := d.byte(); d.err == nil && f != tableFormat {
		d.fail(fmt.Errorf("format %d is unknown", f))
	}
	var next Table
	d.fixed(next.Cluster[:])
	next.Version = d.uint(noLimit)
	next.Groups = list(d, MaxGroups, tableGroup)
	next.Owners = table(d)
	err := d.done()
	if err == nil {
		err = next.check()
	}
	if err != nil {
		return &CorruptError{What: "partition table", Err: err}
	}
	*t = next
	return nil
}

// check makes sure that what a table from elsewhere refers to is in it.
func (t *Table) check() error {
	for i := range t.Groups {
		if t.Groups[i].ID != GroupID(i+1) {
			return errors.New("groups are not in order")
		}
	}
	for p, g := range t.Owners {
		if g < 1 || int(g) > len(t.Groups) {
			return fmt.Errorf("partition %d belongs to group %d, which does not exist", p, g)
		}
	}
	return nil
}

func putTableGroup(e *encoder, g *TableGroup) {
	e.uint(uint64(g.ID))
	e.bool(g.Serving)
	putList(e, g.Replicas, func(e *encoder, r *TableReplica) {
		putMemberID(e, &r.Member)
		e.uint(r.Incarnation)
		e.string(r.Peer)
		e.string(r.RESP)
		e.string(r.HTTP)
	})
}

func tableGroup(d *decoder) TableGroup {
	return TableGroup{
		ID:      GroupID(d.uint(MaxGroups)),
		Serving: d.bool(),
		Replicas: list(d, MaxReplicas, func(d *decoder) TableReplica {
			return TableReplica{
				Member:      memberID(d),
				Incarnation: d.uint(noLimit),
				Peer:        d.string(MaxAddressBytes),
				RESP:        d.string(MaxAddressBytes),
				HTTP:        d.string(MaxAddressBytes),
			}
		}),
	}
}
