package space_test

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// BenchmarkClaim is one replica's work to claim the next entry of a space, to
// acknowledge it and to write another: with many entries or few, behind claims on
// the first 100 thousand of them or none. None of that may show in the time.
func BenchmarkClaim(b *testing.B) {
	for _, x := range []struct{ entries, claimed int }{{10_000, 0}, {1_000_000, 0}, {1_000_000, 100_000}} {
		b.Run(fmt.Sprintf("entries=%d/claimed=%d", x.entries, x.claimed), func(b *testing.B) {
			benchmarkClaim(b, space.Definition{ID: 1, Name: "s"}, x.entries, x.claimed, 1)
		})
	}
}

// BenchmarkClaimInGroups is the same in a space with groups.
func BenchmarkClaimInGroups(b *testing.B) {
	for _, groups := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			benchmarkClaim(b, space.Definition{ID: 1, Name: "s", Group: "g"}, 100_000, 0, groups)
		})
	}
}

func benchmarkClaim(b *testing.B, def space.Definition, entries, claimed, groups int) {
	p := space.New(1, testHistory)
	define := space.DefineCommand(&def)
	p.Apply(0, &define)
	trim := space.TrimCommand(space.Trim{Floor: 1 << 60})
	next := 0
	write := func() space.Op {
		next++
		return space.Op{
			Code: space.OpWrite, Space: 1, Key: fmt.Appendf(nil, "key-%d", next), Kind: space.KindFields,
			Value: encode(map[string]any{"g": int64(next % groups), "n": int64(next)}),
		}
	}
	for range entries {
		c := command(write())
		if p.Apply(0, &c); next%10_000 == 0 {
			p.Apply(0, &trim)
		}
	}
	hide := command(space.Op{Code: space.OpClaimMatch, Space: 1, Limit: 1000, Lease: space.MaxClaimLease})
	for range claimed / 1000 {
		p.Apply(0, &hide)
		p.Apply(0, &trim)
	}
	if n := p.Status().Claims; n != claimed {
		b.Fatalf("%d claims", n)
	}
	claim := command(space.Op{Code: space.OpClaimMatch, Space: 1})
	b.ReportAllocs()
	for b.Loop() {
		r, err := space.DecodeReply(p.Apply(1, &claim))
		if err != nil || r.Code != space.OK {
			b.Fatal(r.Code, err)
		}
		done := command(space.Op{Code: space.OpAck, Token: r.Results[0].Entries[0].Token}, write())
		if r, _ := space.DecodeReply(p.Apply(1, &done)); r.Code != space.OK {
			b.Fatal(r.Err())
		}
		if next%10_000 == 0 {
			p.Apply(1, &trim)
		}
	}
}
