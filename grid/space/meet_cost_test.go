package space_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
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

// TestOneCommandTouchesSoMuch: many operations for many entries each are
// refused rather than carried out in one go.
func TestOneCommandTouchesSoMuch(t *testing.T) {
	for name, o := range map[string]space.Op{
		"clear": {Code: space.OpClear}, "take": {Code: space.OpTakeMatch}, "claim": {Code: space.OpClaimMatch},
	} {
		t.Run(name, func(t *testing.T) {
			p := meeting(t, space.Definition{})
			const n = 200_000
			fill(t, p, n, func(i int) map[string]any { return nil })
			o.Space, o.Limit = 1, space.MaxOps
			var c space.Command
			for range 100 {
				c.Ops = append(c.Ops, o)
			}
			begun := time.Now()
			r := apply(t, p, 1, c)
			t.Log(time.Since(begun), r.Err(), p.Count(1))
		})
	}
}

func TestOffersInAnyOrder(t *testing.T) {
	p := meeting(t, space.Definition{})
	const n = 65536
	fill(t, p, n, func(i int) map[string]any { return map[string]any{"g": i / 4096} })
	wait := space.Op{Code: space.OpTakeMatch, Space: 1, Template: encode(map[string]any{"never": 1}), Wait: time.Minute, Flags: space.FlagAllowScan}
	if r := apply(t, p, 1, session(1, 1, space.Time(time.Minute), wait)); r.Code != space.CodeWaiting {
		t.Fatal(r.Err())
	}
	var c space.Command
	for i := range n / 4096 {
		c.Ops = append(c.Ops, space.Op{Code: space.OpChangeMatch, Space: 1, Flags: space.FlagAllowScan, Limit: space.MaxOps,
			Template: encode(map[string]any{"g": n/4096 - 1 - i}), Mutations: []space.Mutation{{Code: space.MutSet, Field: "x", Arg: encode(1)}}})
	}
	begun := time.Now()
	r := apply(t, p, 1, c)
	t.Log(time.Since(begun), r.Err())
}

func TestOutcomesCost(t *testing.T) {
	p := meeting(t, space.Definition{})
	const n = 60000
	for i := range uint64(n) {
		apply(t, p, 1, decideTxn(i+1, false, 1000+i*1000))
	}
	begun := time.Now()
	for i := range uint64(1000) {
		apply(t, p, space.Time(2000+i*1000), space.TickCommand())
	}
	t.Log("a command:", time.Since(begun)/1000)
}

func TestGroupSearchCost(t *testing.T) {
	p := meeting(t, space.Definition{Group: "g", Indexes: []space.Index{{Name: "v", Fields: []string{"v"}, Ordered: true}}})
	const n = 200_000
	fill(t, p, n, func(i int) map[string]any {
		if i%10 == 0 {
			return map[string]any{"g": "one", "v": 5}
		}
		return map[string]any{"g": i, "v": 1}
	})
	apply(t, p, 1, command(space.Op{Code: space.OpClaim, Space: 1, Key: []byte("0")}))
	begun := time.Now()
	r := apply(t, p, 1, command(space.Op{Code: space.OpClaimMatch, Space: 1, Predicate: where(t, "v > 3")}))
	t.Log(time.Since(begun), r.Err())
}

// where returns the binary form of a condition.
func where(t testing.TB, text string) []byte {
	t.Helper()
	p, err := predicate.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Append(nil)
}

func TestPredicateCost(t *testing.T) {
	p := meeting(t, space.Definition{})
	m := map[string]any{}
	for i := range 80_000 {
		m[fmt.Sprint("f", i)] = i
	}
	if r := apply(t, p, 1, command(entry("a", m))); r.Code != space.OK {
		t.Fatal(r.Err())
	}
	var b strings.Builder
	b.WriteString("zz0 = 1")
	for i := 1; i < 300; i++ {
		fmt.Fprintf(&b, " or zz%d = 1", i)
	}
	begun := time.Now()
	r := apply(t, p, 1, command(space.Op{Code: space.OpReadMatch, Space: 1, Predicate: where(t, b.String())}))
	t.Log(time.Since(begun), r.Err())
	big := make([]any, 500_000)
	for i := range big {
		big[i] = i % 100
	}
	if r := apply(t, p, 1, command(entry("a", map[string]any{"l": big}))); r.Code != space.OK {
		t.Fatal(r.Err())
	}
	b.Reset()
	b.WriteString("l contains 1000")
	for i := 1; i < 300; i++ {
		fmt.Fprintf(&b, " or l contains %d", 1000+i)
	}
	begun = time.Now()
	r = apply(t, p, 1, command(space.Op{Code: space.OpReadMatch, Space: 1, Predicate: where(t, b.String())}))
	t.Log(time.Since(begun), r.Err())
}

func TestManySearches(t *testing.T) {
	for name, o := range map[string]space.Op{
		"take": {Code: space.OpTakeMatch}, "claim": {Code: space.OpClaimMatch}, "change": {Code: space.OpChangeMatch, Mutations: []space.Mutation{{Code: space.MutSet, Field: "x", Arg: encode(1)}}},
	} {
		for _, g := range []string{"", "g"} {
			t.Run(name+g, func(t *testing.T) {
				p := meeting(t, space.Definition{Group: g})
				fill(t, p, 20000, func(i int) map[string]any { return map[string]any{"g": i} })
				o.Space = 1
				var c space.Command
				for range space.MaxOps {
					c.Ops = append(c.Ops, o)
				}
				begun := time.Now()
				r := apply(t, p, 1, c)
				t.Log(time.Since(begun), r.Err(), p.Count(1))
			})
		}
	}
}
