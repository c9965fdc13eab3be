package space_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// fill writes n entries of a few bytes.
func fill(t testing.TB, p *space.Partition, n int, value func(i int) map[string]any) {
	t.Helper()
	var ops []space.Op
	for i := range n {
		ops = append(ops, entry(fmt.Sprint(i), value(i)))
		if len(ops) == space.MaxOps || i == n-1 {
			if r := apply(t, p, 1, command(ops...)); r.Code != space.OK {
				t.Fatal(r.Err())
			}
			ops = nil
		}
	}
}

// TestOneCommandTouchesSoMuch: a few searches for many entries each use up what
// one command may touch; those behind them are refused, whatever they ask for, and
// nothing else is.
func TestOneCommandTouchesSoMuch(t *testing.T) {
	for name, o := range map[string]space.Op{
		"clear": {Code: space.OpClear}, "take": {Code: space.OpTakeMatch}, "claim": {Code: space.OpClaimMatch},
		"change": {Code: space.OpChangeMatch, Mutations: []space.Mutation{{Code: space.MutSet, Field: "x", Arg: []byte{1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := meeting(t, space.Definition{})
			fill(t, p, 5*space.MaxOps, func(int) map[string]any { return map[string]any{"v": 1} })
			o.Space, o.Limit = 1, space.MaxOps
			c := space.Command{Ops: []space.Op{o, o, o, o, o, entry("new", nil)}, Independent: true}
			r := apply(t, p, 1, c)
			if last := r.Results[4].Code; name != "change" && last != space.CodeTooLarge {
				t.Errorf("the fifth search: %v", last)
			}
			if r.Results[3].Code != space.OK || r.Results[5].Code != space.OK {
				t.Errorf("the fourth %v, the write %v", r.Results[3].Code, r.Results[5].Code)
			}
		})
	}
}

// TestSearchesOfOneCommandAreBounded: each passes what those before it have taken.
func TestSearchesOfOneCommandAreBounded(t *testing.T) {
	p := meeting(t, space.Definition{Group: "g"})
	fill(t, p, space.MaxOps, func(i int) map[string]any { return map[string]any{"g": i} })
	takes := func(n int) space.Command {
		var c space.Command
		for range n {
			c.Ops = append(c.Ops, space.Op{Code: space.OpTakeMatch, Space: 1})
		}
		return c
	}
	most, beyond := takes(space.MaxSearches), takes(space.MaxSearches+1)
	if err := most.Validate(); err != nil {
		t.Error(err)
	}
	if r := apply(t, p, 1, most); r.Code != space.OK {
		t.Error(r.Err())
	}
	if err := beyond.Validate(); !errors.Is(err, space.ErrTooLarge) {
		t.Error("before it is proposed:", err)
	}
	if r := apply(t, p, 1, beyond); r.Code == space.OK || r.Results[space.MaxSearches].Code != space.CodeTooLarge {
		t.Error(r.Err())
	}
}
