package cluster

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Bounds of the control state. They are part of the state machine: a command
// beyond them is refused on every replica alike.
const (
	MaxMemberIDBytes = 64   // a member's name; it travels in every frame between members
	MaxAddressBytes  = 255  // a host name of full length is 253 bytes, a port is left to short hosts
	MaxZoneBytes     = 64   // the name of a zone
	MaxMembers       = 256  // members known at a time, lost ones included
	MaxGroups        = 8    // groups cost a round each, partitions do not; see [GroupsFor]
	MaxReplicas      = 9    // replicas of one group while they are being exchanged
	MaxCopies        = 5    // replicas wanted for each group
	MaxVoters        = 5    // voters of the control group; everybody else learns
	MaxPartitions    = 4096 // the partition count is fixed for a cluster's life

	DefaultPartitions = 256
	DefaultCopies     = 3
)

// MemberID is the name of one member: 1 to [MaxMemberIDBytes] letters, digits,
// '-', '_' and '.', chosen by the operator, unique and stable over restarts.
type MemberID string

// GroupID names a raft group. 0 is the control group, groups that carry
// partitions count from 1.
type GroupID uint32

// ControlGroup is the group that agrees on [State].
const ControlGroup GroupID = 0

// ClusterID tells clusters apart. It is drawn at random when a cluster forms.
type ClusterID [16]byte

// IsZero reports whether the cluster has not been formed.
func (c ClusterID) IsZero() bool { return c == ClusterID{} }

// String returns c in hexadecimal.
func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// MarshalText writes the form that String returns, so that JSON shows it.
func (c ClusterID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the form that MarshalText writes.
func (c *ClusterID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(c) {
		return fmt.Errorf("cluster: an identity has %d hexadecimal digits, not %d", 2*len(c), len(b))
	}
	if _, err := hex.Decode(c[:], b); err != nil {
		return fmt.Errorf("cluster: identity: %w", err)
	}
	return nil
}

// Durability says when a group may acknowledge.
type Durability uint8

// The durabilities of a group.
const (
	Disk   Durability = 1 // logged and synced on a majority first
	Memory Durability = 2 // in the memory of a majority
)

// String returns the word used in listings.
func (d Durability) String() string {
	switch d {
	case Disk:
		return "disk"
	case Memory:
		return "memory"
	}
	return fmt.Sprintf("durability(%d)", uint8(d))
}

// ParseDurability reads the word that String writes.
func ParseDurability(s string) (Durability, error) {
	for _, d := range []Durability{Disk, Memory} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("cluster: unknown durability %q: use disk or memory", s)
}

// MemberState is what the control group has decided about a member. Whether it
// answers at the moment is for [Gossip] to guess.
type MemberState uint8

// The states of a member.
const (
	Active  MemberState = 1 // may hold replicas
	Leaving MemberState = 2 // keeps what it holds until it has been moved; gets nothing new
	Lost    MemberState = 3 // declared lost: this incarnation never returns
)

// String returns the word used in listings.
func (s MemberState) String() string {
	switch s {
	case Active:
		return "active"
	case Leaving:
		return "leaving"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Member is one process of the cluster as the control group knows it.
type Member struct {
	ID MemberID
	// Incarnation names one life of the member's state. It is the same after
	// a restart that kept the data and greater after one that did not. From 1.
	Incarnation uint64
	// Boot counts the starts within an incarnation. An admission with a
	// smaller one means that the member's disk was rolled back.
	Boot uint64
	Peer string // host:port for other members
	RESP string // host:port for Redis clients, may be empty
	HTTP string // host:port for HTTP and WebSocket, may be empty
	Zone string // members of one zone may fail together; may be empty
	// Voter says that the member votes in the control group.
	Voter bool
	State MemberState
}

// Role is what a replica does in its group.
type Role uint8

// The roles of a replica.
const (
	Learner Role = 1 // receives the log, has no vote
	Voter   Role = 2
)

// String returns the word used in listings.
func (r Role) String() string {
	switch r {
	case Learner:
		return "learner"
	case Voter:
		return "voter"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Replica is one copy of a group on one incarnation of a member.
type Replica struct {
	Member      MemberID
	Incarnation uint64
	Role        Role
}

// Stage is how far a group has come.
type Stage uint8

// The stages of a group.
const (
	Unborn        Stage = 1 // nobody has begun to give it a state
	Bootstrapping Stage = 2 // one member makes the first state, see Bootstrap
	Serving       Stage = 3 // the group lives by its own log
)

// String returns the word used in listings.
func (s Stage) String() string {
	switch s {
	case Unborn:
		return "unborn"
	case Bootstrapping:
		return "bootstrapping"
	case Serving:
		return "serving"
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// SourceKind says what the first state of a partition is made of.
type SourceKind uint8

// The kinds of sources.
const (
	FromNothing SourceKind = 1 // an empty partition
	FromStore   SourceKind = 2 // the record, read from Member's store or an external one
	FromReplica SourceKind = 3 // what Member still holds
)

// String returns the word used in listings.
func (k SourceKind) String() string {
	switch k {
	case FromNothing:
		return "nothing"
	case FromStore:
		return "store"
	case FromReplica:
		return "replica"
	}
	return fmt.Sprintf("source(%d)", uint8(k))
}

// Source is where a bootstrap takes one partition from. History and Seq are
// what was found there when the bootstrap was decided, and Epoch is the highest
// that any store had for the partition, which the new history begins above. They
// are zero for FromNothing.
type Source struct {
	Partition space.PartitionID
	Kind      SourceKind
	Member    MemberID // empty: not tied to a member
	History   space.History
	Seq       space.Seq
	Epoch     space.Epoch
}

// Bootstrap is the making of a group's first state by one member. It stays in
// the state after it ended, as the account of where the group came from.
type Bootstrap struct {
	Member      MemberID
	Incarnation uint64
	// Attempt counts the bootstraps of the group, from 1. A member that finds
	// a newer attempt than its own throws away what it made.
	Attempt uint64
	// Sources has one element for each partition of the group, in order.
	Sources []Source
}

// Group is one raft group and who holds it.
type Group struct {
	ID GroupID
	// Version counts the changes of the group; commands compare and set it.
	Version    uint64
	Durability Durability
	Stage      Stage
	// Replicas are in the order of preference for leadership, the preferred
	// leader first.
	Replicas  []Replica
	Bootstrap Bootstrap // zero while Stage is Unborn
}

// Preferred returns the replica that should lead: the first voter. ok is false
// when there is none.
func (g *Group) Preferred() (r Replica, ok bool) {
	for _, r := range g.Replicas {
		if r.Role == Voter {
			return r, true
		}
	}
	return Replica{}, false
}

// Replica returns the group's replica on a member; during an exchange there may
// be two, then the one of the newer incarnation.
func (g *Group) Replica(m MemberID) (best Replica, ok bool) {
	for _, r := range g.Replicas {
		if r.Member == m && (!ok || r.Incarnation > best.Incarnation) {
			best, ok = r, true
		}
	}
	return best, ok
}

// State is what the control group has agreed on, at one moment. It is
// immutable: every command that changes something makes another one, which
// shares the unchanged parts. Readers must not modify what they find.
type State struct {
	// Cluster is zero until the cluster is formed; everything else is empty then.
	Cluster ClusterID
	// Version counts the changes applied since the cluster began. Refused and
	// repeated commands do not count.
	Version uint64
	// TableVersion is the Version of the last change that clients route by:
	// addresses, replicas, stages and the table itself.
	TableVersion uint64
	// Copies is how many replicas each group wants, members permitting.
	Copies int
	// Members are sorted by ID.
	Members []Member
	// Spaces are sorted by ID. LastSpace is the greatest ID ever given.
	Spaces    []space.Definition
	LastSpace space.ID
	named     map[string]int // where in Spaces each name is: routing asks for every command
	// Sinks are sorted by ID. LastSink is the greatest ID ever given.
	Sinks    []Sink
	LastSink space.SinkID
	// Groups are in order: the group n is Groups[n-1].
	Groups []Group
	// Table names the group of each partition; its length is the partition
	// count, which never changes.
	Table []GroupID
}

// Formed reports whether the cluster has been formed.
func (s *State) Formed() bool { return !s.Cluster.IsZero() }

// Member finds a member by name.
func (s *State) Member(id MemberID) (*Member, bool) {
	i, ok := s.memberAt(id)
	if !ok {
		return nil, false
	}
	return &s.Members[i], true
}

// Space finds a definition by name.
func (s *State) Space(name string) (*space.Definition, bool) {
	i, ok := s.named[name]
	if !ok {
		return nil, false
	}
	return &s.Spaces[i], true
}

// setSpaces replaces the definitions, which are sorted by ID.
func (s *State) setSpaces(defs []space.Definition) {
	s.Spaces, s.named = defs, make(map[string]int, len(defs))
	for i := range defs {
		s.named[defs[i].Name] = i
	}
}

// SpaceByID finds a definition by its ID.
func (s *State) SpaceByID(id space.ID) (*space.Definition, bool) {
	i, ok := s.spaceAt(id)
	if !ok {
		return nil, false
	}
	return &s.Spaces[i], true
}

// Group finds a group that carries partitions.
func (s *State) Group(id GroupID) (*Group, bool) {
	if id < 1 || int64(id) > int64(len(s.Groups)) {
		return nil, false
	}
	return &s.Groups[id-1], true
}

// PartitionsOf returns the partitions of a group, in order. The caller owns the
// result.
func (s *State) PartitionsOf(id GroupID) []space.PartitionID {
	var ps []space.PartitionID
	for p, g := range s.Table {
		if g == id {
			ps = append(ps, space.PartitionID(p))
		}
	}
	return ps
}

// Voters returns the voters of the control group, by name.
func (s *State) Voters() []MemberID {
	var ids []MemberID
	for i := range s.Members {
		if s.Members[i].Voter {
			ids = append(ids, s.Members[i].ID)
		}
	}
	return ids
}

func (s *State) memberAt(id MemberID) (int, bool) {
	return slices.BinarySearchFunc(s.Members, id, func(m Member, id MemberID) int {
		return strings.Compare(string(m.ID), string(id))
	})
}

func (s *State) spaceAt(id space.ID) (int, bool) {
	return slices.BinarySearchFunc(s.Spaces, id, func(d space.Definition, id space.ID) int {
		return int(int64(d.ID) - int64(id))
	})
}
