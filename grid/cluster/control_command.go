package cluster

import (
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Command asks the control group for one change. The types below are all there
// are. Commands may be repeated: each either finds its effect in place and
// answers OK without a change, or is refused because it compares a version.
type Command interface {
	kind() commandKind
	encode(*encoder)
	apply(*draft) Reply
}

// Form makes a cluster out of its first members. Groups and table follow from
// the command by [InitialPlacement]. It is the first command of a cluster.
type Form struct {
	Cluster    ClusterID  // drawn at random by whoever forms the cluster
	Partitions int        // 1 to MaxPartitions, for the cluster's life; 0: DefaultPartitions
	Copies     int        // 1 to MaxCopies; 0: DefaultCopies
	Durability Durability // of every group
	// Members are the first members, in any order. Voter marks those that vote
	// in the control group; when none is marked, [InitialVoters] chooses.
	Members []Member
	// Spaces, LastSpace and Sinks are those of the cluster whose stores the
	// members start from, with the numbers they had. Sinks empty: the embedded
	// store.
	Spaces    []space.Definition
	LastSpace space.ID // 0: the greatest in Spaces
	Sinks     []Sink
	// Version is the highest control state that those stores have heard of; the
	// new one counts on from it.
	Version uint64
}

// AdmitMember makes a process a member, or brings what is known of a returning
// one up to date. Voter and State of Member are not looked at.
type AdmitMember struct{ Member Member }

// DrainMember asks for a member's replicas to be moved elsewhere, or takes that
// back.
type DrainMember struct {
	Member MemberID
	Drain  bool
}

// RemoveMember forgets a member that holds no replica and no vote.
type RemoveMember struct{ Member MemberID }

// DeclareLost states that an incarnation of a member never returns. What only
// it held is lost.
type DeclareLost struct {
	Member      MemberID
	Incarnation uint64
}

// SetVoters records who votes in the control group, after its raft
// configuration has been changed.
type SetVoters struct{ Members []MemberID }

// SetReplicas replaces the replicas of a group, if the group is still at
// Version.
type SetReplicas struct {
	Group    GroupID
	Version  uint64
	Replicas []Replica // preferred leader first
}

// BeginBootstrap lets one replica's member make the first state of a group, if
// the group is still at Version. It may be repeated to let another member try;
// then Attempt in the reply is greater. A group that is serving begins anew
// only when every replica's member is declared lost or named in Stateless.
type BeginBootstrap struct {
	Group       GroupID
	Version     uint64
	Member      MemberID
	Incarnation uint64
	// Stateless are members that were asked and hold nothing of the group.
	Stateless []MemberID
	// Sources has one element for each partition of the group, in order.
	Sources []Source
}

// EndBootstrap makes a group serve, if Attempt is still the newest one.
type EndBootstrap struct {
	Group   GroupID
	Attempt uint64
}

// CreateSpace defines a space. The ID of the definition is not looked at; the
// reply has the one that was given. An equal definition of that name is
// answered as if it had just been created.
type CreateSpace struct{ Definition space.Definition }

// DropSpace removes a definition. Its ID is never given again.
type DropSpace struct{ Space space.ID }

// AlterSpace changes what may change of a definition while there are entries.
// Name, shape, key, group and routing stay for a space's life.
type AlterSpace struct {
	Space       space.ID
	AddIndexes  []space.Index
	DropIndexes []string      // names; those that are absent are no error
	AddFields   []space.Field // a field that is declared already has the new type
	DropFields  []string      // paths
	// nil leaves each of these as it is.
	ClaimLease  *time.Duration
	MaxAttempts *int
	DeadLetter  *space.ID // 0: none
}

// SetSink adds the sink of that name, the embedded store, or changes whether it
// is required.
type SetSink struct {
	Name     string
	Required bool
}

type commandKind uint8

// The numbers are part of the log: never reused or reordered.
const (
	kindForm           commandKind = 1
	kindAdmitMember    commandKind = 2
	kindDrainMember    commandKind = 3
	kindRemoveMember   commandKind = 4
	kindDeclareLost    commandKind = 5
	kindSetVoters      commandKind = 6
	kindSetReplicas    commandKind = 7
	kindBeginBootstrap commandKind = 8
	kindEndBootstrap   commandKind = 9
	kindCreateSpace    commandKind = 10
	kindDropSpace      commandKind = 11
	kindAlterSpace     commandKind = 12
	kindSetSink        commandKind = 13
	kindAddSink        commandKind = 20
	kindAlterSink      commandKind = 21
	kindRemoveSink     commandKind = 22
)

func (*Form) kind() commandKind           { return kindForm }
func (*AdmitMember) kind() commandKind    { return kindAdmitMember }
func (*DrainMember) kind() commandKind    { return kindDrainMember }
func (*RemoveMember) kind() commandKind   { return kindRemoveMember }
func (*DeclareLost) kind() commandKind    { return kindDeclareLost }
func (*SetVoters) kind() commandKind      { return kindSetVoters }
func (*SetReplicas) kind() commandKind    { return kindSetReplicas }
func (*BeginBootstrap) kind() commandKind { return kindBeginBootstrap }
func (*EndBootstrap) kind() commandKind   { return kindEndBootstrap }
func (*CreateSpace) kind() commandKind    { return kindCreateSpace }
func (*DropSpace) kind() commandKind      { return kindDropSpace }
func (*AlterSpace) kind() commandKind     { return kindAlterSpace }
func (*SetSink) kind() commandKind        { return kindSetSink }

const commandFormat = 1

// EncodeCommand returns the binary form of c: format, kind, fields. The caller
// owns the result. A command beyond the bounds of this package encodes, and is
// refused when it is decoded.
func EncodeCommand(c Command) []byte {
	e := &encoder{}
	e.byte(commandFormat)
	e.byte(byte(c.kind()))
	c.encode(e)
	return e.b
}

// DecodeCommand reads what EncodeCommand wrote. It keeps no reference to b and
// allocates no more than a small multiple of len(b).
func DecodeCommand(b []byte) (Command, error) {
	d := &decoder{b: b}
	if f := d.byte(); d.err == nil && f != commandFormat {
		d.fail(fmt.Errorf("format %d is unknown", f))
	}
	c := decodeFields(d, commandKind(d.byte()))
	if err := d.done(); err != nil {
		return nil, &CorruptError{What: "control command", Err: err}
	}
	return c, nil
}

func decodeFields(d *decoder, kind commandKind) Command {
	switch kind {
	case kindForm:
		c := &Form{}
		d.fixed(c.Cluster[:])
		c.Partitions = int(d.uint(MaxPartitions))
		c.Copies = int(d.uint(MaxCopies))
		c.Durability = Durability(d.byte())
		c.Members = list(d, MaxMembers, member)
		c.Spaces = list(d, space.MaxSpaces, definition)
		c.LastSpace = space.ID(d.uint(uint64(^space.ID(0))))
		c.Sinks = list(d, space.MaxSinks, sink)
		c.Version = d.uint(noLimit)
		allSettings(d, c.Sinks)
		return c
	case kindAdmitMember:
		return &AdmitMember{Member: member(d)}
	case kindDrainMember:
		return &DrainMember{Member: memberID(d), Drain: d.bool()}
	case kindRemoveMember:
		return &RemoveMember{Member: memberID(d)}
	case kindDeclareLost:
		return &DeclareLost{Member: memberID(d), Incarnation: d.uint(noLimit)}
	case kindSetVoters:
		return &SetVoters{Members: list(d, MaxVoters, memberID)}
	case kindSetReplicas:
		return &SetReplicas{
			Group:    GroupID(d.uint(MaxGroups)),
			Version:  d.uint(noLimit),
			Replicas: list(d, MaxReplicas, readReplica),
		}
	case kindBeginBootstrap:
		return &BeginBootstrap{
			Group:       GroupID(d.uint(MaxGroups)),
			Version:     d.uint(noLimit),
			Member:      memberID(d),
			Incarnation: d.uint(noLimit),
			Stateless:   list(d, MaxReplicas, memberID),
			Sources:     list(d, MaxPartitions, source),
		}
	case kindEndBootstrap:
		return &EndBootstrap{Group: GroupID(d.uint(MaxGroups)), Attempt: d.uint(noLimit)}
	case kindCreateSpace:
		return &CreateSpace{Definition: definition(d)}
	case kindDropSpace:
		return &DropSpace{Space: space.ID(d.uint(uint64(^space.ID(0))))}
	case kindAlterSpace:
		return &AlterSpace{
			Space:       spaceID(d),
			AddIndexes:  list(d, space.MaxIndexes, index),
			DropIndexes: list(d, space.MaxIndexes, spaceName),
			AddFields:   list(d, space.MaxFields, field),
			DropFields:  list(d, space.MaxFields, spaceName),
			ClaimLease:  optional(d, func(d *decoder) time.Duration { return time.Duration(d.int()) }),
			MaxAttempts: optional(d, func(d *decoder) int { return int(d.int()) }),
			DeadLetter:  optional(d, spaceID),
		}
	case kindSetSink:
		return &SetSink{Name: d.string(space.MaxNameBytes), Required: d.bool()}
	case kindAddSink:
		return decodeAddSink(d)
	case kindAlterSink:
		return decodeAlterSink(d)
	case kindRemoveSink:
		return &RemoveSink{Name: d.string(space.MaxNameBytes)}
	}
	d.fail(fmt.Errorf("kind %d is unknown", kind))
	return nil
}

func (c *Form) encode(e *encoder) {
	e.b = append(e.b, c.Cluster[:]...)
	e.uint(uint64(c.Partitions))
	e.uint(uint64(c.Copies))
	e.byte(byte(c.Durability))
	putList(e, c.Members, putMember)
	putList(e, c.Spaces, putDefinition)
	e.uint(uint64(c.LastSpace))
	putList(e, c.Sinks, putSink)
	e.uint(c.Version)
	putAllSettings(e, c.Sinks)
}

func (c *AdmitMember) encode(e *encoder)  { putMember(e, &c.Member) }
func (c *RemoveMember) encode(e *encoder) { putMemberID(e, &c.Member) }

func (c *DrainMember) encode(e *encoder) {
	putMemberID(e, &c.Member)
	e.bool(c.Drain)
}

func (c *DeclareLost) encode(e *encoder) {
	putMemberID(e, &c.Member)
	e.uint(c.Incarnation)
}

func (c *SetVoters) encode(e *encoder) { putList(e, c.Members, putMemberID) }

func (c *SetReplicas) encode(e *encoder) {
	e.uint(uint64(c.Group))
	e.uint(c.Version)
	putList(e, c.Replicas, putReplica)
}

func (c *BeginBootstrap) encode(e *encoder) {
	e.uint(uint64(c.Group))
	e.uint(c.Version)
	putMemberID(e, &c.Member)
	e.uint(c.Incarnation)
	putList(e, c.Stateless, putMemberID)
	putList(e, c.Sources, putSource)
}

func (c *EndBootstrap) encode(e *encoder) {
	e.uint(uint64(c.Group))
	e.uint(c.Attempt)
}

func (c *CreateSpace) encode(e *encoder) { putDefinition(e, &c.Definition) }
func (c *DropSpace) encode(e *encoder)   { e.uint(uint64(c.Space)) }

func (c *AlterSpace) encode(e *encoder) {
	e.uint(uint64(c.Space))
	putList(e, c.AddIndexes, putIndex)
	putList(e, c.DropIndexes, (*encoder).text)
	putList(e, c.AddFields, putField)
	putList(e, c.DropFields, (*encoder).text)
	putOptional(e, c.ClaimLease, func(e *encoder, v *time.Duration) { e.int(int64(*v)) })
	putOptional(e, c.MaxAttempts, func(e *encoder, v *int) { e.int(int64(*v)) })
	putOptional(e, c.DeadLetter, func(e *encoder, v *space.ID) { e.uint(uint64(*v)) })
}

func (c *SetSink) encode(e *encoder) {
	e.string(c.Name)
	e.bool(c.Required)
}
