package grid_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// An entry lives for ever, or as long as its lease, which can be renewed.
func ExampleSpace_Renew() {
	withParcels(func(ctx context.Context, parcels *grid.Space[Parcel]) error {
		if _, err := parcels.Write(ctx, Parcel{ID: "p1"}, grid.WithLease(time.Minute)); err != nil {
			return err
		}
		if _, err := parcels.Renew(ctx, "p1", time.Hour); err != nil {
			return err
		}
		_, err := parcels.Read(ctx, "p1")
		fmt.Println("renewed:", err)
		if _, err := parcels.Renew(ctx, "p1", time.Millisecond); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
		_, err = parcels.Read(ctx, "p1")
		fmt.Println("over:", errors.Is(err, grid.ErrNotFound))
		return nil
	})
	// Output:
	// renewed: <nil>
	// over: true
}

// Whoever watches sees what happens to the entries that pass a filter, with the
// value before: one that comes to pass is matched, one that ceases to, unmatched.
func ExampleGrid_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	parcels, err := grid.OpenSpace[Parcel](ctx, g, "parcels")
	if err != nil {
		panic(err)
	}
	w, err := g.Watch(ctx, "parcels", grid.WatchOptions{Where: grid.Where("calls > 0")})
	if err != nil {
		panic(err)
	}
	for e, err := range w.Events(ctx) {
		if err != nil {
			panic(err)
		}
		switch e.Kind {
		case grid.SnapshotEnd: // what was there has been told; now it is changed
			for _, calls := range []int{0, 1, 2, 0} {
				if _, err := parcels.Write(ctx, Parcel{ID: "p1", Calls: calls}); err != nil {
					panic(err)
				}
			}
		case grid.Matched:
			now, _ := e.Entry.Field("calls")
			fmt.Println("matched with", now)
		case grid.Updated:
			before, _ := e.Before.Field("calls")
			now, _ := e.Entry.Field("calls")
			fmt.Println("updated from", before, "to", now)
		case grid.Unmatched:
			before, _ := e.Before.Field("calls")
			fmt.Println("unmatched, it had", before)
			return
		}
	}
	// Output:
	// matched with 1
	// updated from 1 to 2
	// unmatched, it had 2
}

// An explanation tells how a query would find what it asks for, and what that
// costs.
func ExampleGrid_Explain() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{Partitions: 1})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	parcels, err := grid.OpenSpace[Parcel](ctx, g, "parcels")
	if err != nil {
		panic(err)
	}
	for i := range 100 {
		city := []string{"Rome", "Oslo", "Lima", "Bern"}[i%4]
		if _, err := parcels.Write(ctx, Parcel{ID: fmt.Sprint("p", i), City: city, Calls: i % 5}); err != nil {
			panic(err)
		}
	}
	e, err := g.Explain(ctx, "parcels", grid.Where("city = 'Rome' and calls > 2"), 0, false)
	if err != nil {
		panic(err)
	}
	fmt.Println(e.String())
	// Output:
	// takes from index "city" (city = "Rome"), the only index that can serve it
	// examined 25 entries of 25 expected, 10 matched
}
