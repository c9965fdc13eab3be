package space

import "github.com/spacegrid/spacegrid/grid/space/internal/arena"

// ViewLong is View for a read that takes long: steady tells it whether going on
// makes sense, that is, whether no command was applied so far.
func (p *Partition) ViewLong(read func(steady func() bool)) bool {
	before := p.busy.Load()
	if before%2 == 1 {
		return false
	}
	steady := func() bool { return p.busy.Load() == before }
	read(steady)
	return steady()
}

// Content is what one space of a partition held at one moment. It keeps the
// memory of that moment until it is dropped.
type Content struct {
	table *arena.Image
}

// Content cuts the content of a space, in a time that grows with the number of
// its pages, not of its entries. Only the goroutine that applies may call it; the
// content itself may be used by any one goroutine afterwards.
func (p *Partition) Content(id ID) (*Content, Code) {
	sp := p.space(id)
	if sp == nil {
		return nil, CodeNoSpace
	}
	return &Content{table: sp.table.Image()}, OK
}

// Scan calls fn for every entry in order until fn returns false. As in
// Partition.Scan, entries that a claim hides are among them, marked as such.
func (c *Content) Scan(fn func(Entry) bool) {
	for r := range c.table.Ascend() {
		if !fn(entryOf(r)) {
			return
		}
	}
}
