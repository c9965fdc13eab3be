package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// maxAttempts bounds how often a handler is run for one call because what it had
// read changed before its transaction was applied.
const maxAttempts = 16

// handlerView is a partition as a handler sees it.
type handlerView struct {
	h *held
	l *leadership
	p *carried
}

var _ View = handlerView{}

func (v handlerView) Partitions() int { return len(v.h.n.control.State().Table) }

func (v handlerView) Definition(name string) *space.Definition {
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

func (v handlerView) Get(id space.ID, key []byte) (space.Entry, space.Code) {
	e, code := v.p.Get(id, key)
	if code == space.OK && past(&e, v.l.now(v.p.ID())) {
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
		ops, err := h.n.cfg.Handlers.Invoke(ctx, call, handlerView{h, l, p})
		if err != nil {
			var handler *HandlerError
			err = refusal(err)
			switch {
			case !errors.As(err, &handler):
				return nil, err
			case !call.Repeat:
				if unsure := h.confirm(ctx, l); unsure != nil {
					return nil, unsure
				}
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
		if err := h.admit(ctx, l, &sub, &scratch); err != nil {
			return nil, err
		}
		out := h.submit(ctx, l, []Submission{sub})[0]
		if out.Err != nil {
			return nil, out.Err
		}
		if c.Attempt == space.FinalAttempt || !overtaken(out.Reply) {
			return out.Reply, nil
		}
	}
	panic("cluster: a handler ran out of attempts without a final one")
}

// checks keeps the operations that say what a transaction depends on.
func checks(ops []space.Op) []space.Op {
	return slices.DeleteFunc(ops, func(o space.Op) bool { return o.Code != space.OpCheck })
}

// overtaken reports whether a command was aborted because something that it
// depends on had changed.
func overtaken(reply []byte) bool {
	r, err := space.DecodeReply(reply)
	return err == nil && r.Code == space.CodeAborted && r.Failed >= 0 && r.Failed < len(r.Results) &&
		r.Results[r.Failed].Code == space.CodeConflict
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
