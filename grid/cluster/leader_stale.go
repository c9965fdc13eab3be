package cluster

import (
	"context"
	"errors"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// dismissStale takes a replica out of the group that has lost entries which it had
// acknowledged: its member's disk was rolled back. Another one is begun in its place
// on the same member, as for one whose state differs from the others', and gets its
// vote when it has caught up.
//
// It goes before anything else changes in the group, because what it says does not
// count: two replicas of which one is stale agree on nothing but that it goes.
// Should the table not change, because the control group has no majority for the
// moment, the same replica is added again, as one that has no vote and is brought up
// to date like any other; that is safe as well, and only leaves what else its disk
// may have lost to the comparison of the states.
func (h *held) dismissStale(ctx context.Context, members map[replica.ServerID]bool) (done bool, err error) {
	for id := range members {
		if id == h.self || !h.group.RolledBack(id) {
			continue
		}
		mended := h.mend(ctx, id)
		return true, errors.Join(mended, h.group.Remove(ctx, id))
	}
	return false, nil
}

// dismissStale takes a member out of the control group whose replica of that has
// lost what it had acknowledged. It is still a member, and so it is added again, as
// one without a vote, and votes once it has caught up.
//
// The control group has no table of lives to begin another one with: it is what
// keeps the table. It needs none. What a stale replica could do harm with is its
// vote, and the agreement of the others that it has none ends that; when it has
// one again its log has all of the term in which it was found out, and refuses
// whoever it might have given its vote to before.
func (g *governor) dismissStale(ctx context.Context, in map[replica.ServerID]bool) (done bool, err error) {
	for id := range in {
		if id != g.n.controlID && g.n.cgroup.RolledBack(id) {
			return true, g.n.cgroup.Remove(ctx, id)
		}
	}
	return false, nil
}
