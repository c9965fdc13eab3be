package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

const (
	// DefaultTimeout bounds a request whose context has no deadline.
	DefaultTimeout = 10 * time.Second
	// answerMargin is how much longer than the request an answer is kept, so
	// that the last repeat of a request still finds it.
	answerMargin = 5 * time.Second
	// maxBudget bounds the time that a command's deadline leaves for repeats,
	// however much longer the request may take: partitions refuse to keep answers
	// for more than an hour.
	maxBudget = 10 * time.Minute

	backoffMin = 2 * time.Millisecond
	backoffMax = 100 * time.Millisecond
)

// Topology tells a router who holds what.
type Topology interface {
	// State returns the newest state known; it never blocks.
	State() *State
	// Refresh tries to learn a newer one. It blocks for one exchange at most.
	Refresh(ctx context.Context) error
	// Agree returns when State is what the control group had agreed on when it was
	// called, or a newer one. It fails with ErrUnavailable if nobody can say.
	Agree(ctx context.Context) error
}

// RouterConfig is what a Router needs.
type RouterConfig struct {
	Topology Topology
	// Self and Local are the member in this process, if there is one.
	Self  MemberID
	Local Service
	// Dial opens connections to members.
	Dial wire.Dialer
}

// Router sends commands and reads to whoever leads their partition, repeats
// them until their outcome is known, and gives commands the identity that makes
// a repeat harmless. One router is one session in every partition. All methods
// may be called concurrently.
type Router struct {
	cfg   RouterConfig
	links links
	waits waitPool
	txns  *txns

	searches searches

	mu struct {
		sync.Mutex
		session    space.SessionID
		partitions []*session
		leaders    [MaxGroups + 1]MemberID // as last heard; empty: ask the preferred one
	}
}

// NewRouter returns a router. Close it after use.
func NewRouter(cfg RouterConfig) *Router {
	r := &Router{cfg: cfg, links: newLinks(cfg.Dial), waits: newWaitPool(cfg.Dial), txns: newTxns()}
	for r.mu.session == 0 {
		r.mu.session = space.SessionID(rand.Uint64())
	}
	return r
}

// Close closes the router's connections. Requests in flight end as unknown.
func (r *Router) Close() error {
	r.searches.close()
	r.txns.close()
	return errors.Join(r.links.close(), r.waits.close())
}

// State returns the control group's state as the router knows it.
func (r *Router) State() *State { return r.cfg.Topology.State() }

// Ready waits until the cluster is formed and its partition count known.
func (r *Router) Ready(ctx context.Context) error {
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		if len(r.State().Table) > 0 {
			return nil
		}
		err := r.cfg.Topology.Refresh(ctx)
		if !pause(ctx, wait) {
			return fmt.Errorf("%w: the cluster is not formed: %w", ErrUnavailable, errors.Join(err, ctx.Err()))
		}
	}
}

// Call is one command for one partition, and what became of it.
type Call struct {
	Partition   space.PartitionID
	Ops         []space.Op
	Independent bool // see space.Command
	// Once makes an operation that meets the lock of a transaction fail. Otherwise
	// it is tried again for as long as there is time; of an independent command,
	// by itself.
	Once bool

	// Reply is valid if Err is nil. Err is about the way there: refusals of
	// operations are in the Reply.
	Reply space.Reply
	Err   error

	id      identity
	begun   bool
	maybe   bool // an attempt may have taken effect
	body    []byte
	attempt uint8 // proposals that ran into a lock
	part    *callPart
}

// encode makes the command that the call stands for.
func (c *Call) encode(session space.SessionID) {
	cmd := space.Command{
		History: c.id.history, Session: session, Sequence: c.id.sequence, Acked: c.id.acked,
		Deadline: c.id.deadline, Attempt: c.attempt, Independent: c.Independent, Ops: c.Ops,
	}
	c.body = cmd.Append(c.body[:0])
}

// Do carries out calls and returns when the outcome of each is known or ctx has
// ended. Calls are repeated one by one: operations whose order matters belong into
// one call. Operations that wait are for Wait.
func (r *Router) Do(ctx context.Context, calls []*Call) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	eachGroup(r, calls, func(c *Call) space.PartitionID { return c.Partition }, func(g GroupID, of []*Call) {
		if g == 0 {
			for _, c := range of {
				c.Err = errNoPartition(c.Partition)
			}
			return
		}
		r.submit(ctx, g, slices.DeleteFunc(of, refuseWait))
	})
}

// refuseWait fails a call that waits: it would hold the answers of all others.
func refuseWait(c *Call) bool {
	for i := range c.Ops {
		if c.Ops[i].Wait != 0 {
			c.Err = &space.Error{Code: space.CodeInvalid, Detail: "an operation that waits among others", Hint: "use Router.Wait"}
			return true
		}
	}
	return false
}

func errNoPartition(p space.PartitionID) error {
	return fmt.Errorf("%w: partition %d is in no group", ErrUnavailable, p)
}

// eachGroup runs fn for the items of each group, concurrently if there are
// several groups. Group 0 stands for partitions that have none.
func eachGroup[T any](r *Router, items []T, partition func(T) space.PartitionID, fn func(GroupID, []T)) {
	table := r.State().Table
	var groups [MaxGroups + 1][]T
	for _, it := range items {
		g := GroupID(0)
		if p := int(partition(it)); p < len(table) {
			g = table[p]
		}
		groups[g] = append(groups[g], it)
	}
	var wg sync.WaitGroup
	var first GroupID // this goroutine's own
	var firstOf []T
	for g, of := range groups {
		switch {
		case len(of) == 0:
		case firstOf == nil:
			first, firstOf = GroupID(g), of
		default:
			wg.Go(func() { fn(GroupID(g), of) })
		}
	}
	if firstOf != nil {
		fn(first, firstOf)
	}
	wg.Wait()
}

// bounded gives a context without deadline the default one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

// submit repeats the calls of one group, lot by lot, until each has an outcome.
func (r *Router) submit(ctx context.Context, g GroupID, calls []*Call) {
	turn := r.turn(ctx, g)
	defer turn.end()
	most := maxSubmissions // calls of one lot
	for len(calls) > 0 {
		svc, err := turn.service()
		sent := 0
		if err == nil {
			sent, err = r.begin(turn.now, g, svc, calls[:min(len(calls), most)])
		}
		if sent > 0 && err == nil {
			var again []*Call
			again, err = r.attempt(turn.now, g, svc, calls[:sent])
			calls = append(again, calls[sent:]...)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, errCut) && ctx.Err() == nil:
			// The member is there and keeps the answers: no need to wait.
			most = max(1, sent/2)
			continue
		}
		if !turn.again(err) {
			for _, c := range calls {
				c.fail(turn.reason)
				r.settle(c)
			}
			return
		}
	}
}

// attempt sends calls once and returns those that have to be sent again, with
// one of the reasons: errCut only if there is no other.
func (r *Router) attempt(ctx context.Context, g GroupID, svc Service, calls []*Call) (again []*Call, reason error) {
	if c := calls[0]; len(c.body) > space.MaxCommandBytes {
		// It is alone: more than one never exceed maxSubmitBytes.
		c.Err = &space.Error{Code: space.CodeTooLarge, Detail: "command", Hint: "split it"}
		r.settle(c)
		return nil, nil
	}
	subs := make([]Submission, len(calls))
	for i, c := range calls {
		subs[i] = Submission{Partition: c.Partition, Command: c.body}
	}
	outs := svc.Submit(ctx, g, subs)
	for i, c := range calls {
		err := outs[i].Err
		if err == nil {
			c.Reply, err = space.DecodeReply(outs[i].Reply)
		}
		if err == nil {
			err = r.judge(c)
		}
		if errors.Is(err, ErrIndeterminate) {
			c.maybe = true
		}
		switch {
		case err == nil:
			r.settle(c)
		case errors.Is(err, errCut) && len(calls) == 1, !repeatable(err) && c.maybe:
			// Even alone the answer fits no frame; or the refusal says nothing
			// about an earlier sending that may have arrived.
			c.fail(err)
			r.settle(c)
		case !repeatable(err):
			c.Err = err
			r.settle(c)
		default:
			again = append(again, c)
			if reason == nil || errors.Is(reason, errCut) {
				reason = err
			}
		}
	}
	return again, reason
}

// judge looks for replies that are about the identity of the command rather than
// about its operations.
func (r *Router) judge(c *Call) error {
	switch c.Reply.Code {
	case space.CodeHistory, space.CodeLate, space.CodeForgotten:
		r.session(c.Partition).forget()
		if c.maybe {
			// An earlier attempt may have been applied, and its answer is gone.
			c.Err = fmt.Errorf("%w: %w", ErrIndeterminate, c.Reply.Code.Err())
			return nil
		}
		r.settle(c)
		c.begun = false
		return fmt.Errorf("%w: %w", ErrUnavailable, c.Reply.Code.Err())
	case space.CodeBusy:
		return fmt.Errorf("%w: %w", ErrOverloaded, c.Reply.Code.Err())
	}
	return r.locked(c)
}

// fail ends a call whose time is up.
func (c *Call) fail(reason error) {
	if c.part != nil && !c.maybe {
		c.part.end(c) // what ran into a lock says so, the rest is done
		return
	}
	if c.maybe {
		c.Err = fmt.Errorf("%w: %w", ErrIndeterminate, reason)
		return
	}
	c.Err = fmt.Errorf("%w: %w", ErrUnavailable, reason)
}

// begin gives identities to the calls that have none, as far as one lot goes, and
// returns how many calls that is: at least one unless there is an error.
func (r *Router) begin(ctx context.Context, g GroupID, svc Service, calls []*Call) (int, error) {
	size := 0
	for i, c := range calls {
		if !c.begun {
			id, err := r.identify(ctx, g, svc, c.Partition)
			if err != nil {
				return 0, err
			}
			c.id, c.begun = id, true
			c.encode(r.mu.session)
		}
		if size += len(c.body); size > maxSubmitBytes && i > 0 {
			return i, nil
		}
	}
	return len(calls), nil
}

// identify returns the identity for a new command, after saying hello to the
// group if the partition is not known yet.
func (r *Router) identify(ctx context.Context, g GroupID, svc Service, p space.PartitionID) (identity, error) {
	deadline, _ := ctx.Deadline()
	return r.identifyIn(ctx, g, svc, p, r.session(p), min(time.Until(deadline), maxBudget)+answerMargin)
}

// identifyIn is identify with a session and a time for repeats that are given.
func (r *Router) identifyIn(ctx context.Context, g GroupID, svc Service, p space.PartitionID, s *session, budget time.Duration) (identity, error) {
	known := r.session(p)
	for range 2 {
		if s != known {
			s.learn(known)
		}
		now := time.Now()
		if id, ok := s.begin(now, budget); ok {
			return id, nil
		}
		greetings, err := svc.Hello(ctx, g)
		if err != nil {
			if errors.Is(err, ErrIndeterminate) {
				// A lost hello changed nothing.
				err = fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
			}
			return identity{}, err
		}
		for _, x := range greetings {
			r.session(x.Partition).greet(x.History, x.Clock, now)
		}
	}
	return identity{}, fmt.Errorf("%w: group %d does not know partition %d yet", ErrUnavailable, g, p)
}

func (r *Router) session(p space.PartitionID) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.mu.partitions) <= int(p) {
		r.mu.partitions = append(r.mu.partitions, newSession(r.mu.session))
	}
	return r.mu.partitions[p]
}

func (r *Router) settle(c *Call) {
	if c.begun {
		r.session(c.Partition).settle(c.id)
	}
}

// repeatable reports whether an error lets the same request be sent again
// without a decision by the caller.
func repeatable(err error) bool {
	_, notLeader := errors.AsType[*NotLeaderError](err)
	return notLeader || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, ErrOverloaded) || errors.Is(err, ErrIndeterminate)
}

// member returns the service of a member.
func (r *Router) member(ctx context.Context, id MemberID) (Service, error) {
	return r.memberOver(ctx, &r.links, id)
}

func (r *Router) memberOver(ctx context.Context, over *links, id MemberID) (Service, error) {
	if id == r.cfg.Self && r.cfg.Local != nil {
		return r.cfg.Local, nil
	}
	m, ok := r.State().Member(id)
	if !ok || m.Peer == "" {
		return nil, fmt.Errorf("%w: member %s has no address", ErrUnavailable, id)
	}
	return over.service(ctx, m.Peer)
}

// Member returns the service of one member, for questions about itself.
func (r *Router) Member(ctx context.Context, id MemberID) (Service, error) { return r.member(ctx, id) }

// Agree brings State up to what the control group had agreed on when it was called.
// Whoever says that something does not exist has to call it first: a member that has
// just come back, or is cut off, knows an old state. It fails with ErrUnavailable if
// the control group's leader cannot be reached until ctx ends, or for DefaultTimeout.
func (r *Router) Agree(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		err := r.cfg.Topology.Agree(ctx)
		if err == nil || !pause(ctx, wait) {
			return err
		}
	}
}

// Refresh tries to learn a newer state of the control group.
func (r *Router) Refresh(ctx context.Context) error { return r.cfg.Topology.Refresh(ctx) }
