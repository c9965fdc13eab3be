package grid_test

import (
	"context"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// Seat is a seat in a hall: the tags say how it is stored, found and held.
type Seat struct {
	ID      string        `grid:"id,key"`
	Section string        `grid:"section,index=offer:1"`
	Price   int           `grid:"price,index=offer:2,ordered"`
	Buyer   string        `grid:"buyer,omitempty"`
	Hold    time.Duration `grid:"-,lease"`
}

// withSeats opens a grid with twelve seats in sections A to C.
func withSeats(show func(ctx context.Context, seats *grid.Space[Seat]) error) {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	seats, err := grid.OpenSpace[Seat](ctx, g, "seats")
	if err != nil {
		panic(err)
	}
	for i := range 12 {
		s := Seat{ID: fmt.Sprintf("seat%02d", i), Section: string(rune('A' + i%3)), Price: 10 + i}
		if _, err := seats.Write(ctx, s); err != nil {
			panic(err)
		}
	}
	if err := show(ctx, seats); err != nil {
		panic(err)
	}
}

// A space comes with the indexes that the tags name.
func ExampleOpenSpace() {
	withSeats(func(_ context.Context, seats *grid.Space[Seat]) error {
		def := seats.Definition()
		fmt.Println(def.Key, def.Indexes)
		return nil
	})
	// Output: id [{offer [section price] true}]
}

// A condition finds entries, narrows takes and changes, and counts.
func ExampleWhere() {
	withSeats(func(ctx context.Context, seats *grid.Space[Seat]) error {
		cheap := grid.Where("section = ? and price < ?", "B", 16)
		for s, err := range seats.Query(ctx, cheap) {
			if err != nil {
				return err
			}
			fmt.Println(s.ID, s.Price)
		}
		if _, err := seats.TakeMatch(ctx, cheap); err != nil {
			return err
		}
		n, err := seats.Count(ctx, cheap)
		fmt.Println(n, "left", err)
		_, err = seats.Count(ctx, grid.Where("prize < 16"))
		fmt.Println(err)
		return nil
	})
	// Unordered output:
	// seat01 11
	// seat04 14
	// 1 left <nil>
	// space: invalid: space "seats": no field prize (the declared fields are buyer string, id string, price int, section string)
}

// What entries amount to is computed where they lie; only the rows travel.
func ExampleSpace_Aggregate() {
	withSeats(func(ctx context.Context, seats *grid.Space[Seat]) error {
		sections, err := seats.Aggregate(ctx, grid.Where("price >= 13"),
			grid.GroupBy("section"), grid.Count(), grid.Sum("price"), grid.Avg("price"), grid.Top(1, "price").As("dearest"),
			grid.OrderBy("-sum_price"))
		if err != nil {
			return err
		}
		fmt.Println(sections.Groups, sections.Columns)
		for i, row := range sections.Rows {
			dearest, _ := sections.Value(i, "dearest")
			fmt.Println(row.Groups, row.Values[:3], string(dearest.([]grid.Ranked)[0].Key))
		}
		return nil
	})
	// Output:
	// [section] [count sum_price avg_price dearest]
	// [C] [3 54 18] seat11
	// [B] [3 51 17] seat10
	// [A] [3 48 16] seat09
}
