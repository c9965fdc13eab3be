package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// unfitDelay is how long an entry rests that was claimed and does not fit the Go
// type it was claimed as, so that it does not keep a worker from the others.
const unfitDelay = time.Second

// Held is a claim with the value of its entry.
type Held[T any] struct {
	*Claim
	Value T
}

// Claim hides the entry under a key and returns it, or ErrNotFound: see [Grid.Claim].
func (s *Space[T]) Claim(ctx context.Context, key any, o ClaimOptions) (*Held[T], error) {
	c, err := s.g.Claim(ctx, s.def.Name, key, o)
	if err != nil {
		return nil, err
	}
	return s.held(ctx, c)
}

// ClaimMatch hides an entry that passes a filter and returns it, or ErrNotFound:
// see [Grid.ClaimMatch]. It claims one; Limit does not count.
func (s *Space[T]) ClaimMatch(ctx context.Context, f Filter, o ClaimOptions) (*Held[T], error) {
	o.Limit = 1
	cs, err := s.g.claimMatch(ctx, &s.typed, f, o)
	if err != nil {
		return nil, err
	}
	return s.held(ctx, cs[0])
}

// UnfitError is returned for an entry that was claimed and does not fit the Go type
// that it was claimed as. It was given back as a failed attempt, so that it ends
// among the dead letters of a space that has some.
type UnfitError struct {
	Key    []byte
	Reason error
}

// Error names the entry and says why.
func (e *UnfitError) Error() string {
	return fmt.Sprintf("grid: the entry %q does not fit its Go type and was given back: %v", e.Key, e.Reason)
}

// Unwrap returns the reason.
func (e *UnfitError) Unwrap() error { return e.Reason }

// held adds the value to a claim, or gives the entry back if there is none.
func (s *Space[T]) held(ctx context.Context, c *Claim) (*Held[T], error) {
	h := &Held[T]{Claim: c}
	err := s.codec.decode(space.Entry{Value: c.Entry.Value, Kind: c.Entry.Kind}, &h.Value)
	if err != nil {
		return nil, errors.Join(&UnfitError{c.Entry.Key, err}, c.Nack(ctx, NackOptions{Delay: unfitDelay}))
	}
	return h, nil
}

// Claims yields entries that pass a filter, each claimed for the loop's body, one
// after the other and for as long as ctx lasts:
//
//	for job, err := range jobs.Claims(ctx, grid.Where("state = 'new'"), grid.ClaimOptions{Lease: time.Minute}) {
//		if err != nil { … }
//		if err := work(job.Value); err != nil {
//			err = job.Nack(ctx, grid.NackOptions{Delay: time.Second})
//			continue
//		}
//		err = job.Ack(ctx)
//	}
//
// It waits for the next one for ClaimOptions.Wait, and ends when there was none;
// 0 waits for ever. The body acknowledges each or gives it back; what it does
// neither with comes to others when the lease ends. ClaimOptions.Limit fetches so
// many at a time, whose leases begin together; those that are left when the loop
// ends are given back.
//
// An entry that does not fit T is reported as an [*UnfitError], and the loop may
// go on. After any other error nothing follows; the end of ctx is one.
func (s *Space[T]) Claims(ctx context.Context, f Filter, o ClaimOptions) iter.Seq2[*Held[T], error] {
	o.Wait = cmp.Or(o.Wait, Forever)
	return func(yield func(*Held[T], error) bool) {
		for {
			cs, err := s.g.claimMatch(ctx, &s.typed, f, o)
			if errors.Is(err, ErrNotFound) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i, c := range cs {
				if yield(s.held(ctx, c)) {
					continue
				}
				s.g.giveBack(ctx, cs[i+1:])
				return
			}
		}
	}
}

// giveBackTime bounds giving back what a loop has not come to.
const giveBackTime = 5 * time.Second

// giveBack gives claims back that nobody has looked at. Those that it does not
// reach end with their leases.
func (g *Grid) giveBack(ctx context.Context, cs []*Claim) {
	if len(cs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	b := g.NewBatch()
	for _, c := range cs {
		b.DoIn(space.PartitionOf(c.Entry.Key, g.Partitions()), space.Op{Code: space.OpNack, Space: c.space, Token: c.Token, Flags: space.FlagUncounted})
	}
	_ = g.Run(ctx, b)
}
