package grid

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// queryPage is how many entries a query fetches at a time.
const queryPage = 256

// Space is a typed view of a space: its entries are values of the struct type T.
// All methods may be called concurrently and block until the outcome is known or
// the context ends. Keys are given as the key field's type: a string, []byte or
// an integer; in a space with a routing field as a [RoutedKey].
type Space[T any] struct {
	g     *Grid
	def   space.Definition
	codec *codec[T]
	// typed is def with T's fields declared: a filter may name no other.
	typed space.Definition
}

// Definition returns the definition that the view works under.
func (s *Space[T]) Definition() space.Definition { return s.def.Clone() }

// WriteOption modifies a write.
type WriteOption func(*space.Op)

// WithLease grants the entry a lease; Forever overrides the space's default.
func WithLease(d time.Duration) WriteOption { return func(o *space.Op) { o.Lease = d } }

// IfAbsent makes a write fail with ErrExists if the key is present.
func IfAbsent() WriteOption { return func(o *space.Op) { o.Mode = space.ModeInsert } }

// IfPresent makes a write fail with ErrNotFound if the key is absent.
func IfPresent() WriteOption { return func(o *space.Op) { o.Mode = space.ModeUpdate } }

// IfVersion makes a write, take or change fail with ErrConflict unless the entry
// has this version.
func IfVersion(v Version) WriteOption { return func(o *space.Op) { o.Match = v } }

// Write writes a value under its key and returns the version made.
func (s *Space[T]) Write(ctx context.Context, v T, options ...WriteOption) (Version, error) {
	value, err := s.codec.encode(&v)
	if err != nil {
		return 0, err
	}
	lease, err := s.codec.leaseOf(&v)
	if err != nil {
		return 0, err
	}
	op := space.Op{
		Code: space.OpWrite, Space: s.def.ID, Key: s.codec.keyOf(&v), Value: value, Kind: space.KindFields, Lease: lease,
	}
	r, err := s.do(ctx, op, options)
	return r.Version, err
}

// Read returns the value under a key, or ErrNotFound.
func (s *Space[T]) Read(ctx context.Context, key any) (T, error) {
	v, _, err := s.ReadVersion(ctx, key)
	return v, err
}

// ReadVersion returns the value under a key with its version, or ErrNotFound.
func (s *Space[T]) ReadVersion(ctx context.Context, key any) (T, Version, error) {
	var v T
	k, err := Key(key)
	if err != nil {
		return v, 0, err
	}
	b := s.g.NewBatch()
	at := b.Get(s.def.ID, k)
	if err := s.g.Run(ctx, b); err != nil {
		return v, 0, err
	}
	r, err := b.Result(at)
	if err != nil {
		return v, 0, err
	}
	err = s.codec.decode(r.Entries[0], &v)
	return v, r.Entries[0].Version, err
}

// Delete removes the entry under a key and reports whether there was one.
func (s *Space[T]) Delete(ctx context.Context, key any) (bool, error) {
	k, err := Key(key)
	if err != nil {
		return false, err
	}
	_, err = s.do(ctx, space.Op{Code: space.OpTake, Space: s.def.ID, Key: k}, nil)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Update reads a value, lets change modify it and writes it back if nobody else
// wrote meanwhile; otherwise it begins again. An error of change ends it.
func (s *Space[T]) Update(ctx context.Context, key any, change func(*T) error) error {
	for {
		v, version, err := s.ReadVersion(ctx, key)
		if err == nil {
			err = change(&v)
		}
		if err == nil {
			_, err = s.Write(ctx, v, IfVersion(version))
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

// Query yields the values that pass a filter. Each partition is seen at one
// moment per page of entries; an entry that is there all the while is yielded
// exactly once. The order within a partition is that of the first writes. After
// an error nothing follows.
func (s *Space[T]) Query(ctx context.Context, f Filter) iter.Seq2[T, error] {
	return s.QueryWith(ctx, f, QueryOptions{})
}

// QueryWith is Query with options.
func (s *Space[T]) QueryWith(ctx context.Context, f Filter, o QueryOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e, err := range s.g.query(ctx, &s.typed, f, o) {
			var v T
			if err == nil {
				err = s.codec.decode(space.Entry{Value: e.Value, Kind: e.Kind}, &v)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func (s *Space[T]) do(ctx context.Context, op space.Op, options []WriteOption) (space.Result, error) {
	for _, o := range options {
		o(&op)
	}
	return s.g.do(ctx, op)
}

// do carries out one operation on a key.
func (g *Grid) do(ctx context.Context, op space.Op) (space.Result, error) {
	b := g.NewBatch()
	at := b.Do(op)
	if err := g.Run(ctx, b); err != nil {
		return space.Result{}, err
	}
	return b.Result(at)
}

// QueryOptions modify a query.
type QueryOptions struct {
	Limit     int  // at most so many entries; 0 is all
	AllowScan bool // examine any number of entries if no index serves
	// Local reads what the nearest replica has, which may be old.
	Local bool
}

// Query yields the entries of a space that pass a filter, from all partitions.
// After an error nothing follows.
func (g *Grid) Query(ctx context.Context, spaceName string, f Filter, o QueryOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		def, err := g.Describe(ctx, spaceName)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		g.query(ctx, &def, f, o)(yield)
	}
}

// query is Query once the space is known.
func (g *Grid) query(ctx context.Context, def *space.Definition, f Filter, o QueryOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		template, condition, err := filterFor(def, f)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		q := cluster.Match{Space: def.ID, Template: template, Predicate: condition, AllowScan: o.AllowScan}
		left := o.Limit
		for _, partitions := range g.router.Groups() {
			if len(partitions) == 0 {
				continue
			}
			q.Partitions, q.From = partitions, 0
			n, more := g.queryGroup(ctx, q, o, left, yield)
			if !more {
				return
			}
			if o.Limit > 0 {
				if left -= n; left <= 0 {
					return
				}
			}
		}
	}
}

// queryGroup yields the matches of one group's partitions, a page at a time, and
// returns how many, and whether to go on.
func (g *Grid) queryGroup(ctx context.Context, q cluster.Match, o QueryOptions, limit int, yield func(Entry, error) bool) (int, bool) {
	level := cluster.Linearizable
	if o.Local {
		level = cluster.Local
	}
	n := 0
	for len(q.Partitions) > 0 {
		q.Limit = queryPage
		if o.Limit > 0 {
			q.Limit = min(q.Limit, limit-n)
		}
		if q.Limit == 0 {
			break
		}
		m, err := g.router.Match(ctx, level, q)
		if err == nil {
			err = m.Code.Err()
		}
		if err != nil {
			yield(Entry{}, err)
			return n, false
		}
		for _, e := range m.Entries {
			n++
			if !yield(entryOf(e), nil) {
				return n, false
			}
		}
		q.Partitions, q.From = q.Partitions[m.Done:], m.Next
	}
	return n, true
}

// Key returns the key form of a string, []byte, integer or RoutedKey.
func Key(key any) ([]byte, error) {
	switch k := key.(type) {
	case string:
		return []byte(k), nil
	case []byte:
		return k, nil
	case RoutedKey:
		routing, err := Key(k.Routing)
		if err != nil {
			return nil, err
		}
		key, err := Key(k.Key)
		if err != nil {
			return nil, err
		}
		return routedKey(routing, key), nil
	}
	v := reflect.ValueOf(key)
	if !v.IsValid() || !keyable(v.Type()) {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("%T cannot be a key", key), Hint: "a key is a string, []byte or an integer"}
	}
	return keyOf(v), nil
}

// KeyOf returns the key that a field's canonical value stands for: strings and
// bytes as they are, integers as decimal text.
func KeyOf(value []byte) ([]byte, error) {
	v, err := msgp.Decode(value)
	if err != nil {
		return nil, err
	}
	return Key(v)
}
