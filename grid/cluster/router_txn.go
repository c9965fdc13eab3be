package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// TxnTime bounds a transaction over several partitions from its first prepare
	// to its decision. After it participants ask the home partition, which then
	// does not commit it any more; so it is also how long keys stay locked when
	// their coordinator is gone. It is longer than a group takes to get a new
	// leader.
	TxnTime = 5 * time.Second
	// outcomeStays is how long an outcome can be asked for at least after leaders
	// had to finish the transaction.
	outcomeStays = 10 * time.Minute
	// maxTxnDuties bounds the transactions for which something is left to do when
	// their callers have gone on. What does not fit is left to the leaders.
	maxTxnDuties = 4096
	// txnDutyTime bounds one attempt to do it.
	txnDutyTime = 5 * time.Second
)

// TxnPart is what a transaction does in one partition.
type TxnPart struct {
	Partition space.PartitionID
	Ops       []space.Op
	// Results is what came of Ops, once the transaction is committed. Versions of
	// what was written are there only if it had one part.
	Results []space.Result
}

// TxnRef names a transaction over several partitions, for [Router.TxnStatus].
type TxnRef struct {
	ID         space.TxnID
	Home       space.PartitionID
	Until      space.Time // on the home's clock: not committed from then on
	Partitions []space.PartitionID
}

// TxnUnknownError is returned when what became of a transaction could not be
// found out in time, or when it is committed and not yet in force everywhere. It
// is an ErrIndeterminate; [Router.TxnStatus] tells.
type TxnUnknownError struct {
	Ref    TxnRef
	Reason error
}

// Error says why the outcome is unknown.
func (e *TxnUnknownError) Error() string {
	return fmt.Sprintf("cluster: the outcome of the transaction is unknown (ask for its status): %v", e.Reason)
}

// Is makes the error an ErrIndeterminate.
func (e *TxnUnknownError) Is(target error) bool { return target == ErrIndeterminate }

// Unwrap returns the reason.
func (e *TxnUnknownError) Unwrap() error { return e.Reason }

// ErrTxnTooSlow is returned when a transaction was not decided within TxnTime, for
// example because a partition was getting a new leader. It had no effect.
var ErrTxnTooSlow = errors.New("cluster: the transaction took too long and was given up (run it again)")

// ErrTxnForgotten is returned when a transaction's outcome is asked for so late
// that it is no longer kept.
var ErrTxnForgotten = errors.New("cluster: the outcome of the transaction is no longer kept (read to find out)")

// Transact carries out the operations of all parts, or none of them. It returns
// nil when they are in force, so that whoever reads afterwards sees them; a
// *space.Error if an operation was refused, of which CodeConflict, CodeLocked
// and CodeTrimmed ask for another try on new reads; an error that wraps
// ErrUnavailable, or ErrTxnTooSlow: then nothing was changed; or a
// *[TxnUnknownError]. It blocks until then or until ctx ends.
//
// One part is one command. Several are prepared at once, decided in the
// partition of the first part, and finished at once. If the caller's process
// dies on the way, the leaders of the partitions finish or give up.
func (r *Router) Transact(ctx context.Context, parts []*TxnPart) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	switch n := len(parts); {
	case n == 0:
		return nil
	case n == 1:
		return r.transactOne(ctx, parts[0])
	case n > space.MaxParticipants:
		return &space.Error{Code: space.CodeTooLarge, Detail: fmt.Sprintf("a transaction over %d partitions", n), Hint: fmt.Sprintf("at most %d: give keys that belong together a common {tag}", space.MaxParticipants)}
	}
	ref, err := r.beginTxn(ctx, parts)
	if err != nil {
		return err
	}
	if err := r.prepareTxn(ctx, ref, parts); err != nil {
		// Nobody has proposed to commit, so nobody can any more: it is safe to give
		// up without the home. What is not reached asks there by itself.
		r.giveUp(ctx, ref)
		return err
	}
	commit, err := r.decideTxn(ctx, ref)
	switch {
	case errors.Is(err, ErrIndeterminate):
		return &TxnUnknownError{ref, err}
	case err != nil || !commit:
		r.giveUp(ctx, ref)
		if err == nil {
			err = ErrTxnTooSlow
		}
		return err
	}
	if err := r.finishTxn(ctx, ref, true); err != nil {
		r.txns.add(r, txnDuty{ref, commitLeft})
		return &TxnUnknownError{ref, fmt.Errorf("it is committed and will be in force everywhere shortly: %w", err)}
	}
	r.txns.add(r, txnDuty{ref, settleLeft})
	return nil
}

// giveUp unlocks what was prepared for a transaction that is not committed, after
// the caller has gone if need be.
func (r *Router) giveUp(ctx context.Context, ref TxnRef) {
	if r.finishTxn(ctx, ref, false) != nil {
		r.txns.add(r, txnDuty{ref, abortLeft})
	}
}

func (r *Router) transactOne(ctx context.Context, p *TxnPart) error {
	c := &Call{Partition: p.Partition, Ops: p.Ops, Once: true}
	r.Do(ctx, []*Call{c})
	if err := c.failure(); err != nil {
		return err
	}
	p.Results = c.Reply.Results
	return nil
}

// failure returns what went wrong with a call, on the way or there.
func (c *Call) failure() error {
	if c.Err != nil {
		return c.Err
	}
	return c.Reply.Err()
}

// beginTxn names a transaction and fixes the end of its time.
func (r *Router) beginTxn(ctx context.Context, parts []*TxnPart) (TxnRef, error) {
	home := parts[0].Partition
	clock, err := r.Clock(ctx, home)
	if err != nil {
		return TxnRef{}, err
	}
	ref := TxnRef{
		ID: space.TxnID{Session: r.mu.session, Number: r.txns.next()}, Home: home, Until: clock.Add(TxnTime),
	}
	for _, p := range parts {
		ref.Partitions = append(ref.Partitions, p.Partition)
	}
	return ref, nil
}

// prepareTxn prepares all parts and returns nil if all are.
func (r *Router) prepareTxn(ctx context.Context, ref TxnRef, parts []*TxnPart) error {
	ctx, cancel := context.WithTimeout(ctx, TxnTime)
	defer cancel()
	calls := make([]*Call, len(parts))
	for i, p := range parts {
		first := space.Op{Code: space.OpPrepare, Txn: ref.ID, Home: ref.Home, Target: uint64(ref.Until), Lease: TxnTime}
		calls[i] = &Call{Partition: p.Partition, Ops: append([]space.Op{first}, p.Ops...), Once: true}
	}
	r.Do(ctx, calls)
	for i, c := range calls {
		if err := c.failure(); err != nil {
			if errors.Is(err, ErrIndeterminate) {
				// Prepared or not, it is not going to be committed.
				err = fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
			}
			return err
		}
		parts[i].Results = c.Reply.Results[1:]
	}
	return nil
}

// decideTxn proposes to commit and returns what stands.
func (r *Router) decideTxn(ctx context.Context, ref TxnRef) (commit bool, err error) {
	c := &Call{Partition: ref.Home, Ops: []space.Op{{
		Code: space.OpDecide, Flags: space.FlagCommit, Txn: ref.ID, Target: uint64(ref.Until),
		Value: space.AppendPartitions(nil, ref.Partitions),
	}}}
	r.insist(ctx, []*Call{c})
	if err := c.failure(); err != nil {
		return false, err
	}
	return c.Reply.Results[0].Count == 1, nil
}

// finishTxn carries out or gives up what was prepared, wherever it still is.
func (r *Router) finishTxn(ctx context.Context, ref TxnRef, commit bool) error {
	o := space.Op{Code: space.OpFinish, Txn: ref.ID}
	if commit {
		o.Flags = space.FlagCommit
	}
	calls := make([]*Call, len(ref.Partitions))
	for i, p := range ref.Partitions {
		calls[i] = &Call{Partition: p, Ops: []space.Op{o}}
	}
	r.insist(ctx, calls)
	return unfinished(calls)
}

// unfinished returns what went wrong with calls that finish transactions. What is
// not prepared any more has been finished by somebody else.
func unfinished(calls []*Call) error {
	var failed error
	for _, c := range calls {
		if err := c.failure(); err != nil && !errors.Is(err, errUnprepared) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

var errUnprepared error = &space.Error{Code: space.CodeUnprepared}

// insist carries out calls that may take effect any number of times, as those that
// decide and finish do: what is unknown is asked again until ctx ends.
func (r *Router) insist(ctx context.Context, calls []*Call) {
	for wait := backoffMin; len(calls) > 0; wait = min(2*wait, backoffMax) {
		r.Do(ctx, calls)
		var unknown []*Call
		for _, c := range calls {
			if errors.Is(c.Err, ErrIndeterminate) {
				unknown = append(unknown, c)
			}
		}
		if len(unknown) == 0 || !pause(ctx, wait) {
			return
		}
		for _, c := range unknown {
			*c = Call{Partition: c.Partition, Ops: c.Ops, maybe: true}
		}
		calls = unknown
	}
}

// TxnStatus reports whether a transaction is committed; if it is, it is in force
// everywhere when TxnStatus returns. A transaction that was not decided yet is
// given up. It can be asked for ten minutes at least; ErrTxnForgotten afterwards.
// It blocks until it knows or ctx ends.
func (r *Router) TxnStatus(ctx context.Context, ref TxnRef) (committed bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c := &Call{Partition: ref.Home, Ops: []space.Op{{Code: space.OpDecide, Txn: ref.ID, Target: uint64(ref.Until)}}}
	r.insist(ctx, []*Call{c})
	if err := c.failure(); err != nil {
		return false, err
	}
	commit := c.Reply.Results[0].Count == 1
	if !commit && c.Reply.Clock > ref.Until.Add(outcomeStays) {
		return false, ErrTxnForgotten
	}
	err = r.finishTxn(ctx, ref, commit)
	return commit, err
}

// locked asks for another attempt of what ran into the lock of a transaction, which
// does not last. Each attempt of a command is another proposal for the same
// request, of which one at most takes effect.
func (r *Router) locked(c *Call) error {
	met := fmt.Errorf("%w: %w", ErrOverloaded, space.CodeLocked.Err())
	switch {
	case c.Once:
		return nil
	case c.Independent:
		if r.lockedPart(c) {
			return met
		}
		return nil
	case c.Reply.Code != space.CodeAborted || c.attempt == space.FinalAttempt || !errors.Is(c.Reply.Err(), space.ErrLocked):
		return nil
	}
	c.attempt++
	c.encode(r.mu.session)
	// What was sent before has its answer: it had no effect.
	c.maybe = false
	return met
}

// callPart is what an independent call is made of while the operations that ran
// into locks are tried again: a command of their own, with another identity.
type callPart struct {
	ops     []space.Op     // all operations of the call
	results []space.Result // so far
	at      []int          // places of the operations in the command under way
}

// lockedPart takes over the results of an independent command, and reports whether
// some of its operations have to be tried again.
func (r *Router) lockedPart(c *Call) bool {
	if c.Reply.Code != space.OK {
		if c.part != nil {
			c.part.end(c)
		}
		return false
	}
	var again []int
	for i := range c.Reply.Results {
		at := i
		if c.part != nil {
			at = c.part.at[i]
			c.part.results[at] = c.Reply.Results[i]
		}
		if c.Reply.Results[i].Code == space.CodeLocked {
			again = append(again, at)
		}
	}
	if len(again) == 0 || c.attempt == space.FinalAttempt-1 {
		if c.part != nil {
			c.part.end(c)
		}
		return false
	}
	if c.part == nil {
		c.part = &callPart{ops: c.Ops, results: c.Reply.Results}
	}
	c.attempt++
	c.part.at, c.Ops = again, nil
	for _, at := range again {
		c.Ops = append(c.Ops, c.part.ops[at])
	}
	r.settle(c)
	c.begun, c.maybe = false, false
	return true
}

// end makes the call whole again, which as a whole has been carried out.
func (t *callPart) end(c *Call) {
	c.Ops, c.part = t.ops, nil
	c.Reply.Code, c.Reply.Failed, c.Reply.Results = space.OK, -1, t.results
}

// txns is what a router keeps of its transactions: their numbers, and what is left
// to do for those that the caller does not wait for any more.
type txns struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu struct {
		sync.Mutex
		number  uint64
		duties  []txnDuty
		running bool
		closed  bool
	}
	wg sync.WaitGroup
}

// txnDuty is what is left to do for one transaction.
type txnDuty struct {
	ref  TxnRef
	left leftOver
}

type leftOver uint8

const (
	settleLeft leftOver = iota // to tell the home that all have finished
	commitLeft                 // to finish everywhere before that
	abortLeft                  // to unlock what was prepared
)

func newTxns() *txns {
	t := &txns{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

func (t *txns) next() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.number++
	return t.mu.number
}

// add leaves something to do to the router's own goroutine, which runs while
// there is any.
func (t *txns) add(r *Router, d txnDuty) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed || len(t.mu.duties) >= maxTxnDuties {
		return
	}
	t.mu.duties = append(t.mu.duties, d)
	if !t.mu.running {
		t.mu.running = true
		t.wg.Go(func() { t.run(r) })
	}
}

// run does what is left until there is nothing. What fails is left to the leaders
// of the partitions.
func (t *txns) run(r *Router) {
	for {
		t.mu.Lock()
		duties := t.mu.duties
		t.mu.duties = nil
		if len(duties) == 0 {
			t.mu.running = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.ctx, txnDutyTime)
		var settles []*Call
		for _, d := range duties {
			if d.left != settleLeft && r.finishTxn(ctx, d.ref, d.left == commitLeft) != nil || d.left == abortLeft {
				continue
			}
			settle := space.Op{Code: space.OpDecide, Flags: space.FlagSettled, Txn: d.ref.ID}
			if d.left == commitLeft {
				settle.Lease = outcomeStays // its caller was told to ask for it
			}
			settles = append(settles, &Call{Partition: d.ref.Home, Ops: []space.Op{settle}})
		}
		r.Do(ctx, settles)
		cancel()
	}
}

func (t *txns) close() {
	t.mu.Lock()
	t.mu.closed = true
	t.mu.duties = nil
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}
