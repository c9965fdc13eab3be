package space_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// The tests of the files meet_* are about places where two features of the
// partition meet.

// meeting returns a partition with one space of fields.
func meeting(t testing.TB, def space.Definition) *space.Partition {
	t.Helper()
	p := space.New(3, testHistory)
	def.ID, def.Name, def.Shape = 1, "meeting", space.ShapeFields
	if r := apply(t, p, 0, space.DefineCommand(&def)); r.Code != space.OK {
		t.Fatal(r.Err())
	}
	apply(t, p, 0, space.EpochCommand(0))
	return p
}

// entry returns the write of an entry of the space.
func entry(key string, m map[string]any) space.Op {
	return space.Op{Code: space.OpWrite, Space: 1, Key: []byte(key), Kind: space.KindFields, Value: encode(m)}
}

// TestAnExportTakesTheLargestChange: an update that replaces a value of the
// largest size with another one carries both.
func TestAnExportTakesTheLargestChange(t *testing.T) {
	p := meeting(t, space.Definition{})
	for i := range 3 {
		v := encode(map[string]any{"v": bytes.Repeat([]byte{byte(i)}, space.MaxValueBytes-16)})
		o := space.Op{Code: space.OpWrite, Kind: space.KindFields, Space: 1, Key: bytes.Repeat([]byte("k"), space.MaxKeyBytes), Value: v}
		if r := apply(t, p, 1, command(o)); r.Code != space.OK {
			t.Fatal(r.Err())
		}
	}
	if q := restored(t, p); q.Image().Digest() != p.Image().Digest() {
		t.Fatal("the export reads back as something else")
	}
}

// TestANackKeepsTheRoute: what a holder makes of an entry when he gives it back
// lies under the key that its routing field asks for, now or after a delay.
func TestANackKeepsTheRoute(t *testing.T) {
	p := meeting(t, space.Definition{Routing: "r"})
	if r := apply(t, p, 1, command(entry("{a}1", map[string]any{"r": "a"}))); r.Code != space.OK {
		t.Fatal(r.Err())
	}
	e := claimed(t, p, 1, 1, "{a}1", time.Minute)
	for _, delay := range []time.Duration{0, time.Second} {
		nack := holding(space.OpNack, e)
		nack.Lease = delay
		nack.Mutations = []space.Mutation{{Code: space.MutSet, Field: "r", Arg: msgp.AppendString(nil, "b")}}
		if r := only(t, p, 1, nack); r.Code != space.CodeInvalid {
			t.Fatalf("after %v: %v", delay, r.Code)
		}
	}
	if r := only(t, p, 1, holding(space.OpNack, e)); r.Code != space.OK {
		t.Fatal("the refused nacks have touched the claim:", r.Code)
	}
}

// TestASearchSeesVersionsOfItsCommand: a search reports the version that an entry
// written by the same command gets, as a read by key does.
func TestASearchSeesVersionsOfItsCommand(t *testing.T) {
	p := meeting(t, space.Definition{})
	apply(t, p, 1, command(entry("a", map[string]any{"v": 1})))
	for _, limit := range []int{1, 5} {
		r := apply(t, p, 1, command(
			entry("a", map[string]any{"v": 2}), entry("b", map[string]any{"v": 3}),
			space.Op{Code: space.OpReadMatch, Space: 1, Limit: limit, Flags: space.FlagAllowScan},
		))
		if r.Code != space.OK {
			t.Fatal(r.Err())
		}
		for _, e := range r.Results[2].Entries {
			if stored, _ := p.Get(1, e.Key); e.Version != stored.Version || e.Order != stored.Order {
				t.Errorf("limit %d: %s has version %d, order %d, the search said %d, %d", limit, e.Key, stored.Version, stored.Order, e.Version, e.Order)
			}
		}
	}
}

// TestANackToNothing: the value that an entry gets after a delay may be empty. It
// is a change all the same, whatever the replica has computed before.
func TestANackToNothing(t *testing.T) {
	fresh, used := jobs(t), jobs(t)
	apply(t, used, 1, command(
		put("x", "1"), space.Op{Code: space.OpChange, Space: 1, Key: []byte("x"), Mutations: []space.Mutation{{Code: space.MutAppend, Arg: []byte("2")}}},
		space.Op{Code: space.OpTake, Space: 1, Key: []byte("x")},
	))
	for _, p := range []*space.Partition{fresh, used} {
		apply(t, p, 1, command(put("a", "1")))
		nack := holding(space.OpNack, claimed(t, p, 1, 1, "a", time.Minute))
		nack.Lease, nack.Mutations = 10, []space.Mutation{{Code: space.MutSet}}
		if r := only(t, p, 1, nack); r.Code != space.OK {
			t.Fatal(r.Code)
		}
		q := restored(t, p)
		for _, p := range []*space.Partition{p, q} {
			apply(t, p, 20, space.TickCommand())
			if e, code := p.Get(1, []byte("a")); code != space.OK || len(e.Value) != 0 {
				t.Errorf("after the delay: %q, %v", e.Value, code)
			}
		}
	}
}
