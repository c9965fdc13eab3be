package grid_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

type order struct {
	ID       int           `grid:"id,key"`
	Customer string        `grid:"customer,routing,index"`
	Total    int           `grid:"total,ordered"`
	State    string        `grid:"state"`
	Hold     time.Duration `grid:"hold,lease,omitempty"`
}

// TestOpenSpaceFollowsTheTags: the definition comes from them, indexes that an
// existing space lacks are added, and what contradicts it is refused by type.
func TestOpenSpaceFollowsTheTags(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 4})
	type plain struct {
		ID    string `grid:"id,key"`
		Price int    `grid:"price"`
	}
	first, err := grid.OpenSpace[plain](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := first.Write(ctx, plain{ID: fmt.Sprint(i), Price: i}); err != nil {
			t.Fatal(err)
		}
	}
	type indexed struct {
		ID    string `grid:"id,key"`
		Price int    `grid:"price,ordered"`
		Row   int    `grid:"row,index=place:1"`
		Side  string `grid:"side,index=place:2"`
	}
	for range 2 { // the second time there is nothing to add
		second, err := grid.OpenSpace[indexed](ctx, g, "seats")
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(second.Definition().Indexes); got != "[{price [price] true} {place [row side] false}]" {
			t.Errorf("the indexes are %s", got)
		}
		if n, err := second.Count(ctx, grid.Where("price >= 5")); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	type otherKey struct {
		Price int `grid:"price,key"`
	}
	type otherIndex struct {
		ID    string `grid:"id,key"`
		Price int    `grid:"price,index"`
	}
	type grouped struct {
		ID    string `grid:"id,key"`
		Price int    `grid:"price,group"`
	}
	for name, err := range map[string]error{
		"the key":   second(grid.OpenSpace[otherKey](ctx, g, "seats")),
		"index":     second(grid.OpenSpace[otherIndex](ctx, g, "seats")),
		"the group": second(grid.OpenSpace[grouped](ctx, g, "seats")),
	} {
		if !errors.Is(err, grid.ErrSpaceConflict) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := grid.OpenSpace[plain](ctx, g, "bad name"); !errors.Is(err, grid.ErrInvalid) {
		t.Errorf("a name with a blank: %v", err)
	}
}

// TestFiltersOfStructs: templates and conditions find and take the same way, and
// what could match nothing is said at once.
func TestFiltersOfStructs(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 4})
	orders, err := grid.OpenSpace[order](ctx, g, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		o := order{ID: i, Customer: []string{"ann", "bob"}[i%2], Total: i * 10, State: []string{"open", "paid", "sent", "back"}[i%4]}
		if _, err := orders.Write(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		f    grid.Filter
		want []int
	}{
		{grid.Where("total >= 370"), []int{37, 38, 39}},
		{grid.Where("total < :most and state in ('open', 'back')", map[string]any{"most": 80}), []int{0, 3, 4, 7}},
		{grid.Where("total between $1 and $2", 100, 120).And(grid.Template{"customer": "ann"}), []int{10, 12}},
		{grid.Template{"customer": "bob", "state": "back", "total": 30}, []int{3}},
		{grid.Where("hold is not null"), nil},
	} {
		var got []int
		for o, err := range orders.Query(ctx, c.f) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.ID)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.f, got, c.want)
		}
	}
	taken := map[int]bool{}
	for range 3 {
		o, err := orders.TakeMatch(ctx, grid.Where("total >= ?", 370))
		if err != nil || o.ID < 37 || taken[o.ID] {
			t.Fatal(o, err)
		}
		taken[o.ID] = true
	}
	if _, err := orders.TakeMatch(ctx, grid.Where("total >= ?", 370)); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("a fourth of three: %v", err)
	}
	changed, err := orders.ChangeMatch(ctx, grid.Where("total = 20"), 1, grid.Set("state", "lost"), grid.If("customer = 'ann'"))
	if err != nil || len(changed) != 1 || changed[0].Value.ID != 2 || changed[0].Value.State != "lost" {
		t.Errorf("%v, %v", changed, err)
	}
	refused := func(f grid.Filter) error {
		for _, err := range orders.Query(ctx, f) {
			return err
		}
		return nil
	}
	for name, err := range map[string]error{
		"a text that does not parse":   refused(grid.Where("total >")),
		"a field that is not there":    refused(grid.Where("price > 1")),
		"a template of no such field":  refused(grid.Template{"price": 1}),
		"a number that is text":        refused(grid.Where("total = 'x'")),
		"a sum of no such field":       second(orders.Aggregate(ctx, nil, grid.Sum("price"))),
		"too few arguments":            second(orders.Count(ctx, grid.Where("total > ?"))),
		"a group of no such field":     second(orders.Aggregate(ctx, nil, grid.Count(), grid.GroupBy("row"))),
		"taken by no such field":       second(orders.TakeMatch(ctx, grid.Where("price > 1"))),
		"a value that cannot be asked": second(orders.Count(ctx, grid.Template{"total": func() {}})),
	} {
		if !errors.Is(err, grid.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var place *predicate.Error
	if err := refused(grid.Where("total >")); !errors.As(err, &place) || place.Offset != 7 {
		t.Errorf("the place of the fault: %v", err)
	}
	// A view of the same entries without a Go type may ask for anything.
	if n, err := g.Count(ctx, "orders", grid.Where("price > 1")); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRoutingFieldDecidesThePartition: entries with the same value of it lie
// together, and are found by a RoutedKey.
func TestRoutingFieldDecidesThePartition(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 16})
	orders, err := grid.OpenSpace[order](ctx, g, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := orders.Write(ctx, order{ID: i, Customer: "ann", Total: i}); err != nil {
			t.Fatal(err)
		}
	}
	partitions := map[space.PartitionID]bool{}
	for e, err := range g.Query(ctx, "orders", nil, grid.QueryOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		partitions[space.PartitionOf(e.Key, g.Partitions())] = true
	}
	if len(partitions) != 1 {
		t.Errorf("the orders of one customer lie in %d partitions", len(partitions))
	}
	if o, err := orders.Read(ctx, grid.RoutedKey{Routing: "ann", Key: 7}); o.Total != 7 || err != nil {
		t.Errorf("%v, %v", o, err)
	}
	made, err := orders.Change(ctx, grid.RoutedKey{Routing: "ann", Key: 99}, grid.OrCreate(), grid.Set("customer", "ann"), grid.Add("total", 5))
	if err != nil || made.Value.ID != 99 || made.Value.Total != 5 {
		t.Errorf("an order made by a change: %v, %v", made, err)
	}
	n := 0
	for _, err := range orders.QueryWith(ctx, grid.Where("state = ''"), grid.QueryOptions{Limit: 4, AllowScan: true}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("a query of four has %d", n)
	}
	if _, err := orders.Write(ctx, order{ID: 1}); !errors.Is(err, grid.ErrInvalid) {
		t.Errorf("an order of nobody: %v", err)
	}
}

// TestLeaseField: an entry lives as long as its lease field says, unless the write
// says otherwise.
func TestLeaseField(t *testing.T) {
	type ticket struct {
		ID    string    `grid:"id,key"`
		Until time.Time `grid:"until,lease"`
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		g, err := grid.Open(ctx, grid.Config{Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		orders, err := grid.OpenSpace[order](ctx, g, "orders")
		if err != nil {
			t.Fatal(err)
		}
		tickets, err := grid.OpenSpace[ticket](ctx, g, "tickets")
		if err != nil {
			t.Fatal(err)
		}
		write := func(_ grid.Version, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		write(orders.Write(ctx, order{ID: 1, Customer: "ann", Hold: time.Minute}))
		write(orders.Write(ctx, order{ID: 2, Customer: "ann", Hold: time.Minute}, grid.WithLease(10*time.Minute)))
		write(orders.Write(ctx, order{ID: 3, Customer: "ann"}))
		write(tickets.Write(ctx, ticket{ID: "1", Until: time.Now().Add(time.Minute)}))
		write(tickets.Write(ctx, ticket{ID: "2"}))
		if _, err := tickets.Write(ctx, ticket{ID: "3", Until: time.Now().Add(-time.Second)}); !errors.Is(err, grid.ErrInvalid) {
			t.Errorf("a lease that has ended: %v", err)
		}
		count := func() [2]int64 {
			a, err := orders.Count(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := tickets.Count(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			return [2]int64{a, b}
		}
		if n := count(); n != [2]int64{3, 2} {
			t.Errorf("%v", n)
		}
		time.Sleep(2 * time.Minute)
		if n := count(); n != [2]int64{2, 1} {
			t.Errorf("after two minutes %v", n)
		}
		time.Sleep(10 * time.Minute)
		if n := count(); n != [2]int64{1, 1} {
			t.Errorf("after twelve %v", n)
		}
	})
}

// TestWatchWhere: a watch with a condition is about the entries of which it is
// true, in the snapshot and afterwards.
func TestWatchWhere(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 2})
	orders, err := grid.OpenSpace[order](ctx, g, "orders")
	if err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := orders.Write(ctx, order{ID: i, Customer: "ann", Total: i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 10)
	w, err := g.Watch(ctx, "orders", grid.WatchOptions{Where: grid.Where("total >= 8 and total < ?", 13)})
	if err != nil {
		t.Fatal(err)
	}
	var seen []int64
	for e, err := range w.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == grid.SnapshotEnd {
			write(10, 14)
		}
		if total, ok := e.Entry.Field("total"); ok {
			seen = append(seen, total.(int64))
		}
		if len(seen) == 5 {
			break
		}
	}
	if slices.Sort(seen); !slices.Equal(seen, []int64{8, 9, 10, 11, 12}) {
		t.Errorf("seen: %v", seen)
	}
	if _, err := g.Watch(ctx, "orders", grid.WatchOptions{Where: grid.Where("total >=")}); !errors.Is(err, grid.ErrInvalid) {
		t.Errorf("a condition that does not parse: %v", err)
	}
}
