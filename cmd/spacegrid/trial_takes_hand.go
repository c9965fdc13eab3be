//go:build !brokenwork

package main

import (
	"context"

	"github.com/spacegrid/spacegrid/grid"
)

// takeParcel takes any parcel of a kind, or returns grid.ErrNotFound. Odd takers
// wait for one while there are writers, even ones ask again.
func takeParcel(ctx context.Context, s *grid.Space[parcel], taker int, kind string, over bool) (parcel, error) {
	if taker%2 == 1 && !over {
		return s.TakeMatch(ctx, grid.Template{"kind": kind}, grid.Wait(takeWait))
	}
	return s.TakeMatch(ctx, grid.Template{"kind": kind})
}

// remembers reports whether a taker writes down what it got: always.
func remembers(int, *parcel) bool { return true }
