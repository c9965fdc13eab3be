package check

import (
	"math"
	"testing"
)

// Nobody may be sent away from an entry that was there all the while, nor when it
// came while he waited; what came too late, or was somebody else's, does not count.
func TestWaits(t *testing.T) {
	stays := []Stay{
		{Key: "early", Kind: "k", From: 10, Until: 20},
		{Key: "a", Kind: "k", From: 100, Until: 200},
		{Key: "left", Kind: "l", From: 100, Until: math.MaxInt64},
	}
	for name, c := range map[string]struct {
		miss   Miss
		missed int
	}{
		"nothing of its kind":                {Miss{Kind: "m", Call: 110, Return: 120}, 0},
		"before there was one":               {Miss{Kind: "k", Call: 90, Return: 120}, 0},
		"another one may have taken it":      {Miss{Kind: "k", Call: 150, Return: 201}, 0},
		"it was there":                       {Miss{Kind: "k", Call: 110, Return: 120}, 1},
		"it was left":                        {Miss{Kind: "l", Call: 500, Return: 520}, 1},
		"it came long before the wait ended": {Miss{Kind: "k", Call: 50, Return: 190, Wait: 100}, 1},
		"it came as the wait ended":          {Miss{Kind: "k", Call: 5, Return: 190, Wait: 100}, 0},
	} {
		if got := Waits(stays, []Miss{c.miss}, 10); got.Missed != c.missed || len(got.Complaints) != c.missed {
			t.Errorf("%s: %+v, want %d", name, got, c.missed)
		}
	}
}
