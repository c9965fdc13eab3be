package cluster

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

func (c *Form) apply(d *draft) Reply {
	if d.Formed() {
		if d.Cluster == c.Cluster {
			return Reply{}
		}
		return refuse(CodeFormed, "as cluster %s", d.Cluster)
	}
	partitions := cmp.Or(c.Partitions, DefaultPartitions)
	copies := cmp.Or(c.Copies, DefaultCopies)
	switch {
	case c.Cluster.IsZero():
		return refuse(CodeInvalid, "a cluster needs an identity")
	case partitions < 1 || partitions > MaxPartitions:
		return refuse(CodeInvalid, "%d partitions: want 1 to %d", partitions, MaxPartitions)
	case copies < 1 || copies > MaxCopies:
		return refuse(CodeInvalid, "%d copies: want 1 to %d", copies, MaxCopies)
	case c.Durability != Disk && c.Durability != Memory:
		return refuse(CodeInvalid, "unknown %s", c.Durability)
	case len(c.Members) == 0 || len(c.Members) > MaxMembers:
		return refuse(CodeInvalid, "%d members: want 1 to %d", len(c.Members), MaxMembers)
	}
	members, err := firstMembers(c.Members)
	if err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	d.Cluster, d.Copies, d.Members = c.Cluster, copies, members
	d.Sinks = []space.Sink{{ID: space.StoreSink, Name: storeSinkName, Required: true}}
	d.LastSink = space.StoreSink
	replicas, table := InitialPlacement(members, partitions, copies)
	d.Groups = make([]Group, len(replicas))
	for i, rs := range replicas {
		d.Groups[i] = Group{ID: GroupID(i + 1), Version: 1, Durability: c.Durability, Stage: Unborn, Replicas: rs}
	}
	d.Table = table
	d.changed, d.routed = true, true
	return Reply{}
}

const storeSinkName = "store"

// firstMembers checks the members of a new cluster, sorts them and settles who
// votes.
func firstMembers(in []Member) ([]Member, error) {
	members := slices.Clone(in)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	voters := 0
	for i := range members {
		m := &members[i]
		m.State = Active
		if err := m.check(); err != nil {
			return nil, err
		}
		if i > 0 && members[i-1].ID == m.ID {
			return nil, fmt.Errorf("two members are named %q", m.ID)
		}
		if m.Voter {
			voters++
		}
	}
	if voters > MaxVoters {
		return nil, fmt.Errorf("%d voters: want at most %d", voters, MaxVoters)
	}
	if voters == 0 {
		for _, id := range InitialVoters(members) {
			i, _ := (&State{Members: members}).memberAt(id)
			members[i].Voter = true
		}
	}
	return members, nil
}
