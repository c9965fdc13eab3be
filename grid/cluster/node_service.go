package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// maxMatched bounds the entries of one answer to a Match: the goroutine that
	// applies commands works them out, so an answer is a step that it can afford.
	maxMatched = 1024
	// maxFoundBytes bounds keys and values of one answer to a Read or Match, but
	// for its last entry, so that a short question cannot ask for gigabytes.
	maxFoundBytes = 4 << 20
)

var _ Service = (*Node)(nil)

// State implements Service.
func (n *Node) State(context.Context) (*State, error) { return n.control.State(), nil }

// leading returns the group's replica here and its leadership, or the refusal.
func (n *Node) leading(g GroupID) (*held, *leadership, error) {
	h := n.held(g)
	if h == nil {
		return nil, nil, &NotLeaderError{Group: g}
	}
	l := h.serving()
	if l == nil {
		return nil, nil, h.notLeader()
	}
	return h, l, nil
}

// Hello implements Service.
func (n *Node) Hello(_ context.Context, g GroupID) ([]Greeting, error) {
	h, l, err := n.leading(g)
	if err != nil {
		return nil, err
	}
	var gs []Greeting
	for _, p := range sortedPartitions(h.host.all()) {
		gs = append(gs, Greeting{Partition: p.ID(), History: p.History(), Clock: l.now(p.ID())})
	}
	return gs, nil
}

// Submit implements Service.
func (n *Node) Submit(ctx context.Context, g GroupID, subs []Submission) []Outcome {
	outs := make([]Outcome, len(subs))
	h, l, err := n.leading(g)
	if err != nil {
		for i := range outs {
			outs[i].Err = err
		}
		return outs
	}
	var c space.Command
	good := make([]Submission, 0, len(subs))
	places := make([]int, 0, len(subs))
	var ids []waitingCommand // of those that wait
	until := n.patience()
	for i := range subs {
		if outs[i].Err = h.admit(ctx, l, &subs[i], &c, until); outs[i].Err != nil {
			continue
		}
		good, places = append(good, subs[i]), append(places, i)
		if c.Ops[0].Wait > 0 {
			ids = append(ids, waitingCommand{subs[i].Partition, c.Session, c.Sequence})
		}
	}
	if len(ids) > 0 && len(ids) == len(subs) {
		return h.submitWaiting(ctx, l, subs, ids)
	}
	for i, out := range h.submit(ctx, l, good) {
		outs[places[i]] = out
	}
	return outs
}

// admit checks a client's command before it is proposed: that it is well formed,
// that only clients' operations are in it, that its partition is here, and that
// its changelog has room, for which it waits no longer than until. c is scratch.
func (h *held) admit(ctx context.Context, l *leadership, sub *Submission, c *space.Command, until time.Time) error {
	if err := checkCommand(sub.Command, c); err != nil {
		return err
	}
	if c.Session == 0 {
		return &space.Error{Code: space.CodeInvalid, Detail: "a command without a session", Hint: "say hello first"}
	}
	p := h.host.partition(sub.Partition)
	if p == nil {
		return &NotLeaderError{Group: h.id}
	}
	if err := h.room(ctx, sub.Partition, c, len(sub.Command), until); err != nil {
		return err
	}
	return h.acquaintAll(ctx, l, p, c.Ops)
}

// Read implements Service.
func (n *Node) Read(ctx context.Context, g GroupID, level Level, gets []Get) ([]Found, error) {
	if level == Local {
		return n.readLocal(g, gets)
	}
	h, l, err := n.leading(g)
	if err != nil {
		return nil, err
	}
	found, err := readSome(gets, func(get *Get, found *Found) error { return h.read(ctx, l, get, found) })
	if err != nil {
		return nil, err
	}
	if err := h.confirm(ctx, l); err != nil {
		return nil, err
	}
	return found, nil
}

func (n *Node) readLocal(g GroupID, gets []Get) ([]Found, error) {
	h := n.held(g)
	if h == nil {
		return nil, &NotLeaderError{Group: g}
	}
	return readSome(gets, func(get *Get, found *Found) error {
		p := h.host.partition(get.Partition)
		if p == nil {
			return &NotLeaderError{Group: g}
		}
		found.Entry, found.Code = p.Get(get.Space, get.Key)
		return nil
	})
}

// readSome looks up as many of the gets as one answer takes, at least one.
func readSome(gets []Get, read func(*Get, *Found) error) ([]Found, error) {
	found := make([]Found, len(gets))
	size := 0
	for i := range gets {
		if size >= maxFoundBytes {
			return found[:i], nil
		}
		if err := read(&gets[i], &found[i]); err != nil {
			return nil, err
		}
		size += len(found[i].Entry.Key) + len(found[i].Entry.Value)
	}
	return found, nil
}

// read looks an entry up. One that is there though its lease has ended is removed
// first, so that nobody who reads later sees it again.
func (h *held) read(ctx context.Context, l *leadership, get *Get, found *Found) error {
	p := h.host.partition(get.Partition)
	if p == nil {
		return &NotLeaderError{Group: h.id}
	}
	found.Entry, found.Code = p.Get(get.Space, get.Key)
	if found.Code == space.CodeNoSpace {
		if err := h.acquaint(ctx, l, p, get.Space); err != nil {
			return err
		}
		found.Entry, found.Code = p.Get(get.Space, get.Key)
	}
	for found.Code == space.OK && past(&found.Entry, l.now(get.Partition)) {
		if err := h.tick(ctx, l, get.Partition); err != nil {
			return err
		}
		found.Entry, found.Code = p.Get(get.Space, get.Key)
		if found.Code == space.OK && past(&found.Entry, l.now(get.Partition)) {
			locked := false
			if err := h.group.Inspect(ctx, func() { locked = p.Locked(get.Space, get.Key) }); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
			}
			if locked {
				break // its lease waits for the outcome of a transaction
			}
		}
	}
	if found.Code != space.OK {
		found.Entry = space.Entry{}
	}
	return nil
}

// tick brings a partition's clock to the leader's time, in the log: whatever this
// leader takes for ended is so for every later leader.
func (h *held) tick(ctx context.Context, l *leadership, id space.PartitionID) error {
	if err := h.order(ctx, l, []systemCommand{{id, space.TickCommand()}}); err != nil {
		// That leases end is no effect of the question that found it out.
		return fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
	}
	return nil
}

// past reports whether an entry's lease has ended.
func past(e *space.Entry, now space.Time) bool { return e.Deadline != space.Never && e.Deadline <= now }

// confirm makes sure that what was read before is not out of date.
func (h *held) confirm(ctx context.Context, l *leadership) error {
	err := h.translate(h.group.Confirm(ctx, l.term))
	if err != nil && !repeatable(err) {
		return err
	}
	if err != nil {
		// A read has no effect, whatever became of its confirmation.
		if h.serving() == nil {
			return h.notLeader()
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, withoutDoubt(err))
	}
	return nil
}

// Match implements Service.
func (n *Node) Match(ctx context.Context, g GroupID, level Level, q Match) (Matched, error) {
	h := n.held(g)
	if h == nil {
		return Matched{}, &NotLeaderError{Group: g}
	}
	l := h.serving()
	if level == Linearizable && l == nil {
		return Matched{}, h.notLeader()
	}
	for _, id := range q.Partitions {
		p := h.host.partition(id)
		if p == nil {
			return Matched{}, &NotLeaderError{Group: g}
		}
		if l != nil {
			if err := h.acquaint(ctx, l, p, q.Space); err != nil {
				return Matched{}, err
			}
		}
	}
	if level == Local {
		l = nil // what is applied here, whatever the leader's clock says
	}
	m := Matched{Next: q.From}
	room := maxFoundBytes
	for i := 0; i < len(q.Partitions) && len(m.Entries) < min(q.Limit, maxMatched) && room > 0; i++ {
		had := len(m.Entries)
		more, err := h.match(ctx, l, &q, q.Partitions[i], room, &m)
		if err != nil {
			return Matched{}, err
		}
		if m.Code != space.OK || more {
			break
		}
		for j := range m.Entries[had:] {
			room -= len(m.Entries[had+j].Key) + len(m.Entries[had+j].Value)
		}
		m.Done, m.Next = i+1, 0
	}
	if level == Linearizable {
		if err := h.confirm(ctx, l); err != nil {
			return Matched{}, err
		}
	}
	return m, nil
}

// match searches one partition until it has found what is wanted or room bytes,
// and reports whether it stopped before the end. If it meets an entry whose
// lease has ended by the clock of leadership l, if there is one, the partition
// learns so first, as in read.
func (h *held) match(ctx context.Context, l *leadership, q *Match, id space.PartitionID, room int, m *Matched) (more bool, err error) {
	want := min(q.Limit, maxMatched) - len(m.Entries)
	var found []space.Entry
	var seq space.Seq
	search := func() error {
		gone := false
		err := h.group.Inspect(ctx, func() {
			p := h.host.partition(id)
			if p == nil {
				gone = true
				return
			}
			seq = p.Changelog().Last()
			found, more, m.Code = p.Match(nil, q.Space, q.Template, q.Predicate, m.Next, want, room, q.AllowScan)
		})
		if err != nil || gone {
			return fmt.Errorf("%w: the replica of group %d is closing", ErrUnavailable, h.id)
		}
		return nil
	}
	if err := search(); err != nil {
		return false, err
	}
	if l != nil {
		now := l.now(id)
		if slices.ContainsFunc(found, func(e space.Entry) bool { return past(&e, now) }) {
			if err := h.tick(ctx, l, id); err != nil {
				return false, err
			}
			if err := search(); err != nil {
				return false, err
			}
		}
	}
	if more {
		m.Next = found[len(found)-1].Order + 1
	}
	m.Entries = append(m.Entries, found...)
	m.Seqs = append(m.Seqs, seq)
	return more, nil
}

// Invoke implements Service.
func (n *Node) Invoke(ctx context.Context, g GroupID, call Invocation) ([]byte, error) {
	h, l, err := n.leading(g)
	if err != nil {
		return nil, err
	}
	p := h.host.partition(call.Partition)
	if p == nil {
		return nil, &NotLeaderError{Group: g}
	}
	if n.cfg.Handlers == nil {
		return nil, ErrUnknownHandler
	}
	return h.invoke(ctx, l, p, &call)
}

// Refresh implements Topology: it returns when this member has what the control
// group had agreed on when it was called.
func (n *Node) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	version, err := n.agreedVersion(ctx)
	if err != nil {
		return err
	}
	return n.reach(ctx, version)
}

// refreshTime bounds one look for a newer control state.
const refreshTime = time.Second

// topology is the Node as a Topology.
type topology struct{ n *Node }

func (t topology) State() *State                     { return t.n.control.State() }
func (t topology) Refresh(ctx context.Context) error { return t.n.Refresh(ctx) }
