package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// anyRound bounds the commands by which one call waits in many partitions. It
	// is how long a client that has died is still in line: in each partition one
	// entry may be held for it then, until the hold ends by itself.
	anyRound = time.Minute
	// anyLot bounds the partitions whose commands share one request.
	anyLot = 1024
	// holdTime is how long a partition reserves what a take may remove.
	holdTime = 5 * time.Second
)

// WaitAny carries out an operation that waits, OpTakeMatch or OpClaimMatch, in
// whichever partition first has something for it, and returns that partition's
// reply. It waits in all partitions at once, in line in each: first come, first
// served, partition by partition.
//
// Only one partition's entries are taken or claimed. What others hand out in the
// same moment goes back to its old place, claims uncounted; a take is only
// reserved until it is known to be the one, so that nothing is lost if this
// process dies on the way: readers see a reserved entry, and its place is held
// for a few seconds at most. A claim of a process that has died ends with its
// lease.
//
// It ends like [Router.Wait]: with space.CodeNotFound when the time is up, with
// space.CodeCancelled when ctx ends, and with ErrIndeterminate if a take was
// decided on and its outcome is not known. After each minute it goes to the end of
// every line. Each wait costs two commands in every partition: a filter that names
// one partition is for Wait.
func (r *Router) WaitAny(ctx context.Context, o space.Op) (space.Reply, error) {
	if o.Wait <= 0 || o.Code != space.OpTakeMatch && o.Code != space.OpClaimMatch {
		return space.Reply{}, &space.Error{Code: space.CodeInvalid, Detail: "a call that waits anywhere has an operation by filter, which says how long"}
	}
	for end := time.Now().Add(o.Wait); ; {
		left := time.Until(end)
		o.Wait = max(min(left, anyRound), 1)
		reply, err := r.waitRound(ctx, o)
		switch {
		case err != nil || reply.Code == space.OK:
			return reply, err
		case ctx.Err() != nil:
			return cancelled(), nil //nolint:nilerr // the reply says it
		case left <= anyRound && time.Now().After(end):
			return reply, nil
		}
	}
}

// waitRound waits once in all partitions. The reply is of code OK, or else says
// that nothing was found.
func (r *Router) waitRound(ctx context.Context, o space.Op) (space.Reply, error) {
	if o.Code == space.OpTakeMatch {
		o.Txn, o.Lease = space.TxnID{Session: r.mu.session, Number: r.txns.next()}, holdTime
	}
	w, err := r.lineUp(o)
	if err != nil {
		return space.Reply{}, err
	}
	round, stop := context.WithCancel(ctx)
	var lots sync.WaitGroup
	for _, l := range w.lots {
		lots.Go(func() {
			defer w.left()
			if err := l.run(round); err != nil {
				w.fail(err)
			}
		})
	}
	won, failed := w.first(ctx)
	reply := space.Reply{Code: space.CodeAborted, Results: []space.Result{{Code: space.CodeNotFound}}}
	if won != nil {
		reply, failed = won.accept(ctx)
	}
	stop()
	w.end(&lots)
	return reply, failed
}

// anyWait is one round of a call that waits in many partitions.
type anyWait struct {
	r    *Router
	op   space.Op
	lots []*waitLot

	granted chan *waitPlace // the first of all
	failed  chan error      // the first failure
	done    chan struct{}   // no lot waits any more

	mu      sync.Mutex
	waiting int // lots that wait yet
}

// waitLot is the places of a call in partitions of one group, which share requests.
type waitLot struct {
	w      *anyWait
	group  GroupID
	over   int
	places []*waitPlace
}

// waitPlace is the place of a call in the line of one partition.
type waitPlace struct {
	w         *anyWait
	partition space.PartitionID
	s         *session
	id        identity
	body      []byte // the encoded command; nil: it has no identity
	maybe     bool   // the command may have been applied
	reply     space.Reply
	answered  bool // finally
	kept      bool // what was granted is the caller's, or is not known
}

// lineUp makes the places of a round in all partitions.
func (r *Router) lineUp(o space.Op) (*anyWait, error) {
	w := &anyWait{r: r, op: o, granted: make(chan *waitPlace, 1), failed: make(chan error, 1), done: make(chan struct{})}
	for g, partitions := range r.Groups() {
		for lot := range slices.Chunk(partitions, anyLot) {
			over, ok := 0, g != 0
			if ok {
				over, ok = r.waits.board()
			}
			if !ok {
				w.release()
				if g == 0 {
					return nil, errNoPartition(lot[0])
				}
				return nil, ErrOverloaded
			}
			l := &waitLot{w: w, group: GroupID(g), over: over}
			for _, p := range lot {
				l.places = append(l.places, &waitPlace{w: w, partition: p, s: r.waits.take(p)})
			}
			w.lots = append(w.lots, l)
		}
	}
	w.waiting = len(w.lots)
	return w, nil
}

// release gives back what the places have of the pool.
func (w *anyWait) release() {
	for _, l := range w.lots {
		w.r.waits.alight(l.over)
		for _, p := range l.places {
			p.s.settle(p.id)
			w.r.waits.give(p.partition, p.s)
		}
	}
}

// left notes that a lot does not wait any more.
func (w *anyWait) left() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting--; w.waiting == 0 {
		close(w.done)
	}
}

func (w *anyWait) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// first returns the place that was granted something first, or nil.
func (w *anyWait) first(ctx context.Context) (*waitPlace, error) {
	select {
	case p := <-w.granted:
		return p, nil
	default:
	}
	select {
	case p := <-w.granted:
		return p, nil
	case err := <-w.failed:
		return nil, err
	case <-ctx.Done():
		return nil, nil
	case <-w.done:
	}
	// Whatever came last came before that.
	select {
	case p := <-w.granted:
		return p, nil
	case err := <-w.failed:
		return nil, err
	default:
		return nil, nil
	}
}

// run keeps asking until all places are answered or the round is over. Whoever does
// not answer although the time is up is not there: nothing is known of what that
// partition has.
func (l *waitLot) run(round context.Context) error {
	ctx, cancel := context.WithTimeout(round, l.w.op.Wait+waitMargin)
	defer cancel()
	turn := l.turn(ctx)
	defer func() { turn.end() }()
	for open := l.open(); len(open) > 0; open = l.open() {
		sent := time.Now()
		err := l.send(turn, open)
		switch {
		case round.Err() != nil:
			return nil
		case l.w.r.waits.closed():
			return fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
		case err == nil:
			turn.end()
			turn = l.turn(ctx)
			if len(l.open()) == len(open) && time.Since(sent) < backoffMax {
				pause(ctx, backoffMax)
			}
		case !repeatable(err):
			return err
		default:
			turn.again(err)
		}
		if ctx.Err() != nil && round.Err() == nil && len(l.open()) > 0 {
			return fmt.Errorf("%w: group %d: %w", ErrUnavailable, l.group, withoutDoubt(errors.Join(errSilent, turn.reason)))
		}
	}
	return nil
}

// errSilent is why a wait ends in which a group did not answer at the end.
var errSilent = errors.New("cluster: no answer in time")

func (l *waitLot) turn(ctx context.Context) *turn {
	t := l.w.r.turn(ctx, l.group)
	t.links = &l.w.r.waits.links[l.over]
	return t
}

// open returns the places that are not answered yet.
func (l *waitLot) open() []*waitPlace {
	var open []*waitPlace
	for _, p := range l.places {
		if !p.answered {
			open = append(open, p)
		}
	}
	return open
}

// send sends the commands of places once, and returns the first reason to send some
// again.
func (l *waitLot) send(t *turn, places []*waitPlace) (reason error) {
	r := l.w.r
	svc, err := t.service()
	if err != nil {
		return err
	}
	ctx := t.now
	subs := make([]Submission, len(places))
	for i, p := range places {
		if p.body == nil {
			budget := l.w.op.Wait + waitMargin + answerMargin
			if p.id, err = r.identifyIn(ctx, l.group, svc, p.partition, p.s, budget); err != nil {
				return err
			}
			p.body = p.command(p.id, l.w.op)
		}
		subs[i] = Submission{Partition: p.partition, Command: p.body}
	}
	ctx, cancel := context.WithTimeout(ctx, waitSlice+waitMargin)
	defer cancel()
	for i, out := range svc.Submit(ctx, l.group, subs) {
		err := places[i].hear(out)
		if err != nil && (reason == nil || repeatable(reason) && !repeatable(err)) {
			reason = err
		}
	}
	return reason
}

func (p *waitPlace) command(id identity, o space.Op) []byte {
	c := space.Command{
		History: id.history, Session: p.s.id, Sequence: id.sequence, Acked: id.acked, Deadline: id.deadline, Ops: []space.Op{o},
	}
	return c.Append(nil)
}

// hear takes in what a sending has brought.
func (p *waitPlace) hear(out Outcome) error {
	reply, err := decoded(out)
	if errors.Is(err, ErrIndeterminate) {
		p.maybe = true
	}
	if err != nil {
		return err
	}
	switch reply.Code {
	case space.CodeWaiting:
		p.maybe = true
		return nil
	case space.CodeBusy:
		return fmt.Errorf("%w: %w", ErrOverloaded, reply.Code.Err())
	case space.CodeHistory, space.CodeLate, space.CodeForgotten:
		p.w.r.session(p.partition).forget()
		if p.maybe {
			// It was there once, and what it may have been granted goes back by itself.
			p.answered, p.kept = true, true
			return nil
		}
		p.s.settle(p.id)
		p.body = nil
		return fmt.Errorf("%w: %w", ErrUnavailable, reply.Code.Err())
	}
	p.reply, p.answered = reply, true
	switch err := reply.Err(); {
	case err == nil:
		select {
		case p.w.granted <- p:
		default:
		}
	case !errors.Is(err, space.ErrNotFound):
		p.w.fail(err)
	}
	return nil
}

func decoded(out Outcome) (space.Reply, error) {
	if out.Err != nil {
		return space.Reply{}, out.Err
	}
	reply, err := space.DecodeReply(out.Reply)
	return reply, damaged(err)
}

// accept makes what a place was granted the caller's. A take is done now; if its
// reservation is over by now, nothing was found.
func (p *waitPlace) accept(ctx context.Context) (space.Reply, error) {
	p.kept = true
	if p.w.op.Code == space.OpClaimMatch {
		return p.reply, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer cancel()
	c := &Call{Partition: p.partition, Ops: []space.Op{{Code: space.OpFinish, Txn: p.w.op.Txn, Flags: space.FlagCommit}}}
	p.w.r.Do(ctx, []*Call{c})
	switch err := c.failure(); {
	case err == nil:
		return p.reply, nil
	case errors.Is(err, errUnprepared):
		return space.Reply{Code: space.CodeAborted, Results: []space.Result{{Code: space.CodeNotFound}}}, nil
	default:
		return space.Reply{}, err
	}
}

// end cancels the places that wait, and gives back what others than the accepted
// one were granted. The caller does not wait for it; the router's Close does.
func (w *anyWait) end(lots *sync.WaitGroup) {
	pool := w.r.waits.mu
	finish := func() {
		defer w.release()
		lots.Wait()
		ctx, cancel := context.WithTimeout(pool.ctx, cancelTime)
		defer cancel()
		var cancels sync.WaitGroup
		for _, l := range w.lots {
			cancels.Go(func() { l.cancel(ctx) })
		}
		cancels.Wait()
		w.giveBack(ctx)
	}
	pool.Lock()
	closed := pool.closed
	if !closed {
		pool.ends.Go(finish)
	}
	pool.Unlock()
	if closed {
		finish()
	}
}

// cancel ends the waits of a lot, and takes in what they were granted before that.
func (l *waitLot) cancel(ctx context.Context) {
	var places []*waitPlace
	var subs []Submission
	for _, p := range l.places {
		if p.body == nil || p.answered {
			continue
		}
		id, ok := p.s.after(p.id)
		if !ok {
			continue
		}
		defer p.s.settle(id) //nolint:revive,gocritic // when the lot is done
		command := p.command(id, space.Op{Code: space.OpCancel, Target: p.id.sequence})
		places, subs = append(places, p), append(subs, Submission{Partition: p.partition, Command: command})
	}
	turn := l.turn(ctx)
	defer turn.end()
	for len(subs) > 0 {
		svc, err := turn.service()
		var again []Submission
		var waiting []*waitPlace
		if err == nil {
			for i, out := range svc.Submit(turn.now, l.group, subs) {
				reply, failed := decoded(out)
				if failed == nil && reply.Code == space.CodeBusy {
					failed = ErrOverloaded
				}
				if failed != nil && repeatable(failed) {
					again, waiting, err = append(again, subs[i]), append(waiting, places[i]), failed
					continue
				}
				places[i].reply, places[i].answered = reply, true
			}
			subs, places = again, waiting
		}
		if len(subs) > 0 && (l.w.r.waits.closed() || !turn.again(err)) {
			return
		}
	}
}

// giveBack gives back what places were granted that nobody has accepted. What it
// does not reach goes back by itself when its time is over.
func (w *anyWait) giveBack(ctx context.Context) {
	var calls []*Call
	for _, l := range w.lots {
		for _, p := range l.places {
			if p.kept || !p.answered || p.reply.Code != space.OK {
				continue
			}
			c := &Call{Partition: p.partition}
			if w.op.Code == space.OpTakeMatch {
				c.Ops = []space.Op{{Code: space.OpFinish, Txn: w.op.Txn}}
			} else {
				for _, e := range p.reply.Results[0].Entries {
					c.Ops = append(c.Ops, space.Op{Code: space.OpNack, Space: w.op.Space, Token: e.Token, Flags: space.FlagUncounted})
				}
				c.Independent = true
			}
			calls = append(calls, c)
		}
	}
	if len(calls) > 0 {
		w.r.Do(ctx, calls)
	}
}
