package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// controlMachine is the control group's state machine as a replica drives it.
type controlMachine struct {
	control *Control
	changed func()
}

var _ replica.StateMachine = (*controlMachine)(nil)

// Apply implements replica.StateMachine.
func (m *controlMachine) Apply(_ uint64, commands [][]byte) [][]byte {
	before := m.control.State()
	replies := make([][]byte, len(commands))
	for i, c := range commands {
		replies[i] = m.control.Apply(c)
	}
	if m.control.State() != before {
		m.changed()
	}
	return replies
}

// Image implements replica.StateMachine. A State never changes.
func (m *controlMachine) Image() (replica.Image, error) { return controlImage{m.control.State()}, nil }

// Restore implements replica.StateMachine.
func (m *controlMachine) Restore(r io.Reader) error {
	if err := m.control.Restore(r); err != nil {
		return err
	}
	m.changed()
	return nil
}

type controlImage struct{ state *State }

func (i controlImage) Export(w io.Writer) error { return i.state.Snapshot(w) }
func (controlImage) Close()                     {}

// controlObserver wakes what depends on who leads the control group.
type controlObserver struct{ n *Node }

// Leading implements replica.Observer.
func (o controlObserver) Leading(uint64) { o.n.roles.ring() }

// Following implements replica.Observer.
func (o controlObserver) Following(replica.ServerID, uint64) { o.n.roles.ring() }

// Control implements Service. Commands by which members settle among themselves
// who holds what are refused.
func (n *Node) Control(ctx context.Context, c Command) (Reply, error) {
	switch c.(type) {
	case *Form, *AdmitMember, *SetVoters, *SetReplicas, *BeginBootstrap, *EndBootstrap, *MendReplica:
		return Reply{Code: CodeInvalid, Version: n.control.State().Version, Detail: "members settle this among themselves"}, nil
	}
	return n.decide(ctx, c)
}

// decide proposes a command to the control group until it is settled and this
// member has what came of it. Commands to the control group may be repeated.
func (n *Node) decide(ctx context.Context, c Command) (Reply, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	body := EncodeCommand(c)
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		reply, err := n.decideOnce(ctx, body)
		if err == nil {
			return reply, n.reach(ctx, reply.Version)
		}
		if !repeatable(err) || n.ctx.Err() != nil {
			return Reply{}, err
		}
		if !pause(ctx, wait) {
			return Reply{}, fmt.Errorf("%w: %w", ErrIndeterminate, err)
		}
	}
}

// decideOnce proposes here if this member leads the control group, and at the
// leader otherwise.
func (n *Node) decideOnce(ctx context.Context, body []byte) (Reply, error) {
	b, err := n.proposeControl(ctx, body)
	var notLeader *NotLeaderError
	if errors.As(err, &notLeader) && notLeader.Leader != "" {
		b, err = n.call(ctx, notLeader.Leader, callPropose, body)
	}
	if err != nil {
		return Reply{}, err
	}
	reply, err := DecodeReply(b)
	return reply, damaged(err)
}

// proposeControl proposes an encoded command here.
func (n *Node) proposeControl(ctx context.Context, body []byte) ([]byte, error) {
	if _, leads := n.cgroup.Leading(); !leads {
		return nil, n.controlNotLeader()
	}
	b, err := n.cgroup.Propose(ctx, body)
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, replica.ErrNotLeader), errors.Is(err, replica.ErrGroupClosed):
		return nil, n.controlNotLeader()
	case errors.Is(err, replica.ErrOverloaded):
		return nil, ErrOverloaded
	}
	return nil, fmt.Errorf("%w: %w", ErrIndeterminate, err)
}

func (n *Node) controlNotLeader() error {
	e := &NotLeaderError{Group: ControlGroup}
	if leader, _, ok := n.cgroup.Leader(); ok && leader.Member != string(n.name) {
		e.Leader = MemberID(leader.Member)
	}
	return e
}

// reach waits until this member has the control state at a version.
func (n *Node) reach(ctx context.Context, version uint64) error {
	for {
		changed := n.states.heard()
		if n.control.State().Version >= version {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: the change is made but not seen here yet", ErrIndeterminate)
		}
	}
}

// agreedVersion asks the control group's leader for the version of its state.
func (n *Node) agreedVersion(ctx context.Context) (uint64, error) {
	if term, leads := n.cgroup.Leading(); leads {
		version := n.control.State().Version
		if err := n.cgroup.Confirm(ctx, term); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return version, nil
	}
	var notLeader *NotLeaderError
	err := n.controlNotLeader()
	if !errors.As(err, &notLeader) || notLeader.Leader == "" {
		return 0, err
	}
	b, err := n.call(ctx, notLeader.Leader, callVersion, nil)
	if err != nil {
		return 0, err
	}
	d := &decoder{b: b}
	version := d.uint(noLimit)
	return version, damaged(d.done())
}
