package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

type job struct {
	ID    string `grid:"id,key"`
	State string `grid:"state,index"`
	Tries int    `grid:"tries"`
}

func openJobs(t *testing.T, n int) (*grid.Grid, *grid.Space[job], context.Context) {
	t.Helper()
	g, ctx := open(t, grid.Config{})
	jobs, err := grid.OpenSpace[job](ctx, g, "jobs")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := jobs.Write(ctx, job{ID: fmt.Sprint("j", i), State: "new"}); err != nil {
			t.Fatal(err)
		}
	}
	return g, jobs, ctx
}

var newJobs = grid.Template{"state": "new"}

// TestClaimedWorkIsDoneOrComesBack: a claim hides the entry; Ack removes it, Nack
// shows it again with a failed attempt and what the holder made of it, and what has
// ended is fenced.
func TestClaimedWorkIsDoneOrComesBack(t *testing.T) {
	_, jobs, ctx := openJobs(t, 1)
	c, err := jobs.ClaimMatch(ctx, newJobs, grid.ClaimOptions{Lease: time.Minute})
	if err != nil || c.Value.ID != "j0" || c.Attempts != 0 || c.Lease != time.Minute {
		t.Fatal(c, err)
	}
	if _, err := jobs.Read(ctx, "j0"); !errors.Is(err, grid.ErrNotFound) {
		t.Fatalf("a claimed entry is read: %v", err)
	}
	if _, err := jobs.Write(ctx, job{ID: "j0"}); !errors.Is(err, grid.ErrClaimed) {
		t.Fatalf("a claimed entry is written: %v", err)
	}
	if _, err := jobs.ClaimMatch(ctx, newJobs, grid.ClaimOptions{}); !errors.Is(err, grid.ErrNotFound) {
		t.Fatalf("a claimed entry is claimed: %v", err)
	}
	if err := c.Extend(ctx, 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := c.Nack(ctx, grid.NackOptions{}, grid.If("tries = 0"), grid.Add("tries", 1)); !errors.Is(err, grid.ErrInvalid) {
		t.Fatalf("a nack with a condition: %v", err)
	}
	if err := c.Nack(ctx, grid.NackOptions{}, grid.Add("tries", 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(ctx); !errors.Is(err, grid.ErrFenced) {
		t.Fatalf("a claim is settled twice: %v", err)
	}
	again, err := jobs.Claim(ctx, "j0", grid.ClaimOptions{})
	if err != nil || again.Value.Tries != 1 || again.Attempts != 1 || again.Lease != space.DefaultClaimLease {
		t.Fatal(again, err)
	}
	if again.Token.Compare(c.Token) <= 0 {
		t.Fatalf("token %s after %s", again.Token, c.Token)
	}
	if err := again.Ack(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := jobs.Count(ctx, nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

// TestAnyProcessSettlesAClaim: space, key and the text of the token are enough.
func TestAnyProcessSettlesAClaim(t *testing.T) {
	g, jobs, ctx := openJobs(t, 2)
	cs, err := g.ClaimMatch(ctx, "jobs", newJobs, grid.ClaimOptions{})
	if err != nil || len(cs) != 1 {
		t.Fatal(cs, err)
	}
	token, err := grid.ParseToken(cs[0].Token.String())
	if err != nil || token != cs[0].Token {
		t.Fatal(token, err)
	}
	for _, key := range []any{nil, ""} {
		b, _ := key.(string)
		if err := g.Ack(ctx, "jobs", []byte(b), token); !errors.Is(err, grid.ErrInvalid) {
			t.Fatal(err)
		}
	}
	if err := g.Extend(ctx, "jobs", cs[0].Entry.Key, token, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := g.Ack(ctx, "jobs", cs[0].Entry.Key, token); err != nil {
		t.Fatal(err)
	}
	if err := g.Nack(ctx, "jobs", cs[0].Entry.Key, token, grid.NackOptions{}); !errors.Is(err, grid.ErrFenced) {
		t.Fatal(err)
	}
	if n, err := jobs.Count(ctx, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// TestClaimsYieldsWorkUntilThereIsNone: each entry once, also when several are
// fetched at a time; what the loop has not come to is given back, uncounted.
func TestClaimsYieldsWorkUntilThereIsNone(t *testing.T) {
	for _, limit := range []int{0, 3} {
		_, jobs, ctx := openJobs(t, 20)
		o := grid.ClaimOptions{Wait: 50 * time.Millisecond, Limit: limit}
		first := ""
		for c, err := range jobs.Claims(ctx, newJobs, o) {
			if err != nil {
				t.Fatal(err)
			}
			first = c.Value.ID
			if err := c.Nack(ctx, grid.NackOptions{Uncounted: true}); err != nil {
				t.Fatal(err)
			}
			break
		}
		done := map[string]bool{}
		for c, err := range jobs.Claims(ctx, newJobs, o) {
			if err != nil {
				t.Fatal(err)
			}
			if done[c.Value.ID] || c.Attempts != 0 {
				t.Fatalf("%s comes twice, or was counted %d times", c.Value.ID, c.Attempts)
			}
			done[c.Value.ID] = true
			if err := c.Ack(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if len(done) != 20 || !done[first] {
			t.Fatalf("%d of 20 jobs, first %s", len(done), first)
		}
	}
}

// TestUnfitEntriesDoNotStopALoop: an entry that does not fit the type is reported
// and given back, and the loop goes on.
func TestUnfitEntriesDoNotStopALoop(t *testing.T) {
	g, jobs, ctx := openJobs(t, 1)
	if _, err := g.Change(ctx, "jobs", "odd", grid.OrCreate(), grid.Set("state", "new"), grid.Set("tries", "many")); err != nil {
		t.Fatal(err)
	}
	fit, unfit := 0, 0
	for c, err := range jobs.Claims(ctx, newJobs, grid.ClaimOptions{Wait: 20 * time.Millisecond}) {
		if e, ok := errors.AsType[*grid.UnfitError](err); ok && string(e.Key) == "odd" {
			unfit++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fit++
		if err := c.Ack(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if fit != 1 || unfit != 1 {
		t.Fatal(fit, unfit)
	}
}
