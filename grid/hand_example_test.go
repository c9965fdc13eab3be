package grid_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// Parcel is one piece of work: somebody has to bring it somewhere.
type Parcel struct {
	ID    string `grid:"id,key"`
	City  string `grid:"city,index"`
	Calls int    `grid:"calls"`
}

// withParcels opens a grid with a space of parcels, empty.
func withParcels(show func(ctx context.Context, parcels *grid.Space[Parcel]) error) {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	parcels, err := grid.OpenSpace[Parcel](ctx, g, "parcels")
	if err == nil {
		err = show(ctx, parcels)
	}
	if err != nil {
		panic(err)
	}
}

// A take removes an entry and returns it: whoever has it has it alone. This one
// waits until somebody writes what it asks for.
func ExampleSpace_TakeMatch() {
	withParcels(func(ctx context.Context, parcels *grid.Space[Parcel]) error {
		done := make(chan error)
		go func() {
			p, err := parcels.TakeMatch(ctx, grid.Template{"city": "Rome"}, grid.Wait(time.Minute))
			fmt.Println("took", p.ID)
			done <- err
		}()
		for _, p := range []Parcel{{ID: "p1", City: "Oslo"}, {ID: "p2", City: "Rome"}} {
			if _, err := parcels.Write(ctx, p); err != nil {
				return err
			}
		}
		if err := <-done; err != nil {
			return err
		}
		_, err := parcels.TakeMatch(ctx, grid.Template{"city": "Rome"})
		fmt.Println("another one:", errors.Is(err, grid.ErrNotFound))
		return nil
	})
	// Output:
	// took p2
	// another one: true
}

// Work that must not get lost is claimed. Nobody else sees it then; Ack removes it
// when it is done, Nack gives it back, and if the worker dies it comes back by
// itself when the lease of the claim ends.
func ExampleSpace_Claims() {
	withParcels(func(ctx context.Context, parcels *grid.Space[Parcel]) error {
		if _, err := parcels.Write(ctx, Parcel{ID: "p1", City: "Rome"}); err != nil {
			return err
		}
		rome := grid.Where("city = ?", "Rome")
		for p, err := range parcels.Claims(ctx, rome, grid.ClaimOptions{Lease: time.Minute, Wait: 10 * time.Millisecond}) {
			if err != nil {
				return err
			}
			if p.Attempts == 0 {
				fmt.Println("nobody at home:", p.Value.ID)
				if err := p.Nack(ctx, grid.NackOptions{}, grid.Add("calls", 1)); err != nil {
					return err
				}
				continue
			}
			fmt.Println("delivered:", p.Value.ID, "after", p.Value.Calls, "call")
			if err := p.Ack(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	// Output:
	// nobody at home: p1
	// delivered: p1 after 1 call
}

// A claim can be settled by another process than the one that made it: all that it
// takes is the space, the key and the token.
func ExampleGrid_Ack() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{})
	if err != nil {
		panic(err)
	}
	defer g.Close()
	if _, err := g.Change(ctx, grid.DefaultSpace, "job-7", grid.OrCreate(), grid.Set("state", "new")); err != nil {
		panic(err)
	}
	claims, err := g.ClaimMatch(ctx, grid.DefaultSpace, grid.Where("state = 'new'"), grid.ClaimOptions{})
	if err != nil {
		panic(err)
	}
	key, text := claims[0].Entry.Key, claims[0].Token.String()

	token, err := grid.ParseToken(text)
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Ack(ctx, grid.DefaultSpace, key, token))
	err = g.Ack(ctx, grid.DefaultSpace, key, token)
	fmt.Println("a second time:", errors.Is(err, grid.ErrFenced))
	// Output:
	// <nil>
	// a second time: true
}
