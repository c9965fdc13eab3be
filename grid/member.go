package grid

import (
	"context"
	"slices"

	"github.com/spacegrid/spacegrid/grid/cluster"
)

// MemberID is the name of one member.
type MemberID = cluster.MemberID

// Member is one process of the cluster as the cluster has agreed on it: names,
// addresses and what is decided about it, not whether it answers right now.
type Member = cluster.Member

// MemberActive is the state of a member that may hold replicas: neither leaving
// nor lost.
const MemberActive = cluster.Active

// ErrSpaceConflict is returned when a space of that name exists with another definition.
var ErrSpaceConflict = cluster.ErrSpaceConflict

// Members returns the members by name. It does not block; it is empty until the
// cluster is formed.
func (g *Grid) Members() []Member { return slices.Clone(g.router.State().Members) }

// Inspect asks one member what it knows of itself, as JSON: status, members,
// partitions, pump and so on. It blocks until the member has answered or ctx
// ends.
func (g *Grid) Inspect(ctx context.Context, member MemberID, what string) ([]byte, error) {
	if g.closed.Load() {
		return nil, ErrClosed
	}
	svc, err := g.router.Member(ctx, member)
	if err != nil {
		return nil, err
	}
	return svc.Inspect(ctx, what)
}
