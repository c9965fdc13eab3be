//go:build !brokendemo

package main

import (
	"context"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/processingunit"
)

// sellSeat is the handler. That nobody else gets the seat meanwhile follows from
// its being one transaction: what it read is validated when it commits.
func sellSeat(_ context.Context, tx *grid.Txn, r sell) (sold, error) {
	s, err := grid.ReadIn[seat](tx, seatSpace, r.Seat)
	if err != nil {
		return sold{}, err
	}
	if s.Buyer != "" {
		return sold{}, processingunit.Refuse("%s", soldOut(r.Seat))
	}
	return giveTo(tx, s, r.Buyer)
}
