package cluster

import (
	"context"
	"fmt"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// HandOver implements Service. Who takes over is who is up to date. The leader
// that placement prefers has the group back within seconds.
func (n *Node) HandOver(ctx context.Context, g GroupID) error {
	ctx, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	if g == ControlGroup {
		if _, leads := n.cgroup.Leading(); !leads {
			return &NotLeaderError{Group: g, Leader: MemberID(n.cgroup.Status().Leader.Member)}
		}
		n.handOverControl(ctx)
		if _, leads := n.cgroup.Leading(); leads {
			return errNobodyTakesOver(g)
		}
		return nil
	}
	h := n.held(g)
	if h == nil {
		return &NotLeaderError{Group: g}
	}
	if h.serving() == nil {
		return h.notLeader()
	}
	h.handOver(ctx)
	if h.serving() != nil {
		return errNobodyTakesOver(g)
	}
	return nil
}

func errNobodyTakesOver(g GroupID) error {
	return fmt.Errorf("%w: nobody could take group %d over", ErrUnavailable, g)
}

// HandOver implements Service.
func (r *Remote) HandOver(ctx context.Context, g GroupID) error {
	_, err := r.call(ctx, callHandOver, wire.AppendBytes(nil, appendGroup(g)))
	return err
}
