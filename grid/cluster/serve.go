package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/wire"
)

// server answers requests that arrive on connections with what a Service says.
type server struct {
	service Service
	// node answers what only members ask each other; nil: nobody does.
	node *Node
}

func appendGroup(g GroupID) []byte { return binary.AppendUvarint(nil, uint64(g)) }

func parseGroup(body []byte) (GroupID, error) {
	p := wire.NewParser(body)
	g, _ := binary.Uvarint(p.Bytes(binary.MaxVarintLen32))
	if err := p.End(); err != nil {
		return 0, malformed(err)
	}
	return GroupID(g), nil
}

func appendState(s *State, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = s.Snapshot(&b)
	return b.Bytes(), err
}

func malformed(err error) error {
	return &wire.Error{Code: errInvalid, Message: "malformed request: " + err.Error()}
}

// call answers one request. It is a wire.Handler.
func (s *server) call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	reply, err := s.answer(ctx, kind, body)
	if err == nil {
		return reply, nil
	}
	return nil, toWire(err)
}

func (s *server) answer(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	switch kind {
	case callState:
		return appendState(s.service.State(ctx))
	case callAgreed:
		return appendState(s.service.AgreedState(ctx))
	case callHello:
		g, err := parseGroup(body)
		if err != nil {
			return nil, err
		}
		gs, err := s.service.Hello(ctx, g)
		return appendGreetings(nil, gs), err
	case callAwait:
		g, err := parseGroup(body)
		if err != nil {
			return nil, err
		}
		return nil, s.service.Await(ctx, g)
	case callSubmit:
		g, subs, err := parseSubmit(body)
		if err != nil {
			return nil, malformed(err)
		}
		return appendOutcomes(nil, s.service.Submit(ctx, g, subs)), nil
	case callRead:
		g, level, gets, err := parseRead(body)
		if err != nil {
			return nil, malformed(err)
		}
		found, err := s.service.Read(ctx, g, level, gets)
		return appendFound(nil, found), err
	case callMatch:
		g, level, q, err := parseMatch(body)
		if err != nil {
			return nil, malformed(err)
		}
		m, err := s.service.Match(ctx, g, level, q)
		return appendMatched(nil, &m), err
	case callAggregate:
		g, level, q, err := parseAggregate(body)
		if err != nil {
			return nil, malformed(err)
		}
		a, err := s.service.Aggregate(ctx, g, level, q)
		return appendAggregated(nil, &a), err
	case callExplain:
		g, _, q, err := parseMatch(body)
		if err != nil {
			return nil, malformed(err)
		}
		e, err := s.service.Explain(ctx, g, q)
		if err != nil {
			return nil, err
		}
		return appendExplained(&e)
	case callInvoke:
		g, c, err := parseInvocation(body)
		if err != nil {
			return nil, malformed(err)
		}
		return s.service.Invoke(ctx, g, c)
	case callControl:
		c, err := DecodeCommand(body)
		if err != nil {
			return nil, malformed(err)
		}
		reply, err := s.service.Control(ctx, c)
		return EncodeReply(reply), err
	case callHandOver:
		g, err := parseGroup(body)
		if err != nil {
			return nil, err
		}
		return nil, s.service.HandOver(ctx, g)
	case callOperate:
		return s.service.Operate(ctx, body)
	case callInspect:
		p := wire.NewParser(body)
		what := p.String(maxNameBytes)
		if err := p.End(); err != nil {
			return nil, malformed(err)
		}
		return s.service.Inspect(ctx, what)
	}
	if kind >= callMember && s.node != nil {
		return s.node.memberCall(ctx, kind, body)
	}
	return nil, &wire.Error{Code: errInvalid, Message: fmt.Sprintf("unknown request %d (is the other member newer?)", kind)}
}

// stream answers one request for a stream. It is a wire.StreamHandler.
func (s *server) stream(ctx context.Context, kind uint8, body []byte, send func([]byte) error) error {
	if kind == callExport && s.node != nil {
		return s.node.exportTo(ctx, body, send)
	}
	if kind != callFollow {
		return &wire.Error{Code: errInvalid, Message: fmt.Sprintf("unknown stream %d (is the other member newer?)", kind)}
	}
	req, err := parseFollow(body)
	if err != nil {
		return malformed(err)
	}
	err = s.service.Follow(ctx, req, func(it FollowItem) error { return send(appendFollowItem(nil, &it)) })
	if err != nil {
		return toWire(err)
	}
	return nil
}

// checkCommand validates a client's command before it is proposed, so that a
// hostile client cannot make replicas apply what they take for granted.
func checkCommand(b []byte, c *space.Command) error {
	if err := space.DecodeCommand(c, b); err != nil {
		return err
	}
	return c.Validate()
}
