package arena

import (
	"iter"
	"sync/atomic"
)

// Image is the content of a table at the moment it was cut. It never changes, and
// any goroutine may read it while the table is written. It keeps the slabs and
// pages of that moment in memory until it is dropped.
type Image struct {
	dir     *slabDir
	pages   []*page
	entries int
}

// Image cuts an image. Only the writer may call it. The cut copies one pointer
// for each slab and page, and no entry; afterwards the first write to each page
// copies the page (4 KiB), whether the image is still in use or not.
func (t *Table) Image() *Image {
	im := &Image{dir: t.slabs.dir.Load().clone(), entries: t.Len()}
	t.pages.images++
	if root := t.pages.root.Load(); root != nil {
		for i := range root.leaves {
			im.pages = appendPages(im.pages, root.leaves[i].Load().pages)
		}
	}
	return im
}

func appendPages(to []*page, from []atomic.Pointer[page]) []*page {
	for i := range from {
		to = append(to, from[i].Load())
	}
	return to
}

// Len returns the number of entries.
func (im *Image) Len() int { return im.entries }

// Ascend yields all entries, lowest order first.
func (im *Image) Ascend() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, p := range im.pages {
			for i := range p.len() {
				r := p.load(i)
				if r == 0 {
					continue
				}
				rec, ok := im.dir.record(r)
				if !ok {
					panic("arena: an image lacks a slab")
				}
				if !yield(rec) {
					return
				}
			}
		}
	}
}
