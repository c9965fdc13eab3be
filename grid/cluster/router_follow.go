package cluster

import (
	"context"
	"errors"

	"github.com/spacegrid/spacegrid/grid/space"
)

// errMoved ends a stream whose member gave a partition away.
var errMoved = errors.New("cluster: the member no longer holds the partition")

// Follow sends the content and the changes of the partitions asked for until ctx
// ends or send fails, whose error it returns. It takes them from the member in
// this process where that holds a replica, from others elsewhere, and goes on
// with another replica when one is lost, without gap and without repetition.
// send is called by one goroutine at a time.
//
// A snapshot that is interrupted begins again with a FollowReset.
func (r *Router) Follow(ctx context.Context, req FollowRequest, send func(FollowItem) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The turn to send passes through a channel, not a mutex: send may take as long
	// as it likes, and who waits for it leaves at once when ctx ends.
	turn := make(chan struct{}, 1)
	serial := func(it FollowItem) error {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		defer func() { <-turn }()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return send(it)
	}
	eachGroup(r, req.From, func(f FollowFrom) space.PartitionID { return f.Partition }, func(g GroupID, of []FollowFrom) {
		if g == 0 {
			cancel(errNoPartition(of[0].Partition))
			return
		}
		f := newFollower(req.Space, of, serial)
		cancel(r.followGroup(ctx, g, f))
	})
	return context.Cause(ctx)
}

// followGroup keeps one stream open for the partitions of a group. It ends with
// the caller's context or with an error of send.
func (r *Router) followGroup(ctx context.Context, g GroupID, f *follower) error {
	wait := backoffMin
	for tried := 0; ; tried++ {
		svc, err := r.replica(ctx, g, tried)
		if err == nil {
			progress := f.items
			err = svc.Follow(ctx, f.request(), f.item)
			if f.failed == nil && ctx.Err() == nil {
				f.failed = f.interrupted()
			}
			if f.failed != nil {
				return f.failed
			}
			if f.items > progress {
				wait = backoffMin
			}
		}
		if _, refused := errors.AsType[*space.Error](err); refused {
			return err
		}
		if !pause(ctx, wait) {
			return context.Cause(ctx)
		}
		wait = min(2*wait, backoffMax)
		if err := r.cfg.Topology.Refresh(ctx); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// replica returns the service of a member that holds a group: first the one in
// this process, then the others in turn.
func (r *Router) replica(ctx context.Context, g GroupID, tried int) (Service, error) {
	if tried == 0 && r.holds(g) {
		return r.cfg.Local, nil
	}
	group, ok := r.State().Group(g)
	if !ok || len(group.Replicas) == 0 {
		return nil, ErrUnavailable
	}
	return r.member(ctx, group.Replicas[tried%len(group.Replicas)].Member)
}

// follower keeps the positions of one group's partitions over several streams.
type follower struct {
	space  space.ID
	at     map[space.PartitionID]*followed
	order  []space.PartitionID
	send   func(FollowItem) error
	items  int
	failed error // of send
}

type followed struct {
	from    FollowFrom
	partial bool // entries of a snapshot were sent that is not complete
}

func newFollower(id space.ID, from []FollowFrom, send func(FollowItem) error) *follower {
	f := &follower{space: id, at: make(map[space.PartitionID]*followed, len(from)), send: send}
	for _, x := range from {
		f.at[x.Partition] = &followed{from: x}
		f.order = append(f.order, x.Partition)
	}
	return f
}

// request asks for everything from where it stands now.
func (f *follower) request() FollowRequest {
	req := FollowRequest{Space: f.space}
	for _, p := range f.order {
		req.From = append(req.From, f.at[p].from)
	}
	return req
}

// item takes note of an item and passes it on.
func (f *follower) item(it FollowItem) error {
	at := f.at[it.Partition]
	if at == nil {
		return nil
	}
	f.items++
	switch it.Kind {
	case FollowMoved:
		return errMoved
	case FollowReset:
		at.from.After = space.Position{}
		at.from.Now = false
		at.partial = false
	case FollowEntries:
		at.partial = true
	case FollowReady, FollowChanges:
		at.from.After, at.from.Now, at.partial = it.Position, false, false
	}
	f.failed = f.send(it)
	return f.failed
}

// interrupted sends a reset for every snapshot that was cut short, because the
// next stream begins it again.
func (f *follower) interrupted() error {
	for _, p := range f.order {
		if at := f.at[p]; at.partial {
			at.partial = false
			if err := f.send(FollowItem{Kind: FollowReset, Partition: p, Reason: "interrupted"}); err != nil {
				return err
			}
		}
	}
	return nil
}
