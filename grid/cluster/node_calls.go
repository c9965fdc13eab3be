package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// exportChunk is the size of one item of a stream that carries a partition.
const exportChunk = 64 << 10

// probe is what one member asks another: who are you. From the founder of a
// cluster it is also the question whether the other lets it found.
type probe struct {
	Founder MemberID // empty: no such question
}

// probed is the answer.
type probed struct {
	Member  Member // as it wants to be admitted; Voter and State do not count
	Control uint64 // its incarnation in the control group
	Cluster ClusterID
	Blank   bool // it has no control state of any kind
	Granted bool // the founder may found
	Disk    bool
	Store   bool
}

func (p *probe) encode() []byte {
	e := &encoder{}
	putMemberID(e, &p.Founder)
	return e.b
}

func (p *probed) encode() []byte {
	e := &encoder{}
	putMember(e, &p.Member)
	e.uint(p.Control)
	e.b = append(e.b, p.Cluster[:]...)
	for _, v := range []bool{p.Blank, p.Granted, p.Disk, p.Store} {
		e.bool(v)
	}
	return e.b
}

func decodeProbed(b []byte) (p probed, err error) {
	d := &decoder{b: b}
	p.Member = member(d)
	p.Control = d.uint(noLimit)
	d.fixed(p.Cluster[:])
	for _, v := range []*bool{&p.Blank, &p.Granted, &p.Disk, &p.Store} {
		*v = d.bool()
	}
	return p, damaged(d.done())
}

// call asks another member.
func (n *Node) call(ctx context.Context, to MemberID, kind uint8, body []byte) ([]byte, error) {
	addr, err := n.peerAddr(string(to))
	if err != nil {
		return nil, err
	}
	conn, err := n.links.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	b, err := conn.Call(ctx, kind, body)
	return b, fromWire(err)
}

// peerAddr returns where a member listens for other members.
func (n *Node) peerAddr(id string) (string, error) {
	if m, ok := n.control.State().Member(MemberID(id)); ok && m.Peer != "" && n.gossip == nil {
		return m.Peer, nil
	}
	for _, p := range n.peers() {
		if string(p.Member) == id && p.Peer != "" {
			return p.Peer, nil
		}
	}
	if m, ok := n.control.State().Member(MemberID(id)); ok && m.Peer != "" {
		return m.Peer, nil
	}
	return "", fmt.Errorf("%w: member %s has no address", ErrUnavailable, id)
}

// memberCall answers another member.
func (n *Node) memberCall(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	switch kind {
	case callPropose:
		return n.proposeControl(ctx, body)
	case callVersion:
		if _, leads := n.cgroup.Leading(); !leads {
			return nil, n.controlNotLeader()
		}
		version, err := n.agreedVersion(ctx)
		e := &encoder{}
		e.uint(version)
		return e.b, err
	case callProbe:
		d := &decoder{b: body}
		p := probe{Founder: memberID(d)}
		if err := d.done(); err != nil {
			return nil, malformed(err)
		}
		answer := n.probed(p)
		return answer.encode(), nil
	case callReport:
		d := &decoder{b: body}
		g := GroupID(d.uint(MaxGroups))
		if err := d.done(); err != nil {
			return nil, malformed(err)
		}
		return encodeReport(n.report(g)), nil
	case callStored:
		grid, err := n.stored(ctx)
		return encodeStored(&grid), err
	}
	return nil, &wire.Error{Code: errInvalid, Message: fmt.Sprintf("unknown request %d among members (is the other member newer?)", kind)}
}

// probed answers a probe.
func (n *Node) probed(p probe) probed {
	s := n.control.State()
	return probed{
		Member: n.self(), Control: n.controlID.Incarnation, Cluster: s.Cluster, Blank: n.blank(),
		Granted: p.Founder != "" && n.consent.grant(p.Founder), Disk: n.storage != nil, Store: n.cfg.Store != nil,
	}
}

func (n *Node) probe(ctx context.Context, to MemberID, p probe) (probed, error) {
	if to == n.name {
		return n.probed(p), nil
	}
	ctx, cancel := context.WithTimeout(ctx, memberCallTime)
	defer cancel()
	b, err := n.call(ctx, to, callProbe, p.encode())
	if err != nil {
		return probed{}, err
	}
	return decodeProbed(b)
}

// memberCallTime bounds a question to a member that answers from memory.
const memberCallTime = 2 * time.Second

// stored returns what this member's store holds.
func (n *Node) stored(ctx context.Context) (StoredGrid, error) {
	if n.cfg.Store == nil {
		return StoredGrid{}, nil
	}
	return n.cfg.Store.Stored(ctx)
}

func (n *Node) storedOf(ctx context.Context, id MemberID) (StoredGrid, error) {
	if id == n.name {
		return n.stored(ctx)
	}
	b, err := n.call(ctx, id, callStored, nil)
	if err != nil {
		return StoredGrid{}, err
	}
	return decodeStored(b)
}

func encodeStored(g *StoredGrid) []byte {
	e := &encoder{}
	e.b = append(e.b, g.Cluster[:]...)
	e.uint(g.Version)
	putMemberID(e, &g.Owner)
	putList(e, g.Members, putMemberID)
	e.uint(uint64(g.Count))
	putList(e, g.Spaces, putDefinition)
	e.uint(uint64(g.LastSpace))
	putList(e, g.Sinks, putSink)
	putList(e, g.Partitions, func(e *encoder, p *StoredPartition) {
		e.uint(uint64(p.ID))
		e.b = append(e.b, p.Position.History[:]...)
		e.uint(uint64(p.Position.Seq))
		e.uint(uint64(p.Epoch))
	})
	putAllSettings(e, g.Sinks)
	return e.b
}

func decodeStored(b []byte) (StoredGrid, error) {
	d := &decoder{b: b}
	var g StoredGrid
	d.fixed(g.Cluster[:])
	g.Version = d.uint(noLimit)
	g.Owner = memberID(d)
	g.Members = list(d, MaxMembers, memberID)
	g.Count = int(d.uint(MaxPartitions))
	g.Spaces = list(d, space.MaxSpaces, definition)
	g.LastSpace = space.ID(d.uint(uint64(^space.ID(0))))
	g.Sinks = list(d, space.MaxSinks, sink)
	g.Partitions = list(d, MaxPartitions, func(d *decoder) StoredPartition {
		p := StoredPartition{ID: space.PartitionID(d.uint(MaxPartitions - 1))}
		d.fixed(p.Position.History[:])
		p.Position.Seq = space.Seq(d.uint(noLimit))
		p.Epoch = space.Epoch(d.uint(noLimit))
		return p
	})
	allSettings(d, g.Sinks)
	return g, damaged(d.done())
}

// report returns how far this member's store has come with the partitions of a
// group, in the order of partitions.
func (n *Node) report(g GroupID) []space.Watermark {
	h := n.held(g)
	if h == nil || n.cfg.Store == nil {
		return nil
	}
	marks := n.cfg.Store.Watermarks()
	var out []space.Watermark
	for _, p := range sortedPartitions(h.host.all()) {
		// A watermark's sink is not needed here; its place carries the partition.
		out = append(out, space.Watermark{Sink: space.SinkID(p.ID()), Seq: marks[p.ID()]})
	}
	return out
}

func encodeReport(marks []space.Watermark) []byte {
	e := &encoder{}
	putList(e, marks, func(e *encoder, w *space.Watermark) {
		e.uint(uint64(w.Sink))
		e.uint(uint64(w.Seq))
	})
	return e.b
}

func decodeReport(b []byte) ([]space.Watermark, error) {
	d := &decoder{b: b}
	marks := list(d, MaxPartitions, func(d *decoder) space.Watermark {
		return space.Watermark{Sink: space.SinkID(d.uint(MaxPartitions - 1)), Seq: space.Seq(d.uint(noLimit))}
	})
	return marks, damaged(d.done())
}

// exportTo streams a partition out of the store to another member.
func (n *Node) exportTo(ctx context.Context, body []byte, send func([]byte) error) error {
	d := &decoder{b: body}
	p := space.PartitionID(d.uint(MaxPartitions - 1))
	if err := d.done(); err != nil {
		return malformed(err)
	}
	if n.cfg.Store == nil {
		return toWire(ErrUnavailable)
	}
	w := bufio.NewWriterSize(writerFunc(func(b []byte) (int, error) { return len(b), send(b) }), exportChunk)
	err := n.cfg.Store.Export(ctx, p, w)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return toWire(err)
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// importFrom reads a partition out of another member's store and begins a
// history with it.
func (n *Node) importFrom(ctx context.Context, src *Source, h space.History) (*space.Partition, error) {
	addr, err := n.peerAddr(string(src.Member))
	if err != nil {
		return nil, err
	}
	conn, err := n.links.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	e := &encoder{}
	e.uint(uint64(src.Partition))
	stream, err := conn.Stream(ctx, callExport, e.b)
	if err != nil {
		return nil, fromWire(err)
	}
	// What is left of the stream is of no interest.
	defer func() { _ = stream.Close() }()
	return n.cfg.Store.Import(ctx, &streamReader{ctx: ctx, stream: stream}, h, src.Epoch)
}

// streamReader reads the items of a stream as bytes.
type streamReader struct {
	ctx    context.Context
	stream *wire.Stream
	rest   []byte
}

func (r *streamReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		item, err := r.stream.Recv(r.ctx)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, fromWire(err)
		}
		r.rest = item
	}
	k := copy(b, r.rest)
	r.rest = r.rest[k:]
	return k, nil
}
