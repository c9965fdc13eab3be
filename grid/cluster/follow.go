package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// followBytes is about the size of one item: large enough to cost little per
	// change, small enough that a slow reader holds little.
	followBytes = 64 << 10
	// followMark is how long a position may move unseen, because nothing of what
	// changed was asked for, before the follower is told.
	followMark = 3 * time.Second
	// followAgain is when a follower that is ahead of this replica looks again.
	followAgain = 50 * time.Millisecond
)

// hub knows who follows the partitions of a group.
type hub struct {
	mu struct {
		sync.Mutex
		streams map[*followStream]struct{}
		closed  bool
	}
}

// changed tells the followers of some partitions. It runs on the applying
// goroutine and never waits for a follower.
func (b *hub) changed(touched []space.PartitionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.mu.streams {
		s.touch(touched)
	}
}

// replaced tells all followers to look at everything again.
func (b *hub) replaced() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.mu.streams {
		s.touchAll()
	}
}

// close ends all followers.
func (b *hub) close() {
	b.mu.Lock()
	b.mu.closed = true
	b.mu.Unlock()
	b.replaced()
}

func (b *hub) join(s *followStream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.closed {
		return false
	}
	if b.mu.streams == nil {
		b.mu.streams = map[*followStream]struct{}{}
	}
	b.mu.streams[s] = struct{}{}
	return true
}

func (b *hub) leave(s *followStream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.streams, s)
}

// followStream is one follower: where it stands in each partition, and which
// partitions may have something new for it.
type followStream struct {
	space space.ID
	send  func(FollowItem) error
	at    map[space.PartitionID]*followPlace
	wake  chan struct{} // one slot
	buf   []space.Change

	mu struct {
		sync.Mutex
		dirty map[space.PartitionID]struct{}
	}
}

// followPlace is a follower's place in one partition.
type followPlace struct {
	h  *held
	id space.PartitionID
	// begun is false until a snapshot or a start without one has been sent.
	begun bool
	now   bool // start without a snapshot
	at    space.Position
	told  space.Seq // what the follower knows of at
	since time.Time // when told was sent
}

func (s *followStream) touch(touched []space.PartitionID) {
	s.mu.Lock()
	some := false
	for _, p := range touched {
		if _, ok := s.at[p]; ok {
			s.mu.dirty[p] = struct{}{}
			some = true
		}
	}
	s.mu.Unlock()
	if some {
		poke(s.wake)
	}
}

func (s *followStream) touchAll() {
	s.mu.Lock()
	for p := range s.at {
		s.mu.dirty[p] = struct{}{}
	}
	s.mu.Unlock()
	poke(s.wake)
}

// take returns the partitions to look at and forgets them.
func (s *followStream) take() []space.PartitionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := make([]space.PartitionID, 0, len(s.mu.dirty))
	for p := range s.mu.dirty {
		ps = append(ps, p)
	}
	clear(s.mu.dirty)
	return ps
}

// errFollowMoved ends a stream after the follower has been told to go elsewhere.
var errFollowMoved = errors.New("cluster: a partition moved away")

// Follow implements Service.
func (n *Node) Follow(ctx context.Context, req FollowRequest, send func(FollowItem) error) error {
	s := &followStream{
		space: req.Space, send: send, at: make(map[space.PartitionID]*followPlace, len(req.From)), wake: make(chan struct{}, 1),
	}
	s.mu.dirty = map[space.PartitionID]struct{}{}
	groups := map[*held]struct{}{}
	table := n.control.State().Table
	for _, f := range req.From {
		var h *held
		if int(f.Partition) < len(table) {
			h = n.held(table[f.Partition])
		}
		if h == nil || h.host.partition(f.Partition) == nil {
			return send(FollowItem{Kind: FollowMoved, Partition: f.Partition})
		}
		s.at[f.Partition] = &followPlace{h: h, id: f.Partition, at: f.After, now: f.Now}
		groups[h] = struct{}{}
	}
	defer func() {
		for h := range groups {
			h.hub.leave(s)
		}
	}()
	for h := range groups {
		if !h.hub.join(s) {
			return send(FollowItem{Kind: FollowMoved, Partition: req.From[0].Partition})
		}
	}
	s.touchAll()
	err := s.run(ctx)
	if errors.Is(err, errFollowMoved) {
		return nil
	}
	return err
}

// run sends until something ends it.
func (s *followStream) run(ctx context.Context) error {
	marks := time.NewTicker(followMark)
	defer marks.Stop()
	for {
		again := false
		for _, p := range s.take() {
			ahead, err := s.advance(ctx, s.at[p])
			if err != nil {
				return err
			}
			if ahead {
				again = true
				s.touch([]space.PartitionID{p})
			}
		}
		if again {
			if !pause(ctx, followAgain) {
				return context.Cause(ctx)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.wake:
		case <-marks.C:
			if err := s.mark(); err != nil {
				return err
			}
		}
	}
}

// mark tells the follower of positions that have moved though nothing was sent.
func (s *followStream) mark() error {
	for _, pl := range s.at {
		if !pl.begun || pl.told == pl.at.Seq || time.Since(pl.since) < followMark {
			continue
		}
		if err := s.changes(pl, nil, pl.h.host.partition(pl.id)); err != nil {
			return err
		}
	}
	return nil
}

// advance sends what one partition has for the follower. ahead says that the
// follower has seen more than this replica.
func (s *followStream) advance(ctx context.Context, pl *followPlace) (ahead bool, err error) {
	for {
		p := pl.h.host.partition(pl.id)
		if p == nil || pl.h.ctx.Err() != nil {
			return false, errors.Join(errFollowMoved, s.send(FollowItem{Kind: FollowMoved, Partition: pl.id}))
		}
		if !pl.begun {
			if err := s.begin(ctx, pl, p); err != nil {
				return false, err
			}
			continue
		}
		if p.History() != pl.at.History {
			if err := s.reset(pl, "history"); err != nil {
				return false, err
			}
			continue
		}
		s.buf, err = p.Changelog().Read(s.buf[:0], pl.at.Seq, followBytes)
		switch {
		case errors.Is(err, space.ErrTrimmed):
			if err := s.reset(pl, "trimmed"); err != nil {
				return false, err
			}
			continue
		case errors.Is(err, space.ErrAhead):
			return true, nil
		case len(s.buf) == 0:
			return false, nil
		}
		pl.at.Seq = s.buf[len(s.buf)-1].Seq
		var wanted []space.Change
		for i := range s.buf {
			if s.space == 0 || s.buf[i].Space == s.space {
				wanted = append(wanted, s.buf[i])
			}
		}
		clear(s.buf)
		if len(wanted) > 0 {
			if err := s.changes(pl, wanted, p); err != nil {
				return false, err
			}
		}
	}
}

// changes sends changes, or none, and the position behind them.
func (s *followStream) changes(pl *followPlace, changes []space.Change, p *carried) error {
	pl.told, pl.since = pl.at.Seq, time.Now()
	it := FollowItem{Kind: FollowChanges, Partition: pl.id, Position: pl.at, Changes: changes}
	if n := len(changes); n > 0 {
		if wall := p.facts.Load().wall; wall != 0 {
			it.Wall = wall + int64(changes[n-1].At)
		}
	}
	return s.send(it)
}

// reset tells the follower that its position cannot be continued.
func (s *followStream) reset(pl *followPlace, reason string) error {
	pl.begun, pl.now, pl.at = false, false, space.Position{}
	return s.send(FollowItem{Kind: FollowReset, Partition: pl.id, Reason: reason})
}

// begin sends a snapshot, unless the follower has or wants none, and where the
// changes will follow from.
func (s *followStream) begin(ctx context.Context, pl *followPlace, p *carried) error {
	switch {
	case !pl.at.History.IsZero():
		if pl.at.History != p.History() {
			if err := s.reset(pl, "history"); err != nil {
				return err
			}
			return nil
		}
	case pl.now:
		pl.at = space.Position{History: p.History(), Seq: p.Changelog().Last()}
	default:
		if err := s.snapshot(ctx, pl); err != nil {
			return err
		}
	}
	pl.begun, pl.told, pl.since = true, pl.at.Seq, time.Now()
	return s.send(FollowItem{Kind: FollowReady, Partition: pl.id, Position: pl.at})
}

// snapshot sends the entries of a partition as they are at one moment, which
// becomes the follower's place. The partition goes on meanwhile.
func (s *followStream) snapshot(ctx context.Context, pl *followPlace) error {
	var img *space.Image
	err := pl.h.group.Inspect(ctx, func() {
		if p := pl.h.host.partition(pl.id); p != nil {
			img = p.Image()
			pl.at = space.Position{History: p.History(), Seq: img.Seq()}
		}
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil || img == nil:
		return errors.Join(errFollowMoved, s.send(FollowItem{Kind: FollowMoved, Partition: pl.id}))
	}
	for _, def := range img.Definitions() {
		if s.space == 0 || def.ID == s.space {
			if err := s.entries(ctx, pl, img, def.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries sends the entries of one space of a snapshot in pages.
func (s *followStream) entries(ctx context.Context, pl *followPlace, img *space.Image, id space.ID) error {
	var page []space.Entry
	var failed error
	size := 0
	flush := func() bool {
		if len(page) > 0 {
			failed = s.send(FollowItem{Kind: FollowEntries, Partition: pl.id, Space: id, Position: pl.at, Entries: page})
			page, size = nil, 0
		}
		return failed == nil && ctx.Err() == nil
	}
	img.Scan(id, func(e space.Entry) bool {
		page = append(page, e)
		size += len(e.Key) + len(e.Value)
		return size < followBytes || flush()
	})
	flush()
	if failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	return failed
}
