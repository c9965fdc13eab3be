package grid_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
)

// TestAggregateSeats: counts, sums and groups over a space of structs, with what
// is wrong said by the call that uses it.
func TestAggregateSeats(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 8})
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint("s", i), Row: i % 6, Buyer: []string{"ann", "bob", "cho"}[i%3]}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		f    grid.Filter
		want int64
	}{
		{nil, 60},
		{grid.Template{"row": 3}, 10},
		{grid.Where("row < ? and buyer = ?", 3, "ann"), 10},
		{grid.Where("row < 3").And(grid.Template{"buyer": "bob"}), 10},
		{grid.Where("row > 100"), 0},
	} {
		if n, err := seats.Count(ctx, c.f); n != c.want || err != nil {
			t.Errorf("%v: %d, %v", c.f, n, err)
		}
	}
	rows, err := seats.Aggregate(ctx, grid.Where("row >= 1"),
		grid.GroupBy("buyer"), grid.Count(), grid.Sum("row").As("rows"), grid.Avg("row"), grid.Max("row"),
		grid.Having("rows > ?", 20), grid.OrderBy("-rows", "buyer"), grid.Limit(2))
	if err != nil {
		t.Fatal(err)
	}
	// ann sits in rows 0 and 3, bob in 1 and 4, cho in 2 and 5.
	if got := fmt.Sprint(rows.Rows[0].Groups, rows.Rows[0].Values, rows.Rows[1].Groups, rows.Rows[1].Values); len(rows.Rows) != 2 || got != "[cho] [20 70 3.5 5] [bob] [20 50 2.5 4]" {
		t.Errorf("%s", got)
	}
	if v, ok := rows.Value(0, "rows"); !ok || v != int64(70) {
		t.Errorf("the value of a column by its name: %v", v)
	}
	for name, err := range map[string]error{
		"filter": second(seats.Count(ctx, grid.Where("row <"))),
		"having": second(seats.Aggregate(ctx, nil, grid.Count(), grid.Having("count >"))),
		"spec":   second(seats.Aggregate(ctx, nil)),
	} {
		if !errors.Is(err, grid.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := g.Count(ctx, "absent", nil); !errors.Is(err, grid.ErrNoSpace) {
		t.Errorf("%v", err)
	}
}

func second[T any](_ T, err error) error { return err }
