package pairtree

import "unsafe"

const (
	// fanout is the most keys of a leaf and children of a branch. At 32 a leaf of
	// pairs is half a kilobyte: moving half of it costs less than the cache miss that
	// reaching it did.
	fanout = 32

	// minFill is where a node is joined with a neighbour or filled from it. A low
	// mark spares a tree that shrinks and grows the back and forth.
	minFill = fanout / 4

	// chunkNodes is how many nodes are allocated at once; the first chunk of a
	// pool grows up to that.
	chunkNodes = 64
)

// Key is a member of a Set: two numbers or three, the first weighing most.
type Key interface{ ~[2]uint64 | ~[3]uint64 }

// Pair is a member of a Tree.
type Pair [2]uint64

// Triple is a key of three numbers.
type Triple [3]uint64

// less takes pointers because the compiler keeps arrays in memory: a copy of
// both for each comparison would cost more than comparing them.
func less[K Key](p, q *K) bool {
	if (*p)[0] != (*q)[0] {
		return (*p)[0] < (*q)[0]
	}
	if len(*p) == 3 && (*p)[1] != (*q)[1] {
		return (*p)[1] < (*q)[1]
	}
	return (*p)[len(*p)-1] < (*q)[len(*q)-1]
}

// leaf holds keys in order.
type leaf[K Key] struct {
	n    uint32
	next uint32 // the leaf behind it, none for the last
	keys [fanout]K
}

// branch holds children in order: leaves in the lowest level, branches above.
// All keys below kids[i] are at or above keys[i], and below keys[i+1]. keys[0] is
// the key by which the branch above knows this one; along the left edge of the
// tree, where there is none, it means nothing.
type branch[K Key] struct {
	n    uint32
	kids [fanout]uint32
	keys [fanout]K
}

// none is no node.
const none = ^uint32(0)

// pool holds nodes of one kind by number. Freed nodes are used again.
type pool[N any] struct {
	chunks [][]N
	made   uint32
	free   []uint32
}

// at returns a node. The pointer is good until the next add.
func (p *pool[N]) at(id uint32) *N { return &p.chunks[id/chunkNodes][id%chunkNodes] }

// add returns the number of a node with no content.
func (p *pool[N]) add() uint32 {
	if last := len(p.free) - 1; last >= 0 {
		id := p.free[last]
		p.free = p.free[:last]
		var zero N
		*p.at(id) = zero
		return id
	}
	if p.made == none {
		panic("pairtree: all node numbers are in use")
	}
	id := p.made
	p.made++
	var zero N
	switch chunk := int(id / chunkNodes); {
	case chunk == 0 && id == 0:
		p.chunks = append(p.chunks, make([]N, 0, 1))
		fallthrough
	case chunk == 0:
		p.chunks[0] = append(p.chunks[0], zero)
	case id%chunkNodes == 0:
		p.chunks = append(p.chunks, make([]N, 0, chunkNodes))
		fallthrough
	default:
		p.chunks[chunk] = append(p.chunks[chunk], zero)
	}
	return id
}

func (p *pool[N]) drop(id uint32) { p.free = append(p.free, id) }

// bytes returns what the pool has allocated.
func (p *pool[N]) bytes() int {
	var zero N
	nodes := 0
	for _, chunk := range p.chunks {
		nodes += cap(chunk)
	}
	return nodes*int(unsafe.Sizeof(zero)) + 4*cap(p.free)
}
