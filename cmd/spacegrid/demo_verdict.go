package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid"
)

// soldRow is a seat as the grid or a store has it.
type soldRow struct {
	buyer   string
	value   []byte
	version grid.Version
}

// soldRows are the seats of a house by their keys.
type soldRows map[string]soldRow

// evidence is all that the verdict is made of.
type evidence struct {
	seats    []string            // the keys put on sale
	receipts []claim             // acknowledged to buyers
	unclear  []claim             // asked for, outcome unknown to the buyer
	grid     soldRows            // what the grid answers
	stores   map[string]soldRows // what each member's store holds, by member
	errors   map[string]error    // stores that could not be read
}

// verdict is what came of the sale.
type verdict struct {
	sold             int // seats that have a buyer
	doubleSold       int // acknowledgements of seats that were acknowledged before
	lost             int // acknowledged, but the seat is somebody else's or free
	phantom          int // seats whose buyer never got an answer that allows it
	missing          int // seats that are gone, or that nobody put on sale
	resolved         int // unknown outcomes that turned out to be sales
	storeDifferences int // rows of stores that differ from the grid's
	storesRead       int
	complaints       []string // the first of each kind, for people
}

// maxComplaints bounds how much is said about one sale.
const maxComplaints = 12

// ok reports whether every promise was kept.
func (v *verdict) ok() bool {
	return v.doubleSold == 0 && v.lost == 0 && v.phantom == 0 && v.missing == 0 && v.storeMatches()
}

func (v *verdict) storeMatches() bool { return v.storesRead > 0 && v.storeDifferences == 0 }

func (v *verdict) complainf(format string, args ...any) {
	if len(v.complaints) < maxComplaints {
		v.complaints = append(v.complaints, fmt.Sprintf(format, args...))
	}
}

// judge compares what buyers were told with what the grid has, and that with
// what the stores hold. It believes nobody.
func judge(e *evidence) verdict {
	var v verdict
	v.judgeSales(e)
	v.judgeSeats(e)
	for _, member := range slices.Sorted(maps.Keys(e.errors)) {
		v.storeDifferences++
		v.complainf("the store of %s cannot be read: %v", member, e.errors[member])
	}
	for _, member := range slices.Sorted(maps.Keys(e.stores)) {
		v.storesRead++
		v.judgeStore(member, e.grid, e.stores[member])
	}
	return v
}

// judgeSales looks for seats sold twice and for sales that are gone.
func (v *verdict) judgeSales(e *evidence) {
	told := map[string][]string{} // buyers acknowledged, by seat
	for _, c := range e.receipts {
		told[c.seat] = append(told[c.seat], c.buyer)
	}
	doubted := map[claim]bool{}
	for _, c := range e.unclear {
		doubted[c] = true
		if e.grid[c.seat].buyer == c.buyer {
			v.resolved++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(told)) {
		buyers, has := told[key], e.grid[key].buyer
		if n := len(buyers) - 1; n > 0 {
			v.doubleSold += n
			v.complainf("seat %s was sold to %q and to %q", key, buyers[0], buyers[1])
		}
		if !slices.Contains(buyers, has) {
			v.lost++
			v.complainf("seat %s was sold to %q, but its buyer is %q", key, buyers[0], has)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.grid)) {
		buyer := e.grid[key].buyer
		if buyer == "" {
			continue
		}
		v.sold++
		if !slices.Contains(told[key], buyer) && !doubted[claim{key, buyer}] && len(told[key]) == 0 {
			v.phantom++
			v.complainf("seat %s belongs to %q, who was told otherwise or never asked", key, buyer)
		}
	}
}

// judgeSeats looks for seats that vanished or appeared.
func (v *verdict) judgeSeats(e *evidence) {
	offered := make(map[string]bool, len(e.seats))
	for _, key := range e.seats {
		offered[key] = true
		if _, ok := e.grid[key]; !ok {
			v.missing++
			v.complainf("seat %s is gone", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.grid)) {
		if !offered[key] {
			v.missing++
			v.complainf("seat %s was never put on sale", key)
		}
	}
}

// judgeStore compares a store with the grid, row by row: keys, bytes, versions.
func (v *verdict) judgeStore(member string, want, have soldRows) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		g := want[key]
		s, ok := have[key]
		switch {
		case !ok:
			v.storeDifferences++
			v.complainf("the store of %s lacks seat %s", member, key)
		case s.version != g.version || !bytes.Equal(s.value, g.value):
			v.storeDifferences++
			v.complainf("the store of %s has seat %s at version %d for %q, the grid at %d for %q", member, key, s.version, s.buyer, g.version, g.buyer)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[key]; !ok {
			v.storeDifferences++
			v.complainf("the store of %s has seat %s, which the grid has not", member, key)
		}
	}
}
