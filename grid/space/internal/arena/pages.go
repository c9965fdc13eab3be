package arena

import (
	"slices"
	"sync/atomic"
)

// maxLeaf bounds the pages of one leaf of the page directory: what a write may
// have to copy when pages come, go or split.
const maxLeaf = 128

// pages finds records by order: a tree of fixed height, root, leaves, pages.
// Only ranges of orders with entries have pages, so neither a queue whose low
// orders are long gone nor orders with wide gaps cost more than their entries do.
//
// The lists of firsts in root and leaves never change; another root or leaf takes
// their place. In a leaf a page may be replaced by one with the same first.
// Readers that hold a replaced part see it as it was; they take each page afresh
// from the root.
type pages struct {
	root   atomic.Pointer[pageRoot] // nil while nothing was written
	images uint64                   // cuts made; pages made before the last are theirs too
	bytes  int                      // of all pages
}

// pageRoot lists leaves. The first of them begins at order 0.
type pageRoot struct {
	firsts []uint64
	leaves []atomic.Pointer[pageLeaf]
}

// pageLeaf lists pages.
type pageLeaf struct {
	firsts []uint64
	pages  []atomic.Pointer[page]
}

// floor returns the last position whose first is not above o, -1 for none.
func floor(firsts []uint64, o uint64) int {
	i, found := slices.BinarySearch(firsts, o)
	if found {
		return i
	}
	return i - 1
}

// cursor is a position in the tree.
type cursor struct {
	root *pageRoot
	leaf *pageLeaf
	li   int // the leaf's place in the root
	pi   int // the page's place in the leaf, -1 for before the first
}

// find returns the position that covers an order. There must be a root.
func (r *pageRoot) find(o uint64) cursor {
	li := floor(r.firsts, o)
	leaf := r.leaves[li].Load()
	return cursor{root: r, leaf: leaf, li: li, pi: floor(leaf.firsts, o)}
}

// page returns the page at the position, nil before the first of a leaf.
func (c *cursor) page() *page {
	if c.pi < 0 {
		return nil
	}
	return c.leaf.pages[c.pi].Load()
}

// end returns the order at which the next page or leaf begins, and false at the
// last.
func (c *cursor) end() (uint64, bool) {
	if c.pi+1 < len(c.leaf.firsts) {
		return c.leaf.firsts[c.pi+1], true
	}
	if c.li+1 < len(c.root.firsts) {
		return c.root.firsts[c.li+1], true
	}
	return 0, false
}

// at returns the reference of an order, 0 for none. Any goroutine may call it.
func (s *pages) at(o uint64) ref {
	root := s.root.Load()
	if root == nil {
		return 0
	}
	c := root.find(o)
	if p := c.page(); p != nil {
		return p.at(o)
	}
	return 0
}

// replace sets the reference of an order that has one.
func (s *pages) replace(o uint64, r ref) {
	c := s.root.Load().find(o)
	p := s.own(&c)
	i, _ := p.search(o)
	p.store(i, r)
}

// own returns the page at the position for the writer to change: the page, or a
// copy in its place if an image has it.
func (s *pages) own(c *cursor) *page {
	p := c.page()
	if p.cut == s.images {
		return p
	}
	mine := p.copyFor(s.images)
	s.put(c, p, mine)
	return mine
}

// put lets another page with the same first take a page's place.
func (s *pages) put(c *cursor, old, p *page) {
	s.bytes += p.size() - old.size()
	c.leaf.pages[c.pi].Store(p)
}

// size returns what the page takes, with its place in a leaf.
func (p *page) size() int { return pageOverhead + 8*len(p.slots) + 8*len(p.orders) }

// insert enters an order that has no entry. An order that has one is a fault of
// the caller's.
func (s *pages) insert(o uint64, r ref) {
	if s.root.Load() == nil {
		root := &pageRoot{firsts: []uint64{0}, leaves: make([]atomic.Pointer[pageLeaf], 1)}
		root.leaves[0].Store(&pageLeaf{})
		s.root.Store(root)
	}
	for !s.tryInsert(o, r) {
	}
}

// tryInsert enters an order, or makes room for it and returns false.
func (s *pages) tryInsert(o uint64, r ref) bool {
	c := s.root.Load().find(o)
	p := c.page()
	if p == nil || p.dense() && o-p.first >= blockLen {
		s.fillGap(&c, p)
		return false
	}
	if p.at(o) != 0 {
		panic("arena: two entries with one order")
	}
	switch i, hasSlot := p.search(o); {
	case hasSlot:
		p = s.own(&c)
		// A copy of a sparse page may have lost the dead pair.
		if i, hasSlot = p.search(o); !hasSlot {
			return false
		}
		p.store(i, r)
		p.live++
	case p.len() == maxPairs && p.live == p.len():
		s.relieve(&c, p, o)
		return false
	case i == p.len() && i < len(p.slots) && p.cut == s.images:
		p.pushPair(o, r)
	default:
		s.put(&c, p, p.with(o, r, s.images))
	}
	return true
}

// fillGap makes an empty page for the orders behind a dense page, or for those
// below the first page of a leaf.
func (s *pages) fillGap(c *cursor, before *page) {
	first := c.root.firsts[c.li]
	if before != nil {
		first = before.first + blockLen
	}
	s.splice(c, c.pi+1, c.pi+1, newSparse(first, minPairs, s.images))
	if before != nil {
		s.settle(before.first)
	}
}

// relieve makes room in the neighbourhood of o, whose page is full: the page
// becomes dense, or two.
func (s *pages) relieve(c *cursor, p *page, o uint64) {
	b, last := block(p.orders[0]), block(p.lastOrder())
	switch {
	case o > p.lastOrder() && block(o) != last:
		// Orders mostly grow: leave the page full and go on in a new one.
		s.splice(c, c.pi+1, c.pi+1, newSparse(block(o), minPairs, s.images))
	case b == last && b == block(o):
		s.splice(c, c.pi, c.pi+1, p.toDense(b, s.images))
	case b == last && o < p.orders[0]:
		// The page's block begins above o: separate the two.
		s.splice(c, c.pi, c.pi+1,
			newSparse(p.first, minPairs, s.images), p.sparse(b, 0, p.len(), s.images))
	default:
		i := p.splitAt()
		s.splice(c, c.pi, c.pi+1,
			p.sparse(p.first, 0, i, s.images), p.sparse(block(p.orders[i]), i, p.len(), s.images))
	}
}

// remove clears an order that has an entry.
func (s *pages) remove(o uint64) {
	c := s.root.Load().find(o)
	p := s.own(&c)
	i, _ := p.search(o)
	p.store(i, 0)
	p.live--
	s.settle(p.first)
}

// settle brings the page that begins at first into the form that suits what is
// left in it. The last page of all stays as it is, as it is about to grow.
func (s *pages) settle(first uint64) {
	c := s.root.Load().find(first)
	p := c.page()
	if _, more := c.end(); !more {
		return
	}
	switch {
	case p.live == 0:
		s.splice(&c, c.pi, c.pi+1)
	case p.dense() && p.live < minDense, !p.dense() && 2*p.live < p.len():
		s.put(&c, p, p.sparse(p.first, 0, p.len(), s.images))
		s.join(&c)
	}
}

// join merges a sparse page with a sparse neighbour in its leaf, if the two fill
// no more than half a page.
func (s *pages) join(c *cursor) {
	for _, pi := range [2]int{c.pi - 1, c.pi} {
		if pi < 0 || pi+1 >= len(c.leaf.pages) {
			continue
		}
		a, b := c.leaf.pages[pi].Load(), c.leaf.pages[pi+1].Load()
		if a.dense() || b.dense() || a.live+b.live > maxPairs/2 {
			continue
		}
		both := newSparse(a.first, a.live+b.live, s.images)
		both.push(a, 0, a.len())
		both.push(b, 0, b.len())
		s.splice(c, pi, pi+2, both)
		return
	}
}

// splice puts pages in the place of those at lo to hi of the cursor's leaf. It
// publishes a new leaf, and a new root if the number of leaves changes. The
// cursor is not valid afterwards.
func (s *pages) splice(c *cursor, lo, hi int, in ...*page) {
	n := len(c.leaf.pages) - (hi - lo) + len(in)
	all := make([]*page, 0, n)
	for i := range c.leaf.pages {
		if i == lo {
			all = append(all, in...)
		}
		if p := c.leaf.pages[i].Load(); i < lo || i >= hi {
			all = append(all, p)
		} else {
			s.bytes -= p.size()
		}
	}
	if lo == len(c.leaf.pages) {
		all = append(all, in...)
	}
	for _, p := range in {
		s.bytes += p.size()
	}
	switch atEnd := lo+len(in) == n && c.li == len(c.root.firsts)-1; {
	case n == 0 && len(c.root.firsts) > 1:
		s.setLeaves(c, c.li, c.li+1)
	case n > maxLeaf:
		// Leaves fill up where orders grow, and split in halves elsewhere.
		at := n / 2
		if atEnd {
			at = maxLeaf
		}
		s.setLeaves(c, c.li, c.li+1, newLeaf(all[:at]), newLeaf(all[at:]))
	default:
		c.root.leaves[c.li].Store(newLeaf(all))
		s.joinLeaves(c)
	}
}

func newLeaf(all []*page) *pageLeaf {
	leaf := &pageLeaf{firsts: make([]uint64, len(all)), pages: make([]atomic.Pointer[page], len(all))}
	for i, p := range all {
		leaf.firsts[i] = p.first
		leaf.pages[i].Store(p)
	}
	return leaf
}

// joinLeaves merges a leaf with the one before or behind it, if the two fill no
// more than half a leaf.
func (s *pages) joinLeaves(c *cursor) {
	for _, li := range [2]int{c.li - 1, c.li} {
		if li < 0 || li+1 >= len(c.root.leaves) {
			continue
		}
		a, b := c.root.leaves[li].Load(), c.root.leaves[li+1].Load()
		if len(a.pages)+len(b.pages) > maxLeaf/2 {
			continue
		}
		all := make([]*page, 0, maxLeaf/2)
		for _, l := range [2]*pageLeaf{a, b} {
			for i := range l.pages {
				all = append(all, l.pages[i].Load())
			}
		}
		s.setLeaves(c, li, li+2, newLeaf(all))
		return
	}
}

// setLeaves publishes a root with other leaves in the place of those at lo to hi.
// The first of them begins where the first of those did.
func (s *pages) setLeaves(c *cursor, lo, hi int, in ...*pageLeaf) {
	n := len(c.root.firsts) - (hi - lo) + len(in)
	root := &pageRoot{firsts: make([]uint64, 0, n), leaves: make([]atomic.Pointer[pageLeaf], n)}
	add := func(first uint64, leaf *pageLeaf) {
		root.leaves[len(root.firsts)].Store(leaf)
		root.firsts = append(root.firsts, first)
	}
	for i := range lo {
		add(c.root.firsts[i], c.root.leaves[i].Load())
	}
	for i, leaf := range in {
		first := c.root.firsts[lo]
		if i > 0 {
			first = leaf.firsts[0]
		}
		add(first, leaf)
	}
	for i := hi; i < len(c.root.firsts); i++ {
		add(c.root.firsts[i], c.root.leaves[i].Load())
	}
	root.firsts[0] = 0
	s.root.Store(root)
}
