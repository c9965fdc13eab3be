package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
)

// storedRow is one entry of a space in a store.
type storedRow struct {
	value   []byte
	kind    grid.Kind
	version grid.Version
}

// scanStore reads what the store in a folder holds of a space, whose member must
// have stopped, in a grid of so many partitions. Nothing is asked of any member and
// nothing is changed.
func scanStore(ctx context.Context, dir, name string, partitions int) (rows map[string]storedRow, err error) {
	s, err := store.Open(store.Config{Dir: dir, ReadOnly: true, OnFatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := reader.New(s)
	id, err := storedSpace(r, name)
	if err != nil {
		return nil, err
	}
	positions, err := r.Positions()
	if err != nil {
		return nil, err
	}
	rows = map[string]storedRow{}
	for _, at := range positions {
		_, err := r.Scan(ctx, at.Partition, func(in space.ID, e space.Entry) error {
			if in != id {
				return nil
			}
			if p := space.PartitionOf(e.Key, partitions); p != at.Partition {
				return fmt.Errorf("key %q lies in partition %d, not in its own, %d", e.Key, at.Partition, p)
			}
			rows[string(e.Key)] = storedRow{value: bytes.Clone(e.Value), kind: e.Kind, version: e.Version}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// storedSpace finds a space by the definitions that rest in the store.
func storedSpace(r *reader.Reader, name string) (space.ID, error) {
	defs, err := r.Definitions()
	if err != nil {
		return 0, err
	}
	for i := range defs {
		if defs[i].Name == name {
			return defs[i].ID, nil
		}
	}
	return 0, fmt.Errorf("the store has no definition of space %q", name)
}

// gridSpace reads what the grid answers to a query for everything.
func gridSpace(ctx context.Context, g *grid.Grid, name string) (map[string]storedRow, error) {
	rows := map[string]storedRow{}
	for e, err := range g.Query(ctx, name, nil, grid.QueryOptions{AllowScan: true}) {
		if err != nil {
			return nil, err
		}
		if _, twice := rows[string(e.Key)]; twice {
			return nil, fmt.Errorf("the query answered key %q twice", e.Key)
		}
		rows[string(e.Key)] = storedRow{value: bytes.Clone(e.Value), kind: e.Kind, version: e.Version}
	}
	return rows, nil
}

// seatRows reads the buyers out of rows.
func seatRows(rows map[string]storedRow) (soldRows, error) {
	seats := make(soldRows, len(rows))
	for key, r := range rows {
		var s seat
		if err := grid.Unmarshal(r.value, &s); err != nil {
			return nil, fmt.Errorf("seat %q: %w", key, err)
		}
		seats[key] = soldRow{buyer: s.Buyer, value: r.value, version: r.version}
	}
	return seats, nil
}
