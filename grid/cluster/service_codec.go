package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Kinds of requests on a connection between a client and a member. The numbers
// are part of the protocol: never reused or reordered.
const (
	callState   uint8 = 1
	callHello   uint8 = 2
	callSubmit  uint8 = 3
	callRead    uint8 = 4
	callMatch   uint8 = 5
	callInvoke  uint8 = 6
	callControl uint8 = 7
	callInspect uint8 = 8
	callFollow  uint8 = 9 // a stream
	// callAggregate computes where the entries lie.
	callAggregate uint8 = 10
	callExplain   uint8 = 11
	callHandOver  uint8 = 12
	callAwait     uint8 = 13
	callOperate   uint8 = 24
	callAgreed    uint8 = 25
	// callMember is the first kind of those that only members use among
	// themselves.
	callMember  uint8 = 32
	callPropose uint8 = 32 // a control command, for the control group's leader only
	callVersion uint8 = 33 // version of the control state, from the leader only
	callProbe   uint8 = 34 // who are you, and may I found the cluster
	callReport  uint8 = 35 // what is durable in your store of a group's partitions
	callStored  uint8 = 36 // what does your store hold
	callExport  uint8 = 37 // a stream: a partition out of your store
	callDigest  uint8 = 38 // the digest of your replica of a partition at a mark
	callOutcast uint8 = 39 // your replica of a group differs from the others
)

// Bounds of a request and of its answer. A client splits what is larger.
const (
	maxSubmissions  = 4096     // commands, gets of one request
	maxNameBytes    = 128      // unit and handler names, what to inspect
	maxRequestBytes = 24 << 20 // a frame, in either direction
	// maxSubmitBytes bounds the commands of one Submit, unless it is a single
	// one: what they read back is often about as large as they are.
	maxSubmitBytes = space.MaxCommandBytes
	// maxOutcomeBytes bounds the outcomes of one answer. The rest of the frame
	// has room for maxSubmissions outcomes that are cut.
	maxOutcomeBytes = maxRequestBytes - 16*maxSubmissions
)

// Codes of errors as they cross a connection.
const (
	errNotLeader      uint16 = 1
	errUnavailable    uint16 = 2
	errIndeterminate  uint16 = 3
	errOverloaded     uint16 = 4
	errUnknownHandler uint16 = 5
	errHandler        uint16 = 6
	errInvalid        uint16 = 7
	errOther          uint16 = 8
	errAnswerCut      uint16 = 9
	errHeldBack       uint16 = 12
	errSpace          uint16 = 16 // plus the space.Code
)

// toWire turns an error of a Service into the form that crosses a connection.
func toWire(err error) *wire.Error {
	var notLeader *NotLeaderError
	var handler *HandlerError
	var refused *space.Error
	var crossing *wire.Error
	var heldBack *HeldBackError
	switch {
	case errors.As(err, &crossing):
		return crossing
	case errors.As(err, &notLeader):
		detail := binary.AppendUvarint(nil, uint64(notLeader.Group))
		return &wire.Error{Code: errNotLeader, Detail: wire.AppendString(detail, string(notLeader.Leader))}
	case errors.Is(err, ErrUnavailable):
		return &wire.Error{Code: errUnavailable}
	case errors.Is(err, errCut):
		return &wire.Error{Code: errAnswerCut}
	case errors.Is(err, ErrIndeterminate):
		return &wire.Error{Code: errIndeterminate}
	case errors.Is(err, ErrOverloaded):
		return &wire.Error{Code: errOverloaded}
	case errors.As(err, &heldBack):
		return &wire.Error{Code: errHeldBack, Message: heldBack.Sinks, Detail: binary.AppendUvarint(nil, uint64(heldBack.Partition))}
	case errors.Is(err, ErrUnknownHandler):
		return &wire.Error{Code: errUnknownHandler}
	case errors.As(err, &handler):
		return &wire.Error{Code: errHandler, Message: handler.Message}
	case errors.As(err, &refused):
		return &wire.Error{Code: errSpace + uint16(refused.Code), Message: refused.Detail, Detail: []byte(refused.Hint)}
	}
	return &wire.Error{Code: errOther, Message: err.Error()}
}

// fromWire turns an error of a connection back into that of a Service. What
// broke on the way is classed by what it proves.
func fromWire(err error) error {
	var e *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
	case errors.Is(err, wire.ErrUnreachable):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, wire.ErrBusy):
		return ErrOverloaded
	case errors.Is(err, wire.ErrFrameTooLarge) && !errors.Is(err, wire.ErrBroken):
		// It was not sent, and would not be if it were repeated.
		return &space.Error{Code: space.CodeTooLarge, Detail: "request", Hint: "send less at once"}
	default:
		// A context that ended, a connection that broke: it may have arrived.
		return fmt.Errorf("%w: %w", ErrIndeterminate, err)
	}
	switch e.Code {
	case errNotLeader:
		p := wire.NewParser(e.Detail)
		return &NotLeaderError{Group: GroupID(p.Uvarint()), Leader: MemberID(p.String(MaxMemberIDBytes))}
	case errUnavailable:
		return ErrUnavailable
	case errIndeterminate:
		return ErrIndeterminate
	case errAnswerCut:
		return errCut
	case errOverloaded:
		return ErrOverloaded
	case errHeldBack:
		p := wire.NewParser(e.Detail)
		return &HeldBackError{Partition: parsePartition(p), Sinks: e.Message}
	case errUnknownHandler:
		return ErrUnknownHandler
	case errHandler:
		return &HandlerError{Message: e.Message}
	case errInvalid, errOther:
		return fmt.Errorf("cluster: the member answered: %s", e.Message)
	}
	if e.Code > errSpace && e.Code <= errSpace+255 {
		return &space.Error{Code: space.Code(e.Code - errSpace), Detail: e.Message, Hint: string(e.Detail)}
	}
	// Such as an answer that no frame takes: the request was carried out.
	return fmt.Errorf("%w: the member answered with the unknown error %d: %s", ErrIndeterminate, e.Code, e.Message)
}

// errCut is the outcome of a command whose answer had no room beside those of
// the others. It is kept: a repeat in smaller company has it.
var errCut = fmt.Errorf("%w: the answers are longer than a frame (ask for less at once)", ErrIndeterminate)

func appendHistory(dst []byte, h space.History) []byte { return wire.AppendBytes(dst, h[:]) }

func parseHistory(p *wire.Parser) (h space.History) {
	b := p.Bytes(len(h))
	if len(b) != len(h) {
		p.Fail(wire.ErrMalformed)
		return h
	}
	copy(h[:], b)
	return h
}

func parsePartition(p *wire.Parser) space.PartitionID {
	v := p.Uvarint()
	if v >= space.MaxPartitions {
		p.Fail(wire.ErrMalformed)
	}
	return space.PartitionID(v)
}

// parseCount reads a number of elements, each of which takes at least min bytes.
func parseCount(p *wire.Parser, limit, min int) int {
	n := p.Uvarint()
	if n > uint64(limit) || n > uint64(p.Len()/min) {
		p.Fail(wire.ErrMalformed)
		return 0
	}
	return int(n)
}

func appendEntryBytes(dst []byte, e *space.Entry) []byte {
	return wire.AppendBytes(dst, space.AppendEntry(nil, e))
}

func parseEntry(p *wire.Parser) space.Entry {
	e, rest, err := space.DecodeEntry(p.Bytes(maxRequestBytes))
	if p.Err() == nil && (err != nil || len(rest) != 0) {
		p.Fail(wire.ErrMalformed)
	}
	return e
}

func appendGreetings(dst []byte, gs []Greeting) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(gs)))
	for _, g := range gs {
		dst = binary.AppendUvarint(dst, uint64(g.Partition))
		dst = appendHistory(dst, g.History)
		dst = binary.AppendVarint(dst, int64(g.Clock))
	}
	return dst
}

func parseGreetings(b []byte) ([]Greeting, error) {
	p := wire.NewParser(b)
	var gs []Greeting
	for range parseCount(p, MaxPartitions, 19) {
		gs = append(gs, Greeting{Partition: parsePartition(p), History: parseHistory(p), Clock: space.Time(p.Varint())})
	}
	return gs, p.End()
}

func appendSubmit(dst []byte, g GroupID, subs []Submission) []byte {
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = binary.AppendUvarint(dst, uint64(len(subs)))
	for i := range subs {
		dst = binary.AppendUvarint(dst, uint64(subs[i].Partition))
		dst = wire.AppendBytes(dst, subs[i].Command)
	}
	return dst
}

func parseSubmit(b []byte) (GroupID, []Submission, error) {
	p := wire.NewParser(b)
	g := GroupID(p.Uvarint())
	subs := make([]Submission, parseCount(p, maxSubmissions, 2))
	for i := range subs {
		subs[i] = Submission{Partition: parsePartition(p), Command: p.Bytes(space.MaxCommandBytes)}
	}
	return g, subs, p.End()
}

// appendOutcomes appends as many outcomes as fit into a frame. In place of each
// that does not there is errCut.
func appendOutcomes(dst []byte, outs []Outcome) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(dst, uint64(len(outs)))
	for i := range outs {
		// The lengths before reply, message and detail take less than this.
		const lengths = 16
		room := maxOutcomeBytes - (len(dst) - start) - lengths
		if outs[i].Err == nil && len(outs[i].Reply) <= room {
			dst = append(dst, 0)
			dst = wire.AppendBytes(dst, outs[i].Reply)
			continue
		}
		e := &wire.Error{Code: errAnswerCut}
		if outs[i].Err != nil {
			if whole := toWire(outs[i].Err); len(whole.Message)+len(whole.Detail) <= room {
				e = whole
			}
		}
		dst = append(dst, 1)
		dst = binary.AppendUvarint(dst, uint64(e.Code))
		dst = wire.AppendString(dst, e.Message)
		dst = wire.AppendBytes(dst, e.Detail)
	}
	return dst
}

func parseOutcomes(b []byte, outs []Outcome) error {
	p := wire.NewParser(b)
	if n := p.Uvarint(); n != uint64(len(outs)) {
		return wire.ErrMalformed
	}
	for i := range outs {
		if p.Byte() == 0 {
			outs[i] = Outcome{Reply: p.Bytes(maxRequestBytes)}
			continue
		}
		e := &wire.Error{Code: uint16(min(p.Uvarint(), 1<<16-1)), Message: p.String(maxRequestBytes), Detail: p.Bytes(maxRequestBytes)}
		outs[i] = Outcome{Err: fromWire(e)}
	}
	return p.End()
}

func appendRead(dst []byte, g GroupID, level Level, gets []Get) []byte {
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = append(dst, byte(level))
	dst = binary.AppendUvarint(dst, uint64(len(gets)))
	for i := range gets {
		dst = binary.AppendUvarint(dst, uint64(gets[i].Partition))
		dst = binary.AppendUvarint(dst, uint64(gets[i].Space))
		dst = wire.AppendBytes(dst, gets[i].Key)
	}
	return dst
}

func parseRead(b []byte) (GroupID, Level, []Get, error) {
	p := wire.NewParser(b)
	g, level := GroupID(p.Uvarint()), Level(p.Byte())
	gets := make([]Get, parseCount(p, maxSubmissions, 3))
	for i := range gets {
		gets[i] = Get{Partition: parsePartition(p), Space: space.ID(p.Uvarint()), Key: p.Bytes(space.MaxKeyBytes)}
	}
	return g, level, gets, p.End()
}

func appendFound(dst []byte, found []Found) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(found)))
	for i := range found {
		dst = append(dst, byte(found[i].Code))
		if found[i].Code == space.OK {
			dst = appendEntryBytes(dst, &found[i].Entry)
		}
	}
	return dst
}

// parseFound reads the answers to the first of n gets.
func parseFound(b []byte, n int) ([]Found, error) {
	p := wire.NewParser(b)
	found := make([]Found, parseCount(p, n, 1))
	if len(found) == 0 && n > 0 {
		p.Fail(wire.ErrMalformed)
	}
	for i := range found {
		found[i].Code = space.Code(p.Byte())
		if found[i].Code == space.OK && p.Err() == nil {
			found[i].Entry = parseEntry(p)
		}
	}
	return found, p.End()
}

func appendMatch(dst []byte, g GroupID, level Level, q *Match) []byte {
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = append(dst, byte(level))
	dst = binary.AppendUvarint(dst, uint64(q.Space))
	dst = wire.AppendBytes(dst, q.Template)
	dst = wire.AppendBytes(dst, q.Predicate)
	dst = binary.AppendUvarint(dst, uint64(len(q.Partitions)))
	for _, p := range q.Partitions {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	dst = binary.AppendUvarint(dst, q.From)
	dst = binary.AppendUvarint(dst, uint64(max(q.Limit, 0)))
	return wire.AppendBool(dst, q.AllowScan)
}

func parseMatch(b []byte) (GroupID, Level, Match, error) {
	p := wire.NewParser(b)
	g, level := GroupID(p.Uvarint()), Level(p.Byte())
	q := Match{Space: space.ID(p.Uvarint()), Template: p.Bytes(space.MaxValueBytes), Predicate: p.Bytes(space.MaxValueBytes)}
	for range parseCount(p, MaxPartitions, 1) {
		q.Partitions = append(q.Partitions, parsePartition(p))
	}
	q.From = p.Uvarint()
	q.Limit = int(min(p.Uvarint(), maxSubmissions))
	q.AllowScan = p.Bool()
	return g, level, q, p.End()
}

func appendMatched(dst []byte, m *Matched) []byte {
	dst = append(dst, byte(m.Code))
	dst = binary.AppendUvarint(dst, uint64(m.Done))
	dst = binary.AppendUvarint(dst, m.Next)
	dst = binary.AppendUvarint(dst, uint64(len(m.Seqs)))
	for _, seq := range m.Seqs {
		dst = binary.AppendUvarint(dst, uint64(seq))
	}
	return appendEntries(dst, m.Entries)
}

func parseMatched(b []byte) (Matched, error) {
	p := wire.NewParser(b)
	m := Matched{Code: space.Code(p.Byte()), Done: int(min(p.Uvarint(), MaxPartitions)), Next: p.Uvarint()}
	for range parseCount(p, MaxPartitions, 1) {
		m.Seqs = append(m.Seqs, space.Seq(p.Uvarint()))
	}
	m.Entries = parseEntries(p)
	return m, p.End()
}

func appendPosition(dst []byte, at space.Position) []byte {
	return binary.AppendUvarint(appendHistory(dst, at.History), uint64(at.Seq))
}

func parsePosition(p *wire.Parser) space.Position {
	return space.Position{History: parseHistory(p), Seq: space.Seq(p.Uvarint())}
}

func appendEntries(dst []byte, es []space.Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(es)))
	for i := range es {
		dst = appendEntryBytes(dst, &es[i])
	}
	return dst
}

func parseEntries(p *wire.Parser) []space.Entry {
	var es []space.Entry
	for range parseCount(p, maxRequestBytes, 7) {
		es = append(es, parseEntry(p))
	}
	return es
}

func appendInvocation(dst []byte, g GroupID, c *Invocation) []byte {
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = binary.AppendUvarint(dst, uint64(c.Partition))
	dst = wire.AppendString(dst, c.Unit)
	dst = wire.AppendString(dst, c.Handler)
	dst = wire.AppendBytes(dst, c.Key)
	dst = wire.AppendBytes(dst, c.Body)
	dst = appendHistory(dst, c.History)
	dst = binary.AppendUvarint(dst, uint64(c.Session))
	dst = binary.AppendUvarint(dst, c.Sequence)
	dst = binary.AppendUvarint(dst, c.Acked)
	dst = binary.AppendVarint(dst, int64(c.Deadline))
	return wire.AppendBool(dst, c.Repeat)
}

func parseInvocation(b []byte) (GroupID, Invocation, error) {
	p := wire.NewParser(b)
	g := GroupID(p.Uvarint())
	c := Invocation{
		Partition: parsePartition(p), Unit: p.String(maxNameBytes), Handler: p.String(maxNameBytes),
		Key: p.Bytes(space.MaxKeyBytes), Body: p.Bytes(space.MaxValueBytes), History: parseHistory(p),
		Session: space.SessionID(p.Uvarint()), Sequence: p.Uvarint(), Acked: p.Uvarint(), Deadline: space.Time(p.Varint()),
		Repeat: p.Bool(),
	}
	return g, c, p.End()
}

func appendFollow(dst []byte, r *FollowRequest) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Space))
	dst = binary.AppendUvarint(dst, uint64(len(r.From)))
	for _, f := range r.From {
		dst = binary.AppendUvarint(dst, uint64(f.Partition))
		dst = appendPosition(dst, f.After)
		dst = wire.AppendBool(dst, f.Now)
	}
	return dst
}

func parseFollow(b []byte) (FollowRequest, error) {
	p := wire.NewParser(b)
	r := FollowRequest{Space: space.ID(p.Uvarint())}
	for range parseCount(p, MaxPartitions, 20) {
		r.From = append(r.From, FollowFrom{Partition: parsePartition(p), After: parsePosition(p), Now: p.Bool()})
	}
	return r, p.End()
}

func appendFollowItem(dst []byte, it *FollowItem) []byte {
	dst = append(dst, byte(it.Kind))
	dst = binary.AppendUvarint(dst, uint64(it.Partition))
	dst = binary.AppendUvarint(dst, uint64(it.Space))
	dst = appendPosition(dst, it.Position)
	dst = binary.AppendVarint(dst, it.Wall)
	dst = wire.AppendString(dst, it.Reason)
	dst = appendEntries(dst, it.Entries)
	dst = binary.AppendUvarint(dst, uint64(len(it.Changes)))
	for i := range it.Changes {
		dst = wire.AppendBytes(dst, it.Changes[i].Append(nil))
	}
	return dst
}

func parseFollowItem(b []byte) (FollowItem, error) {
	p := wire.NewParser(b)
	it := FollowItem{
		Kind: FollowKind(p.Byte()), Partition: parsePartition(p), Space: space.ID(p.Uvarint()), Position: parsePosition(p),
		Wall: p.Varint(), Reason: p.String(maxNameBytes), Entries: parseEntries(p),
	}
	for range parseCount(p, maxRequestBytes, 10) {
		c, rest, err := space.DecodeChange(p.Bytes(maxRequestBytes))
		if p.Err() == nil && (err != nil || len(rest) != 0) {
			p.Fail(wire.ErrMalformed)
		}
		it.Changes = append(it.Changes, c)
	}
	return it, p.End()
}
