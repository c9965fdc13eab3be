package arena

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

const (
	// blockLen orders make a block; a dense page covers one.
	blockLen = 512

	// A page whose orders are few is a sorted list of pairs (16 bytes an entry,
	// where a dense page spends 8 a position). One that outgrows maxPairs within a
	// single block becomes dense; a dense one below minDense becomes sparse. The
	// gap between the two keeps a page from going back and forth.
	maxPairs = 160
	minDense = blockLen / 4
	minPairs = 8

	// pageOverhead is a page without its slots and orders, and its place in a leaf.
	pageOverhead = int(unsafe.Sizeof(page{})) + 16
)

// page leads from orders to records within a range of orders: from first, which
// begins a block, to the first of the next page. A dense page holds nothing
// beyond its one block.
//
// Readers use orders, slots and count. The writer changes slots and appends pairs
// in place while no image has the page, and otherwise changes a copy.
//
// Slots are plain words, so that the writer reads them, and fills a page that no
// reader knows yet, at the speed of plain memory. Whatever may run beside another
// goroutine, stores into a published page and loads by readers, goes through
// sync/atomic.
type page struct {
	first uint64
	slots []uint64 // references; 0 where there is no entry

	// Of a sparse page: orders[i] belongs to slots[i]; count pairs are in use.
	orders []uint64
	count  atomic.Int32

	// The writer's.
	live int    // slots with a reference
	cut  uint64 // images that had been made when the page was
}

func newDense(first, cut uint64) *page {
	return &page{first: first, slots: make([]uint64, blockLen), cut: cut}
}

func newSparse(first uint64, pairs int, cut uint64) *page {
	return &page{
		first:  first,
		slots:  make([]uint64, pairs),
		orders: make([]uint64, pairs),
		cut:    cut,
	}
}

func (p *page) dense() bool { return p.orders == nil }

// len returns the number of slots that may hold a reference.
func (p *page) len() int {
	if p.dense() {
		return len(p.slots)
	}
	return int(p.count.Load())
}

// order returns the order that a slot stands for.
func (p *page) order(i int) uint64 {
	if p.dense() {
		return p.first + uint64(i)
	}
	return p.orders[i]
}

// search returns the first slot whose order is not below o, and whether it is o's.
func (p *page) search(o uint64) (int, bool) {
	if !p.dense() {
		return slices.BinarySearch(p.orders[:p.count.Load()], o)
	}
	if o-p.first >= blockLen {
		return blockLen, false
	}
	return int(o - p.first), true
}

// load returns the reference in a slot, for any goroutine.
func (p *page) load(i int) ref { return ref(atomic.LoadUint64(&p.slots[i])) }

// store sets the reference in a slot of a page that readers may know.
func (p *page) store(i int, r ref) { atomic.StoreUint64(&p.slots[i], uint64(r)) }

// at returns the reference of an order, 0 for none, for any goroutine.
func (p *page) at(o uint64) ref {
	i, ok := p.search(o)
	if !ok {
		return 0
	}
	return p.load(i)
}

// lastOrder returns the highest order of a sparse page that has pairs.
func (p *page) lastOrder() uint64 { return p.orders[p.count.Load()-1] }

// copyFor returns the page as it is, for the writer to change beside images.
func (p *page) copyFor(cut uint64) *page {
	if !p.dense() {
		return p.sparse(p.first, 0, p.len(), cut)
	}
	to := newDense(p.first, cut)
	copy(to.slots, p.slots)
	to.live = p.live
	return to
}

// sparse returns a sparse page with exactly the live pairs of slots lo to hi.
func (p *page) sparse(first uint64, lo, hi int, cut uint64) *page {
	n := 0
	for _, v := range p.slots[lo:hi] {
		if v != 0 {
			n++
		}
	}
	to := newSparse(first, n, cut)
	to.push(p, lo, hi)
	return to
}

// push appends the live pairs of another page's slots lo to hi to a page that no
// reader knows yet.
func (p *page) push(from *page, lo, hi int) {
	n := p.live
	for i := lo; i < hi; i++ {
		if v := from.slots[i]; v != 0 {
			p.orders[n], p.slots[n] = from.order(i), v
			n++
		}
	}
	p.live = n
	p.count.Store(int32(n))
}

// pushPair appends a pair behind all others. Readers may be at the page: the pair
// is theirs once count covers it.
func (p *page) pushPair(o uint64, r ref) {
	n := int(p.count.Load())
	p.orders[n] = o
	p.store(n, r)
	p.count.Store(int32(n + 1))
	p.live++
}

// toDense returns the page as a dense one; its pairs must lie in one block.
func (p *page) toDense(first, cut uint64) *page {
	to := newDense(first, cut)
	for i := range p.len() {
		if v := p.slots[i]; v != 0 {
			to.slots[p.orders[i]-first] = v
			to.live++
		}
	}
	return to
}

// with returns a sparse page with one pair more, in its place, without the dead
// ones and with room for some more.
func (p *page) with(o uint64, r ref, cut uint64) *page {
	at, _ := p.search(o)
	room := p.live + 1
	to := newSparse(p.first, min(max(room+room/2, minPairs), maxPairs), cut)
	to.push(p, 0, at)
	to.pushPair(o, r)
	to.push(p, at, p.len())
	return to
}

// splitAt returns the slot of a full sparse page with pairs in several blocks
// where a block begins, nearest to the middle.
func (p *page) splitAt() int {
	n := p.len()
	for d := range n {
		for _, i := range [2]int{n/2 + d, n/2 - d} {
			if 0 < i && i < n && block(p.orders[i-1]) != block(p.orders[i]) {
				return i
			}
		}
	}
	panic("arena: split of a page of one block")
}

// block returns the first order of an order's block.
func block(o uint64) uint64 { return o &^ (blockLen - 1) }
