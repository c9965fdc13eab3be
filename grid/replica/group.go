package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Group is one replica of one group on this member.
//
// It runs a raft instance over its storage, and starts another one in its place
// when raft needs that; nobody notices except that the group has no leader on
// this member for a moment.
//
// One goroutine, run, owns the instance and tells the Observer; one, propose,
// puts the waiting commands into log entries and answers those who submitted
// them. Everything else happens on the goroutines of the callers or of raft.
type Group struct {
	cfg     GroupConfig
	machine *machine
	queue   *queue
	confirm *confirmer
	acks    *acknowledgements // over all instances

	current atomic.Pointer[instance]
	// leading is the term in which this replica leads and has applied all that
	// was answered before, 0 if it does not. It may be a moment behind raft.
	leading   atomic.Uint64
	elections atomic.Uint64
	restarts  atomic.Uint64
	early     atomic.Uint64

	requests  chan request  // for run
	restart   chan struct{} // one slot: a new instance is wanted
	installed atomic.Uint64 // the snapshot after which it is
	barriers  chan barrier  // for run
	hints     chan hint     // for run; at most maxHints

	stop   chan struct{} // closed by Close
	closed sync.Once
	err    error          // of the last instance's end; set by run
	wg     sync.WaitGroup // run, propose and confirm's goroutines
}

// request asks run for something that replaces the instance.
type request struct {
	do   func() error
	done chan<- error // one slot
}

// OpenGroup starts a replica. With existing storage the state machine is
// restored from the newest snapshot and what follows in the log is applied, some
// of it only once a leader is known. On empty storage the replica waits until a
// leader adds it, or for Found.
//
// It blocks while the snapshot is read. Errors are ErrStateLost,
// ErrOtherIncarnation, ErrLogHole, ErrCorrupt and those of the storage.
func OpenGroup(cfg GroupConfig) (*Group, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.Storage.claim(cfg.Self); err != nil {
		return nil, err
	}
	g := &Group{
		cfg:      cfg,
		queue:    newQueue(),
		acks:     newAcknowledgements(),
		requests: make(chan request),
		restart:  make(chan struct{}, 1),
		barriers: make(chan barrier),
		hints:    make(chan hint, maxHints),
		stop:     make(chan struct{}),
	}
	g.machine = newMachine(cfg.StateMachine, cfg.SnapshotLogBytes, g.stop)
	g.confirm = newConfirmer(g)
	in, err := g.openInstance(0)
	if err != nil {
		return nil, err
	}
	g.current.Store(in)
	g.standAlone(in)
	g.wg.Go(g.run)
	g.wg.Go(g.propose)
	return g, nil
}

// Close stops the replica. Commands that wait are refused with ErrGroupClosed;
// those in progress get their outcome, which takes up to Timing.Lease or twice
// that when the others cannot be reached. It waits for all goroutines and must
// not be called from the Observer or a done function. A second call returns the
// same. Storage, Transport and StateMachine stay open.
func (g *Group) Close() error {
	g.closed.Do(func() {
		g.queue.close()
		close(g.stop)
		g.confirm.close()
		g.wg.Wait()
	})
	return g.err
}

// Empty tells whether the replica holds neither a log nor a snapshot: it was
// neither founded nor added yet.
func (g *Group) Empty() (bool, error) { return g.cfg.Storage.empty() }

// Found makes this replica the only voter of a new group, whose first snapshot
// is the state machine's present state. It stands for election at once; the
// Observer tells when it leads. It fails with ErrNotEmpty unless the storage is
// empty.
//
// A crash leaves the storage empty or the group founded: Empty tells after the
// next OpenGroup, as it tells after an error. In the founded case OpenGroup has
// restored the state machine from that snapshot.
//
// The caller makes sure that no other replica of the group exists or ever
// existed.
func (g *Group) Found() error {
	return g.ask(func() error {
		switch empty, err := g.Empty(); {
		case err != nil:
			return err
		case !empty:
			return ErrNotEmpty
		}
		return g.reopen(func() (uint64, error) {
			if err := g.cfg.Storage.found(g.cfg.Self, g.machine.persistFirst); err != nil {
				return 0, fmt.Errorf("replica: found group %d: %w", g.cfg.ID, err)
			}
			g.cfg.Logger.Info("group founded")
			return firstIndex, nil
		})
	})
}

// ask has run do something between two looks at raft.
func (g *Group) ask(do func() error) error {
	done := make(chan error, 1)
	select {
	case g.requests <- request{do, done}:
		return <-done
	case <-g.stop:
		return ErrGroupClosed
	}
}

// reopen replaces the instance. between is called while there is none and
// returns the index of the snapshot whose state the state machine holds.
func (g *Group) reopen(between func() (uint64, error)) error {
	if err := g.current.Load().stop(g.cfg.Timing.Lease); err != nil {
		return err
	}
	held, failed := between()
	in, err := g.openInstance(held)
	if err != nil {
		return errors.Join(failed, err)
	}
	g.current.Store(in)
	g.standAlone(in)
	return failed
}

// standAlone saves a replica that is the only voter the wait for a leader that
// cannot be. If it cannot be told, it waits.
func (g *Group) standAlone(in *instance) {
	self := g.cfg.Self.raftID()
	if voters := in.voters(); len(voters) != 1 || voters[0] != self || !in.begin() {
		return
	}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: []byte(self)}
	g.wg.Go(func() {
		defer in.end()
		_ = in.trans.TimeoutNow(self, "", &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{})
	})
}

// Applied returns the index of the last log entry that the state machine has
// applied. Entries that raft keeps for itself are not counted, so it may stay
// below where raft's log ends.
func (g *Group) Applied() uint64 { return g.machine.applied.Load() }

// WaitApplied blocks until the state machine has applied the entry at index,
// which some replica's Applied has returned. It ends with ErrGroupClosed or
// ctx's error.
func (g *Group) WaitApplied(ctx context.Context, index uint64) error {
	return g.machine.waitApplied(ctx, index)
}

// Inspect runs fn while nothing is applied to the state machine, on whichever
// replica. The group stands still meanwhile, so fn should be short, and must not
// call Inspect. It ends with ErrGroupClosed or ctx's error, and fn has then not
// run.
func (g *Group) Inspect(ctx context.Context, fn func()) error {
	return g.machine.inspect(ctx, fn)
}
