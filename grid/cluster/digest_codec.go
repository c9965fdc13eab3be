package cluster

import (
	"context"

	"github.com/spacegrid/spacegrid/grid/space"
)

// digestQuestion asks a replica for its digest of a partition at a mark, or,
// without them, tells it that it is an outcast.
type digestQuestion struct {
	group       GroupID
	incarnation uint64 // of the replica that is meant
	partition   space.PartitionID
	mark        uint64
}

func (q *digestQuestion) encode() []byte {
	e := &encoder{}
	e.uint(uint64(q.group))
	e.uint(q.incarnation)
	e.uint(uint64(q.partition))
	e.uint(q.mark)
	return e.b
}

func decodeDigestQuestion(b []byte) (digestQuestion, error) {
	d := &decoder{b: b}
	q := digestQuestion{
		group: GroupID(d.uint(MaxGroups)), incarnation: d.uint(noLimit),
		partition: space.PartitionID(d.uint(MaxPartitions - 1)), mark: d.uint(noLimit),
	}
	return q, d.done()
}

// An answer is how the digest is computed, which differs between versions of the
// program that cannot be compared; whether there is one; and the digest.

func encodeDigest(d space.Digest, known bool) []byte {
	e := &encoder{}
	e.uint(space.DigestFormat)
	e.bool(known)
	e.b = append(e.b, d.State[:]...)
	return e.b
}

func decodeDigest(b []byte) (state [16]byte, known bool, err error) {
	d := &decoder{b: b}
	format := d.uint(noLimit)
	if d.err == nil && format != space.DigestFormat {
		return state, false, nil
	}
	known = d.bool()
	d.fixed(state[:])
	if err := d.done(); err != nil {
		return state, false, damaged(err)
	}
	return state, known, nil
}

// asked returns the replica that a question means.
func (n *Node) asked(body []byte) (*held, digestQuestion, error) {
	q, err := decodeDigestQuestion(body)
	if err != nil {
		return nil, q, malformed(err)
	}
	h := n.held(q.group)
	if h == nil || h.self.Incarnation != q.incarnation {
		return nil, q, toWire(&NotLeaderError{Group: q.group})
	}
	return h, q, nil
}

// answerDigest waits until the digest that is asked for is computed.
func (n *Node) answerDigest(ctx context.Context, body []byte) ([]byte, error) {
	h, q, err := n.asked(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	d, known := h.digests.wait(ctx, q.partition, q.mark)
	return encodeDigest(d, known), nil
}

// answerOutcast takes this member's replica of a group out of use.
func (n *Node) answerOutcast(body []byte) error {
	h, _, err := n.asked(body)
	if err == nil {
		h.castOut()
	}
	return err
}
