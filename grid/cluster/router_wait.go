package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// linkWaits is how many waiting calls share one connection to a member. It
	// carries 1024 requests at once, and ordinary ones have a connection of their
	// own.
	linkWaits = 512
	// maxWaits bounds the waiting calls of one router.
	maxWaits = 16 * linkWaits
	// maxIdleSessions bounds the sessions kept for the next waiting calls in one
	// partition. Any other is forgotten; the partition forgets it after its last
	// deadline.
	maxIdleSessions = 64
	// waitMargin is how long after the end of a wait its answer may be fetched.
	waitMargin = DefaultTimeout
	// maxRound bounds one command that waits, so that its deadline is within what
	// partitions accept however far the estimate of their clock is off.
	maxRound = maxBudget
	// cancelTime bounds the cancellation of a wait whose caller has gone.
	cancelTime = 5 * time.Second
)

// waitPool is what waiting calls have apart from others. Each has a session to
// itself while it lasts, so that it holds back nobody's settled answers; and
// the connections over which it waits are shared by few enough.
type waitPool struct {
	links []links // linkWaits calls each

	mu *waitPoolState
}

type waitPoolState struct {
	sync.Mutex
	// ends is the waits that are ended after their callers have gone, under ctx,
	// which ends when the pool is closed.
	ends   sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc
	over   [maxWaits / linkWaits]int // calls over each of the links
	idle   map[space.PartitionID][]*session
	closed bool
}

func newWaitPool(dial wire.Dialer) waitPool {
	p := waitPool{mu: &waitPoolState{idle: map[space.PartitionID][]*session{}}}
	p.mu.ctx, p.mu.cancel = context.WithCancel(context.Background())
	for range p.mu.over {
		p.links = append(p.links, newLinks(dial))
	}
	return p
}

func (p *waitPool) close() error {
	p.mu.Lock()
	p.mu.closed = true
	p.mu.cancel()
	p.mu.Unlock()
	var failed error
	for i := range p.links {
		failed = errors.Join(failed, p.links[i].close())
	}
	p.mu.ends.Wait()
	return failed
}

func (p *waitPool) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.closed
}

// board returns the number of the links that one more call that waits goes over;
// false if there are too many.
func (p *waitPool) board() (over int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for over < len(p.mu.over) && p.mu.over[over] >= linkWaits {
		over++
	}
	if over == len(p.mu.over) || p.mu.closed {
		return 0, false
	}
	p.mu.over[over]++
	return over, true
}

func (p *waitPool) alight(over int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.over[over]--
}

// take returns a session for one command that waits in a partition.
func (p *waitPool) take(id space.PartitionID) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle := p.mu.idle[id]; len(idle) > 0 {
		p.mu.idle[id] = idle[:len(idle)-1]
		return idle[len(idle)-1]
	}
	return newSession(space.SessionID(rand.Uint64() | 1))
}

func (p *waitPool) give(id space.PartitionID, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mu.idle[id]) < maxIdleSessions {
		p.mu.idle[id] = append(p.mu.idle[id], s)
	}
}

// Wait carries out a call whose only operation waits, and returns when it has
// its answer. The wait begins when the partition first sees the command and lasts
// as long as the operation says; ctx may end it sooner, and need not have a
// deadline. The call keeps its place in line over any change of leaders.
//
// When ctx ends the wait is cancelled. What has been granted meanwhile is in the
// Reply all the same: it is never lost. If nothing has, the Reply says
// space.CodeCancelled. If that cannot be found out either, Err is
// ErrIndeterminate. A wait that ends by itself is answered space.CodeNotFound. If
// nobody could be reached to wait at, Err is ErrUnavailable.
//
// One command waits at most ten minutes. A longer wait is asked for again as often
// as needed, and goes to the end of the line each time.
//
// Wait blocks, with a request open at the leader, but for a goroutine on a member
// that is reached over a connection it costs nobody more than a place in tables. A
// router has room for 8192 such calls; ErrOverloaded is what the next one gets.
func (r *Router) Wait(ctx context.Context, c *Call) {
	c.Reply, c.Err = space.Reply{}, nil
	table := r.State().Table
	switch {
	case len(c.Ops) != 1 || c.Ops[0].Wait <= 0:
		c.Err = &space.Error{Code: space.CodeInvalid, Detail: "a waiting call has one operation, which says how long"}
		return
	case int(c.Partition) >= len(table) || table[c.Partition] == 0:
		c.Err = errNoPartition(c.Partition)
		return
	}
	over, ok := r.waits.board()
	if !ok {
		c.Err = ErrOverloaded
		return
	}
	defer r.waits.alight(over)
	s := r.waits.take(c.Partition)
	defer r.waits.give(c.Partition, s)
	w := wait{r: r, group: table[c.Partition], partition: c.Partition, op: c.Ops[0], s: s, links: &r.waits.links[over]}
	for end := time.Now().Add(c.Ops[0].Wait); ; {
		left := time.Until(end)
		w.op.Wait = max(min(left, maxRound), 1)
		c.Reply, c.Err = w.round(ctx)
		if c.Err != nil || left <= maxRound || !errors.Is(c.Reply.Err(), space.ErrNotFound) {
			return
		}
	}
}

// wait is one waiting call.
type wait struct {
	r         *Router
	group     GroupID
	partition space.PartitionID
	op        space.Op
	s         *session
	links     *links

	id    identity
	body  []byte // the encoded command; empty: it has no identity yet
	maybe bool   // the command may have been applied
}

// round sends the command until its answer is final, ctx ends, or the wait has
// been over for so long that no answer can be expected any more.
func (w *wait) round(caller context.Context) (space.Reply, error) {
	w.body, w.maybe = nil, false
	defer func() { w.s.settle(w.id) }()
	ctx, cancel := context.WithTimeout(caller, w.op.Wait+waitMargin)
	defer cancel()
	turn := w.turn(ctx)
	defer func() { turn.end() }()
	if caller.Err() != nil {
		return cancelled(), nil
	}
	for {
		sent := time.Now()
		reply, err := w.send(turn)
		switch {
		case err == nil && reply.Code != space.CodeWaiting:
			return reply, nil
		case w.r.waits.closed():
			return space.Reply{}, w.fail(errClosed)
		case err == nil:
			// It waits. Usually a slice is over and the next one begins at once.
			turn.end()
			if turn = w.turn(ctx); ctx.Err() == nil && (time.Since(sent) >= backoffMax || pause(ctx, backoffMax)) {
				continue
			}
			return w.cancel(ctx)
		case !repeatable(err) && !w.maybe:
			return space.Reply{}, err
		case !repeatable(err):
			return space.Reply{}, w.fail(err)
		}
		switch {
		case ctx.Err() == nil && turn.again(err):
		case w.maybe:
			return w.cancel(ctx)
		case caller.Err() == nil:
			return space.Reply{}, w.fail(err)
		default:
			return cancelled(), nil
		}
	}
}

// errClosed ends waits that outlast their router.
var errClosed = errors.New("cluster: this client is closed")

// fail makes a reason why nobody answers an error that says what it proves.
func (w *wait) fail(reason error) error {
	if w.maybe {
		return fmt.Errorf("%w: %w", ErrIndeterminate, reason)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(reason))
}

// cancelled is the reply to a call that was given up before it was sent.
func cancelled() space.Reply {
	return space.Reply{Code: space.CodeAborted, Results: []space.Result{{Code: space.CodeCancelled}}}
}

func (w *wait) turn(ctx context.Context) *turn {
	t := w.r.turn(ctx, w.group)
	t.links = w.links
	return t
}

// send sends the command once, or gives it its identity first.
func (w *wait) send(t *turn) (space.Reply, error) {
	svc, err := t.service()
	if err != nil {
		return space.Reply{}, err
	}
	ctx := t.now
	if w.body == nil {
		budget := w.op.Wait + waitMargin + answerMargin
		if w.id, err = w.r.identifyIn(ctx, w.group, svc, w.partition, w.s, budget); err != nil {
			return space.Reply{}, err
		}
		w.body = w.command(w.id, w.op)
	}
	ctx, cancel := context.WithTimeout(ctx, waitSlice+waitMargin)
	defer cancel()
	reply, err := w.submit(ctx, svc, w.body)
	if err == nil && reply.Code == space.CodeWaiting || errors.Is(err, ErrIndeterminate) {
		w.maybe = true
	}
	return reply, err
}

func (w *wait) command(id identity, o space.Op) []byte {
	c := space.Command{
		History: id.history, Session: w.s.id, Sequence: id.sequence, Acked: id.acked, Deadline: id.deadline, Ops: []space.Op{o},
	}
	return c.Append(nil)
}

// submit sends an encoded command once. Replies about its identity become errors.
func (w *wait) submit(ctx context.Context, svc Service, command []byte) (space.Reply, error) {
	out := svc.Submit(ctx, w.group, []Submission{{Partition: w.partition, Command: command}})[0]
	if out.Err != nil {
		return space.Reply{}, out.Err
	}
	reply, err := space.DecodeReply(out.Reply)
	if err != nil {
		return space.Reply{}, damaged(err)
	}
	switch code := reply.Code; code {
	case space.CodeBusy:
		return space.Reply{}, fmt.Errorf("%w: %w", ErrOverloaded, code.Err())
	case space.CodeHistory, space.CodeLate, space.CodeForgotten:
		w.r.session(w.partition).forget()
		if w.maybe {
			// It was there once, and what became of it is not known any more.
			return space.Reply{}, &lostError{code.Err()}
		}
		w.s.settle(w.id)
		w.body = nil
		return space.Reply{}, fmt.Errorf("%w: %w", ErrUnavailable, code.Err())
	}
	return reply, nil
}

// lostError says that the answer of a command is gone for good, so that no repeat
// can have it.
type lostError struct{ reason error }

// Error says what the partition answered instead.
func (e *lostError) Error() string { return e.reason.Error() }

// cancel ends the wait of a command whose caller has gone, and returns what became
// of the command.
func (w *wait) cancel(ctx context.Context) (space.Reply, error) {
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer cancel()
	id, ok := w.s.after(w.id)
	if !ok {
		return space.Reply{}, w.fail(cause)
	}
	defer w.s.settle(id)
	command := w.command(id, space.Op{Code: space.OpCancel, Target: w.id.sequence})
	turn := w.turn(ctx)
	defer turn.end()
	for {
		svc, err := turn.service()
		var reply space.Reply
		if err == nil {
			reply, err = w.submit(turn.now, svc, command)
		}
		switch {
		case err == nil && errors.Is(reply.Err(), space.ErrForgotten):
			return space.Reply{}, w.fail(cause)
		case err == nil:
			return reply, nil
		case !repeatable(err), w.r.waits.closed(), !turn.again(err):
			return space.Reply{}, w.fail(errors.Join(cause, err))
		}
	}
}
