package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// Aggregate asks what the entries of some partitions that pass a filter amount
// to. It may have to look at every entry, but writes never wait for that; so
// there is no limit on entries examined.
type Aggregate struct {
	Space      space.ID
	Template   []byte // canonical msgpack map; nil passes every entry
	Predicate  []byte // binary form of a predicate.Predicate; nil passes every entry
	Spec       *aggregate.Spec
	Partitions []space.PartitionID // nil, for a Router only: all
}

// Aggregated is the answer to an Aggregate.
type Aggregated struct {
	Code space.Code
	// Done is how many of the partitions, from the first on, are in the answer:
	// at least one.
	Done    int
	Partial []byte // encoded aggregate.Partial
}

// Aggregate asks every group for its part, all at once, and merges the answers.
// Each partition is seen at one moment, another one for each. The error may be a
// *space.Error that says which limit of the aggregate package was exceeded.
func (r *Router) Aggregate(ctx context.Context, level Level, q Aggregate) (*aggregate.Partial, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	total, err := aggregate.New(q.Spec)
	if err != nil {
		return nil, err
	}
	partitions := q.Partitions
	if partitions == nil {
		for p := range r.State().Table {
			partitions = append(partitions, space.PartitionID(p))
		}
	}
	var mu sync.Mutex // guards total and err
	ctx, fail := context.WithCancel(ctx)
	defer fail()
	eachGroup(r, partitions, func(p space.PartitionID) space.PartitionID { return p }, func(g GroupID, of []space.PartitionID) {
		failed := r.aggregateGroup(ctx, g, level, q, of, func(part *aggregate.Partial) error {
			mu.Lock()
			defer mu.Unlock()
			return total.Merge(part)
		})
		if failed == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			err = failed
			fail() // the others need not go on
		}
	})
	if err != nil {
		return nil, err
	}
	return total, nil
}

// aggregateGroup asks one group until all of its partitions are in.
func (r *Router) aggregateGroup(ctx context.Context, g GroupID, level Level, q Aggregate, of []space.PartitionID, merge func(*aggregate.Partial) error) error {
	for len(of) > 0 {
		q.Partitions = of
		a, err := ask(ctx, r, g, level, func(ctx context.Context, svc Service) (Aggregated, error) { return svc.Aggregate(ctx, g, level, q) })
		if err == nil {
			err = a.Code.Err()
		}
		if err != nil {
			return err
		}
		if a.Done < 1 || a.Done > len(of) {
			return fmt.Errorf("cluster: a member answered for %d of %d partitions", a.Done, len(of))
		}
		part, err := aggregate.DecodePartial(q.Spec, a.Partial)
		if err != nil {
			return err
		}
		if err := merge(part); err != nil {
			return err
		}
		of = of[a.Done:]
	}
	return nil
}

// Aggregate implements Service.
func (r *Remote) Aggregate(ctx context.Context, g GroupID, level Level, q Aggregate) (Aggregated, error) {
	b, err := r.call(ctx, callAggregate, appendAggregate(nil, g, level, &q))
	if err != nil {
		return Aggregated{}, err
	}
	a, err := parseAggregated(b)
	return a, damaged(err)
}

// maxSpecBytes bounds an encoded specification: the columns' paths and names.
const maxSpecBytes = 64 << 10

func appendAggregate(dst []byte, g GroupID, level Level, q *Aggregate) []byte {
	dst = binary.AppendUvarint(dst, uint64(g))
	dst = append(dst, byte(level))
	dst = binary.AppendUvarint(dst, uint64(q.Space))
	dst = wire.AppendBytes(dst, q.Template)
	dst = wire.AppendBytes(dst, q.Predicate)
	dst = wire.AppendBytes(dst, q.Spec.Append(nil))
	dst = binary.AppendUvarint(dst, uint64(len(q.Partitions)))
	for _, p := range q.Partitions {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

func parseAggregate(b []byte) (GroupID, Level, Aggregate, error) {
	p := wire.NewParser(b)
	g, level := GroupID(p.Uvarint()), Level(p.Byte())
	q := Aggregate{
		Space: space.ID(p.Uvarint()), Template: p.Bytes(space.MaxValueBytes), Predicate: p.Bytes(space.MaxValueBytes),
	}
	spec := p.Bytes(maxSpecBytes)
	for range parseCount(p, MaxPartitions, 1) {
		q.Partitions = append(q.Partitions, parsePartition(p))
	}
	if err := p.End(); err != nil {
		return 0, 0, Aggregate{}, err
	}
	s, err := aggregate.DecodeSpec(spec)
	q.Spec = &s
	return g, level, q, err
}

func appendAggregated(dst []byte, a *Aggregated) []byte {
	dst = append(dst, byte(a.Code))
	dst = binary.AppendUvarint(dst, uint64(a.Done))
	return wire.AppendBytes(dst, a.Partial)
}

func parseAggregated(b []byte) (Aggregated, error) {
	p := wire.NewParser(b)
	a := Aggregated{Code: space.Code(p.Byte()), Done: int(min(p.Uvarint(), MaxPartitions)), Partial: p.Bytes(maxRequestBytes)}
	return a, p.End()
}
