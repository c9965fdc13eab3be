package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/replica"
	"github.com/spacegrid/spacegrid/grid/space"
)

// held is a group of partitions that this member holds a replica of: the state
// machine, the raft group around it, and what this member does for them while it
// leads. Its goroutine owns the duties of a leader; see leader.go.
type held struct {
	n        *Node
	id       GroupID
	self     replica.ServerID
	attempt  uint64 // the bootstrap that the replica's state comes from
	life     uint64 // of the replica; see Group.life
	log      *slog.Logger
	host     *host
	group    *replica.Group
	hub      hub
	callers  callers
	digests  digests
	compared comparisons
	opened   atomic.Bool // group is there
	// outcast says that the state of this replica differs from that of the others:
	// nobody may see it any more. It is never unset; another replica takes its place.
	outcast atomic.Bool
	// doubted are the partitions whose store on this member was fed by a replica that
	// differed from the others, and is to be replaced whole. It belongs to a life of
	// the replica that began with a mending in this process.
	doubted sync.Map  // of space.PartitionID
	founded time.Time // when this replica founded the group; of the goroutine that holds replicas

	term atomic.Uint64              // of this replica's leadership as raft knows it; 0: does not lead
	lead atomic.Pointer[leadership] // set while this replica serves as leader
	wake chan struct{}              // term has changed; one slot

	holdBack atomic.Pointer[holdBack] // nil: nothing
	feeding  struct {                 // of external sinks; see feedSinks
		sync.Mutex
		term uint64 // of the leadership that feeds; 0: none
	}

	ctx    context.Context // ends with the group
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openHeld opens the replica over its storage, empty or not, and starts its duties.
func (n *Node) openHeld(g *Group) (*held, error) {
	id := g.ID
	h := &held{
		n: n, id: id, attempt: g.Bootstrap.Attempt, life: g.life(n.name), self: g.server(Replica{Member: n.name, Incarnation: n.incarnation}),
		log: n.log.With("group", uint32(id)), wake: make(chan struct{}, 1),
	}
	h.ctx, h.cancel = context.WithCancel(n.ctx)
	h.digests.init()
	h.compared.init()
	h.host = newHost(id, h.applied, h.restored, h.callers.granted)
	h.host.marked = h.digests.cut
	storage, err := n.groupStorage(id)
	if err != nil {
		h.cancel()
		return nil, err
	}
	h.group, err = replica.OpenGroup(replica.GroupConfig{
		ID: uint32(id), Self: h.self, Storage: storage, Transport: n.transport,
		StateMachine: h.host, Timing: n.cfg.Timing, Observer: h, Logger: h.log,
		OnRolledBack:     func() { poke(h.wake) },
		SnapshotLogBytes: n.cfg.SnapshotLogBytes,
	})
	if err != nil {
		h.cancel()
		return nil, fmt.Errorf("cluster: open group %d: %w", id, err)
	}
	if err := h.doubt(g); err != nil {
		h.cancel()
		return nil, errors.Join(err, h.group.Close())
	}
	h.opened.Store(true)
	h.attach()
	h.wg.Go(h.run)
	h.wg.Go(func() { h.digests.run(h.ctx, &n.hashing) })
	h.wg.Go(h.verifyAll)
	return h, nil
}

// close stops the duties and the replica, and no longer feeds the store. Requests in
// flight end as unknown.
func (h *held) close() error {
	err := h.end()
	h.detach()
	return err
}

// end stops the duties and the replica. Afterwards nothing is applied and nothing is
// answered, and the store may still be fed.
func (h *held) end() error {
	h.cancel()
	h.lead.Store(nil)
	h.wg.Wait()
	h.starveSinks()
	err := h.group.Close()
	h.hub.close()
	return err
}

// detach no longer feeds the store.
func (h *held) detach() {
	if st := h.n.cfg.Store; st != nil {
		for p := range h.host.all() {
			st.Detach(p)
		}
	}
}

// Leading implements replica.Observer.
func (h *held) Leading(term uint64) {
	h.term.Store(term)
	poke(h.wake)
	h.n.roles.ring()
}

// Following implements replica.Observer.
func (h *held) Following(replica.ServerID, uint64) {
	h.term.Store(0)
	h.lead.Store(nil)
	h.starveSinks()
	h.callers.release()
	poke(h.wake)
	h.n.roles.ring()
}

// applied runs on the applying goroutine after every log entry.
func (h *held) applied(touched []space.PartitionID) {
	if st := h.n.cfg.Store; st != nil {
		for _, p := range touched {
			st.Notify(p)
		}
	}
	if sinks := h.n.cfg.Sinks; sinks != nil && h.lead.Load() != nil {
		for _, p := range touched {
			sinks.Notify(p)
		}
	}
	h.hub.changed(touched)
}

// restored runs on the applying goroutine after a snapshot has replaced the
// partitions.
func (h *held) restored() {
	if !h.opened.Load() {
		return // openHeld attaches
	}
	h.attach()
	h.hub.replaced()
}

// attach feeds the store from the partitions as they are now.
func (h *held) attach() {
	st := h.n.cfg.Store
	if st == nil {
		return
	}
	for p := range h.host.all() {
		if err := st.Attach(p, &storeSource{h: h, id: p}); err != nil {
			h.log.Error("the store does not take a partition", "partition", p, "err", err)
		}
	}
}

// notLeader is the refusal of what only the leader may do, with a hint at who it
// is.
func (h *held) notLeader() error {
	e := &NotLeaderError{Group: h.id}
	if leader, _, ok := h.group.Leader(); ok && leader.Member != h.self.Member {
		e.Leader = MemberID(leader.Member)
	}
	return e
}

// translate turns an error of the group into one of a Service.
func (h *held) translate(err error) error {
	if err == nil {
		return nil
	}
	var notLeader *replica.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		e := &NotLeaderError{Group: h.id}
		if notLeader.Leader.Member != h.self.Member {
			e.Leader = MemberID(notLeader.Leader.Member)
		}
		return e
	case errors.Is(err, replica.ErrOverloaded):
		return ErrOverloaded
	case errors.Is(err, replica.ErrCommandTooLarge):
		return &space.Error{Code: space.CodeTooLarge, Detail: "command", Hint: "split it"}
	case errors.Is(err, replica.ErrNotLeader), errors.Is(err, replica.ErrGroupClosed):
		return &NotLeaderError{Group: h.id}
	}
	return fmt.Errorf("%w: %w", ErrIndeterminate, err)
}

// leadership is one term of this replica as leader.
type leadership struct {
	term uint64
	// The partition clocks stood at bases when the leader's own clock, which is
	// monotonic, stood at started. The maps are not changed after the take-over.
	started time.Time
	bases   map[space.PartitionID]space.Time

	// What follows belongs to the goroutine of the duties.
	told    told
	trim    trimmer
	defined uint64    // version of the control state that the sinks have heard of
	offered time.Time // when the preferred replica was last offered to lead
	extra   struct {  // a replica that the table does not name
		id    replica.ServerID
		since time.Time
	}
	rounds uint64
}

// now returns the time on a partition's clock. It only grows.
func (l *leadership) now(p space.PartitionID) space.Time {
	return l.bases[p].Add(time.Since(l.started))
}

// serving returns the leadership under which this replica may serve, or nil.
func (h *held) serving() *leadership { return h.lead.Load() }

// waiting collects the outcomes of commands that were submitted together.
type waiting struct {
	mu   sync.Mutex
	outs []Outcome
	left int
	done chan struct{}
}

func (w *waiting) settle(i int, reply []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outs[i] = Outcome{Reply: reply, Err: err}
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// wait returns the outcomes when all are known or ctx has ended. What is not
// known then may still happen.
func (w *waiting) wait(ctx context.Context) []Outcome {
	select {
	case <-w.done:
		return w.outs
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	outs := append([]Outcome(nil), w.outs...)
	for i := range outs {
		if outs[i].Reply == nil && outs[i].Err == nil {
			outs[i].Err = fmt.Errorf("%w: %w", ErrIndeterminate, context.Cause(ctx))
		}
	}
	return outs
}

// stampBytes bounds what appendCommand puts before a command.
const stampBytes = 3 + 10

// submit proposes encoded commands in order, stamped with the leader's time, and
// returns their outcomes.
func (h *held) submit(ctx context.Context, l *leadership, subs []Submission) []Outcome {
	if len(subs) == 0 {
		return nil
	}
	size := 0
	for i := range subs {
		size += len(subs[i].Command) + stampBytes
	}
	buf := make([]byte, 0, size)
	w := &waiting{outs: make([]Outcome, len(subs)), left: len(subs), done: make(chan struct{})}
	for i := range subs {
		at := len(buf)
		buf = appendCommand(buf, subs[i].Partition, l.now(subs[i].Partition), subs[i].Command)
		h.group.Submit(buf[at:len(buf):len(buf)], func(reply []byte, err error) {
			err = h.translate(err)
			if err == nil && len(reply) == 0 {
				err = &NotLeaderError{Group: h.id} // the partition is not here
			}
			w.settle(i, reply, err)
		})
	}
	return w.wait(ctx)
}

// order proposes commands of the grid itself and returns the first failure.
func (h *held) order(ctx context.Context, l *leadership, commands []systemCommand) error {
	subs := make([]Submission, len(commands))
	for i := range commands {
		subs[i] = Submission{Partition: commands[i].partition, Command: commands[i].command.Append(nil)}
	}
	for _, out := range h.submit(ctx, l, subs) {
		if out.Err != nil {
			return out.Err
		}
	}
	return nil
}

type systemCommand struct {
	partition space.PartitionID
	command   space.Command
}

// storeSource is a partition as the store reads it. It follows the partition
// through restored snapshots.
type storeSource struct {
	h  *held
	id space.PartitionID
}

var _ StoreSource = (*storeSource)(nil)

// Describe implements StoreSource.
func (s *storeSource) Describe() StoreDescription {
	p := s.h.host.partition(s.id)
	if p == nil {
		return StoreDescription{}
	}
	f := p.facts.Load()
	return StoreDescription{History: p.History(), Origin: f.origin, Epoch: f.epoch, Last: p.Changelog().Last()}
}

// Read implements StoreSource. A store that is to be replaced whole is told that
// it has missed something.
func (s *storeSource) Read(dst []space.Change, after space.Seq, maxBytes int) ([]space.Change, error) {
	if _, doubted := s.h.doubted.Load(s.id); doubted {
		return dst, space.ErrTrimmed
	}
	p := s.h.host.partition(s.id)
	if p == nil {
		return dst, space.ErrAhead
	}
	return p.Changelog().Read(dst, after, maxBytes)
}

// Cut implements StoreSource.
func (s *storeSource) Cut(ctx context.Context) (img *space.Image, clock space.Time, err error) {
	err = s.h.group.Inspect(ctx, func() {
		if p := s.h.host.partition(s.id); p != nil {
			img, clock = p.Image(), p.Clock()
		}
	})
	if err == nil && img == nil {
		err = &NotLeaderError{Group: s.h.id}
	}
	if err == nil {
		s.h.doubted.Delete(s.id)
	}
	return img, clock, err
}
