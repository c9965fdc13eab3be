package arena

import (
	"math/bits"
	"sync/atomic"
)

const (
	// A slab holds about a quarter of the table's live bytes when it is made,
	// within these bounds: an almost empty table stays small, and its unfinished
	// slab, which is never compacted, is a bounded part of it.
	minSlabLen  = 4 << 10
	maxSlabLen  = 256 << 10
	slabsOfLive = 4

	// ownSlabLen is the longest record that shares a slab. A longer one leaves no
	// unused end behind in a slab of its own, and is freed alone.
	ownSlabLen = 32 << 10

	// A reference is a slab's number and the record's place in it, in units.
	placeBits = 15 // maxSlabLen / unit
	idBits    = 29
	refBits   = idBits + placeBits

	// The slab directory is an array of chunks. The first begins small.
	chunkBits     = 9
	chunkLen      = 1 << chunkBits
	firstChunkLen = 8
)

// ref says where a record lies: slab number, then place in the slab. No slab has
// the number 0, so 0 is no reference.
type ref uint64

func makeRef(id uint64, at int) ref { return ref(id<<placeBits | uint64(at/unit)) }

func (r ref) id() uint64 { return uint64(r >> placeBits) }
func (r ref) at() int    { return int(r&(1<<placeBits-1)) * unit }

// slab is a run of records. Readers use buf only, and only where a published
// reference leads them; the writer appends behind that.
type slab struct {
	buf []byte
	// use is the writer's account, kept apart from the line that readers load.
	use *slabUse
}

// slabUse accounts for one slab. It belongs to the writer.
type slabUse struct {
	id     uint64
	slab   *slab
	used   int  // bytes appended
	dead   int  // of these, bytes of records that are garbage
	own    bool // it holds one long record alone
	bucket int  // which list of victims it is in, or notListed

	prev, next *slabUse
}

const notListed = -1

// slabChunk is a part of the slab directory.
type slabChunk struct {
	slabs []atomic.Pointer[slab]
	count int // slabs in it; the writer's
}

// slabDir leads from slab numbers to slabs.
type slabDir struct {
	chunks []atomic.Pointer[slabChunk]
}

// at returns a slab, or nil if it is gone (or newer than this directory).
func (d *slabDir) at(id uint64) *slab {
	if d == nil || id>>chunkBits >= uint64(len(d.chunks)) {
		return nil
	}
	chunk := d.chunks[id>>chunkBits].Load()
	if chunk == nil || id%chunkLen >= uint64(len(chunk.slabs)) {
		return nil
	}
	return chunk.slabs[id%chunkLen].Load()
}

// record returns the record at a reference, and false if its slab is gone.
func (d *slabDir) record(r ref) (Record, bool) {
	s := d.at(r.id())
	if s == nil {
		return Record{}, false
	}
	return recordAt(s.buf[r.at():]), true
}

// clone copies the directory, not the slabs.
func (d *slabDir) clone() *slabDir {
	if d == nil {
		return nil
	}
	c := &slabDir{chunks: make([]atomic.Pointer[slabChunk], len(d.chunks))}
	for i := range d.chunks {
		if chunk := d.chunks[i].Load(); chunk != nil {
			c.chunks[i].Store(chunk.clone(len(chunk.slabs)))
		}
	}
	return c
}

func (c *slabChunk) clone(n int) *slabChunk {
	to := &slabChunk{slabs: make([]atomic.Pointer[slab], n), count: c.count}
	for i := range c.slabs {
		to.slabs[i].Store(c.slabs[i].Load())
	}
	return to
}

// slabs is all slabs of a table: the directory that readers use, the unfinished
// slab at the tail, and the account of garbage in the finished ones.
type slabs struct {
	dir atomic.Pointer[slabDir]

	tail   *slabUse // nil at first
	nextID uint64
	idMask uint64 // numbers come round after it

	live     int // bytes of live records
	used     int // bytes of records, live or not
	capacity int // bytes of all slabs

	// The finished slabs that records share, in lists by their part of garbage.
	sealedUsed, sealedDead int
	victims                [victimBuckets]*slabUse
}

func newSlabs() slabs { return slabs{nextID: 1, idMask: 1<<idBits - 1} }

// record is slabDir.record in the directory of this moment.
func (s *slabs) record(r ref) (Record, bool) { return s.dir.Load().record(r) }

// mustRecord is for the writer, which knows that the slab is there.
func (s *slabs) mustRecord(r ref) Record {
	rec, ok := s.record(r)
	if !ok {
		panic("arena: a live reference leads to no slab")
	}
	return rec
}

// append finds room for a record of n bytes and returns it with its reference.
// Nothing leads there yet: the caller fills it, then publishes the reference.
func (s *slabs) append(n int) (ref, []byte) {
	use := s.tail
	if n > ownSlabLen {
		use = s.add(n)
		use.own = true
	} else if use == nil || use.used+n > len(use.slab.buf) {
		s.seal()
		use = s.add(s.slabLen(n))
		s.tail = use
	}
	at := use.used
	use.used += n
	s.used += n
	s.live += n
	return makeRef(use.id, at), use.slab.buf[at : at+n : at+n]
}

// slabLen chooses the length of the next slab, which must hold n bytes.
func (s *slabs) slabLen(n int) int {
	want := max(s.live/slabsOfLive, n, minSlabLen)
	return min(1<<bits.Len(uint(want-1)), maxSlabLen)
}

// seal ends the tail: what it holds may be compacted from now on.
func (s *slabs) seal() {
	use := s.tail
	if use == nil {
		return
	}
	s.tail = nil
	s.sealedUsed += use.used
	s.sealedDead += use.dead
	if use.dead == use.used {
		s.free(use)
		return
	}
	s.list(use)
}

// add makes a slab of n bytes and enters it into the directory.
func (s *slabs) add(n int) *slabUse {
	for s.nextID == 0 || s.dir.Load().at(s.nextID) != nil {
		s.nextID = (s.nextID + 1) & s.idMask
	}
	use := &slabUse{id: s.nextID, bucket: notListed}
	use.slab = &slab{buf: make([]byte, n), use: use}
	s.nextID = (s.nextID + 1) & s.idMask
	chunk := s.chunk(use.id)
	chunk.slabs[use.id%chunkLen].Store(use.slab)
	chunk.count++
	s.capacity += n
	return use
}

// chunk returns the chunk of the directory that has a place for id, after making
// one if needed.
func (s *slabs) chunk(id uint64) *slabChunk {
	dir, i := s.dir.Load(), id>>chunkBits
	if dir == nil || i >= uint64(len(dir.chunks)) {
		grown := &slabDir{chunks: make([]atomic.Pointer[slabChunk], 1<<bits.Len64(i))}
		if dir != nil {
			for j := range dir.chunks {
				grown.chunks[j].Store(dir.chunks[j].Load())
			}
		}
		s.dir.Store(grown)
		dir = grown
	}
	chunk := dir.chunks[i].Load()
	switch {
	case chunk == nil && i > 0:
		chunk = &slabChunk{slabs: make([]atomic.Pointer[slab], chunkLen)}
	case chunk == nil:
		chunk = &slabChunk{slabs: make([]atomic.Pointer[slab], max(firstChunkLen, 1<<bits.Len64(id%chunkLen)))}
	case id%chunkLen >= uint64(len(chunk.slabs)):
		chunk = chunk.clone(1 << bits.Len64(id%chunkLen))
	default:
		return chunk
	}
	dir.chunks[i].Store(chunk)
	return chunk
}

// discard accounts for a record that has become garbage: nothing leads to it any
// more. A finished slab without live records is freed at once.
func (s *slabs) discard(r ref, n int) {
	use := s.dir.Load().at(r.id()).use
	use.dead += n
	s.live -= n
	if use == s.tail {
		return
	}
	if !use.own {
		s.sealedDead += n
	}
	if use.dead == use.used {
		s.free(use)
		return
	}
	s.relist(use)
}

// free removes a finished slab without live records. Readers that hold one of
// its records keep its bytes; references to it lead nowhere from now on.
func (s *slabs) free(use *slabUse) {
	s.unlist(use)
	dir := s.dir.Load()
	chunk := dir.chunks[use.id>>chunkBits].Load()
	chunk.slabs[use.id%chunkLen].Store(nil)
	if chunk.count--; chunk.count == 0 {
		dir.chunks[use.id>>chunkBits].Store(nil)
	}
	if !use.own {
		s.sealedUsed -= use.used
		s.sealedDead -= use.dead
	}
	s.used -= use.used
	s.capacity -= len(use.slab.buf)
}
