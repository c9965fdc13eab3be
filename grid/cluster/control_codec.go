package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// MaxDetailBytes bounds the text of a reply; longer text is cut.
const MaxDetailBytes = 512

var errTruncated = errors.New("it ends too early")

// encoder appends the parts of a message. Numbers are varints, text carries its
// length in front.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)     { e.b = append(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// decoder reads what encoder wrote. After the first error it returns zero
// values, so that callers check once, in done. It allocates what it has read,
// never what a length promises.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail(fmt.Errorf("%d is no truth value", v))
	}
	return v == 1
}

// uint reads a number of at most limit.
func (d *decoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	if v > limit {
		d.fail(fmt.Errorf("%d is over the limit of %d", v, limit))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// string reads text of at most limit bytes.
func (d *decoder) string(limit int) string {
	n := int(d.uint(uint64(limit)))
	if n > len(d.b) {
		d.fail(errTruncated)
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// fixed fills dst.
func (d *decoder) fixed(dst []byte) {
	if len(d.b) < len(dst) {
		d.fail(errTruncated)
		return
	}
	d.b = d.b[copy(dst, d.b):]
}

// done reports the first error, and bytes left over as one.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.b))
	}
	return d.err
}

// list reads up to limit elements with one. Memory grows with the elements that
// are really there, each of which takes at least a byte.
func list[T any](d *decoder, limit int, one func(*decoder) T) []T {
	n := d.uint(uint64(limit))
	var out []T
	for range n {
		v := one(d)
		if d.err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func putList[T any](e *encoder, in []T, one func(*encoder, *T)) {
	e.uint(uint64(len(in)))
	for i := range in {
		one(e, &in[i])
	}
}

const noLimit = ^uint64(0)

func putMemberID(e *encoder, m *MemberID) { e.string(string(*m)) }
func memberID(d *decoder) MemberID        { return MemberID(d.string(MaxMemberIDBytes)) }

func putMember(e *encoder, m *Member) {
	putMemberID(e, &m.ID)
	e.uint(m.Incarnation)
	e.uint(m.Boot)
	e.string(m.Peer)
	e.string(m.RESP)
	e.string(m.HTTP)
	e.string(m.Zone)
	e.bool(m.Voter)
	e.byte(byte(m.State))
}

func member(d *decoder) Member {
	return Member{
		ID:          memberID(d),
		Incarnation: d.uint(noLimit),
		Boot:        d.uint(noLimit),
		Peer:        d.string(MaxAddressBytes),
		RESP:        d.string(MaxAddressBytes),
		HTTP:        d.string(MaxAddressBytes),
		Zone:        d.string(MaxZoneBytes),
		Voter:       d.bool(),
		State:       MemberState(d.byte()),
	}
}

func putReplica(e *encoder, r *Replica) {
	putMemberID(e, &r.Member)
	e.uint(r.Incarnation)
	e.byte(byte(r.Role))
}

func readReplica(d *decoder) Replica {
	return Replica{Member: memberID(d), Incarnation: d.uint(noLimit), Role: Role(d.byte())}
}

func putSource(e *encoder, s *Source) {
	e.uint(uint64(s.Partition))
	e.byte(byte(s.Kind))
	putMemberID(e, &s.Member)
	e.b = append(e.b, s.History[:]...)
	e.uint(uint64(s.Seq))
	e.uint(uint64(s.Epoch))
}

func source(d *decoder) Source {
	s := Source{
		Partition: space.PartitionID(d.uint(MaxPartitions - 1)),
		Kind:      SourceKind(d.byte()),
		Member:    memberID(d),
	}
	d.fixed(s.History[:])
	s.Seq = space.Seq(d.uint(noLimit))
	s.Epoch = space.Epoch(d.uint(noLimit))
	return s
}

func putGroup(e *encoder, g *Group) {
	e.uint(uint64(g.ID))
	e.uint(g.Version)
	e.byte(byte(g.Durability))
	e.byte(byte(g.Stage))
	putList(e, g.Replicas, putReplica)
	putMemberID(e, &g.Bootstrap.Member)
	e.uint(g.Bootstrap.Incarnation)
	e.uint(g.Bootstrap.Attempt)
	putList(e, g.Bootstrap.Sources, putSource)
}

func group(d *decoder) Group {
	return Group{
		ID:         GroupID(d.uint(MaxGroups)),
		Version:    d.uint(noLimit),
		Durability: Durability(d.byte()),
		Stage:      Stage(d.byte()),
		Replicas:   list(d, MaxReplicas, readReplica),
		Bootstrap: Bootstrap{
			Member:      memberID(d),
			Incarnation: d.uint(noLimit),
			Attempt:     d.uint(noLimit),
			Sources:     list(d, MaxPartitions, source),
		},
	}
}

func (e *encoder) text(s *string) { e.string(*s) }

func spaceName(d *decoder) string { return d.string(space.MaxNameBytes) }

func spaceID(d *decoder) space.ID { return space.ID(d.uint(uint64(^space.ID(0)))) }

// putOptional writes what v points to, or that there is nothing.
func putOptional[T any](e *encoder, v *T, put func(*encoder, *T)) {
	e.bool(v != nil)
	if v != nil {
		put(e, v)
	}
}

func optional[T any](d *decoder, read func(*decoder) T) *T {
	if !d.bool() {
		return nil
	}
	v := read(d)
	return &v
}

func putField(e *encoder, f *space.Field) {
	e.string(f.Path)
	e.byte(byte(f.Type))
}

func field(d *decoder) space.Field {
	return space.Field{Path: d.string(space.MaxNameBytes), Type: predicate.Type(d.byte())}
}

func putIndex(e *encoder, x *space.Index) {
	e.string(x.Name)
	putList(e, x.Fields, func(e *encoder, f *string) { e.string(*f) })
	e.bool(x.Ordered)
}

func index(d *decoder) space.Index {
	return space.Index{
		Name:    d.string(space.MaxNameBytes),
		Fields:  list(d, space.MaxIndexFields, func(d *decoder) string { return d.string(space.MaxNameBytes) }),
		Ordered: d.bool(),
	}
}

// maxDefinitionBytes bounds an encoded definition: all indexes with all fields
// and all declared fields under the longest names, and the rest.
const maxDefinitionBytes = (space.MaxIndexes*(space.MaxIndexFields+1) + space.MaxFields + 8) * (space.MaxNameBytes + 16)

func putDefinition(e *encoder, def *space.Definition) {
	e.string(string(space.AppendDefinition(nil, def)))
}

func definition(d *decoder) space.Definition {
	s := d.string(maxDefinitionBytes)
	if d.err != nil {
		return space.Definition{}
	}
	def, err := space.DecodeDefinition([]byte(s))
	if err != nil {
		d.fail(err)
	}
	return def
}

func putSink(e *encoder, s *Sink) {
	e.uint(uint64(s.ID))
	e.string(s.Name)
	e.bool(s.Required)
}

func sink(d *decoder) Sink {
	return Sink{Sink: space.Sink{
		ID:       space.SinkID(d.uint(uint64(^space.SinkID(0)))),
		Name:     d.string(space.MaxNameBytes),
		Required: d.bool(),
	}}
}

// Reply is the answer to a command.
type Reply struct {
	Code Code
	// Version is the state's version after the command, also after a refused
	// or repeated one: whoever waits until it has been applied sees the effect.
	Version uint64
	// Group is the version of the group that the command concerned, or 0.
	Group uint64
	// Attempt is the number of the bootstrap that the command began, or 0.
	Attempt uint64
	// Space is the space that the command concerned, or 0.
	Space space.ID
	// Sink is the sink that the command concerned, or 0.
	Sink   space.SinkID
	Detail string
}

// Err returns the refusal as an [*Error], or nil.
func (r Reply) Err() error {
	if r.Code == OK {
		return nil
	}
	return &Error{Code: r.Code, Detail: r.Detail}
}

const replyFormat = 1

// EncodeReply returns r in its binary form. A detail over [MaxDetailBytes] is cut.
func EncodeReply(r Reply) []byte {
	e := &encoder{}
	e.byte(replyFormat)
	e.byte(byte(r.Code))
	e.uint(r.Version)
	e.uint(r.Group)
	e.uint(r.Attempt)
	e.uint(uint64(r.Space))
	e.uint(uint64(r.Sink))
	e.string(r.Detail[:min(len(r.Detail), MaxDetailBytes)])
	return e.b
}

// DecodeReply reads what EncodeReply wrote. It keeps no reference to b.
func DecodeReply(b []byte) (Reply, error) {
	d := &decoder{b: b}
	if f := d.byte(); d.err == nil && f != replyFormat {
		d.fail(fmt.Errorf("format %d is unknown", f))
	}
	r := Reply{
		Code:    Code(d.byte()),
		Version: d.uint(noLimit),
		Group:   d.uint(noLimit),
		Attempt: d.uint(noLimit),
		Space:   space.ID(d.uint(uint64(^space.ID(0)))),
		Sink:    space.SinkID(d.uint(uint64(^space.SinkID(0)))),
		Detail:  d.string(MaxDetailBytes),
	}
	if err := d.done(); err != nil {
		return Reply{}, &CorruptError{What: "reply", Err: err}
	}
	return r, nil
}
