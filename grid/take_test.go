package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// TestTakesWait: a take by key or filter waits for the entry that somebody writes,
// and no longer than it says.
func TestTakesWait(t *testing.T) {
	g, jobs, ctx := openJobs(t, 0)
	takes := map[string]func(context.Context, time.Duration) (job, error){
		"by key": func(ctx context.Context, d time.Duration) (job, error) { return jobs.Take(ctx, "j1", grid.Wait(d)) },
		"by filter": func(ctx context.Context, d time.Duration) (job, error) {
			return jobs.TakeMatch(ctx, newJobs, grid.Wait(d))
		},
		"a claim": func(ctx context.Context, d time.Duration) (job, error) {
			c, err := jobs.ClaimMatch(ctx, newJobs, grid.ClaimOptions{Wait: d})
			if err != nil {
				return job{}, err
			}
			return c.Value, c.Ack(ctx)
		},
		"a claim by key": func(ctx context.Context, d time.Duration) (job, error) {
			c, err := jobs.Claim(ctx, "j1", grid.ClaimOptions{Wait: d})
			if err != nil {
				return job{}, err
			}
			return c.Value, c.Ack(ctx)
		},
	}
	for name, take := range takes {
		t.Run(name, func(t *testing.T) {
			if _, err := take(ctx, 10*time.Millisecond); !errors.Is(err, grid.ErrNotFound) {
				t.Fatalf("nothing was there: %v", err)
			}
			if _, err := take(ctx, -time.Second); !errors.Is(err, grid.ErrInvalid) {
				t.Fatalf("a negative wait: %v", err)
			}
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if _, err := take(short, grid.Forever); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the context ended: %v", err)
			}
			got := make(chan error, 1)
			go func() {
				j, err := take(ctx, grid.Forever)
				if err == nil && j.ID != "j1" {
					err = fmt.Errorf("took %v", j)
				}
				got <- err
			}()
			time.Sleep(20 * time.Millisecond) // most of the time it waits by now
			if _, err := jobs.Write(ctx, job{ID: "j1", State: "new"}); err != nil {
				t.Fatal(err)
			}
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if es, err := g.TakeMatch(ctx, "jobs", nil, grid.TakeOptions{AllowScan: true}); !errors.Is(err, grid.ErrNotFound) {
				t.Fatal(es, err)
			}
		})
	}
}

// TestTakeMatchFindsTheLastEntry: whatever a handle remembers of where entries
// were, takes empty the space.
func TestTakeMatchFindsTheLastEntry(t *testing.T) {
	g, jobs, ctx := openJobs(t, 0)
	for round := range 5 {
		const n = 40
		for i := range n {
			if _, err := jobs.Write(ctx, job{ID: fmt.Sprint(round, "-", i), State: "new"}); err != nil {
				t.Fatal(err)
			}
		}
		taken := 0
		for {
			es, err := g.TakeMatch(ctx, "jobs", newJobs, grid.TakeOptions{Limit: 2})
			if errors.Is(err, grid.ErrNotFound) {
				break
			}
			if err != nil || len(es) == 0 || len(es) > 2 {
				t.Fatal(es, err)
			}
			taken += len(es)
		}
		if taken != n {
			t.Fatalf("%d of %d taken", taken, n)
		}
	}
}

// TestRoutedFiltersAskOnePartition: a filter that names the routing field's value
// finds what lies there, and waits there.
func TestRoutedFiltersAskOnePartition(t *testing.T) {
	type order struct {
		ID    string `grid:"id,key"`
		Shop  string `grid:"shop,routing,index"`
		Total int    `grid:"total"`
	}
	g, ctx := open(t, grid.Config{})
	orders, err := grid.OpenSpace[order](ctx, g, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []grid.Filter{
		grid.Template{"shop": "west"}, grid.Where("shop = 'west' and total > 3"), grid.Where("total > 3").And(grid.Template{"shop": "west"}),
		grid.Where("shop in ('west')"),
	} {
		if _, err := orders.TakeMatch(ctx, f); !errors.Is(err, grid.ErrNotFound) {
			t.Fatal(err)
		}
		got := make(chan error, 2)
		go func() {
			_, err := orders.ReadMatch(ctx, f, grid.ReadOptions{Wait: grid.Forever})
			got <- err
		}()
		if _, err := orders.Write(ctx, order{ID: "e1", Shop: "east", Total: 5}); err != nil {
			t.Fatal(err)
		}
		if _, err := orders.Write(ctx, order{ID: "w1", Shop: "west", Total: 5}); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if o, err := orders.TakeMatch(ctx, f, grid.Wait(time.Second)); err != nil || o.ID != "w1" {
			t.Fatal(o, err)
		}
	}
}

// TestReadsWait: a read by filter waits for an entry to come, or to change into one
// that passes, and leaves it there.
func TestReadsWait(t *testing.T) {
	g, jobs, ctx := openJobs(t, 3)
	done := grid.Where("state = 'done'")
	if _, err := jobs.ReadMatch(ctx, done, grid.ReadOptions{Wait: 20 * time.Millisecond}); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := jobs.ReadMatch(short, done, grid.ReadOptions{Wait: grid.Forever}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	const readers = 3
	got := make(chan error, readers)
	for range readers {
		go func() {
			j, err := jobs.ReadMatch(ctx, done, grid.ReadOptions{Wait: grid.Forever})
			if err == nil && j.ID != "j1" {
				err = fmt.Errorf("read %v", j)
			}
			got <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	if _, err := jobs.Change(ctx, "j1", grid.Set("state", "done")); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	if es, err := g.ReadMatch(ctx, "jobs", nil, grid.ReadOptions{Limit: 10, AllowScan: true}); err != nil || len(es) != 3 {
		t.Fatal(es, err)
	}
}
