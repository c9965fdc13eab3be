package space

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// grouped is a partition with a space (1) that is grouped by g and indexed by t,
// whose scan limit is so many entries.
type grouped struct {
	testing.TB
	p *Partition
}

func newGrouped(t testing.TB, scanLimit int) *grouped {
	g := &grouped{t, New(1, History{1})}
	define := DefineCommand(&Definition{
		ID: 1, Name: "s", Shape: ShapeFields, Group: "g", ScanLimit: scanLimit,
		Indexes: []Index{{Name: "t", Fields: []string{"t"}}},
	})
	g.p.Apply(0, &define)
	return g
}

func (g *grouped) run(ops ...Op) Reply {
	g.Helper()
	r, err := DecodeReply(g.p.Apply(1, &Command{Ops: ops}))
	if err != nil {
		g.Fatal(err)
	}
	return r
}

func fieldsOf(fields map[string]any) []byte {
	b, err := msgp.AppendValue(nil, fields)
	if err != nil {
		panic(err)
	}
	return b
}

func writeTo(key string, fields map[string]any) Op {
	return Op{Code: OpWrite, Space: 1, Key: []byte(key), Kind: KindFields, Value: fieldsOf(fields)}
}

// keys returns the keys of a result in order.
func keys(r Result) string {
	var b bytes.Buffer
	for i, e := range r.Entries {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.Write(e.Key)
	}
	return b.String()
}

func claimMatch(limit int, fields map[string]any) Op {
	o := Op{Code: OpClaimMatch, Space: 1, Limit: limit}
	if fields != nil {
		o.Template = fieldsOf(fields)
	}
	return o
}

// TestGroupsWhoseHashesCollide are groups of their own all the same.
func TestGroupsWhoseHashesCollide(t *testing.T) {
	g := newGrouped(t, 0)
	g.p.space(1).groups.hash = func([]byte) uint64 { return 7 }
	g.run(writeTo("a1", map[string]any{"g": "a"}), writeTo("b1", map[string]any{"g": "b"}),
		writeTo("a2", map[string]any{"g": "a"}), writeTo("b2", map[string]any{"g": "b"}), writeTo("free", nil))
	r := g.run(claimMatch(9, nil)).Results[0]
	if keys(r) != "a1 b1 free" {
		t.Fatalf("first %s", keys(r))
	}
	if again := g.run(claimMatch(9, nil)).Results[0]; again.Code != CodeNotFound {
		t.Fatalf("of locked groups %s", keys(again))
	}
	g.run(Op{Code: OpAck, Token: r.Entries[1].Token})
	if r := g.run(claimMatch(9, nil)).Results[0]; keys(r) != "b2" {
		t.Fatalf("after b1 %s", keys(r))
	}
	g.run(Op{Code: OpNack, Token: r.Entries[0].Token})
	if r := g.run(Op{Code: OpTakeMatch, Space: 1, Template: fieldsOf(map[string]any{"g": "a"})}).Results[0]; keys(r) != "a1" {
		t.Fatalf("given back, a1 is not the head: %s", keys(r))
	}
}

// TestHeadDecides: a group whose head does not match gives nothing, whichever way
// the search goes: by the group, by an index, or over all heads.
func TestHeadDecides(t *testing.T) {
	g := newGrouped(t, 0)
	g.run(writeTo("a1", map[string]any{"g": "a", "t": 1, "u": 1}), writeTo("a2", map[string]any{"g": "a", "t": 2, "u": 2}),
		writeTo("b1", map[string]any{"g": "b", "t": 2, "u": 2}))
	for _, tmpl := range []map[string]any{{"t": 2}, {"u": 2}, {"g": "b"}, {"g": "b", "t": 2}} {
		r := g.run(Op{Code: OpTakeMatch, Space: 1, Limit: 9, Template: fieldsOf(tmpl)})
		if keys(r.Results[0]) != "b1" {
			t.Errorf("%v takes %q", tmpl, keys(r.Results[0]))
		}
		g.run(writeTo("b1", map[string]any{"g": "b", "t": 2, "u": 2}))
	}
	for _, tmpl := range []map[string]any{{"g": "a", "t": 2}, {"g": "c"}} {
		if r := g.run(claimMatch(1, tmpl)); r.Results[0].Code != CodeNotFound {
			t.Errorf("%v claims %s", tmpl, keys(r.Results[0]))
		}
	}
	// Whoever reads sees everything, and whoever names a key gets it.
	if r := g.run(Op{Code: OpReadMatch, Space: 1, Limit: 9, Template: fieldsOf(map[string]any{"t": 2})}); keys(r.Results[0]) != "a2 b1" {
		t.Errorf("read %s", keys(r.Results[0]))
	}
	if r := g.run(Op{Code: OpClaim, Space: 1, Key: []byte("a2")}); r.Code != OK {
		t.Errorf("claim by key: %v", r.Err())
	}
	if r := g.run(claimMatch(9, nil)); keys(r.Results[0]) != "b1" {
		t.Errorf("behind a claim by key %s", keys(r.Results[0]))
	}
}

// TestGroupInOneCommand: what a command does to a group ends what it can be given
// of it: no entry is handed out past one that the command has claimed, written or
// moved.
func TestGroupInOneCommand(t *testing.T) {
	in := func(group string) map[string]any { return map[string]any{"g": group} }
	for _, x := range []struct {
		what  string
		first Op
		want  string // of what a claim of all gets behind it
	}{
		{"a claim by key", Op{Code: OpClaim, Space: 1, Key: []byte("a2")}, "b1"},
		{"a take by key", Op{Code: OpTake, Space: 1, Key: []byte("a1")}, "b1"},
		{"a take by template", Op{Code: OpTakeMatch, Space: 1}, "b1"},
		{"a write", writeTo("a3", in("a")), "b1"},
		{"a move into another group", writeTo("a2", in("b")), ""},
		{"a move out of all groups", writeTo("a1", nil), "b1"},
		{"a read", Op{Code: OpRead, Space: 1, Key: []byte("a1")}, "a1 b1"},
	} {
		g := newGrouped(t, 0)
		g.run(writeTo("a1", in("a")), writeTo("a2", in("a")), writeTo("b1", in("b")))
		r, err := DecodeReply(g.p.Apply(1, &Command{Independent: true, Ops: []Op{x.first, claimMatch(9, nil)}}))
		if err != nil || r.Results[0].Code != OK || keys(r.Results[1]) != x.want {
			t.Errorf("behind %s: %q, want %q (%v, %v)", x.what, keys(r.Results[1]), x.want, r.Results[0].Code, err)
		}
	}
}

// TestSearchForHeads: entries that match in numbers behind few heads, and heads in
// numbers of which few match, are both searched to the end; without an index the
// scan limit counts heads only.
func TestSearchForHeads(t *testing.T) {
	const n = 3 * firstLeap
	g := newGrouped(t, n/2)
	wide := func(from, to int) { // heads that do not match
		for i := from; i < to; i++ {
			g.run(writeTo(fmt.Sprint("wide", i), map[string]any{"g": i, "t": 2, "u": 2}))
		}
	}
	wide(0, n/2)
	for i := range n { // all match, all but the first behind its head
		g.run(writeTo(fmt.Sprint("deep", i), map[string]any{"g": "deep", "t": 1, "u": 1}))
	}
	wide(n/2, n)
	g.run(writeTo("last", map[string]any{"g": "last", "t": 1, "u": 1}))
	if r := g.run(claimMatch(9, map[string]any{"t": 1})); keys(r.Results[0]) != "deep0 last" {
		t.Fatalf("by index %q, %v", keys(r.Results[0]), r.Results[0].Code)
	}
	if r := g.run(claimMatch(9, map[string]any{"t": 1})); r.Results[0].Code != CodeNotFound {
		t.Fatalf("all claimed, by index: %q", keys(r.Results[0]))
	}
	all := claimMatch(9, map[string]any{"u": 1})
	if r := g.run(all); r.Results[0].Code != CodeScanRefused {
		t.Fatalf("over more heads than may be examined: %v", r.Results[0].Code)
	}
	all.Flags = FlagAllowScan
	if r := g.run(all); r.Results[0].Code != CodeNotFound {
		t.Fatalf("all claimed, over all heads: %q", keys(r.Results[0]))
	}
	if r := g.run(claimMatch(2*n, nil)); len(r.Results[0].Entries) != n {
		t.Fatalf("of %d heads %d were claimed", n, len(r.Results[0].Entries))
	}
}
