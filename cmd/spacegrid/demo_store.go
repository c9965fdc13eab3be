package main

import (
	"context"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// scanStore reads what the store in a folder holds of a space, whose member must
// have stopped, in a grid of so many partitions. Nothing is asked of any member and
// nothing is changed.
func scanStore(ctx context.Context, dir, name string, partitions int) (map[string]workload.StoredEntry, error) {
	all, err := workload.StoreContent(ctx, dir, partitions)
	if err != nil {
		return nil, err
	}
	rows, defined := all[name]
	if !defined {
		return nil, fmt.Errorf("the store has no definition of space %q", name)
	}
	return rows, nil
}

// gridSpace reads what the grid answers to a query for everything.
func gridSpace(ctx context.Context, g *grid.Grid, name string) (map[string]workload.StoredEntry, error) {
	all, err := workload.GridContent(ctx, g, name)
	return all[name], err
}

// seatRows reads the buyers out of rows.
func seatRows(rows map[string]workload.StoredEntry) (soldRows, error) {
	seats := make(soldRows, len(rows))
	for key, r := range rows {
		var s seat
		if err := grid.Unmarshal(r.Value, &s); err != nil {
			return nil, fmt.Errorf("seat %q: %w", key, err)
		}
		seats[key] = soldRow{buyer: s.Buyer, value: r.Value, version: r.Version}
	}
	return seats, nil
}
