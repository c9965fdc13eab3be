package grid_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/spacegrid/spacegrid/grid"
)

// Show is a performance that tickets are sold for.
type Show struct {
	ID     string         `grid:"id,key"`
	Hall   string         `grid:"hall"`
	Stock  int            `grid:"stock"`
	Buyers []string       `grid:"buyers"`
	Sold   map[string]int `grid:"sold"`
	Best   float64        `grid:"best"`
}

// Tickets are sold as long as there are some: the question and the sale are one
// step, in the place where the entry is.
func ExampleSpace_Change() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	shows, err := grid.OpenSpace[Show](ctx, g, "shows")
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := shows.Write(ctx, Show{ID: "tosca", Hall: "west", Stock: 3}); err != nil {
		fmt.Println(err)
		return
	}
	for _, buyer := range []string{"ada", "ben"} {
		sold, err := shows.Change(ctx, "tosca",
			grid.Add("stock", -2).Min(0),
			grid.Set("buyers", []string{buyer}),
			grid.Add("sold."+buyer, 2),
		)
		switch {
		case errors.Is(err, grid.ErrRange):
			fmt.Println(buyer, "is too late")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(buyer, "has two,", sold.Value.Stock, "left,", sold.Value.Sold)
		}
	}
	// Output:
	// ada has two, 1 left, map[ada:2]
	// ben is too late
}

// Paths lead into maps and arrays; entries need no Go type.
func ExampleGrid_Change() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	made, err := g.Change(ctx, grid.DefaultSpace, "cart:7", grid.OrCreate(),
		grid.Set("owner.name", "ada"),
		grid.Push("items", map[string]any{"sku": "x1", "n": 1}),
		grid.Push("items", map[string]any{"sku": "x2", "n": 1}),
		grid.Add("items.1.n", 4).Max(10),
		grid.Insert("tags", "new"), grid.Insert("tags", "new"),
		grid.Highest("seen", 17), grid.Highest("seen", 12),
		grid.Default(`"odd.name"`, true),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"owner", "items", "tags", "seen", "odd.name"} {
		v, _ := made.Value.Field(name)
		fmt.Println(name, v)
	}
	_, err = g.Change(ctx, grid.DefaultSpace, "cart:7", grid.Set("items.2.n", 1))
	fmt.Println(err)
	_, err = g.Change(ctx, grid.DefaultSpace, "cart:7", grid.Set("seen.at", "noon"))
	fmt.Println(err)
	// Output:
	// owner map[name:ada]
	// items [map[n:1 sku:x1] map[n:5 sku:x2]]
	// tags [new]
	// seen 17
	// odd.name true
	// space: out of range (nothing was changed; read the entry to see what its bounds leave)
	// space: wrong kind of value
}

// A change that depends on what is there.
func ExampleIf() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	shows, err := grid.OpenSpace[Show](ctx, g, "shows")
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := shows.Write(ctx, Show{ID: "tosca", Hall: "west", Stock: 3}); err != nil {
		fmt.Println(err)
		return
	}
	move := []grid.ChangePart{grid.If("hall = ? and stock > 0", "west"), grid.Set("hall", "east")}
	for range 2 {
		c, err := shows.Change(ctx, "tosca", move...)
		if errors.Is(err, grid.ErrUnmet) {
			fmt.Println("not in the west")
			continue
		}
		fmt.Println(c.Value.Hall, err)
	}
	// Output:
	// east <nil>
	// not in the west
}
