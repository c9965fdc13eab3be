package space

import (
	"fmt"
	"hash/maphash"
	"testing"

	"pgregory.net/rapid"
)

// TestHiddenRuns: whatever is written, hidden, shown and removed, a walk yields
// the visible entries in order; every run holds a hidden entry and no visible one,
// and between two runs there is a visible one, so that a walk is never longer than
// twice what it yields.
func TestHiddenRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sp := newEntries(Definition{ID: 1}, maphash.MakeSeed())
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			key := fmt.Appendf(nil, "%d", rapid.IntRange(0, 30).Draw(t, "key"))
			r, ok := sp.table.Get(key)
			e := Entry{Key: key, Order: sp.nextOrder}
			if ok {
				e = entryOf(r)
			}
			switch n := rapid.IntRange(0, 9).Draw(t, "step"); {
			case n < 3:
				e.Claimed = ok && e.Claimed
				sp.put(&e, r, ok)
			case n < 7:
				e.Claimed = true
				sp.put(&e, r, ok)
			case ok && n < 9 && e.Claimed:
				e.Claimed = false
				sp.put(&e, r, ok)
			case ok:
				sp.remove(r)
			}
			checkRuns(t, sp)
		}
	})
}

func checkRuns(t *rapid.T, sp *entries) {
	var visible []uint64
	hidden := 0
	for r := range sp.table.Ascend(0) {
		if isHidden(r) {
			hidden++
		} else {
			visible = append(visible, r.Order())
		}
	}
	if n := sp.hidden.count.Load(); int(n) != hidden {
		t.Fatalf("%d entries counted hidden, there are %d", n, hidden)
	}
	for _, from := range append([]uint64{0}, visible...) {
		var got []uint64
		for r := range sp.visible(from) {
			got = append(got, r.Order())
		}
		want := visible
		for len(want) > 0 && want[0] < from {
			want = want[1:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("from %d a walk yields %v, want %v", from, got, want)
		}
	}
	covered := 0
	above := uint64(0) // first of the run above
	sp.hidden.runs.AscendFrom(0, 0, func(hi, last uint64) bool {
		first, inside := ^hi, 0
		for r, ok := sp.next(first); ok && r.Order() <= last; r, ok = sp.next(r.Order() + 1) {
			if !isHidden(r) {
				t.Fatalf("visible %d in the run from %d to %d", r.Order(), first, last)
			}
			inside++
		}
		if inside == 0 {
			t.Fatalf("nothing in the run from %d to %d", first, last)
		}
		if r, ok := sp.next(last + 1); above != 0 && (!ok || isHidden(r) || r.Order() > above) {
			t.Fatalf("nothing visible between the runs to %d and from %d", last, above)
		}
		covered, above = covered+inside, first
		return true
	})
	if covered != hidden {
		t.Fatalf("%d hidden entries in runs, there are %d", covered, hidden)
	}
}

// TestClaimsAreBounded: at the bound of the table a claim is refused and changes
// nothing, a claim of many gets what there is room for, and the end of a claim
// makes room.
func TestClaimsAreBounded(t *testing.T) {
	p := New(1, History{1})
	define := DefineCommand(&Definition{ID: 1, Name: "s"})
	p.Apply(0, &define)
	run := func(o Op) Result {
		r, err := DecodeReply(p.Apply(1, &Command{Ops: []Op{o}}))
		if err != nil {
			t.Fatal(err)
		}
		return r.Results[0]
	}
	for _, k := range []string{"a", "b", "c"} {
		run(Op{Code: OpWrite, Space: 1, Key: []byte(k)})
	}
	first := run(Op{Code: OpClaimMatch, Space: 1}).Entries[0]
	// The others are not there to be looked at, only to be many.
	for n := range Seq(maxClaims - 2) {
		p.claims.set(1000+n, claim{space: 2, until: 1 << 40})
	}
	if r := run(Op{Code: OpClaimMatch, Space: 1, Limit: 2}); r.Code != OK || len(r.Entries) != 1 {
		t.Fatalf("a claim of two with room for one: %v, %d entries", r.Code, len(r.Entries))
	}
	seq := p.seq
	for _, o := range []Op{{Code: OpClaimMatch, Space: 1}, {Code: OpClaim, Space: 1, Key: []byte("c")}} {
		if r := run(o); r.Code != CodeFull || p.seq != seq {
			t.Fatalf("a claim above the bound: %v, %d changes", r.Code, p.seq-seq)
		}
	}
	run(Op{Code: OpAck, Token: first.Token})
	if r := run(Op{Code: OpClaim, Space: 1, Key: []byte("c")}); r.Code != OK {
		t.Fatalf("when there is room again: %v", r.Code)
	}
}

// TestClaimsEndInSteps: one command ends a bounded number of claims, those that
// were to end first. The others go with the next commands; until then their entries
// stay hidden.
func TestClaimsEndInSteps(t *testing.T) {
	p := New(1, History{1})
	define := DefineCommand(&Definition{ID: 1, Name: "s"})
	p.Apply(0, &define)
	const n = maxExpirePerCommand + 10
	var last Entry
	for i := range n {
		key := fmt.Appendf(nil, "%d", i)
		b := p.Apply(0, &Command{Ops: []Op{
			{Code: OpWrite, Space: 1, Key: key}, {Code: OpClaim, Space: 1, Key: key, Lease: 1000 - 1},
		}})
		r, err := DecodeReply(b)
		if err != nil || r.Code != OK {
			t.Fatal(r.Code, err)
		}
		last = r.Results[1].Entries[0]
	}
	tick := TickCommand()
	p.Apply(1000, &tick)
	if got := p.claims.byNumber.len(); got != 10 || p.Count(1) != maxExpirePerCommand {
		t.Fatalf("%d claims left, %d entries shown", got, p.Count(1))
	}
	if r, _ := p.space(1).table.ByOrder(1); isHidden(r) {
		t.Fatal("the first claim is not the first to end")
	}
	// This command ends the rest before it is looked at.
	if r, _ := DecodeReply(p.Apply(1000, &Command{Ops: []Op{{Code: OpAck, Token: last.Token}}})); r.Results[0].Code != CodeFenced {
		t.Fatalf("ack of an ended claim: %v", r.Results[0].Code)
	}
}
