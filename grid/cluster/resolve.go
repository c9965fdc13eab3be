package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// resolveEvery is how often a member looks for transactions whose coordinator
	// is late.
	resolveEvery = 500 * time.Millisecond
	// resolveTime bounds one attempt to find out what became of them.
	resolveTime = 5 * time.Second
	// maxResolved bounds the transactions of one partition in one attempt.
	maxResolved = 256
)

// resolve finishes, for the partitions that this member leads, the transactions
// that their coordinators have left behind, until the member is closed. What
// fails is tried again in the next round.
func (n *Node) resolve() {
	timer := time.NewTimer(resolveEvery)
	defer timer.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-timer.C:
		}
		for i := range n.groups {
			if h := n.groups[i].Load(); h != nil {
				if err := h.resolve(n.router); err != nil && n.ctx.Err() == nil {
					h.log.Debug("transactions left behind are not resolved yet", "err", err)
				}
			}
		}
		timer.Reset(resolveEvery)
	}
}

// leftBehind are the transactions of a group that need their leader.
type leftBehind struct {
	lapsed    map[space.PartitionID][]space.LapsedTxn
	unsettled map[space.PartitionID][]space.UnsettledTxn
}

// resolve looks after the transactions of one group, if this member leads it.
func (h *held) resolve(r *Router) error {
	l := h.serving()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, resolveTime)
	defer cancel()
	left := leftBehind{map[space.PartitionID][]space.LapsedTxn{}, map[space.PartitionID][]space.UnsettledTxn{}}
	err := h.group.Inspect(ctx, func() {
		for id, p := range h.host.all() {
			now := l.now(id)
			if x := p.Lapsed(now, maxResolved); len(x) > 0 {
				left.lapsed[id] = x
			}
			if x := p.Unsettled(now, maxResolved); len(x) > 0 {
				left.unsettled[id] = x
			}
		}
	})
	if err != nil {
		return err
	}
	return errors.Join(left.ask(ctx, r), left.finish(ctx, r))
}

// ask proposes to the homes of prepared transactions to abort them, and does what
// then stands.
func (left *leftBehind) ask(ctx context.Context, r *Router) error {
	var asks, finishes []*Call
	var at []space.PartitionID
	for p, lapsed := range left.lapsed {
		for _, x := range lapsed {
			at = append(at, p)
			asks = append(asks, &Call{Partition: x.Home, Ops: []space.Op{{Code: space.OpDecide, Txn: x.Txn, Target: uint64(x.Until)}}})
		}
	}
	if len(asks) == 0 {
		return nil
	}
	r.Do(ctx, asks)
	var failed error
	for i, c := range asks {
		if err := c.failure(); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		o := space.Op{Code: space.OpFinish, Txn: c.Ops[0].Txn}
		if c.Reply.Results[0].Count == 1 {
			o.Flags = space.FlagCommit
		}
		finishes = append(finishes, &Call{Partition: at[i], Ops: []space.Op{o}})
	}
	r.Do(ctx, finishes)
	return errors.Join(failed, unfinished(finishes))
}

// finish makes the participants of commits that were decided here finish, and
// notes those that have.
func (left *leftBehind) finish(ctx context.Context, r *Router) error {
	var failed error
	for home, open := range left.unsettled {
		for _, x := range open {
			if err := r.finishTxn(ctx, TxnRef{ID: x.Txn, Partitions: x.Participants}, true); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			c := &Call{Partition: home, Ops: []space.Op{{
				Code: space.OpDecide, Flags: space.FlagSettled, Txn: x.Txn, Lease: outcomeStays,
			}}}
			r.Do(ctx, []*Call{c})
			failed = errors.Join(failed, c.failure())
		}
	}
	return failed
}
