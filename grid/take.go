package grid

import (
	"context"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// TakeOptions say how entries are taken.
type TakeOptions struct {
	Limit int // at most so many entries; 0 is 1
	// Wait is how long to wait if there is no such entry; 0 does not wait,
	// Forever waits until the context ends.
	Wait      time.Duration
	AllowScan bool // examine any number of entries if no index serves
}

// Take removes the entry under a key and returns it, or ErrNotFound. With
// TakeOptions.Wait it waits for one to be written, or for the end of the claim or
// transaction that it is in.
func (g *Grid) Take(ctx context.Context, spaceName string, key any, o TakeOptions) (Entry, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return Entry{}, err
	}
	e, err := g.takeKey(ctx, space.Op{Code: space.OpTake, Space: def.ID, Flags: space.FlagReturn, Wait: o.Wait}, key)
	if err != nil {
		return Entry{}, err
	}
	return entryOf(e), nil
}

// takeKey carries out a take or claim of the entry under a key.
func (g *Grid) takeKey(ctx context.Context, op space.Op, key any) (e space.Entry, err error) {
	if op.Key, err = Key(key); err != nil {
		return e, err
	}
	if op.Wait, err = waitOf(op.Wait); err != nil {
		return e, err
	}
	es, err := g.handOutIn(ctx, space.PartitionOf(op.Key, g.Partitions()), op)
	if err != nil {
		return e, gaveUp(ctx, op.Wait, err)
	}
	return es[0], nil
}

// TakeMatch removes entries that pass a filter and returns them, or ErrNotFound:
// at least one if there is any, at most TakeOptions.Limit, all of one partition
// and there the oldest ones. Which partition is asked is left to chance; if the
// filter names one value of the space's routing field, it is the one that has
// such entries.
//
// With TakeOptions.Wait it waits for the first entry that somebody writes. Those
// who wait are served in the order in which they came, partition by partition,
// and nobody who comes later overtakes them; after each minute they go to the end
// of the line, unless the routing field names the partition. Without that a wait
// costs two commands in every partition.
//
// An entry is taken at most once, and the answer is not lost with a connection or
// a leader. What a process has taken dies with it: to take work that must be done
// use [Grid.ClaimMatch].
func (g *Grid) TakeMatch(ctx context.Context, spaceName string, f Filter, o TakeOptions) ([]Entry, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	es, err := g.takeMatch(ctx, &def, f, space.Op{Limit: o.Limit, Wait: o.Wait, Flags: scanFlag(o.AllowScan)})
	return entriesOf(es), err
}

// takeMatch is TakeMatch once the space is known. The operation has what the
// options say.
func (g *Grid) takeMatch(ctx context.Context, def *space.Definition, f Filter, op space.Op) (_ []space.Entry, err error) {
	op.Code, op.Space = space.OpTakeMatch, def.ID
	if op.Template, op.Predicate, err = filterFor(def, f); err != nil {
		return nil, err
	}
	return g.handOut(ctx, def, op)
}

// Wait makes a take wait so long for its entry, where it would fail with
// [ErrNotFound]; [Forever] waits until the context ends.
func Wait(d time.Duration) WriteOption { return func(o *space.Op) { o.Wait = d } }

// Take removes the entry under a key and returns its value, or ErrNotFound. With
// [Wait] it waits for the entry.
func (s *Space[T]) Take(ctx context.Context, key any, options ...WriteOption) (T, error) {
	op := space.Op{Code: space.OpTake, Space: s.def.ID, Flags: space.FlagReturn}
	for _, o := range options {
		o(&op)
	}
	var v T
	e, err := s.g.takeKey(ctx, op, key)
	if err == nil {
		err = s.codec.decode(e, &v)
	}
	return v, err
}

// TakeMatch removes one entry that passes a filter and returns its value, or
// ErrNotFound. Within a partition it is the oldest one; which partition is asked
// is left to chance. The options are [Wait] and [AllowScan]; otherwise it is
// [Grid.TakeMatch].
func (s *Space[T]) TakeMatch(ctx context.Context, f Filter, options ...WriteOption) (T, error) {
	var v T
	var op space.Op
	for _, o := range options {
		o(&op)
	}
	es, err := s.g.takeMatch(ctx, &s.typed, f, op)
	if err == nil {
		err = s.codec.decode(es[0], &v)
	}
	return v, err
}
