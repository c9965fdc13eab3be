package datapump

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// State says what a pump does for a partition.
type State uint8

// The states of a partition in a pump.
const (
	Fencing   State = iota // the sink is asked, or will be, how far it has come
	Following              // changes go to the sink as they come
	Ahead                  // the sink has more than this replica, which is catching up
	Resyncing              // the sink is brought up again from an image
	Fenced                 // a newer leader feeds the sink; tried again now and then
	Stopped                // nothing is done until the partition is added again: see Err
)

// String returns the word used in status and metrics.
func (s State) String() string {
	return [...]string{
		Fencing: "fencing", Following: "following", Ahead: "ahead",
		Resyncing: "resyncing", Fenced: "fenced", Stopped: "stopped",
	}[s]
}

// feed is one partition in a pump. The loop owns it and changes it under the
// pump's mutex, so that others may look at it there; only notified is shared
// without.
type feed struct {
	id  space.PartitionID
	src Source
	// notified is when the first change came that the loop has not looked at, in
	// nanoseconds since 1970; 0 if there is none.
	notified atomic.Int64

	asked   asked // by others than the loop
	queued  bool  // in the pump's ready list
	removed bool  // no longer the pump's: only to be cleaned up

	cursor
	isolation
	lag    lag
	rate   rate    // of changes that became durable
	resync *resync // nil if none is under way
}

// cursor is where a partition stands and what comes next: the decisions of the
// pump without its calls.
type cursor struct {
	state     State
	history   space.History
	epoch     space.Epoch // of the last fence
	watermark space.Seq   // what the sink has, as far as it told us
	last      space.Seq   // what the partition has, as far as we looked
	retry     breaker     // of troubles that concern this partition alone
	err       error       // the last trouble, nil once it is over
}

// backlog returns the number of changes that are not durable.
func (c *cursor) backlog() uint64 {
	if c.last <= c.watermark {
		return 0
	}
	return uint64(c.last - c.watermark)
}

// saw records the partition's last Seq.
func (c *cursor) saw(last space.Seq) {
	c.last = last
	switch {
	case c.state == Following && last < c.watermark:
		c.state = Ahead
	case c.state == Ahead && last >= c.watermark:
		c.state = Following
	}
}

// fenced records what the sink said it has. A trouble counts as over only when
// the sink has taken something, or when there is nothing for it to take.
func (c *cursor) fenced(seq space.Seq) {
	c.state, c.watermark = Following, seq
	if c.backlog() == 0 {
		c.moved(seq)
	}
	c.saw(c.last)
}

// moved records that the sink has taken everything up to seq.
func (c *cursor) moved(seq space.Seq) {
	c.state, c.watermark, c.err = Following, seq, nil
	c.retry.succeed()
	c.saw(c.last)
}

// needResync says that the sink cannot go on from the changelog.
func (c *cursor) needResync(possible bool) {
	if !possible {
		c.state, c.err = Stopped, ErrNoResync
		return
	}
	c.state = Resyncing
}

// refused decides what follows from an error of the sink about this partition.
// It reports whether the error is such a one; any other is trouble of the sink
// as a whole, and the partition only has to be fenced again.
func (c *cursor) refused(err error, policy refusal) bool {
	var (
		foreign *ForeignError
		gap     *GapError
		alone   *PartitionError
	)
	switch {
	case errors.Is(err, ErrNoResync):
		c.state, c.err = Stopped, ErrNoResync
	case errors.Is(err, ErrFenced):
		c.state, c.err = Fenced, err
		c.retry.fail(policy.now, policy.chance)
	case errors.As(err, &gap):
		c.state, c.err = Fencing, err
		c.retry.fail(policy.now, policy.chance)
	case errors.As(err, &foreign):
		c.err = err
		if !policy.takeover && !foreign.Stored.History.IsZero() && !policy.descends(foreign.Stored) {
			c.state = Stopped
			break
		}
		c.needResync(policy.resync)
	case errors.As(err, &alone):
		c.state, c.err = Fencing, err
		c.retry.fail(policy.now, policy.chance)
	default:
		c.state, c.err = Fencing, err
		return false
	}
	return true
}

// refusal is what refused needs to know of the pump and the world.
type refusal struct {
	now      time.Time
	chance   float64 // from [0, 1)
	takeover bool
	resync   bool // the sink can be resynced
	origin   space.Position
}

// descends reports whether the history that feeds the sink goes on from what the
// sink holds, or from later: then nothing is lost by replacing it.
func (r *refusal) descends(stored space.Position) bool {
	return stored.History == r.origin.History && stored.Seq <= r.origin.Seq
}
