package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/space"
)

// What one may ask of the sinks of a member.
const (
	doFlush   = "flush"
	doResync  = "resync"
	doDead    = "dead"
	doReplay  = "replay"
	doDrop    = "drop"
	doDurable = "durable"
)

// maxLetters bounds the dead letters of one answer.
const maxLetters = 1000

// sinkRequest is what one asks, as it travels.
type sinkRequest struct {
	Do    string       `json:"do"`
	Sink  string       `json:"sink,omitempty"`
	ID    DeadLetterID `json:"id,omitzero"`
	Limit int          `json:"limit,omitempty"`
	// Anyone may answer, not only who leads the partition of ID.
	Anyone bool `json:"anyone,omitempty"`
}

// operateAll asks every member that feeds the sink.
func (g *Grid) operateAll(ctx context.Context, r *sinkRequest) error {
	if g.closed.Load() {
		return ErrClosed
	}
	if err := g.knowSink(ctx, r.Sink); err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("grid: ask the sinks: %w", err)
	}
	members := g.router.State().Members
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i := range members {
		if members[i].State == cluster.Lost {
			continue
		}
		wg.Go(func() {
			if err := g.operateOn(ctx, members[i].ID, body); err != nil {
				errs[i] = fmt.Errorf("member %s: %w", members[i].ID, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// knowSink fails if there is no sink of that name.
func (g *Grid) knowSink(ctx context.Context, name string) error {
	known := func() bool {
		return slices.ContainsFunc(g.router.State().Sinks, func(s cluster.Sink) bool { return s.Name == name })
	}
	if known() {
		return nil
	}
	if err := g.router.Refresh(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	if !known() {
		return &cluster.Error{Code: cluster.CodeNoSink, Detail: strconv.Quote(name)}
	}
	return nil
}

// operateOn asks one member, again and again while it has not heard of the sink,
// or has not begun to feed it.
func (g *Grid) operateOn(ctx context.Context, id MemberID, body []byte) error {
	for {
		svc, err := g.router.Member(ctx, id)
		if err == nil {
			_, err = svc.Operate(ctx, body)
		}
		var elsewhere *cluster.NotLeaderError
		switch {
		case errors.As(err, &elsewhere):
			return nil
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotFound):
			if rest(ctx, operateAgain) {
				continue
			}
			return errors.Join(err, ctx.Err())
		}
		return err
	}
}

// operateOne asks the member that leads the partition of the request, or, if
// anybody can answer, whoever does.
func (g *Grid) operateOne(ctx context.Context, r *sinkRequest) ([]byte, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	state := g.router.State()
	if int(r.ID.Partition) >= len(state.Table) {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("there is no partition %d", r.ID.Partition)}
	}
	var failed error
	for _, anyone := range []bool{false, true} {
		if anyone && r.Do == doDurable {
			break
		}
		r.Anyone = anyone
		body, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("grid: ask the sinks: %w", err)
		}
		for i := range state.Members {
			if state.Members[i].State == cluster.Lost {
				continue
			}
			svc, err := g.router.Member(ctx, state.Members[i].ID)
			if err == nil {
				var b []byte
				if b, err = svc.Operate(ctx, body); err == nil {
					return b, nil
				}
			}
			var elsewhere *cluster.NotLeaderError
			if !errors.As(err, &elsewhere) && !errors.Is(err, ErrUnavailable) {
				return nil, err
			}
			failed = err
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, failed)
}

// Operate implements cluster.Sinks.
func (s *sinks) Operate(ctx context.Context, request []byte) ([]byte, error) {
	var r sinkRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: "a request about sinks does not read: " + err.Error()}
	}
	if r.Do == doDurable {
		return s.durable(ctx, r.ID)
	}
	pump, err := s.pumpOf(r.Sink)
	if err != nil {
		return nil, err
	}
	switch r.Do {
	case doFlush:
		return nil, refusal(pump.Flush(ctx))
	case doResync:
		return nil, refusal(pump.Resync())
	}
	if !r.Anyone && !s.leads(r.ID.Partition) {
		return nil, &cluster.NotLeaderError{}
	}
	id := datapump.LetterID{Partition: r.ID.Partition, Seq: r.ID.Seq}
	switch r.Do {
	case doDead:
		return s.letters(ctx, pump, id, r.Limit)
	case doReplay:
		return nil, refusal(pump.Replay(ctx, id))
	case doDrop:
		return nil, refusal(pump.Drop(ctx, id))
	}
	return nil, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("sinks cannot %q", r.Do)}
}

// refusal makes an error one that crosses a connection with what it says.
func refusal(err error) error {
	var refused *datapump.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, datapump.ErrNoLetter):
		return &space.Error{Code: space.CodeNotFound, Detail: err.Error()}
	case errors.As(err, &refused), errors.Is(err, datapump.ErrParked):
		return &space.Error{Code: space.CodeConflict, Detail: err.Error()}
	case errors.Is(err, datapump.ErrNoDeadLetters), errors.Is(err, datapump.ErrNoResync):
		return &space.Error{Code: space.CodeInvalid, Detail: err.Error()}
	}
	return err
}

func (s *sinks) letters(ctx context.Context, pump *datapump.Pump, after datapump.LetterID, limit int) ([]byte, error) {
	letters, err := pump.Letters(ctx, after, min(max(1, limit), maxLetters))
	if err != nil {
		return nil, refusal(err)
	}
	out := make([]DeadLetter, 0, len(letters))
	for i := range letters {
		l := &letters[i]
		c, _, err := space.DecodeChange(l.Change)
		if err != nil {
			return nil, fmt.Errorf("grid: dead letter %d of partition %d: %w", l.Seq, l.Partition, err)
		}
		out = append(out, DeadLetter{
			DeadLetterID: DeadLetterID{l.Partition, l.Seq}, Parked: l.Parked, Reason: l.Reason, Space: s.spaceName(l.Space),
			Key: l.Key, Op: c.Op.String(), Value: c.Value, At: l.At,
		})
	}
	return json.Marshal(out)
}

// durable waits for a change of a partition that this member leads, and answers
// with null, or with the sink that has refused it.
func (s *sinks) durable(ctx context.Context, id DeadLetterID) ([]byte, error) {
	node := s.node.Load()
	if node == nil {
		return nil, ErrUnavailable
	}
	if err := node.AwaitDurable(ctx, id.Partition, id.Seq); err != nil {
		return nil, err
	}
	for _, p := range *s.fed.Load() {
		if !p.def.Required {
			continue
		}
		err := p.pump.WaitDurable(ctx, id.Partition, id.Seq)
		var dead *datapump.DeadLetteredError
		switch {
		case errors.As(err, &dead):
			return json.Marshal(refusedVersion{Sink: dead.Sink, ID: id, Reason: dead.Letter.Reason})
		case errors.Is(err, datapump.ErrNoDeadLetters):
		case errors.Is(err, datapump.ErrRemoved), errors.Is(err, datapump.ErrClosed):
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case err != nil:
			return nil, err
		}
	}
	return []byte("null"), nil
}
