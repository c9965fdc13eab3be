//go:build brokendemo

package main

import (
	"context"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/processingunit"
)

// lostEvery is how many seats there are for one whose sale is never written.
const lostEvery = 5

// sellSeat is the handler with two mistakes, which the demo must find: in odd rows
// it does not look whether the seat is free, and in even rows it answers for some
// seats without writing anything.
func sellSeat(_ context.Context, tx *grid.Txn, r sell) (sold, error) {
	s, err := grid.ReadIn[seat](tx, seatSpace, r.Seat)
	if err != nil {
		return sold{}, err
	}
	if s.Row%2 == 0 && s.Number%lostEvery == 0 {
		return sold{Seat: r.Seat, Buyer: r.Buyer, Cents: s.Cents}, nil
	}
	if s.Row%2 == 0 && s.Buyer != "" {
		return sold{}, processingunit.Refuse("%s", soldOut(r.Seat))
	}
	return giveTo(tx, s, r.Buyer)
}
