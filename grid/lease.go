package grid

import (
	"context"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Renew grants the entry under a key a new lease, counted from now: a duration,
// Forever, or 0 for the space's default. It returns the version made, or
// ErrNotFound if the entry's lease has ended or it is gone otherwise. A lease may
// be made shorter too. IfVersion renews that version only.
func (s *Space[T]) Renew(ctx context.Context, key any, lease time.Duration, options ...WriteOption) (Version, error) {
	k, err := Key(key)
	if err != nil {
		return 0, err
	}
	r, err := s.do(ctx, space.Op{Code: space.OpRenew, Space: s.def.ID, Key: k, Lease: lease}, options)
	return r.Version, err
}

// Renew grants the entry under a key of a space a new lease, as [Space.Renew] does.
func (g *Grid) Renew(ctx context.Context, spaceName string, key any, lease time.Duration) (Version, error) {
	def, err := g.Describe(ctx, spaceName)
	if err != nil {
		return 0, err
	}
	k, err := Key(key)
	if err != nil {
		return 0, err
	}
	r, err := g.do(ctx, space.Op{Code: space.OpRenew, Space: def.ID, Key: k, Lease: lease})
	return r.Version, err
}
