package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

func refuse(code Code, format string, args ...any) Reply {
	return Reply{Code: code, Detail: fmt.Sprintf(format, args...)}
}

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

// CheckMemberID reports what is wrong with a name, or nil.
func CheckMemberID(id MemberID) error {
	if id == "" || len(id) > MaxMemberIDBytes {
		return fmt.Errorf("cluster: member %q: a name has 1 to %d bytes", id, MaxMemberIDBytes)
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("cluster: member %q: a name has letters, digits, '-', '_' and '.' only", id)
		}
	}
	return nil
}

// check reports what is wrong with a member, or nil.
func (m *Member) check() error {
	if err := CheckMemberID(m.ID); err != nil {
		return err
	}
	switch {
	case m.Incarnation == 0:
		return fmt.Errorf("member %q: incarnations count from 1", m.ID)
	case m.Peer == "":
		return fmt.Errorf("member %q: needs an address for other members", m.ID)
	case max(len(m.Peer), len(m.RESP), len(m.HTTP)) > MaxAddressBytes:
		return fmt.Errorf("member %q: an address has at most %d bytes", m.ID, MaxAddressBytes)
	case len(m.Zone) > MaxZoneBytes:
		return fmt.Errorf("member %q: a zone has at most %d bytes", m.ID, MaxZoneBytes)
	case m.State < Active || m.State > Lost:
		return fmt.Errorf("member %q: unknown %s", m.ID, m.State)
	}
	return nil
}

func (c *AdmitMember) apply(d *draft) Reply {
	m := c.Member
	m.Voter, m.State = false, Active
	if err := m.check(); err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	i, known := d.memberAt(m.ID)
	if !known {
		if len(d.Members) == MaxMembers {
			return refuse(CodeLimit, "%d members", MaxMembers)
		}
		d.Members = slices.Insert(slices.Clone(d.Members), i, m)
		d.changed, d.routed = true, true
		return Reply{}
	}
	old := d.Members[i]
	switch {
	case m.Incarnation < old.Incarnation:
		return refuse(CodeStaleIncarnation, "member %q is at incarnation %d, not %d", m.ID, old.Incarnation, m.Incarnation)
	case m.Incarnation > old.Incarnation:
	case old.State == Lost:
		return refuse(CodeStaleIncarnation, "incarnation %d of member %q was declared lost", m.Incarnation, m.ID)
	case m.Boot < old.Boot:
		return refuse(CodeStaleIncarnation, "member %q has started %d times, not %d: its disk was rolled back", m.ID, old.Boot, m.Boot)
	default:
		m.State = old.State
	}
	m.Voter = old.Voter
	if m == old {
		return Reply{}
	}
	d.routed = m.Peer != old.Peer || m.RESP != old.RESP || m.HTTP != old.HTTP
	d.setMember(i, m)
	return Reply{}
}

func (c *DrainMember) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return refuse(CodeNoMember, "%q", c.Member)
	}
	m := d.Members[i]
	if m.State == Lost {
		return refuse(CodeInvalid, "member %q is declared lost", c.Member)
	}
	want := Active
	if c.Drain {
		want = Leaving
	}
	if m.State != want {
		m.State = want
		d.setMember(i, m)
	}
	return Reply{}
}

func (c *RemoveMember) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return Reply{}
	}
	if d.Members[i].Voter {
		return refuse(CodeInUse, "member %q votes in the control group", c.Member)
	}
	for g := range d.Groups {
		if _, holds := d.Groups[g].Replica(c.Member); holds {
			return refuse(CodeInUse, "member %q holds a replica of group %d", c.Member, d.Groups[g].ID)
		}
	}
	d.Members = slices.Delete(slices.Clone(d.Members), i, i+1)
	d.changed = true
	return Reply{}
}

func (c *DeclareLost) apply(d *draft) Reply {
	i, ok := d.memberAt(c.Member)
	if !ok {
		return refuse(CodeNoMember, "%q", c.Member)
	}
	m := d.Members[i]
	if m.Incarnation != c.Incarnation {
		return refuse(CodeStaleIncarnation, "member %q is at incarnation %d, not %d", m.ID, m.Incarnation, c.Incarnation)
	}
	if m.State != Lost {
		m.State = Lost
		d.setMember(i, m)
	}
	return Reply{}
}

func (c *SetVoters) apply(d *draft) Reply {
	if len(c.Members) == 0 || len(c.Members) > MaxVoters {
		return refuse(CodeInvalid, "%d voters: want 1 to %d", len(c.Members), MaxVoters)
	}
	for _, id := range c.Members {
		if _, ok := d.memberAt(id); !ok {
			return refuse(CodeNoMember, "%q", id)
		}
	}
	for i := range d.Members {
		m := d.Members[i]
		if votes := slices.Contains(c.Members, m.ID); votes != m.Voter {
			m.Voter = votes
			d.setMember(i, m)
		}
	}
	return Reply{}
}

func (c *SetReplicas) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Version == c.Version+1 && slices.Equal(g.Replicas, c.Replicas) {
		return Reply{Group: g.Version} // a repeat
	}
	if g.Version != c.Version {
		r := refuse(CodeConflict, "group %d is at version %d, not %d", c.Group, g.Version, c.Version)
		r.Group = g.Version
		return r
	}
	if err := d.checkReplicas(g, c.Replicas); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	next := *g
	next.Replicas = slices.Clone(c.Replicas)
	d.setGroup(next)
	return Reply{Group: next.Version + 1}
}

// checkReplicas says why rs cannot be the replicas of g. New ones are on living
// members at their present incarnation; old ones may stay until they are
// replaced.
func (s *State) checkReplicas(g *Group, rs []Replica) error {
	voters := 0
	for i, r := range rs {
		same := func(o Replica) bool { return o.Member == r.Member && o.Incarnation == r.Incarnation }
		if slices.ContainsFunc(rs[:i], same) {
			return fmt.Errorf("member %q is named twice", r.Member)
		}
		if r.Role != Learner && r.Role != Voter {
			return fmt.Errorf("member %q: unknown %s", r.Member, r.Role)
		}
		if r.Role == Voter {
			voters++
		}
		if slices.ContainsFunc(g.Replicas, same) {
			continue
		}
		switch m, ok := s.Member(r.Member); {
		case !ok:
			return fmt.Errorf("there is no member %q", r.Member)
		case m.State == Lost:
			return fmt.Errorf("member %q is declared lost", r.Member)
		case m.Incarnation != r.Incarnation:
			return fmt.Errorf("member %q is at incarnation %d, not %d", r.Member, m.Incarnation, r.Incarnation)
		}
	}
	if voters == 0 {
		return errors.New("a group needs a voter")
	}
	return nil
}

func (c *BeginBootstrap) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Version != c.Version {
		r := refuse(CodeConflict, "group %d is at version %d, not %d", c.Group, g.Version, c.Version)
		r.Group = g.Version
		return r
	}
	if !slices.Contains(g.Replicas, Replica{c.Member, c.Incarnation, Voter}) {
		return refuse(CodeInvalid, "member %q, incarnation %d, is no voter of group %d", c.Member, c.Incarnation, c.Group)
	}
	if m, ok := d.Member(c.Member); !ok || m.State == Lost || m.Incarnation != c.Incarnation {
		return refuse(CodeStaleIncarnation, "member %q, incarnation %d, cannot begin", c.Member, c.Incarnation)
	}
	if err := d.checkSources(c.Group, c.Sources); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if g.Stage == Serving {
		if r, may := d.mayHoldState(g, c.Stateless); may {
			return refuse(CodeHasState, "member %q, incarnation %d, in group %d", r.Member, r.Incarnation, g.ID)
		}
	}
	next := *g
	next.Stage = Bootstrapping
	next.Bootstrap = Bootstrap{
		Member: c.Member, Incarnation: c.Incarnation,
		Attempt: g.Bootstrap.Attempt + 1, Sources: slices.Clone(c.Sources),
	}
	d.setGroup(next)
	return Reply{Group: next.Version + 1, Attempt: next.Bootstrap.Attempt}
}

// mayHoldState returns a replica of g that nobody has said to be without state.
func (s *State) mayHoldState(g *Group, stateless []MemberID) (Replica, bool) {
	for _, r := range g.Replicas {
		m, ok := s.Member(r.Member)
		lost := !ok || m.State == Lost || m.Incarnation > r.Incarnation
		if !lost && !slices.Contains(stateless, r.Member) {
			return r, true
		}
	}
	return Replica{}, false
}

// checkSources says why a bootstrap of g cannot use these sources.
func (s *State) checkSources(g GroupID, sources []Source) error {
	partitions := s.PartitionsOf(g)
	if len(sources) != len(partitions) {
		return fmt.Errorf("%d sources for the %d partitions of group %d", len(sources), len(partitions), g)
	}
	for i, src := range sources {
		if src.Partition != partitions[i] {
			return fmt.Errorf("source %d is for partition %d, not %d", i+1, src.Partition, partitions[i])
		}
		nothing := src.Member == "" && src.History.IsZero() && src.Seq == 0
		switch src.Kind {
		case FromNothing:
			if !nothing {
				return fmt.Errorf("partition %d: nothing has no member and no history", src.Partition)
			}
		case FromStore:
		case FromReplica:
			if _, ok := s.Member(src.Member); !ok {
				return fmt.Errorf("partition %d: there is no member %q", src.Partition, src.Member)
			}
		default:
			return fmt.Errorf("partition %d: unknown %s", src.Partition, src.Kind)
		}
	}
	return nil
}

func (c *EndBootstrap) apply(d *draft) Reply {
	g, ok := d.Group(c.Group)
	if !ok {
		return refuse(CodeNoGroup, "%d", c.Group)
	}
	if g.Stage == Unborn || g.Bootstrap.Attempt != c.Attempt {
		r := refuse(CodeConflict, "group %d is %s at attempt %d, not %d", c.Group, g.Stage, g.Bootstrap.Attempt, c.Attempt)
		r.Group = g.Version
		return r
	}
	if g.Stage == Serving {
		return Reply{Group: g.Version, Attempt: c.Attempt}
	}
	next := *g
	next.Stage = Serving
	d.setGroup(next)
	return Reply{Group: next.Version + 1, Attempt: c.Attempt}
}

func (c *CreateSpace) apply(d *draft) Reply {
	def := cloneDefinition(&c.Definition)
	def.ID = 0
	if err := def.Validate(); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if old, ok := d.Space(def.Name); ok {
		if sameDefinition(old, &def) {
			return Reply{Space: old.ID}
		}
		r := refuse(CodeSpaceConflict, "%q", def.Name)
		r.Space = old.ID
		return r
	}
	if len(d.Spaces) == space.MaxSpaces {
		return refuse(CodeLimit, "%d spaces", space.MaxSpaces)
	}
	if d.LastSpace == ^space.ID(0) {
		return refuse(CodeLimit, "all identities of spaces have been given out")
	}
	d.LastSpace++
	def.ID = d.LastSpace
	d.Spaces = append(slices.Clone(d.Spaces), def) // IDs only grow, so the end is its place
	d.changed = true
	return Reply{Space: def.ID}
}

// cloneDefinition copies a definition; one without indexes has the same form as
// after a restore.
func cloneDefinition(d *space.Definition) space.Definition {
	def := d.Clone()
	if len(def.Indexes) == 0 {
		def.Indexes = nil
	}
	return def
}

// sameDefinition compares all but the identity.
func sameDefinition(a, b *space.Definition) bool {
	return a.Name == b.Name && a.Shape == b.Shape && a.Key == b.Key &&
		a.Lease == b.Lease && a.ScanLimit == b.ScanLimit &&
		slices.EqualFunc(a.Indexes, b.Indexes, sameIndex)
}

func sameIndex(a, b space.Index) bool {
	return a.Name == b.Name && slices.Equal(a.Fields, b.Fields)
}

func (c *DropSpace) apply(d *draft) Reply {
	i, ok := d.spaceAt(c.Space)
	if !ok {
		if c.Space != 0 && c.Space <= d.LastSpace {
			return Reply{Space: c.Space} // dropped before
		}
		return refuse(CodeNoSpace, "%d", c.Space)
	}
	d.Spaces = slices.Delete(slices.Clone(d.Spaces), i, i+1)
	d.changed = true
	return Reply{Space: c.Space}
}

func (c *AlterSpace) apply(d *draft) Reply {
	i, ok := d.spaceAt(c.Space)
	if !ok {
		return refuse(CodeNoSpace, "%d", c.Space)
	}
	old := &d.Spaces[i]
	def := cloneDefinition(old)
	def.Indexes = slices.DeleteFunc(def.Indexes, func(x space.Index) bool { return slices.Contains(c.Drop, x.Name) })
	for _, add := range c.Add {
		at := slices.IndexFunc(def.Indexes, func(x space.Index) bool { return x.Name == add.Name })
		switch {
		case at < 0:
			def.Indexes = append(def.Indexes, space.Index{Name: add.Name, Fields: slices.Clone(add.Fields)})
		case !sameIndex(def.Indexes[at], add):
			return refuse(CodeSpaceConflict, "index %q of space %q has other fields", add.Name, def.Name)
		}
	}
	if err := def.Validate(); err != nil {
		return Reply{Code: CodeInvalid, Detail: err.Error()}
	}
	if sameDefinition(old, &def) {
		return Reply{Space: def.ID}
	}
	d.Spaces = slices.Clone(d.Spaces)
	d.Spaces[i] = cloneDefinition(&def)
	d.changed = true
	return Reply{Space: def.ID}
}

func (c *SetSink) apply(d *draft) Reply {
	if c.Name == "" || len(c.Name) > space.MaxNameBytes {
		return refuse(CodeInvalid, "the name of a sink has 1 to %d bytes", space.MaxNameBytes)
	}
	for i, s := range d.Sinks {
		if s.Name != c.Name {
			continue
		}
		if s.Required != c.Required {
			d.Sinks = slices.Clone(d.Sinks)
			d.Sinks[i].Required = c.Required
			d.changed = true
		}
		return Reply{Sink: s.ID}
	}
	if len(d.Sinks) == space.MaxSinks {
		return refuse(CodeLimit, "%d sinks", space.MaxSinks)
	}
	d.LastSink++
	d.Sinks = append(slices.Clone(d.Sinks), space.Sink{ID: d.LastSink, Name: c.Name, Required: c.Required})
	d.changed = true
	return Reply{Sink: d.LastSink}
}
