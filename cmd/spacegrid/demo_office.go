package main

import (
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/processingunit"
)

// Names of the on-sale: the space, the unit and its one handler.
const (
	seatSpace   = "seats"
	officeUnit  = "box-office"
	sellHandler = "sell"
)

// seat is one place in the venue. An empty Buyer means that it is free.
type seat struct {
	ID      string `grid:"id,key"`
	Section string `grid:"section,index"`
	Row     int64  `grid:"row"`
	Number  int64  `grid:"number"`
	Cents   int64  `grid:"cents"`
	Buyer   string `grid:"buyer"`
}

// sell asks for a seat; sold is the receipt.
type sell struct {
	Seat  string `grid:"seat"`
	Buyer string `grid:"buyer"`
}

type sold struct {
	Seat  string `grid:"seat"`
	Buyer string `grid:"buyer"`
	Cents int64  `grid:"cents"`
}

// boxOffice is the application that the demo runs inside the grid: it sells a
// seat to one buyer and refuses everybody after that.
func boxOffice() *processingunit.Unit {
	u := processingunit.New(officeUnit)
	processingunit.Handle(u, sellHandler, sellSeat)
	return u
}

// giveTo writes the seat with its buyer and returns the receipt.
func giveTo(tx *grid.Txn, s seat, buyer string) (sold, error) {
	s.Buyer = buyer
	return sold{Seat: s.ID, Buyer: buyer, Cents: s.Cents}, grid.WriteIn(tx, seatSpace, s)
}

// soldOut is the refusal of a seat that has a buyer.
func soldOut(id string) string { return "seat " + id + " is sold" }

// The shape of the venue.
const (
	seatsPerRow    = 25
	rowsPerSection = 40
)

// venue returns the seats of a house of n, the best first.
func venue(n int) []seat {
	seats := make([]seat, n)
	for i := range seats {
		row, number := i/seatsPerRow, i%seatsPerRow+1
		section := fmt.Sprintf("S%02d", row/rowsPerSection+1)
		row = row%rowsPerSection + 1
		seats[i] = seat{
			ID: fmt.Sprintf("%s-%02d-%02d", section, row, number), Section: section, Row: int64(row), Number: int64(number),
			Cents: int64(15000 - 10000*i/n),
		}
	}
	return seats
}
