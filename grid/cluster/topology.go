package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// RemoteTopology learns the state of a cluster from any of its members. It
// begins with the addresses it is given and goes on with those it learns.
type RemoteTopology struct {
	links links
	state atomic.Pointer[State]

	// turn is held by whoever refreshes, one at a time. Others wait for it no
	// longer than they want: asking a member that has vanished takes a while.
	turn  chan struct{}
	addrs []string // where to ask; the one that answered last is first
}

// NewRemoteTopology returns a topology that knows nothing but addresses.
func NewRemoteTopology(dial wire.Dialer, addrs []string) *RemoteTopology {
	t := &RemoteTopology{links: newLinks(dial), turn: make(chan struct{}, 1), addrs: append([]string(nil), addrs...)}
	t.state.Store(&State{})
	return t
}

// State implements Topology.
func (t *RemoteTopology) State() *State { return t.state.Load() }

// Refresh implements Topology: it asks one member after the other until one
// answers.
func (t *RemoteTopology) Refresh(ctx context.Context) error { return t.learnFrom(ctx, Service.State) }

// Agree implements Topology: it asks one member after the other until one knows what
// the control group has agreed on.
func (t *RemoteTopology) Agree(ctx context.Context) error {
	if err := t.learnFrom(ctx, Service.AgreedState); err != nil {
		return fmt.Errorf("%w: no member can say what the cluster has agreed on: %w", ErrUnavailable, err)
	}
	return nil
}

func (t *RemoteTopology) learnFrom(ctx context.Context, question func(Service, context.Context) (*State, error)) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return fmt.Errorf("cluster: members are being asked for others: %w", context.Cause(ctx))
	}
	var failed error
	for i, addr := range t.addrs {
		s, err := t.ask(ctx, addr, question)
		if err == nil {
			t.learn(s, i)
			return nil
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// askTime bounds the question to one member, so that one that does not answer
// does not keep the others from being asked.
const askTime = 500 * time.Millisecond

func (t *RemoteTopology) ask(ctx context.Context, addr string, question func(Service, context.Context) (*State, error)) (*State, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	svc, err := t.links.service(ctx, addr)
	if err != nil {
		return nil, err
	}
	return question(svc, ctx)
}

// learn takes over a state, if it is newer, and remembers who answered.
func (t *RemoteTopology) learn(s *State, answered int) {
	t.addrs[0], t.addrs[answered] = t.addrs[answered], t.addrs[0]
	if old := t.state.Load(); s.Version > old.Version || s.Cluster != old.Cluster && s.Formed() {
		t.state.Store(s)
	}
	for i := range s.Members {
		if peer := s.Members[i].Peer; peer != "" && !slices.Contains(t.addrs, peer) {
			t.addrs = append(t.addrs, peer)
		}
	}
}

// Close closes the connections.
func (t *RemoteTopology) Close() error { return t.links.close() }
