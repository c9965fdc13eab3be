package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// ReadOptions say how entries are read by filter.
type ReadOptions struct {
	Limit int // at most so many entries; 0 is 1
	// Wait is how long to wait if there is no such entry; 0 does not wait,
	// Forever waits until the context ends.
	Wait      time.Duration
	AllowScan bool // examine any number of entries if no index serves
}

// ReadMatch returns entries that pass a filter, or ErrNotFound: at least one if
// there is any, at most ReadOptions.Limit. With ReadOptions.Wait it waits for the
// first one. Any number of readers see the same entry; those who wait do not stand
// in the way of takes, so an entry that is taken at once may be seen by none of
// them.
func (g *Grid) ReadMatch(ctx context.Context, spaceName string, f Filter, o ReadOptions) ([]Entry, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return nil, err
	}
	return g.readMatch(ctx, &def, f, o)
}

// ReadMatch returns the value of one entry that passes a filter, or ErrNotFound:
// see [Grid.ReadMatch]. It reads one; Limit does not count.
func (s *Space[T]) ReadMatch(ctx context.Context, f Filter, o ReadOptions) (T, error) {
	var v T
	o.Limit = 1
	es, err := s.g.readMatch(ctx, &s.typed, f, o)
	if err == nil {
		err = s.codec.decode(space.Entry{Value: es[0].Value, Kind: es[0].Kind}, &v)
	}
	return v, err
}

// readMatch is ReadMatch once the space is known.
func (g *Grid) readMatch(ctx context.Context, def *space.Definition, f Filter, o ReadOptions) ([]Entry, error) {
	wait, err := waitOf(o.Wait)
	if err != nil {
		return nil, err
	}
	look := func() (es []Entry, err error) {
		for e, err := range g.query(ctx, def, f, QueryOptions{Limit: max(o.Limit, 1), AllowScan: o.AllowScan}) {
			if err != nil {
				return nil, err
			}
			es = append(es, e)
		}
		return es, nil
	}
	es, err := look()
	switch {
	case err != nil || len(es) > 0:
		return es, gaveUp(ctx, wait, err)
	case wait == 0:
		return nil, ErrNotFound
	}
	err = g.eachArrival(ctx, def, f, wait, func() (bool, error) {
		es, err = look()
		return len(es) > 0, err
	})
	return es, gaveUp(ctx, wait, err)
}

// eachArrival calls arrived once it follows a space, and then whenever an entry that
// passes the filter may have come, until it returns true or an error. What was
// there before the first call was there for it to find. It is ErrNotFound when the
// time is up.
func (g *Grid) eachArrival(ctx context.Context, def *space.Definition, f Filter, wait time.Duration, arrived func() (bool, error)) error {
	template, condition, err := filterFor(def, f)
	if err != nil {
		return err
	}
	w, err := g.watch(*def, template, condition, WatchOptions{Now: true})
	if err != nil {
		return err
	}
	if p, ok := g.routed(def, template, condition); ok {
		w.req.From = slices.DeleteFunc(w.req.From, func(x cluster.FollowFrom) bool { return x.Partition != p })
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for e, err := range w.Events(waiting) {
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return fmt.Errorf("grid: the wait was given up: %w", context.Cause(ctx))
		case waiting.Err() != nil:
			return ErrNotFound
		default:
			return err
		}
		switch e.Kind {
		case SnapshotEnd, Written, Updated, Matched:
			if done, err := arrived(); done || err != nil {
				return err
			}
		}
	}
	return errors.New("grid: a watch ended without an error")
}
