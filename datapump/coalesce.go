package datapump

import (
	"bytes"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space"
)

// folder folds the changes of one section: of all changes that happened to an
// entry between its writing and its removal, only the last stays, and says what
// they did together. Its Op is Written if the first was, Previous is the
// version before the first, so a Removed whose Previous is 0 removes what the
// reader of the section has never seen.
//
// It never folds across the removal of an entry: the new entry under the same
// key is another one, and both the removal and the new writing stay. It never
// folds across a change of the space itself, nor across a command of several
// changes, whose changes stay together as they are. That an entry was claimed,
// by a command of its own, says nothing about what a sink keeps and is left out.
// What stays keeps its order.
//
// Folding the folded changes over any state that the section may be applied to
// gives the same content as folding all of them; this also holds for a sink that
// has some of them already.
type folder struct {
	seed maphash.Seed
	// slots is an open-addressing table of positions+1 in the section, negative
	// where nothing is folded.
	slots []int32
	hash  maphash.Hash
}

func newFolder() *folder { return &folder{seed: maphash.MakeSeed()} }

// fold folds changes, which begin and end with a command, in place and returns
// those that stay; folded is false if all of them do. A change that plain, if it
// is not nil, reports true for stays as it is.
func (f *folder) fold(changes []space.Change, plain func(*space.Change) bool) (kept []space.Change, folded bool) {
	size := 16
	for size < 2*len(changes) {
		size *= 2
	}
	if cap(f.slots) < size {
		f.slots = make([]int32, size)
	}
	f.slots = f.slots[:size]
	clear(f.slots)
	gone := 0
	together := false // with the change before, in one command
	for i := range changes {
		c := &changes[i]
		barrier := together || c.More > 0 || plain != nil && plain(c)
		together = c.More > 0
		if c.Op == space.Defined || c.Op == space.Dropped {
			// Entries of a dropped space are other entries afterwards. Spaces
			// change rarely: forgetting everything costs nothing.
			clear(f.slots)
			continue
		}
		if c.Op == space.Claimed {
			if barrier {
				continue
			}
			c.Op = 0
			gone++
			continue
		}
		slot := f.find(changes, c)
		earlier := f.slots[slot]
		// A negative slot names a change that nothing is folded into.
		if f.slots[slot] = int32(i) + 1; barrier {
			f.slots[slot] = -f.slots[slot]
		}
		if earlier <= 0 || barrier {
			continue
		}
		e := &changes[earlier-1] //nolint:gosec // slots number the changes before this one, from 1
		if e.Op == space.Removed {
			continue
		}
		if e.Op == space.Written && c.Op != space.Removed {
			c.Op = space.Written
		}
		c.Previous = e.Previous
		e.Op = 0 // superseded
		gone++
	}
	if gone == 0 {
		return changes, false
	}
	kept = changes[:0]
	for i := range changes {
		if changes[i].Op != 0 {
			kept = append(kept, changes[i])
		}
	}
	clear(changes[len(kept):])
	return kept, true
}

// find returns the slot of the latest change of c's entry, or the free one where
// it belongs.
func (f *folder) find(changes []space.Change, c *space.Change) int {
	f.hash.SetSeed(f.seed)
	f.hash.Write(c.Key)
	mask := len(f.slots) - 1
	for slot := int(f.hash.Sum64()^uint64(c.Space)*0x9e3779b97f4a7c15) & mask; ; slot = (slot + 1) & mask {
		at := f.slots[slot]
		if at == 0 {
			return slot
		}
		if at < 0 {
			at = -at
		}
		if e := &changes[at-1]; e.Space == c.Space && bytes.Equal(e.Key, c.Key) {
			return slot
		}
	}
}
