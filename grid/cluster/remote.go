package cluster

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// Remote is the Service of a member at the other end of a connection.
type Remote struct {
	conn *wire.Conn
}

var _ Service = (*Remote)(nil)

// NewRemote returns the Service behind conn, which stays the caller's to close.
func NewRemote(conn *wire.Conn) *Remote { return &Remote{conn: conn} }

func (r *Remote) call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	reply, err := r.conn.Call(ctx, kind, body)
	return reply, fromWire(err)
}

// damaged marks an answer that does not parse. What was asked has happened.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: damaged answer: %w", ErrIndeterminate, err)
}

// State implements Service.
func (r *Remote) State(ctx context.Context) (*State, error) { return r.state(ctx, callState) }

// AgreedState implements Service.
func (r *Remote) AgreedState(ctx context.Context) (*State, error) { return r.state(ctx, callAgreed) }

func (r *Remote) state(ctx context.Context, kind uint8) (*State, error) {
	b, err := r.call(ctx, kind, nil)
	if err != nil {
		return nil, err
	}
	c := NewControl()
	if err := c.Restore(bytes.NewReader(b)); err != nil {
		return nil, damaged(err)
	}
	return c.State(), nil
}

// Hello implements Service.
func (r *Remote) Hello(ctx context.Context, g GroupID) ([]Greeting, error) {
	b, err := r.call(ctx, callHello, wire.AppendBytes(nil, appendGroup(g)))
	if err != nil {
		return nil, err
	}
	gs, err := parseGreetings(b)
	return gs, damaged(err)
}

// Await implements Service.
func (r *Remote) Await(ctx context.Context, g GroupID) error {
	_, err := r.call(ctx, callAwait, wire.AppendBytes(nil, appendGroup(g)))
	return err
}

// Submit implements Service.
func (r *Remote) Submit(ctx context.Context, g GroupID, subs []Submission) []Outcome {
	outs := make([]Outcome, len(subs))
	b, err := r.call(ctx, callSubmit, appendSubmit(nil, g, subs))
	if err == nil {
		err = damaged(parseOutcomes(b, outs))
	}
	if err != nil {
		for i := range outs {
			outs[i] = Outcome{Err: err}
		}
	}
	return outs
}

// Read implements Service.
func (r *Remote) Read(ctx context.Context, g GroupID, level Level, gets []Get) ([]Found, error) {
	b, err := r.call(ctx, callRead, appendRead(nil, g, level, gets))
	if err != nil {
		return nil, err
	}
	found, err := parseFound(b, len(gets))
	return found, damaged(err)
}

// Match implements Service.
func (r *Remote) Match(ctx context.Context, g GroupID, level Level, q Match) (Matched, error) {
	b, err := r.call(ctx, callMatch, appendMatch(nil, g, level, &q))
	if err != nil {
		return Matched{}, err
	}
	m, err := parseMatched(b)
	return m, damaged(err)
}

// Invoke implements Service.
func (r *Remote) Invoke(ctx context.Context, g GroupID, c Invocation) ([]byte, error) {
	return r.call(ctx, callInvoke, appendInvocation(nil, g, &c))
}

// Follow implements Service.
func (r *Remote) Follow(ctx context.Context, req FollowRequest, send func(FollowItem) error) error {
	s, err := r.conn.Stream(ctx, callFollow, appendFollow(nil, &req))
	if err != nil {
		return fromWire(err)
	}
	// However it ends, there is nothing to be done about its other end.
	defer func() { _ = s.Close() }()
	for {
		b, err := s.Recv(ctx)
		if err != nil {
			return fromWire(err)
		}
		item, err := parseFollowItem(b)
		if err != nil {
			return damaged(err)
		}
		if err := send(item); err != nil {
			return err
		}
	}
}

// Control implements Service.
func (r *Remote) Control(ctx context.Context, c Command) (Reply, error) {
	b, err := r.call(ctx, callControl, EncodeCommand(c))
	if err != nil {
		return Reply{}, err
	}
	reply, err := DecodeReply(b)
	return reply, damaged(err)
}

// Operate implements Service.
func (r *Remote) Operate(ctx context.Context, request []byte) ([]byte, error) {
	return r.call(ctx, callOperate, request)
}

// Inspect implements Service.
func (r *Remote) Inspect(ctx context.Context, what string) ([]byte, error) {
	return r.call(ctx, callInspect, wire.AppendString(nil, what))
}
