package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// feedSinks has the member's sinks fed from the partitions of a group that this
// replica leads. It is called in every round; only the first of a leadership and
// those after a change of the sinks do something.
func (h *held) feedSinks(l *leadership) {
	sinks := h.n.cfg.Sinks
	if sinks == nil {
		return
	}
	s := h.n.control.State()
	if l.defined != s.Version {
		l.defined = s.Version
		sinks.Define(s.Version, s.Sinks)
	}
	h.feeding.Lock()
	defer h.feeding.Unlock()
	if h.lead.Load() != l || h.feeding.term == l.term {
		return
	}
	h.feeding.term = l.term
	for p := range h.host.all() {
		sinks.Lead(p, &storeSource{h: h, id: p})
	}
}

// starveSinks ends that. It must be called after the leadership is over.
func (h *held) starveSinks() {
	sinks := h.n.cfg.Sinks
	if sinks == nil {
		return
	}
	h.feeding.Lock()
	defer h.feeding.Unlock()
	if h.feeding.term == 0 {
		return
	}
	h.feeding.term = 0
	for p := range h.host.all() {
		sinks.Unlead(p)
	}
}

// Operate passes a request about sinks on to whoever feeds them on this member.
func (n *Node) Operate(ctx context.Context, request []byte) ([]byte, error) {
	if n.cfg.Sinks == nil {
		return nil, &space.Error{Code: space.CodeInvalid, Detail: "this member feeds no sinks", Hint: "ask another member"}
	}
	return n.cfg.Sinks.Operate(ctx, request)
}

// Watermark returns how far a sink is with a partition held by this member, by
// what the replicas have agreed on; 0 if they have not heard of the sink.
func (n *Node) Watermark(ctx context.Context, p space.PartitionID, sink space.SinkID) (seq space.Seq, err error) {
	s := n.control.State()
	if int(p) >= len(s.Table) {
		return 0, &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("there is no partition %d", p)}
	}
	h := n.held(s.Table[p])
	if h == nil {
		return 0, &NotLeaderError{Group: s.Table[p]}
	}
	err = h.group.Inspect(ctx, func() {
		if c := h.host.partition(p); c != nil {
			for _, w := range c.Status().Watermarks {
				if w.Sink == sink {
					seq = w.Seq
				}
			}
		}
	})
	return seq, h.translate(err)
}

// durableEvery is how often it is looked whether a change has become durable. The
// watermarks move as often as logs are trimmed.
const durableEvery = 20 * time.Millisecond

// AwaitDurable waits until a change of a partition that this member leads is
// durable in every required sink, by the watermarks that the replicas have agreed
// on.
func (n *Node) AwaitDurable(ctx context.Context, p space.PartitionID, seq space.Seq) error {
	s := n.control.State()
	if int(p) >= len(s.Table) {
		return &space.Error{Code: space.CodeInvalid, Detail: fmt.Sprintf("there is no partition %d", p)}
	}
	for {
		h, _, err := n.leading(s.Table[p])
		if err != nil {
			return err
		}
		durable := false
		err = h.group.Inspect(ctx, func() {
			c := h.host.partition(p)
			if c == nil {
				return
			}
			st := c.Status()
			durable = st.Seq >= seq
			for i := range st.Sinks {
				if st.Sinks[i].Required && st.Watermarks[i].Seq < seq {
					durable = false
				}
			}
		})
		if err != nil {
			return h.translate(err)
		}
		if durable {
			return nil
		}
		if !pause(ctx, durableEvery) {
			return ctx.Err()
		}
	}
}
