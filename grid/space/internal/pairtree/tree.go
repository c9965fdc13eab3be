package pairtree

// maxHeight bounds the branches above a leaf. Each has at least minFill children,
// so node numbers end first.
const maxHeight = 12

// Tree is an ordered set of pairs. The zero Tree is empty and ready for use. No
// method may run beside another, and none may be called on a tree while it is
// being walked, except Has, Min, Len and other walks.
type Tree struct {
	leaves   pool[leaf]
	branches pool[branch]
	root     uint32 // a leaf if height is 0, else a branch; nothing while empty
	height   int
	len      int
}

// path is the way from the root to a leaf: the branches, and in each the place of
// the child that was taken.
type path struct {
	ids [maxHeight]uint32
	at  [maxHeight]int
}

// Len returns the number of pairs.
func (t *Tree) Len() int { return t.len }

// Bytes returns the memory that the tree takes.
func (t *Tree) Bytes() int { return t.leaves.bytes() + t.branches.bytes() }

// Clear removes all pairs and gives the memory back.
func (t *Tree) Clear() { *t = Tree{} }

// Has reports whether a pair is in the tree.
func (t *Tree) Has(hi, lo uint64) bool {
	if t.len == 0 {
		return false
	}
	p := Pair{hi, lo}
	l := t.leaves.at(t.descend(p, nil))
	i := l.search(p)
	return i < int(l.n) && l.pairs[i] == p
}

// Min returns the lowest pair, and false if the tree is empty.
func (t *Tree) Min() (hi, lo uint64, ok bool) {
	t.AscendFrom(0, 0, func(h, l uint64) bool {
		hi, lo, ok = h, l, true
		return false
	})
	return hi, lo, ok
}

// AscendFrom calls fn with the pairs at or above (hi, lo) in order, until fn
// returns false.
func (t *Tree) AscendFrom(hi, lo uint64, fn func(hi, lo uint64) bool) {
	if t.len == 0 {
		return
	}
	from := Pair{hi, lo}
	id := t.descend(from, nil)
	for i := t.leaves.at(id).search(from); id != none; i = 0 {
		l := t.leaves.at(id)
		for _, p := range l.pairs[i:l.n] {
			if !fn(p.Hi, p.Lo) {
				return
			}
		}
		id = l.next
	}
}

// Insert adds a pair and reports whether it was not there yet.
func (t *Tree) Insert(hi, lo uint64) bool {
	if t.leaves.made == 0 {
		t.root = t.leaves.add()
		t.leaves.at(t.root).next = none
	}
	p := Pair{hi, lo}
	var way path
	id := t.descend(p, &way)
	l := t.leaves.at(id)
	i := l.search(p)
	if i < int(l.n) && l.pairs[i] == p {
		return false
	}
	t.len++
	if l.n < fanout {
		l.insert(i, p)
		return true
	}
	right, key := t.splitLeaf(id, i, p)
	t.link(&way, key, right)
	return true
}

// Delete removes a pair and reports whether it was there.
func (t *Tree) Delete(hi, lo uint64) bool {
	if t.len == 0 {
		return false
	}
	p := Pair{hi, lo}
	var way path
	l := t.leaves.at(t.descend(p, &way))
	i := l.search(p)
	if i == int(l.n) || l.pairs[i] != p {
		return false
	}
	t.len--
	copy(l.pairs[i:], l.pairs[i+1:l.n])
	if l.n--; l.n < minFill {
		t.refill(&way)
	}
	return true
}

// descend returns the leaf where a pair belongs, and notes the way if asked to.
func (t *Tree) descend(p Pair, way *path) uint32 {
	id := t.root
	for level := range t.height {
		b := t.branches.at(id)
		i := b.search(p)
		if way != nil {
			way.ids[level], way.at[level] = id, i
		}
		id = b.kids[i]
	}
	return id
}

// search returns the place of the first pair not below p.
func (l *leaf) search(p Pair) int {
	lo, hi := 0, int(l.n)
	for lo < hi {
		if mid := (lo + hi) / 2; l.pairs[mid].less(p) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// search returns the place of the child that p belongs below.
func (b *branch) search(p Pair) int {
	lo, hi := 1, int(b.n)
	for lo < hi {
		if mid := (lo + hi) / 2; p.less(b.keys[mid]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - 1
}

func (l *leaf) insert(i int, p Pair) {
	copy(l.pairs[i+1:l.n+1], l.pairs[i:l.n])
	l.pairs[i] = p
	l.n++
}

func (b *branch) insert(i int, key Pair, kid uint32) {
	copy(b.keys[i+1:b.n+1], b.keys[i:b.n])
	copy(b.kids[i+1:b.n+1], b.kids[i:b.n])
	b.keys[i], b.kids[i] = key, kid
	b.n++
}

func (b *branch) remove(i int) {
	copy(b.keys[i:], b.keys[i+1:b.n])
	copy(b.kids[i:], b.kids[i+1:b.n])
	b.n--
}

// splitLeaf inserts a pair at place i of a full leaf and returns the new leaf to
// its right and the key that divides the two.
//
// Where pairs come in rising order, at the end of the tree or behind those of the
// same Hi, the left leaf stays full instead of half empty for good.
func (t *Tree) splitLeaf(id uint32, i int, p Pair) (right uint32, key Pair) {
	right = t.leaves.add()
	l, r := t.leaves.at(id), t.leaves.at(right)
	at := fanout / 2
	if i == fanout && (l.next == none || l.pairs[fanout-1].Hi == p.Hi) {
		at = fanout
	}
	r.n = uint32(copy(r.pairs[:], l.pairs[at:]))
	l.n = uint32(at)
	r.next, l.next = l.next, right
	if i > at || at == fanout {
		r.insert(i-at, p)
	} else {
		l.insert(i, p)
	}
	return right, r.pairs[0]
}

// link enters a new node to the right of the one that the way led to, level by
// level as long as branches are full.
func (t *Tree) link(way *path, key Pair, kid uint32) {
	for level := t.height - 1; level >= 0; level-- {
		i := way.at[level] + 1
		b := t.branches.at(way.ids[level])
		if b.n < fanout {
			b.insert(i, key, kid)
			return
		}
		right := t.branches.add()
		b, r := t.branches.at(way.ids[level]), t.branches.at(right)
		at := fanout / 2
		if i == fanout {
			at = fanout - 1
		}
		copy(r.keys[:], b.keys[at:])
		r.n = uint32(copy(r.kids[:], b.kids[at:]))
		b.n = uint32(at)
		up := r.keys[0]
		if i > at {
			r.insert(i-at, key, kid)
		} else {
			b.insert(i, key, kid)
		}
		key, kid = up, right
	}
	if t.height == maxHeight {
		panic("pairtree: the tree cannot grow further")
	}
	id := t.branches.add()
	root := t.branches.at(id)
	root.n = 2
	root.kids[0], root.kids[1], root.keys[1] = t.root, kid, key
	t.root = id
	t.height++
}

// refill repairs the leaf that the way led to, which has become too small, and
// then the branches above that became so by it.
func (t *Tree) refill(way *path) {
	for level := t.height - 1; level >= 0; level-- {
		b := t.branches.at(way.ids[level])
		// Join or level the node with its right neighbour, or the last with its left.
		i := min(way.at[level], int(b.n)-2)
		var joined bool
		if level == t.height-1 {
			joined = t.levelLeaves(b, i)
		} else {
			joined = t.levelBranches(b, i)
		}
		if !joined {
			return
		}
		if b.n >= minFill {
			return
		}
	}
	// A root with one child is not needed.
	for t.height > 0 {
		b := t.branches.at(t.root)
		if b.n > 1 {
			return
		}
		kid := b.kids[0]
		t.branches.drop(t.root)
		t.root = kid
		t.height--
	}
	// An empty tree gives its memory back, unless it is about to need it again.
	if t.len == 0 && t.leaves.made > chunkNodes {
		t.Clear()
	}
}

// levelLeaves joins children i and i+1 of a branch into one if they fit, and says
// so; else both get half.
func (t *Tree) levelLeaves(b *branch, i int) bool {
	l, r := t.leaves.at(b.kids[i]), t.leaves.at(b.kids[i+1])
	all := [2 * fanout]Pair{}
	n := copy(all[:], l.pairs[:l.n])
	n += copy(all[n:], r.pairs[:r.n])
	if n <= fanout {
		l.n = uint32(copy(l.pairs[:], all[:n]))
		l.next = r.next
		t.leaves.drop(b.kids[i+1])
		b.remove(i + 1)
		return true
	}
	l.n = uint32(copy(l.pairs[:], all[:n/2]))
	r.n = uint32(copy(r.pairs[:], all[n/2:n]))
	b.keys[i+1] = r.pairs[0]
	return false
}

// levelBranches is levelLeaves for children that are branches.
func (t *Tree) levelBranches(b *branch, i int) bool {
	l, r := t.branches.at(b.kids[i]), t.branches.at(b.kids[i+1])
	keys, kids := [2 * fanout]Pair{}, [2 * fanout]uint32{}
	copy(keys[:], l.keys[:l.n])
	copy(keys[l.n:], r.keys[:r.n])
	n := copy(kids[:], l.kids[:l.n])
	n += copy(kids[n:], r.kids[:r.n])
	if n <= fanout {
		copy(l.keys[:], keys[:n])
		l.n = uint32(copy(l.kids[:], kids[:n]))
		t.branches.drop(b.kids[i+1])
		b.remove(i + 1)
		return true
	}
	copy(l.keys[:], keys[:n/2])
	l.n = uint32(copy(l.kids[:], kids[:n/2]))
	copy(r.keys[:], keys[n/2:n])
	r.n = uint32(copy(r.kids[:], kids[n/2:n]))
	b.keys[i+1] = r.keys[0]
	return false
}
