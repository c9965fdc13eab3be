package grid

import (
	"context"
	"sync"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Bounds of the commands that a batch is cut into. They lie below what one log
// entry takes, so that commands of several clients share one.
const (
	maxBatchOps   = 512
	maxBatchBytes = 128 << 10
)

// Batch is a list of operations that are sent together: one command for each
// partition, all at once. The operations of one partition take effect in the
// order in which they were added; between partitions there is no order. A Batch
// is used by one goroutine and may be reset and used again.
type Batch struct {
	atomic bool
	places []place
	parts  map[space.PartitionID]*part
	rounds int
	count  int // partitions of the grid

	lookups []cluster.Lookup
}

// part is what a batch has for one partition.
type part struct {
	calls []*cluster.Call
	bytes int // of the last call
}

// place says where the answer to an operation is.
type place struct {
	call   *cluster.Call // nil: a lookup
	op     int
	lookup int
	refuse error
}

// NewBatch returns an empty batch whose operations succeed or fail one by one.
func (g *Grid) NewBatch() *Batch {
	return &Batch{parts: map[space.PartitionID]*part{}, count: len(g.router.State().Table)}
}

// NewAtomicBatch returns an empty batch whose operations take effect together or
// not at all. They must lie in one partition: see [ErrCrossPartition].
func (g *Grid) NewAtomicBatch() *Batch {
	b := g.NewBatch()
	b.atomic = true
	return b
}

// Reset empties the batch.
func (b *Batch) Reset() {
	clear(b.parts)
	b.places, b.lookups, b.rounds = b.places[:0], b.lookups[:0], 0
}

// Len returns the number of operations.
func (b *Batch) Len() int { return len(b.places) }

// Do adds an operation on a key and returns its place. The operation's slices
// must not change before the batch has run.
func (b *Batch) Do(op space.Op) int {
	return b.DoIn(space.PartitionOf(op.Key, b.count), op)
}

// DoIn adds an operation for a given partition, for those without a key.
func (b *Batch) DoIn(p space.PartitionID, op space.Op) int {
	size := len(op.Key) + len(op.Value) + len(op.Template) + len(op.Predicate) + 16
	for i := range op.Mutations {
		size += len(op.Mutations[i].Field) + len(op.Mutations[i].Arg) + 16
	}
	pt := b.parts[p]
	if pt == nil {
		pt = &part{}
		b.parts[p] = pt
	}
	n := len(pt.calls)
	if n == 0 || !b.atomic && (len(pt.calls[n-1].Ops) >= maxBatchOps || pt.bytes+size > maxBatchBytes) {
		pt.calls = append(pt.calls, &cluster.Call{Partition: p, Independent: !b.atomic})
		pt.bytes = 0
		n++
		b.rounds = max(b.rounds, n)
	}
	c := pt.calls[n-1]
	c.Ops = append(c.Ops, op)
	pt.bytes += size
	b.places = append(b.places, place{call: c, op: len(c.Ops) - 1})
	return len(b.places) - 1
}

// Get adds a read of a key and returns its place. It sees the operations that
// were added before it.
func (b *Batch) Get(id space.ID, key []byte) int {
	p := space.PartitionOf(key, b.count)
	if b.atomic || b.parts[p] != nil {
		return b.DoIn(p, space.Op{Code: space.OpRead, Space: id, Key: key})
	}
	b.lookups = append(b.lookups, cluster.Lookup{Get: cluster.Get{Partition: p, Space: id, Key: key}})
	b.places = append(b.places, place{lookup: len(b.lookups) - 1})
	return len(b.places) - 1
}

// Refuse adds an operation that is known to fail, so that the results keep their
// places.
func (b *Batch) Refuse(err error) int {
	b.places = append(b.places, place{refuse: err})
	return len(b.places) - 1
}

// Run carries the batch out and returns when the outcome of every operation is
// known or ctx has ended. The error is ErrCrossPartition, or nil: what became of
// an operation is said by Result.
func (g *Grid) Run(ctx context.Context, b *Batch) error {
	if b.atomic && len(b.parts) > 1 {
		return ErrCrossPartition
	}
	var wg sync.WaitGroup
	if len(b.lookups) > 0 {
		lookups := make([]*cluster.Lookup, len(b.lookups))
		for i := range b.lookups {
			lookups[i] = &b.lookups[i]
		}
		if b.rounds == 0 {
			g.router.Read(ctx, cluster.Linearizable, lookups)
			return nil
		}
		wg.Go(func() { g.router.Read(ctx, cluster.Linearizable, lookups) })
	}
	for round := range b.rounds {
		var calls []*cluster.Call
		for _, pt := range b.parts {
			if round < len(pt.calls) {
				calls = append(calls, pt.calls[round])
			}
		}
		g.router.Do(ctx, calls)
	}
	wg.Wait()
	return nil
}

// Result returns what became of the operation at a place. A failed operation of
// an atomic batch makes all of them fail: the one that failed with its own
// error, the others with [space.ErrAborted].
func (b *Batch) Result(at int) (space.Result, error) {
	p := &b.places[at]
	switch {
	case p.refuse != nil:
		return space.Result{}, p.refuse
	case p.call == nil:
		l := &b.lookups[p.lookup]
		if l.Err != nil {
			return space.Result{}, l.Err
		}
		if l.Found.Code != space.OK {
			return space.Result{Code: l.Found.Code}, l.Found.Code.Err()
		}
		return space.Result{Version: l.Found.Entry.Version, Entries: []space.Entry{l.Found.Entry}}, nil
	case p.call.Err != nil:
		return space.Result{}, p.call.Err
	case p.op >= len(p.call.Reply.Results):
		return space.Result{Code: p.call.Reply.Code}, p.call.Reply.Code.Err()
	}
	r := p.call.Reply.Results[p.op]
	return r, r.Code.Err()
}
