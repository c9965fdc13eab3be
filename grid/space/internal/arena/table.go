package arena

import (
	"fmt"
	"hash/maphash"
	"iter"
	"sync/atomic"
)

// Table holds the entries of one space in one partition.
//
// One goroutine writes: only it may call Put, Delete, Reserve and Image. Any
// goroutine may call Get, ByOrder, Ascend, Len and Bytes at any time, also while
// the writer works; none of them waits. An empty table takes a few hundred bytes.
//
// What a reader holds is never wrong, only old. During its call a write becomes
// visible to all readers, at one moment by order and at another by key. Nothing is
// promised about two reads together: a caller who needs several entries of one
// moment takes an Image, or reads between writes.
type Table struct {
	slabs      slabs
	index      index
	pages      pages
	compaction compaction
	entries    atomic.Int64
	sizes      sizes
}

// sizes is what Bytes tells, as of the last write.
type sizes struct {
	live, used, slabs, index, pages atomic.Int64
}

// New returns an empty table. The seed spreads the keys; tables may share one, and
// the content of a table does not depend on it.
func New(seed maphash.Seed) *Table {
	t := &Table{slabs: newSlabs()}
	t.index.seed, t.index.slabs = seed, &t.slabs
	return t
}

// Get returns the entry of a key.
func (t *Table) Get(key []byte) (Record, bool) { return t.index.lookup(key) }

// ByOrder returns the entry with the given order.
func (t *Table) ByOrder(order uint64) (Record, bool) {
	for {
		r := t.pages.at(order)
		if r == 0 {
			return Record{}, false
		}
		// The slab may go between the two steps; then the page knows better.
		if rec, ok := t.slabs.record(r); ok {
			return rec, true
		}
	}
}

// Ascend yields the entries whose order is not below from, lowest order first. An
// entry that is in the table all the while is yielded once; one that comes, goes
// or is written meanwhile is yielded, if at all, as it was at some moment of the
// walk. The walk may be left at any entry and taken up again at its order plus
// one; the writer may write inside of it.
func (t *Table) Ascend(from uint64) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for more := true; more; {
			root := t.pages.root.Load()
			if root == nil {
				return
			}
			c := root.find(from)
			if p := c.page(); p != nil && !t.walk(p, from, yield) {
				return
			}
			from, more = c.end()
		}
	}
}

// walk yields the entries of one page.
func (t *Table) walk(p *page, from uint64, yield func(Record) bool) bool {
	for i, _ := p.search(from); i < p.len(); i++ {
		r := p.load(i)
		if r == 0 {
			continue
		}
		rec, ok := t.slabs.record(r)
		if !ok {
			// The page has been replaced and its entry moved or written since.
			if rec, ok = t.ByOrder(p.order(i)); !ok {
				continue
			}
		}
		if !yield(rec) {
			return false
		}
	}
	return true
}

// Len returns the number of entries.
func (t *Table) Len() int { return int(t.entries.Load()) }

// Put writes an entry and returns the record that it replaces, if the key was
// there. Key and value are copied, and may lie in the table's own memory. A new
// key needs an order that no other entry has.
//
// It panics if key or value is longer than a record can hold, or the order is
// taken: the caller has checked.
func (t *Table) Put(key []byte, m Meta, value []byte) (old Record, replaced bool) {
	if len(key) > MaxKeyLen || len(value) > MaxValueLen {
		panic(fmt.Sprintf("arena: key of %d and value of %d bytes", len(key), len(value)))
	}
	p := t.index.find(key)
	if p.ref != 0 {
		m.Order = p.rec.Order()
	}
	size := recordLen(key, m, value)
	r, buf := t.slabs.append(size)
	encode(buf, key, m, value)
	if p.ref != 0 {
		t.pages.replace(m.Order, r)
		p.set(r)
		t.slabs.discard(p.ref, p.rec.Size())
	} else {
		t.pages.insert(m.Order, r)
		t.index.insert(p, r)
		t.entries.Add(1)
	}
	t.finish()
	return p.rec, p.ref != 0
}

// Delete removes the entry of a key and returns it, if it was there.
func (t *Table) Delete(key []byte) (old Record, removed bool) {
	p := t.index.find(key)
	if p.ref == 0 {
		return Record{}, false
	}
	t.pages.remove(p.rec.Order())
	t.index.remove(p)
	t.slabs.discard(p.ref, p.rec.Size())
	if t.entries.Add(-1) == 0 {
		t.index.clear()
	}
	t.finish()
	return p.rec, true
}

// finish ends every write.
func (t *Table) finish() {
	t.compact()
	publish(&t.sizes.live, t.slabs.live)
	publish(&t.sizes.used, t.slabs.used)
	publish(&t.sizes.slabs, t.slabs.capacity)
	publish(&t.sizes.index, t.index.bytes())
	publish(&t.sizes.pages, t.pages.bytes)
}

// publish stores a number if it has changed; most of them seldom do.
func publish(to *atomic.Int64, n int) {
	if to.Load() != int64(n) {
		to.Store(int64(n))
	}
}

// Reserve prepares an empty table for about n entries, so that a load does not
// grow the index step by step. It allocates some 14 bytes an entry at once, so n
// must not be a number that a stranger declared. A table with entries ignores it.
func (t *Table) Reserve(n int) {
	if t.Len() == 0 && n > minSegment {
		t.index.reserve(n)
		publish(&t.sizes.index, t.index.bytes())
	}
}

// Bytes is what a table takes.
type Bytes struct {
	Live    int // records of entries
	Garbage int // records that were replaced or removed, not yet freed
	Slabs   int // slabs: live, garbage, and the unused ends
	Index   int // the directory by key
	Pages   int // the directory by order
}

// Total returns all bytes of the table, up to small change.
func (b Bytes) Total() int { return b.Slabs + b.Index + b.Pages }

// Bytes returns what the table took after the last write; beside a write the
// numbers may not fit together to the byte. Memory that only readers and images
// still hold is not counted.
func (t *Table) Bytes() Bytes {
	live := t.sizes.live.Load()
	return Bytes{
		Live:    int(live),
		Garbage: int(max(0, t.sizes.used.Load()-live)),
		Slabs:   int(t.sizes.slabs.Load()),
		Index:   int(t.sizes.index.Load()),
		Pages:   int(t.sizes.pages.Load()),
	}
}
