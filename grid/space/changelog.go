package space

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
)

// ErrTrimmed is returned when the changes asked for are no longer in the
// changelog. The reader has to start over from the entries themselves.
var ErrTrimmed = errors.New("space: these changes have been trimmed (read the entries, then follow from there)")

// ErrAhead is returned when a reader's position lies above the last change: it
// has seen changes that this replica does not have yet, or never will.
var ErrAhead = errors.New("space: position is ahead of this replica (wait for it to catch up, or check the history)")

const (
	changelogChunkMin = 4 << 10  // an idle partition costs little
	changelogChunkMax = 64 << 10 // seeking scans one chunk
	frameHeader       = 4        // length of the encoded change, little-endian
)

// Changelog keeps the recent changes of a partition, encoded, in the order of
// Seq. The partition's writer appends and trims; any number of readers read
// beside it without a lock. Chunks never change once written, so what a reader
// got stays valid as long as the reader keeps it.
type Changelog struct {
	chunks atomic.Pointer[[]*changeChunk]
	last   atomic.Uint64 // published last Seq
	bytes  atomic.Int64  // encoded size of what is kept
	// next is the writer's: the Seq that the next append must have.
	next Seq
	buf  []byte // writer's scratch
}

type changeChunk struct {
	first Seq // Seq of the first frame
	buf   []byte
	used  int // writer's; a reader stops by Seq and never looks at it
}

// newChangelog returns an empty changelog whose first change will be after+1.
func newChangelog(after Seq) *Changelog {
	l := &Changelog{next: after + 1}
	l.chunks.Store(new([]*changeChunk))
	l.last.Store(uint64(after))
	return l
}

// append adds a change without publishing it.
func (l *Changelog) append(c *Change) {
	if c.Seq != l.next {
		panic("space: changelog append out of order")
	}
	l.buf = c.Append(append(l.buf[:0], 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(l.buf, uint32(len(l.buf)-frameHeader))
	chunks := *l.chunks.Load()
	var tail *changeChunk
	if n := len(chunks); n > 0 {
		tail = chunks[n-1]
	}
	if tail == nil || len(tail.buf)-tail.used < len(l.buf) {
		size := changelogChunkMin
		if tail != nil {
			size = min(2*len(tail.buf), changelogChunkMax)
		}
		tail = &changeChunk{first: c.Seq, buf: make([]byte, max(size, len(l.buf)))}
		// A fresh slice: readers may hold the old one.
		grown := append(slices.Clip(chunks), tail)
		l.chunks.Store(&grown)
	}
	tail.used += copy(tail.buf[tail.used:], l.buf)
	l.bytes.Add(int64(len(l.buf)))
	l.next++
}

// publish makes everything appended so far visible to readers.
func (l *Changelog) publish() { l.last.Store(uint64(l.next - 1)) }

// trim drops the chunks whose changes all lie at or below floor.
func (l *Changelog) trim(floor Seq) {
	chunks := *l.chunks.Load()
	n := 0
	for n+1 < len(chunks) && chunks[n+1].first <= floor+1 {
		l.bytes.Add(-int64(chunks[n].used))
		n++
	}
	// The tail goes too when everything in it is trimmed: an idle partition
	// keeps nothing.
	if n+1 == len(chunks) && l.next <= floor+1 {
		l.bytes.Add(-int64(chunks[n].used))
		n++
	}
	if n > 0 {
		rest := slices.Clone(chunks[n:])
		l.chunks.Store(&rest)
	}
}

// Last returns the Seq of the last change that readers can see.
func (l *Changelog) Last() Seq { return Seq(l.last.Load()) }

// Bytes returns the encoded size of the changes kept.
func (l *Changelog) Bytes() int64 { return l.bytes.Load() }

// Read appends changes after the given Seq to dst, in order, until about
// maxBytes of them are there or the last one is reached; it never stops inside
// a command. It fails with ErrTrimmed or ErrAhead. It does not block and may run
// beside the writer. The changes alias the changelog's memory.
func (l *Changelog) Read(dst []Change, after Seq, maxBytes int) ([]Change, error) {
	last := Seq(l.last.Load())
	chunks := *l.chunks.Load()
	switch {
	case after == last:
		return dst, nil
	case after > last:
		return dst, ErrAhead
	case len(chunks) == 0 || chunks[0].first > after+1:
		return dst, ErrTrimmed
	}
	at, exact := slices.BinarySearchFunc(chunks, after+1, func(c *changeChunk, s Seq) int {
		switch {
		case c.first < s:
			return -1
		case c.first > s:
			return 1
		}
		return 0
	})
	if !exact {
		at--
	}
	size := 0
	for seq := chunks[at].first; at < len(chunks); at++ {
		end := last + 1
		if at+1 < len(chunks) {
			end = min(end, chunks[at+1].first)
		}
		for b := chunks[at].buf; seq < end; seq++ {
			n := int(binary.LittleEndian.Uint32(b)) + frameHeader
			frame := b[frameHeader:n]
			b = b[n:]
			if seq <= after {
				continue
			}
			c, _, err := DecodeChange(frame)
			if err != nil || c.Seq != seq {
				panic("space: changelog holds a damaged change")
			}
			dst = append(dst, c)
			if size += n; size >= maxBytes && c.More == 0 {
				return dst, nil
			}
		}
		if seq > last {
			break
		}
	}
	return dst, nil
}
