package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// maxAttempts bounds how often a handler is run for one call because what it had
// read changed before its transaction was applied.
const maxAttempts = 16

// handlerView is a partition as one run of a handler sees it.
type handlerView struct {
	h *held
	p *carried
	// now is the leader's time on the partition's clock. Entries whose lease has
	// ended by then are hidden, and hid says that the handler has asked for one.
	now space.Time
	hid atomic.Bool
}

var _ View = (*handlerView)(nil)

func (v *handlerView) Partitions() int { return len(v.h.n.control.State().Table) }

func (v *handlerView) Definition(name string) *space.Definition {
	if def, ok := v.h.n.control.State().Space(name); ok {
		return def
	}
	// The partition may know a space that this member has not heard of yet.
	for _, def := range v.p.Definitions() {
		if def.Name == name {
			return &def
		}
	}
	return nil
}

func (v *handlerView) Get(id space.ID, key []byte) (space.Entry, space.Code) {
	e, code := v.p.Get(id, key)
	if code == space.OK && past(&e, v.now) {
		v.hid.Store(true)
		return space.Entry{}, space.CodeNotFound
	}
	return e, code
}

// invoke runs a handler until its transaction is applied over what it has read,
// and returns the reply of that command. Every run proposes another attempt of
// one command, of which only one ever takes effect.
//
// A refusal by the handler has no effect and needs no command, if this is the
// call's first sending and the majority confirms that what the handler read was
// not old. But when an earlier sending may have taken effect, the handler sees
// that effect and may refuse because of it: then the refusal is proposed like a
// transaction, and the earlier answer wins if there is one.
func (h *held) invoke(ctx context.Context, l *leadership, p *carried, call *Invocation) ([]byte, error) {
	for attempt := range maxAttempts {
		ops, err := h.handle(ctx, l, p, call)
		if err != nil {
			var handler *HandlerError
			var refused *space.Error
			own := errors.As(err, &handler)
			switch {
			case !call.Repeat && (own || errors.As(err, &refused)):
				if unsure := h.confirm(ctx, l); unsure != nil {
					return nil, unsure
				}
				return nil, err
			case !own:
				return nil, err
			}
			ops = append(checks(ops), space.Op{Code: space.OpRespond, Value: []byte(handler.Message), Limit: Refused})
		}
		c := space.Command{
			History: call.History, Session: call.Session, Sequence: call.Sequence, Acked: call.Acked,
			Deadline: call.Deadline, Attempt: uint8(attempt), Ops: ops,
		}
		if attempt == maxAttempts-1 {
			c.Attempt = space.FinalAttempt
		}
		sub := Submission{Partition: call.Partition, Command: c.Append(nil)}
		var scratch space.Command
		if err := h.admit(ctx, l, &sub, &scratch, h.n.patience()); err != nil {
			return nil, err
		}
		out := h.submit(ctx, l, []Submission{sub})[0]
		if out.Err != nil {
			return nil, out.Err
		}
		if c.Attempt == space.FinalAttempt || !overtaken(out.Reply) {
			return out.Reply, nil
		}
		if stopped(out.Reply, space.CodeLocked) && !pause(ctx, lockWait) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, space.CodeLocked.Err())
		}
	}
	panic("cluster: a handler ran out of attempts without a final one")
}

// handle runs the handler once, or twice: a refusal because of what was hidden
// from the handler counts only when the log says so too, and the entry may have
// had its lease renewed on the way there. A transaction needs no such care: it
// is stamped later than the handler's view.
func (h *held) handle(ctx context.Context, l *leadership, p *carried, call *Invocation) ([]space.Op, error) {
	v := &handlerView{h: h, p: p, now: l.now(p.ID())}
	ops, err := h.n.cfg.Handlers.Invoke(ctx, call, v)
	if err != nil && v.hid.Load() {
		if err := h.tick(ctx, l, p.ID()); err != nil {
			return nil, err
		}
		ops, err = h.n.cfg.Handlers.Invoke(ctx, call, v)
	}
	if err != nil {
		return ops, refusal(err)
	}
	return ops, nil
}

// checks keeps the operations that say what a transaction depends on.
func checks(ops []space.Op) []space.Op {
	return slices.DeleteFunc(ops, func(o space.Op) bool { return o.Code != space.OpCheck })
}

// lockWait is how long a handler waits for a transaction over several partitions
// that has locked an entry, before it is run again.
const lockWait = 20 * time.Millisecond

// overtaken reports whether a command was aborted because something that it
// depends on had changed, or is about to.
func overtaken(reply []byte) bool {
	return stopped(reply, space.CodeConflict) || stopped(reply, space.CodeLocked)
}

// stopped reports whether a command was aborted by an operation with a code.
func stopped(reply []byte, code space.Code) bool {
	r, err := space.DecodeReply(reply)
	return err == nil && r.Code == space.CodeAborted && r.Failed >= 0 && r.Failed < len(r.Results) &&
		r.Results[r.Failed].Code == code
}

// refusal turns an error of an Invoker into one of a Service.
func refusal(err error) error {
	var handler *HandlerError
	var refused *space.Error
	switch {
	case errors.Is(err, ErrUnknownHandler), errors.As(err, &handler), errors.As(err, &refused):
		return err
	}
	return &HandlerError{Message: err.Error()}
}
