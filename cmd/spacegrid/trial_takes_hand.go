//go:build !brokenwork

package main

import (
	"context"

	"github.com/spacegrid/spacegrid/grid"
)

// takeParcel takes any parcel of a kind, or returns grid.ErrNotFound.
func takeParcel(ctx context.Context, s *grid.Space[parcel], _ int, kind string, _ bool) (parcel, error) {
	return s.TakeMatch(ctx, grid.Template{"kind": kind})
}

// remembers reports whether a taker writes down what it got: always.
func remembers(int, *parcel) bool { return true }
