package pairtree

// maxHeight bounds the branches above a leaf. Each has at least minFill children,
// so node numbers end first.
const maxHeight = 12

// Set is an ordered set of keys. The zero Set is empty and ready for use. No
// method may run beside another, and none may be called on a set while it is
// being walked, except Has, First, Count, Len and other walks.
type Set[K Key] struct {
	leaves   pool[leaf[K]]
	branches pool[branch[K]]
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

// Len returns the number of keys.
func (t *Set[K]) Len() int { return t.len }

// Bytes returns the memory that the tree takes.
func (t *Set[K]) Bytes() int { return t.leaves.bytes() + t.branches.bytes() }

// Clear removes all keys and gives the memory back.
func (t *Set[K]) Clear() { *t = Set[K]{} }

// Has reports whether a key is in the set.
func (t *Set[K]) Has(k K) bool {
	if t.len == 0 {
		return false
	}
	l := t.leaves.at(t.descend(&k, nil))
	i := l.search(&k)
	return i < int(l.n) && l.keys[i] == k
}

// First returns the lowest key at or above from, and false if there is none.
func (t *Set[K]) First(from K) (k K, ok bool) {
	t.AscendFrom(from, func(found K) bool {
		k, ok = found, true
		return false
	})
	return k, ok
}

// Count returns the number of keys from low to high, both included, or limit if
// there are at least so many. It looks at whole leaves, not at every key.
func (t *Set[K]) Count(low, high K, limit int) int {
	if t.len == 0 || less(&high, &low) {
		return 0
	}
	n := 0
	id := t.descend(&low, nil)
	for i := t.leaves.at(id).search(&low); id != none && n < limit; i = 0 {
		l := t.leaves.at(id)
		if last := int(l.n) - 1; last >= 0 && less(&high, &l.keys[last]) {
			for ; i < last && !less(&high, &l.keys[i]); i++ {
				n++
			}
			break
		}
		n += int(l.n) - i
		id = l.next
	}
	return min(n, limit)
}

// AscendFrom calls fn with the keys at or above from, in order, until fn returns
// false.
func (t *Set[K]) AscendFrom(from K, fn func(K) bool) {
	if t.len == 0 {
		return
	}
	id := t.descend(&from, nil)
	for i := t.leaves.at(id).search(&from); id != none; i = 0 {
		l := t.leaves.at(id)
		for ; i < int(l.n); i++ {
			if !fn(l.keys[i]) {
				return
			}
		}
		id = l.next
	}
}

// DescendFrom calls fn with the keys at or below from, highest first, until fn
// returns false.
func (t *Set[K]) DescendFrom(from K, fn func(K) bool) {
	if t.len == 0 {
		return
	}
	var way path
	l := t.leaves.at(t.descend(&from, &way))
	i := l.search(&from)
	if i < int(l.n) && l.keys[i] == from {
		i++
	}
	for {
		for i--; i >= 0; i-- {
			if !fn(l.keys[i]) {
				return
			}
		}
		if !t.stepBack(&way) {
			return
		}
		l = t.leaves.at(t.at(&way))
		i = int(l.n)
	}
}

// stepBack moves a way to the leaf before the one that it leads to, and reports
// false if there is none.
func (t *Set[K]) stepBack(way *path) bool {
	level := t.height - 1
	for ; level >= 0 && way.at[level] == 0; level-- {
	}
	if level < 0 {
		return false
	}
	way.at[level]--
	for level++; level < t.height; level++ {
		above := t.branches.at(way.ids[level-1])
		way.ids[level] = above.kids[way.at[level-1]]
		way.at[level] = int(t.branches.at(way.ids[level]).n) - 1
	}
	return true
}

// at returns the leaf that a way leads to, which has at least one step.
func (t *Set[K]) at(way *path) uint32 {
	last := t.height - 1
	return t.branches.at(way.ids[last]).kids[way.at[last]]
}

// Insert adds a key and reports whether it was not there yet.
func (t *Set[K]) Insert(k K) bool {
	if t.leaves.made == 0 {
		t.root = t.leaves.add()
		t.leaves.at(t.root).next = none
	}
	var way path
	id := t.descend(&k, &way)
	l := t.leaves.at(id)
	i := l.search(&k)
	if i < int(l.n) && l.keys[i] == k {
		return false
	}
	t.len++
	if l.n < fanout {
		l.insert(i, k)
		return true
	}
	right, key := t.splitLeaf(id, i, k)
	t.link(&way, key, right)
	return true
}

// Delete removes a key and reports whether it was there.
func (t *Set[K]) Delete(k K) bool {
	if t.len == 0 {
		return false
	}
	var way path
	l := t.leaves.at(t.descend(&k, &way))
	i := l.search(&k)
	if i == int(l.n) || l.keys[i] != k {
		return false
	}
	t.len--
	copy(l.keys[i:], l.keys[i+1:l.n])
	if l.n--; l.n < minFill {
		t.refill(&way)
	}
	return true
}

// descend returns the leaf where a key belongs, and notes the way if asked to.
func (t *Set[K]) descend(p *K, way *path) uint32 {
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

// search returns the place of the first key not below p.
func (l *leaf[K]) search(p *K) int {
	lo, hi := 0, int(l.n)
	for lo < hi {
		if mid := (lo + hi) / 2; less(&l.keys[mid], p) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// search returns the place of the child that p belongs below.
func (b *branch[K]) search(p *K) int {
	lo, hi := 1, int(b.n)
	for lo < hi {
		if mid := (lo + hi) / 2; less(p, &b.keys[mid]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - 1
}

func (l *leaf[K]) insert(i int, p K) {
	copy(l.keys[i+1:l.n+1], l.keys[i:l.n])
	l.keys[i] = p
	l.n++
}

func (b *branch[K]) insert(i int, key K, kid uint32) {
	copy(b.keys[i+1:b.n+1], b.keys[i:b.n])
	copy(b.kids[i+1:b.n+1], b.kids[i:b.n])
	b.keys[i], b.kids[i] = key, kid
	b.n++
}

func (b *branch[K]) remove(i int) {
	copy(b.keys[i:], b.keys[i+1:b.n])
	copy(b.kids[i:], b.kids[i+1:b.n])
	b.n--
}

// splitLeaf inserts a key at place i of a full leaf and returns the new leaf to
// its right and the key that divides the two.
//
// Where keys come in rising order, at the end of the tree or behind those of the
// same first number, the left leaf stays full instead of half empty for good.
func (t *Set[K]) splitLeaf(id uint32, i int, p K) (right uint32, key K) {
	right = t.leaves.add()
	l, r := t.leaves.at(id), t.leaves.at(right)
	at := fanout / 2
	if i == fanout && (l.next == none || l.keys[fanout-1][0] == p[0]) {
		at = fanout
	}
	r.n = uint32(copy(r.keys[:], l.keys[at:]))
	l.n = uint32(at)
	r.next, l.next = l.next, right
	if i > at || at == fanout {
		r.insert(i-at, p)
	} else {
		l.insert(i, p)
	}
	return right, r.keys[0]
}

// link enters a new node to the right of the one that the way led to, level by
// level as long as branches are full.
func (t *Set[K]) link(way *path, key K, kid uint32) {
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
func (t *Set[K]) refill(way *path) {
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
func (t *Set[K]) levelLeaves(b *branch[K], i int) bool {
	l, r := t.leaves.at(b.kids[i]), t.leaves.at(b.kids[i+1])
	all := [2 * fanout]K{}
	n := copy(all[:], l.keys[:l.n])
	n += copy(all[n:], r.keys[:r.n])
	if n <= fanout {
		l.n = uint32(copy(l.keys[:], all[:n]))
		l.next = r.next
		t.leaves.drop(b.kids[i+1])
		b.remove(i + 1)
		return true
	}
	l.n = uint32(copy(l.keys[:], all[:n/2]))
	r.n = uint32(copy(r.keys[:], all[n/2:n]))
	b.keys[i+1] = r.keys[0]
	return false
}

// levelBranches is levelLeaves for children that are branches.
func (t *Set[K]) levelBranches(b *branch[K], i int) bool {
	l, r := t.branches.at(b.kids[i]), t.branches.at(b.kids[i+1])
	keys, kids := [2 * fanout]K{}, [2 * fanout]uint32{}
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
