package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// maxFirstVersion leaves room to count on: a greater version is no true account.
const maxFirstVersion = 1 << 62

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
	case c.Version > maxFirstVersion:
		return refuse(CodeInvalid, "the version %d cannot be counted on from", c.Version)
	case len(c.Members) == 0 || len(c.Members) > MaxMembers:
		return refuse(CodeInvalid, "%d members: want 1 to %d", len(c.Members), MaxMembers)
	}
	members, err := firstMembers(c.Members)
	if err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	d.Cluster, d.Copies, d.Members, d.Version = c.Cluster, copies, members, c.Version
	if err := d.recall(c); err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
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

// recall takes over the spaces and sinks of the cluster whose stores the members
// start from. Their numbers stay, because the stores know them by those.
func (d *draft) recall(c *Form) error {
	d.Sinks = []Sink{{Sink: space.Sink{ID: space.StoreSink, Name: storeSinkName, Required: true}}}
	if len(c.Sinks) > 0 {
		d.Sinks = slices.Clone(c.Sinks)
	}
	slices.SortFunc(d.Sinks, func(a, b Sink) int { return cmp.Compare(a.ID, b.ID) })
	for i, k := range d.Sinks {
		if k.ID == 0 || k.Name == "" || len(k.Name) > space.MaxNameBytes || i > 0 && d.Sinks[i-1].ID == k.ID {
			return fmt.Errorf("sink %q, number %d", k.Name, k.ID)
		}
		d.LastSink = k.ID
	}
	spaces := make([]space.Definition, len(c.Spaces))
	for i := range c.Spaces {
		spaces[i] = cloneDefinition(&c.Spaces[i])
	}
	slices.SortFunc(spaces, func(a, b space.Definition) int { return cmp.Compare(a.ID, b.ID) })
	d.LastSpace = c.LastSpace
	for i := range spaces {
		def := &spaces[i]
		if err := def.Validate(); err != nil {
			return err
		}
		if def.ID == 0 || i > 0 && spaces[i-1].ID == def.ID {
			return fmt.Errorf("space %q: number %d is no number, or is given twice", def.Name, def.ID)
		}
		d.LastSpace = max(d.LastSpace, def.ID)
	}
	d.setSpaces(spaces)
	if len(d.named) != len(spaces) {
		return errors.New("two spaces have one name")
	}
	return nil
}

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
