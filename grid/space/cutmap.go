package space

import (
	"cmp"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

const (
	// cutShards is the number of parts of a large cutMap. A cut copies one pointer
	// for each, and the first write to a part after a cut copies the part: of a
	// full table of claims, the largest there is, a thousand of them, in some 30 µs.
	cutShards = 256
	// cutWhole is up to how many elements a map stays in one part: most are empty.
	cutWhole = 1024
)

// cutMap is a map that can be cut: what it held at that moment can be read beside
// its writer. It is the writer's alone otherwise.
//
// What a value points to is never changed once it is in the map, or nobody reads it
// from a cut; who would change it puts another value in its place.
type cutMap[K comparable, V any] struct {
	spread func(K) uint64
	shards []cutShard[K, V] // one, or cutShards
	length int
	cuts   uint64
}

type cutShard[K comparable, V any] struct {
	m   map[K]V
	cut uint64 // cuts that had been made when m was
}

// frozenMap is what a cutMap held when it was cut. Any goroutine may read it.
type frozenMap[K comparable, V any] struct {
	parts  []map[K]V
	length int
}

// newCutMap returns an empty map. spread need not be good, only different for
// keys that come one after the other.
func newCutMap[K comparable, V any](spread func(K) uint64) cutMap[K, V] {
	return cutMap[K, V]{spread: spread, shards: make([]cutShard[K, V], 1)}
}

func (t *cutMap[K, V]) shard(k K) *cutShard[K, V] {
	if len(t.shards) == 1 {
		return &t.shards[0]
	}
	// The product brings every bit of the key to the upper end.
	const odd = 0x9e3779b97f4a7c15
	return &t.shards[t.spread(k)*odd>>(64-bits.Len(cutShards-1))]
}

func (t *cutMap[K, V]) get(k K) (V, bool) {
	v, ok := t.shard(k).m[k]
	return v, ok
}

func (t *cutMap[K, V]) len() int { return t.length }

// set adds a value or replaces it.
func (t *cutMap[K, V]) set(k K, v V) {
	if t.length == cutWhole && len(t.shards) == 1 {
		t.split()
	}
	s := t.own(k)
	before := len(s.m)
	s.m[k] = v
	t.length += len(s.m) - before
}

// remove removes a key if it is there.
func (t *cutMap[K, V]) remove(k K) {
	if _, ok := t.shard(k).m[k]; !ok {
		return
	}
	delete(t.own(k).m, k)
	if t.length--; t.length == 0 && len(t.shards) > 1 {
		t.shards = make([]cutShard[K, V], 1)
	}
}

// own returns the part of a key for the writer to change: the part, or a copy if a
// cut has it.
func (t *cutMap[K, V]) own(k K) *cutShard[K, V] {
	s := t.shard(k)
	switch {
	case s.m == nil:
		s.m = map[K]V{}
	case s.cut != t.cuts:
		s.m = maps.Clone(s.m)
	}
	s.cut = t.cuts
	return s
}

func (t *cutMap[K, V]) split() {
	whole := t.shards[0].m
	t.shards = make([]cutShard[K, V], cutShards)
	for k, v := range whole {
		t.own(k).m[k] = v
	}
}

// all yields the elements in no order. The loop may change the map if it does not
// mind whether it meets what it adds or changes.
func (t *cutMap[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, s := range t.shards {
			for k, v := range s.m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// freeze cuts the map.
func (t *cutMap[K, V]) freeze() frozenMap[K, V] {
	f := frozenMap[K, V]{length: t.length}
	if t.length == 0 {
		return f
	}
	t.cuts++
	f.parts = make([]map[K]V, len(t.shards))
	for i := range t.shards {
		f.parts[i] = t.shards[i].m
	}
	return f
}

// sorted yields the elements in the order of their keys.
func (f *frozenMap[K, V]) sorted(compare func(a, b K) int) iter.Seq2[K, V] {
	type element struct {
		k K
		v V
	}
	return func(yield func(K, V) bool) {
		all := make([]element, 0, f.length)
		for _, m := range f.parts {
			for k, v := range m {
				all = append(all, element{k, v})
			}
		}
		slices.SortFunc(all, func(a, b element) int { return compare(a.k, b.k) })
		for _, e := range all {
			if !yield(e.k, e.v) {
				return
			}
		}
	}
}

// spreadNumber is the spread of keys that are numbers.
func spreadNumber[K ~uint64](k K) uint64 { return uint64(k) }

// compareNumbers orders them.
func compareNumbers[K cmp.Ordered](a, b K) int { return cmp.Compare(a, b) }
