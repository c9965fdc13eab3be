package grid

import (
	"context"
	"errors"

	"github.com/spacegrid/spacegrid/grid/space"
)

// RunJoint carries out an atomic batch whose operations may fail one by one:
// those that succeed are seen together or not at all, a failed one changes
// nothing. It fails as Run does.
func (g *Grid) RunJoint(ctx context.Context, b *Batch) error {
	if !b.atomic {
		return errors.New("grid: only an atomic batch can be joint (see NewAtomicBatch)")
	}
	for _, pt := range b.parts {
		for _, c := range pt.calls {
			// What is tried again is not seen together with the rest.
			c.Independent, c.Once = true, true
		}
	}
	return g.Run(ctx, b)
}

// Entry returns what the read at a place of the batch found, or its error. It is
// Result for reads, without an allocation for each.
func (b *Batch) Entry(at int) (space.Entry, error) {
	p := &b.places[at]
	if p.refuse == nil && p.call == nil {
		l := &b.lookups[p.lookup]
		if l.Err != nil {
			return space.Entry{}, l.Err
		}
		return l.Found.Entry, l.Found.Code.Err()
	}
	r, err := b.Result(at)
	if err != nil {
		return space.Entry{}, err
	}
	return r.Entries[0], nil
}
