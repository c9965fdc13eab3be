package arena

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

const (
	// A slot of the index is a tag over a reference. The tag is 20 bits of the
	// key's hash; it also gives the place in the segment where a search begins, so
	// that a segment is rebuilt without looking at keys.
	tagBits = 64 - refBits
	tagMask = 1<<tagBits - 1
	refMask = 1<<refBits - 1

	// tombstone marks the slot of a deleted entry: a tag without a reference.
	// Searches go past it.
	tombstone = 1 << refBits

	// A segment grows up to maxSegment slots, then splits. That bounds the work of
	// one write at 768 keys read again, some 0.1 ms out of cold memory.
	minSegment = 16
	maxSegment = 1024

	// maxDepth bounds the index directory. Beyond it segments could not split;
	// 2^28 segments hold two hundred thousand million entries.
	maxDepth = 28

	// segmentOverhead is a segment without its slots.
	segmentOverhead = int(unsafe.Sizeof(segment{}))
)

// index finds records by key. It is an extendible hash table: the upper bits of
// the hash choose, through a directory, a segment; the segment is searched slot
// by slot from the place that the tag gives. A full segment splits alone; the
// directory doubles when a segment is as deep as the directory is.
//
// Readers may hold a segment or a directory that has been replaced. Such a one is
// never written again, so they see the index as it was while they were searching;
// if it leads them to a slab that is gone they begin anew.
type index struct {
	seed  maphash.Seed
	slabs *slabs
	dir   atomic.Pointer[indexDir] // nil while nothing was written
	slots int                      // of all segments
}

// indexDir maps the upper depth bits of a hash to segments.
type indexDir struct {
	depth    int
	segments []atomic.Pointer[segment]
}

// segment is a small open-addressing table. At least a quarter of its slots has
// never been used, which ends every search.
//
// As in a page, slots are plain words for the writer's reads and for a segment
// that no reader knows yet; all else goes through sync/atomic.
type segment struct {
	slots []uint64

	// The writer's.
	depth int // bits of the hash that all keys here share
	live  int // slots with a reference
	used  int // of these and tombstones
}

func newSegment(slots, depth int) *segment {
	return &segment{slots: make([]uint64, slots), depth: depth}
}

func (d *indexDir) at(h uint64) *atomic.Pointer[segment] {
	return &d.segments[h>>(64-d.depth)]
}

// home is the slot where the search for a tag begins.
func (g *segment) home(tag uint64) int { return int(tag * uint64(len(g.slots)) >> tagBits) }

func (g *segment) next(i int) int {
	if i++; i < len(g.slots) {
		return i
	}
	return 0
}

// lookup returns the record of a key. Any goroutine may call it.
func (x *index) lookup(key []byte) (Record, bool) {
	h := maphash.Bytes(x.seed, key)
	tag := h & tagMask
search:
	for {
		dir := x.dir.Load()
		if dir == nil {
			return Record{}, false
		}
		g := dir.at(h).Load()
		for i := g.home(tag); ; i = g.next(i) {
			v := atomic.LoadUint64(&g.slots[i])
			if v == 0 {
				return Record{}, false
			}
			if v>>refBits != tag || v&refMask == 0 {
				continue
			}
			rec, ok := x.slabs.record(ref(v & refMask))
			if !ok {
				continue search
			}
			if bytes.Equal(rec.Key(), key) {
				return rec, true
			}
		}
	}
}

// place is where the writer's search for a key ended.
type place struct {
	hash uint64
	seg  *segment // nil while there is no segment
	slot int      // of the key, or the slot to put it into
	ref  ref      // 0 if the key is not there
	rec  Record
}

// find is the writer's lookup.
func (x *index) find(key []byte) place {
	p := place{hash: maphash.Bytes(x.seed, key), slot: -1}
	dir := x.dir.Load()
	if dir == nil {
		return p
	}
	p.seg = dir.at(p.hash).Load()
	tag := p.hash & tagMask
	for i := p.seg.home(tag); ; i = p.seg.next(i) {
		v := p.seg.slots[i]
		switch {
		case v == 0:
			if p.slot < 0 {
				p.slot = i
			}
			return p
		case v&refMask == 0:
			if p.slot < 0 {
				p.slot = i
			}
		case v>>refBits == tag:
			r := ref(v & refMask)
			if rec := x.slabs.mustRecord(r); bytes.Equal(rec.Key(), key) {
				p.slot, p.ref, p.rec = i, r, rec
				return p
			}
		}
	}
}

// set points the slot of a key that was found to another record.
func (p *place) set(r ref) {
	atomic.StoreUint64(&p.seg.slots[p.slot], p.hash&tagMask<<refBits|uint64(r))
}

// insert enters a key that was not found.
func (x *index) insert(p place, r ref) {
	if p.seg == nil {
		x.reserve(minSegment / 2)
		p.seg = x.dir.Load().at(p.hash).Load()
		p.slot = p.seg.home(p.hash & tagMask)
	}
	for p.seg.slots[p.slot] == 0 && 4*(p.seg.used+1) > 3*len(p.seg.slots) {
		x.makeRoom(p.seg, p.hash)
		p.seg = x.dir.Load().at(p.hash).Load()
		p.slot = p.seg.free(p.hash & tagMask)
	}
	if p.seg.slots[p.slot] == 0 {
		p.seg.used++
	}
	p.seg.live++
	p.set(r)
}

// remove deletes a key that was found. The slot becomes a tombstone, or free
// again, with the tombstones before it, if no search goes on behind it.
func (x *index) remove(p place) {
	g := p.seg
	g.live--
	atomic.StoreUint64(&g.slots[p.slot], tombstone)
	if g.slots[g.next(p.slot)] == 0 {
		for i := p.slot; g.slots[i] == tombstone; i = (i + len(g.slots) - 1) % len(g.slots) {
			atomic.StoreUint64(&g.slots[i], 0)
			g.used--
		}
	}
	if len(g.slots) > minSegment && 8*g.live < len(g.slots) {
		x.rebuild(g, max(minSegment, len(g.slots)/4), p.hash)
	}
}

// clear drops the segments of an index that has become empty, unless there is but
// one: a queue that runs empty all the time needs that again.
func (x *index) clear() {
	if x.dir.Load().depth > 0 {
		x.dir.Store(nil)
		x.slots = 0
	}
}

// bytes returns what directory and segments take.
func (x *index) bytes() int {
	dir := x.dir.Load()
	if dir == nil {
		return 0
	}
	return 8*x.slots + (8+segmentOverhead)*len(dir.segments)
}

// move points the slot of a key from one reference to another.
func (x *index) move(key []byte, from, to ref) {
	p := place{hash: maphash.Bytes(x.seed, key)}
	p.seg = x.dir.Load().at(p.hash).Load()
	want := p.hash&tagMask<<refBits | uint64(from)
	for i := p.seg.home(p.hash & tagMask); ; i = p.seg.next(i) {
		switch p.seg.slots[i] {
		case want:
			p.slot = i
			p.set(to)
			return
		case 0:
			panic("arena: the index does not know a live record")
		}
	}
}

// makeRoom replaces a full segment: by one of the same size if a third of it is
// tombstones, else by a larger one or by two.
func (x *index) makeRoom(g *segment, h uint64) {
	n := len(g.slots)
	switch {
	case 2*g.live <= n:
		x.rebuild(g, n, h)
	case n < maxSegment/2:
		x.rebuild(g, 2*n, h)
	case n < maxSegment:
		x.rebuild(g, min(n+maxSegment/4, maxSegment), h)
	default:
		x.split(g, h)
	}
}

// rebuild replaces a segment by one of n slots without tombstones.
func (x *index) rebuild(g *segment, n int, h uint64) {
	to := newSegment(n, g.depth)
	for i := range g.slots {
		if v := g.slots[i]; v&refMask != 0 {
			to.add(v)
		}
	}
	x.slots += n - len(g.slots)
	x.publish(to, h)
}

// split replaces a segment by two, by the next bit of the hashes of their keys.
// Each starts at half its load, with three quarters of the slots.
func (x *index) split(g *segment, h uint64) {
	if x.dir.Load().depth == g.depth {
		x.double()
	}
	const n = maxSegment * 3 / 4
	bit := uint64(1) << (63 - g.depth)
	low, high := newSegment(n, g.depth+1), newSegment(n, g.depth+1)
	for i := range g.slots {
		v := g.slots[i]
		if v&refMask == 0 {
			continue
		}
		rec := x.slabs.mustRecord(ref(v & refMask))
		if maphash.Bytes(x.seed, rec.Key())&bit == 0 {
			low.add(v)
		} else {
			high.add(v)
		}
	}
	x.slots += 2*n - len(g.slots)
	x.publish(low, h&^bit)
	x.publish(high, h|bit)
}

// double makes the directory one bit deeper.
func (x *index) double() {
	dir := x.dir.Load()
	if dir.depth == maxDepth {
		panic("arena: the index cannot grow further")
	}
	twice := &indexDir{depth: dir.depth + 1, segments: make([]atomic.Pointer[segment], 2*len(dir.segments))}
	for i := range twice.segments {
		twice.segments[i].Store(dir.segments[i/2].Load())
	}
	x.dir.Store(twice)
}

// publish lets all of the directory that shares the segment's bits of h lead
// to it.
func (x *index) publish(g *segment, h uint64) {
	dir := x.dir.Load()
	width := 1 << (dir.depth - g.depth)
	first := int(h>>(64-dir.depth)) &^ (width - 1)
	for i := range width {
		dir.segments[first+i].Store(g)
	}
}

// add enters a slot value into a segment that nobody else knows yet.
func (g *segment) add(v uint64) {
	g.slots[g.free(v>>refBits)] = v
	g.live++
	g.used++
}

// free returns the slot to put a new tag into.
func (g *segment) free(tag uint64) int {
	i := g.home(tag)
	for g.slots[i]&refMask != 0 {
		i = g.next(i)
	}
	return i
}

// reserve replaces an index without entries by one with room for n.
func (x *index) reserve(n int) {
	// Hashes spread unevenly over segments: an eighth more keeps most of them from
	// growing once more at the end.
	slots := n*4/3 + n/8
	depth := 0
	for depth < maxDepth && slots>>depth > maxSegment {
		depth++
	}
	size := min(max(slots>>depth, minSegment), maxSegment)
	if depth == 0 {
		size = 1 << bits.Len(uint(size-1))
	}
	dir := &indexDir{depth: depth, segments: make([]atomic.Pointer[segment], 1<<depth)}
	for i := range dir.segments {
		dir.segments[i].Store(newSegment(size, depth))
	}
	x.slots = size << depth
	x.dir.Store(dir)
}
