package processingunit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/processingunit"
)

type seat struct {
	ID    string `grid:"id,key"`
	Buyer string `grid:"buyer"`
}

type sell struct {
	Seat  string `grid:"seat"`
	Buyer string `grid:"buyer"`
}

type sold struct {
	Seat string `grid:"seat"`
	Runs int    `grid:"runs"`
}

func openGrid(t *testing.T) (*grid.Grid, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	g, err := grid.Open(ctx, grid.Config{Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g, ctx
}

func boxOffice() *processingunit.Unit {
	u := processingunit.New("tickets")
	processingunit.Handle(u, "sell", func(_ context.Context, tx *grid.Txn, r sell) (sold, error) {
		s, err := grid.ReadIn[seat](tx, "seats", r.Seat)
		if err != nil {
			return sold{}, err
		}
		if s.Buyer != "" {
			return sold{}, processingunit.Refuse("seat %s is sold", r.Seat)
		}
		s.Buyer = r.Buyer
		return sold{Seat: r.Seat}, grid.WriteIn(tx, "seats", s)
	})
	return u
}

// TestEverySeatIsSoldOnce though many buyers want the same one at the same time.
func TestEverySeatIsSoldOnce(t *testing.T) {
	g, ctx := openGrid(t)
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	const n, buyers = 20, 8
	for i := range n {
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	u := boxOffice()
	if u.State() != processingunit.Loading {
		t.Fatal(u.State())
	}
	if err := u.Deploy(ctx, g); err != nil || u.State() != processingunit.Ready {
		t.Fatal(err, u.State())
	}
	var bought [n]atomic.Int32
	var wg sync.WaitGroup
	for b := range buyers {
		wg.Go(func() {
			for i := range n {
				id := fmt.Sprint((i + b) % n)
				_, err := processingunit.Call[sold](ctx, g, "tickets", "sell", id, sell{Seat: id, Buyer: fmt.Sprint("buyer", b)})
				if err == nil {
					bought[(i+b)%n].Add(1)
				} else if refusal, ok := errors.AsType[*grid.HandlerError](err); !ok {
					t.Error(err)
				} else if refusal.Message != "seat "+id+" is sold" {
					t.Error(refusal)
				}
			}
		})
	}
	wg.Wait()
	for i := range bought {
		if bought[i].Load() != 1 {
			t.Errorf("seat %d was sold %d times", i, bought[i].Load())
		}
	}
}

// TestHandlerRunsAgainWhenItsReadsChanged, and its first runs leave nothing.
func TestHandlerRunsAgainWhenItsReadsChanged(t *testing.T) {
	g, ctx := openGrid(t)
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seats.Write(ctx, seat{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	u := processingunit.New("slow")
	runs := 0
	processingunit.Handle(u, "sell", func(ctx context.Context, tx *grid.Txn, r sell) (sold, error) {
		s, err := grid.ReadIn[seat](tx, "seats", r.Seat)
		if err != nil {
			return sold{}, err
		}
		if runs++; runs < 3 {
			// Somebody else is faster.
			if _, err := seats.Write(ctx, seat{ID: "1", Buyer: fmt.Sprint("other", runs)}); err != nil {
				return sold{}, err
			}
		}
		s.Buyer += "+" + r.Buyer
		return sold{Seat: s.ID, Runs: runs}, grid.WriteIn(tx, "seats", s)
	})
	if err := u.Deploy(ctx, g); err != nil {
		t.Fatal(err)
	}
	got, err := processingunit.Call[sold](ctx, g, "slow", "sell", "1", sell{Seat: "1", Buyer: "ann"})
	if err != nil || got.Runs != 3 {
		t.Fatal(got, err)
	}
	if s, err := seats.Read(ctx, "1"); err != nil || s.Buyer != "other2+ann" {
		t.Fatal(s, err)
	}
}

// TestMistakesAreRefused with an error that says which.
func TestMistakesAreRefused(t *testing.T) {
	g, ctx := openGrid(t)
	if _, err := grid.OpenSpace[seat](ctx, g, "seats"); err != nil {
		t.Fatal(err)
	}
	u := boxOffice()
	processingunit.Handle(u, "astray", func(_ context.Context, tx *grid.Txn, r sell) (sold, error) {
		for i := range 100 { // some key lies in another partition
			if err := grid.WriteIn(tx, "seats", seat{ID: fmt.Sprint(r.Seat, i)}); err != nil {
				return sold{}, err
			}
		}
		return sold{}, nil
	})
	processingunit.Handle(u, "nowhere", func(_ context.Context, tx *grid.Txn, r sell) (sold, error) {
		return sold{}, grid.WriteIn(tx, "absent", seat{ID: r.Seat})
	})
	if err := u.Deploy(ctx, g); err != nil {
		t.Fatal(err)
	}
	for handler, want := range map[string]string{
		"sell": grid.ErrNotFound.Error(), "astray": grid.ErrCrossPartition.Error(),
	} {
		_, err := processingunit.Call[sold](ctx, g, "tickets", handler, "x", sell{Seat: "x"})
		if refusal, ok := errors.AsType[*grid.HandlerError](err); !ok || refusal.Message != want {
			t.Errorf("%s: %v, want %s", handler, err, want)
		}
	}
	if _, err := processingunit.Call[sold](ctx, g, "tickets", "nowhere", "x", sell{Seat: "x"}); err == nil {
		t.Error("a write to an unknown space is accepted")
	}
	if _, err := processingunit.Call[sold](ctx, g, "tickets", "absent", "x", sell{}); !errors.Is(err, grid.ErrUnknownHandler) {
		t.Error(err)
	}
	if _, err := g.Call(ctx, "tickets", "sell", nil, nil); !errors.Is(err, grid.ErrInvalid) {
		t.Error(err)
	}
	if _, err := g.Call(ctx, "tickets", "sell", []byte("x"), []byte{0xdd, 0xff, 0xff, 0xff, 0xff}); err == nil {
		t.Error("a request that claims four thousand million elements is accepted")
	}
	if err := boxOffice().Deploy(ctx, g); !errors.Is(err, grid.ErrExists) {
		t.Error(err)
	}
	u.Drain()
	if _, err := processingunit.Call[sold](ctx, g, "tickets", "sell", "x", sell{Seat: "x"}); !errors.Is(err, grid.ErrUnknownHandler) {
		t.Error(err)
	}
}
