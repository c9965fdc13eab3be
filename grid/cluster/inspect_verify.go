package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// verifyAllTime bounds the comparison of all partitions that a member leads, when
// somebody asks for it. What is left then is told as not compared.
const verifyAllTime = 10 * time.Minute

// States of a replica in a listing; empty is what all should be.
const (
	stateDiffers = replicasDiffer // of some partition, as the leader has found; nobody knows which is right
	stateOutcast = "taken out"    // this replica differed from a majority and is being replaced
)

// state tells what is not as it should be with the states of a group's replicas,
// and of which partitions.
func (h *held) state() (string, []space.PartitionID) {
	if h.outcast.Load() {
		return stateOutcast, nil
	}
	if h.serving() != nil {
		if ps := h.compared.differing(); len(ps) > 0 {
			return stateDiffers, ps
		}
	}
	return "", nil
}

// verifyViews compares the replicas of all partitions that this member leads, now.
func (n *Node) verifyViews(ctx context.Context) ([]checkView, error) {
	views := []checkView{}
	for i := range n.groups {
		h := n.groups[i].Load()
		if h == nil {
			continue
		}
		for _, p := range sortedPartitions(h.host.all()) {
			l := h.serving()
			if l == nil {
				break
			}
			one, cancel := context.WithTimeout(ctx, verifyTime)
			views = append(views, h.verify(one, l, p.ID()))
			cancel()
		}
	}
	slices.SortFunc(views, func(a, b checkView) int { return int(a.Partition) - int(b.Partition) })
	return views, ctx.Err()
}
