package space_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// jobs returns a partition with the spaces jobs (1: two attempts, then dead), dead
// (2), fields (3: grouped by g, attempts without limit) and lost (4: one attempt,
// and a dead-letter space that is not there).
func jobs(t testing.TB) *space.Partition {
	t.Helper()
	p := space.New(3, testHistory)
	for _, d := range []space.Definition{
		{ID: 1, Name: "jobs", MaxAttempts: 2, DeadLetter: 2, ClaimLease: 10},
		{ID: 2, Name: "dead", Lease: 1000},
		{ID: 3, Name: "fields", Shape: space.ShapeFields, Group: "g"},
		{ID: 4, Name: "lost", MaxAttempts: 1, DeadLetter: 9},
	} {
		if r := apply(t, p, 0, space.DefineCommand(&d)); r.Code != space.OK {
			t.Fatal(r.Code)
		}
	}
	apply(t, p, 0, space.EpochCommand(0))
	return p
}

// claimed claims an entry by key and returns it.
func claimed(t testing.TB, p *space.Partition, now space.Time, id space.ID, key string, lease time.Duration) space.Entry {
	t.Helper()
	r := apply(t, p, now, command(space.Op{Code: space.OpClaim, Space: id, Key: []byte(key), Lease: lease}))
	if r.Code != space.OK || len(r.Results[0].Entries) != 1 {
		t.Fatalf("claim of %s: %v", key, r.Err())
	}
	return r.Results[0].Entries[0]
}

// only applies one operation and returns its result.
func only(t testing.TB, p *space.Partition, now space.Time, o space.Op) space.Result {
	t.Helper()
	return apply(t, p, now, command(o)).Results[0]
}

func holding(code space.OpCode, e space.Entry) space.Op { return space.Op{Code: code, Token: e.Token} }

func since(t testing.TB, p *space.Partition, seq space.Seq) []space.Change {
	t.Helper()
	cs, err := p.Changelog().Read(nil, seq, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

func restored(t testing.TB, p *space.Partition) *space.Partition {
	t.Helper()
	var b bytes.Buffer
	if err := p.Image().Export(&b); err != nil {
		t.Fatal(err)
	}
	q, err := space.Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestClaimHidesAnEntry from everybody but its holder: what each operation makes
// of a claimed key. None of them changes anything.
func TestClaimHidesAnEntry(t *testing.T) {
	p := jobs(t)
	apply(t, p, 1, command(put("a", "1")))
	e := claimed(t, p, 1, 1, "a", 0)
	if string(e.Value) != "1" || e.Token != (space.Token{Epoch: 1, Number: p.Status().Seq}) || e.Claimed {
		t.Fatalf("the holder got %+v", e)
	}
	if _, code := p.Get(1, []byte("a")); code != space.CodeNotFound {
		t.Fatalf("it is read: %v", code)
	}
	if found, _, code := p.Match(nil, 1, nil, nil, 0, 1, 1, true); code != space.OK || len(found) != 0 || p.Count(1) != 0 {
		t.Fatalf("it is found: %v %v, count %d", found, code, p.Count(1))
	}
	before := p.Image().Digest().Content
	for _, x := range []struct {
		what string
		op   space.Op
		want space.Code
	}{
		{"write", space.Op{Code: space.OpWrite}, space.CodeClaimed},
		{"insert", space.Op{Code: space.OpWrite, Mode: space.ModeInsert}, space.CodeClaimed},
		{"take", space.Op{Code: space.OpTake}, space.CodeClaimed},
		{"change", space.Op{Code: space.OpChange, Flags: space.FlagCreate, Mutations: []space.Mutation{{Code: space.MutSet}}}, space.CodeClaimed},
		{"renew", space.Op{Code: space.OpRenew}, space.CodeClaimed},
		{"claim", space.Op{Code: space.OpClaim}, space.CodeClaimed},
		{"read", space.Op{Code: space.OpRead}, space.CodeNotFound},
		{"check of what was read", space.Op{Code: space.OpCheck, Match: e.Version}, space.CodeConflict},
		{"check of its absence", space.Op{Code: space.OpCheck}, space.OK},
		{"take by template", space.Op{Code: space.OpTakeMatch}, space.CodeNotFound},
		{"read by template", space.Op{Code: space.OpReadMatch}, space.CodeNotFound},
		{"claim by template", space.Op{Code: space.OpClaimMatch}, space.CodeNotFound},
		{"clear", space.Op{Code: space.OpClear, Limit: 9}, space.OK},
	} {
		o := x.op
		o.Space = 1
		if o.Code != space.OpClear && o.Template == nil && !strings.Contains(x.what, "template") {
			o.Key = []byte("a")
		}
		if r := only(t, p, 2, o); r.Code != x.want || r.Count != 0 {
			t.Errorf("%s: %v, count %d, want %v", x.what, r.Code, r.Count, x.want)
		}
	}
	if p.Image().Digest().Content != before {
		t.Error("something has changed")
	}
	if st := p.Status(); st.Claims != 1 || st.Entries != 1 {
		t.Errorf("status: %d claims, %d entries", st.Claims, st.Entries)
	}
	seen := 0
	p.Scan(1, 0, func(e space.Entry) bool {
		if seen++; !e.Claimed || string(e.Key) != "a" {
			t.Errorf("who mirrors the space sees %+v", e)
		}
		return true
	})
	if seen != 1 {
		t.Error("who mirrors the space does not see it")
	}
}

// TestClaimRefusals: what is wrong with a claim is said, and nothing changes.
func TestClaimRefusals(t *testing.T) {
	p := jobs(t)
	apply(t, p, 1, command(put("a", "1"), put("b", "1")))
	e := claimed(t, p, 1, 1, "a", 0)
	old := claimed(t, p, 1, 1, "b", 0)
	apply(t, p, 1, command(holding(space.OpNack, old)))
	delayed := claimed(t, p, 1, 1, "b", 0)
	apply(t, p, 1, command(space.Op{Code: space.OpNack, Token: delayed.Token, Lease: 5, Flags: space.FlagUncounted}))
	forged := e
	forged.Token.Epoch++
	before := p.Image().Digest()
	for _, x := range []struct {
		what string
		op   space.Op
		want space.Code
	}{
		{"claim of nothing", space.Op{Code: space.OpClaim, Space: 1, Key: []byte("none")}, space.CodeNotFound},
		{"claim in no space", space.Op{Code: space.OpClaim, Space: 7, Key: []byte("a")}, space.CodeNoSpace},
		{"claim for ever", space.Op{Code: space.OpClaim, Space: 1, Key: []byte("b"), Lease: space.Forever}, space.CodeInvalid},
		{"claim for too long", space.Op{Code: space.OpClaimMatch, Space: 1, Lease: space.MaxClaimLease + 1}, space.CodeInvalid},
		{"ack of a forged token", holding(space.OpAck, forged), space.CodeFenced},
		{"ack of no token", space.Op{Code: space.OpAck}, space.CodeFenced},
		{"ack after nack", holding(space.OpAck, old), space.CodeFenced},
		{"nack after nack", holding(space.OpNack, old), space.CodeFenced},
		{"extend after nack", holding(space.OpExtend, old), space.CodeFenced},
		{"ack during the delay", holding(space.OpAck, delayed), space.CodeFenced},
		{"nack during the delay", holding(space.OpNack, delayed), space.CodeFenced},
		{"extend for ever", space.Op{Code: space.OpExtend, Token: e.Token, Lease: space.Forever}, space.CodeInvalid},
		{"extend for too long", space.Op{Code: space.OpExtend, Token: e.Token, Lease: space.MaxClaimLease + 1}, space.CodeInvalid},
		{"delay for too long", space.Op{Code: space.OpNack, Token: e.Token, Lease: space.MaxClaimLease + 1}, space.CodeInvalid},
		{"nack with a mutation that fails", space.Op{Code: space.OpNack, Token: e.Token, Mutations: []space.Mutation{{Code: space.MutSet, Field: "f", Arg: encode("x")}}}, space.CodeWrongKind},
	} {
		if r := only(t, p, 2, x.op); r.Code != x.want {
			t.Errorf("%s: %v, want %v", x.what, r.Code, x.want)
		}
	}
	// A good ack in company of a failure is none.
	if r := apply(t, p, 2, command(holding(space.OpAck, e), holding(space.OpAck, e))); r.Failed != 1 || r.Results[1].Code != space.CodeFenced {
		t.Errorf("the second ack of one token: %+v", r)
	}
	if r := apply(t, p, 2, command(space.Op{Code: space.OpExtend, Token: e.Token, Lease: 500}, holding(space.OpAck, forged))); r.Failed != 1 {
		t.Errorf("an extension beside a failure: %+v", r)
	}
	after := p.Image().Digest()
	if after.Content != before.Content || after.Seq != before.Seq {
		t.Error("a refusal has changed something")
	}
	apply(t, p, 11, space.TickCommand())
	if st := p.Status(); st.Claims != 0 {
		t.Errorf("%d claims are left: a refused extension counts", st.Claims)
	}
}

// TestClaimEnds: what becomes of the entry, of its attempts, and what is said of
// it, for each way in which a claim ends.
func TestClaimEnds(t *testing.T) {
	nack := func(o space.Op) func(space.Entry) space.Op {
		return func(e space.Entry) space.Op {
			o.Code, o.Token = space.OpNack, e.Token
			return o
		}
	}
	more := []space.Mutation{{Code: space.MutAppend, Arg: []byte("!")}}
	for _, x := range []struct {
		what     string
		op       func(space.Entry) space.Op // nil: nothing is done
		at       space.Time                 // then the time comes to
		change   space.ChangeOp
		cause    space.Cause
		value    string // "": there is no entry
		attempts int
	}{
		{"ack", func(e space.Entry) space.Op { return holding(space.OpAck, e) }, 5, space.Removed, space.Taken, "", 0},
		{"nack", nack(space.Op{}), 5, space.Released, 0, "v", 1},
		{"nack that does not count", nack(space.Op{Flags: space.FlagUncounted}), 5, space.Released, 0, "v", 0},
		{"nack with a change", nack(space.Op{Mutations: more}), 5, space.Released, 0, "v!", 1},
		{"a delay that lasts", nack(space.Op{Lease: 7, Mutations: more}), 8, 0, 0, "", 0},
		{"a delay that is over", nack(space.Op{Lease: 7, Mutations: more}), 9, space.Released, 0, "v!", 1},
		{"a delay that does not count", nack(space.Op{Lease: 7, Flags: space.FlagUncounted}), 9, space.Released, 0, "v", 0},
		{"the claim's time", nil, 11, space.Released, 0, "v", 1},
		{"not yet", nil, 10, 0, 0, "", 0},
		{"an extension that is over", func(e space.Entry) space.Op { return space.Op{Code: space.OpExtend, Token: e.Token, Lease: 20} }, 22, space.Released, 0, "v", 1},
		{"an extension that lasts", func(e space.Entry) space.Op { return space.Op{Code: space.OpExtend, Token: e.Token, Lease: 20} }, 21, 0, 0, "", 0},
	} {
		p := jobs(t)
		apply(t, p, 1, command(put("other", "o"), put("k", "v"), put("later", "l")))
		first, _ := p.Get(1, []byte("k"))
		e := claimed(t, p, 1, 1, "k", 0)
		before := p.Status().Seq
		if x.op != nil {
			if r := only(t, p, 2, x.op(e)); r.Code != space.OK {
				t.Fatalf("%s: %v", x.what, r.Code)
			}
		}
		p = restored(t, p)
		apply(t, p, x.at, space.TickCommand())
		got, code := p.Get(1, []byte("k"))
		if (code == space.OK) != (x.value != "") || string(got.Value) != x.value || got.Attempts != x.attempts {
			t.Errorf("%s: %s %v, %d attempts", x.what, got.Value, code, got.Attempts)
		}
		cs := since(t, p, before)
		if x.change == 0 {
			if next := p.NextDeadline(); len(cs) != 0 || p.Status().Claims != 1 || next != x.at+1 {
				t.Errorf("%s: %+v, something is due at %d", x.what, cs, next)
			}
			continue
		}
		if len(cs) != 1 || cs[0].Op != x.change || cs[0].Cause != x.cause || cs[0].Previous != first.Version ||
			cs[0].Order != first.Order || string(cs[0].Value) != x.value || cs[0].Attempts != x.attempts {
			t.Errorf("%s: %+v", x.what, cs)
		}
		if code == space.OK && (got.Order != first.Order || got.Version != cs[0].Seq) {
			t.Errorf("%s: the entry has lost its place: %+v", x.what, got)
		}
		if p.Status().Claims != 0 || p.NextDeadline() != space.Never {
			t.Errorf("%s: something is left: %+v", x.what, p.Status())
		}
		if r := only(t, p, x.at, holding(space.OpAck, e)); r.Code != space.CodeFenced {
			t.Errorf("%s: the token is good for %v afterwards", x.what, r.Code)
		}
	}
}

// TestLeaseUnderClaim: the lease of an entry does not end while it is claimed. It
// ends with the claim, also before the dead-letter space.
func TestLeaseUnderClaim(t *testing.T) {
	for attempt, end := range []space.Op{{Code: space.OpNack}, {Code: space.OpNack, Lease: 3}, {Code: space.OpTick}} {
		p := jobs(t)
		w := put("k", "v")
		w.Lease = 5
		apply(t, p, 1, command(w))
		for range attempt % 2 {
			apply(t, p, 1, command(holding(space.OpNack, claimed(t, p, 1, 1, "k", 0))))
		}
		e := claimed(t, p, 1, 1, "k", 20)
		apply(t, p, 10, space.TickCommand())
		if st := p.Status(); st.Claims != 1 || st.Entries != 1 {
			t.Fatalf("past its lease a claimed entry is gone: %+v", st)
		}
		before := p.Status().Seq
		if end.Token = e.Token; end.Code == space.OpNack {
			only(t, p, 10, end)
		}
		apply(t, p, 21, space.TickCommand())
		cs := since(t, p, before)
		if len(cs) != 1 || cs[0].Op != space.Removed || cs[0].Cause != space.Expired || p.Status().Entries != 0 {
			t.Errorf("end %d: %+v", attempt, cs)
		}
	}
	p := jobs(t)
	w := put("k", "v")
	w.Lease = 5
	apply(t, p, 1, command(w))
	e := claimed(t, p, 1, 1, "k", 20)
	if r := only(t, p, 15, holding(space.OpAck, e)); r.Code != space.OK {
		t.Errorf("an ack past the entry's lease: %v", r.Code)
	}
}

// TestExhausted: after its last attempt an entry is in the dead-letter space, and
// never in both or neither, however the attempt ended.
func TestExhausted(t *testing.T) {
	for _, end := range []string{"nack", "delayed nack", "time"} {
		p := jobs(t)
		apply(t, p, 1, command(put("k", "v")))
		apply(t, p, 2, command(holding(space.OpNack, claimed(t, p, 2, 1, "k", 0))))
		e := claimed(t, p, 2, 1, "k", 0)
		if e.Attempts != 1 {
			t.Fatalf("the second holder is told of %d attempts", e.Attempts)
		}
		before := p.Status().Seq
		switch o := holding(space.OpNack, e); end {
		case "delayed nack":
			o.Lease = 1000 // there is nothing to wait for
			fallthrough
		case "nack":
			o.Mutations = []space.Mutation{{Code: space.MutAppend, Arg: []byte(" failed")}}
			only(t, p, 3, o)
		case "time":
			apply(t, p, 12, space.TickCommand())
		}
		cs := since(t, p, before)
		if len(cs) != 2 || cs[0].Op != space.Removed || cs[0].Cause != space.Exhausted || cs[0].More != 1 || cs[0].Space != 1 ||
			cs[1].Op != space.Written || cs[1].Space != 2 || cs[1].More != 0 {
			t.Fatalf("%s: %+v", end, cs)
		}
		d, code := p.Get(2, []byte("k"))
		if code != space.OK || !bytes.HasPrefix(d.Value, []byte("v")) || (end != "time") != bytes.HasSuffix(d.Value, []byte("failed")) ||
			d.Attempts != 0 || d.Deadline != p.Clock()+1000 || p.Count(1) != 0 || p.Status().Entries != 1 {
			t.Errorf("%s: in the dead-letter space %+v, %v", end, d, code)
		}
	}
}

// TestNoPlaceForDeadLetters: an entry whose dead-letter space is not there, or has
// another shape, or has an entry under its key, stays and is handed out again; it
// moves when there is a place.
func TestNoPlaceForDeadLetters(t *testing.T) {
	p := jobs(t)
	lost := space.Op{Code: space.OpWrite, Space: 4, Key: []byte("k"), Value: []byte("v")}
	apply(t, p, 1, command(lost, put("k", "v"), space.Op{Code: space.OpWrite, Space: 2, Key: []byte("k"), Value: []byte("dead before")}))
	fail := func(id space.ID) {
		t.Helper()
		only(t, p, 2, holding(space.OpNack, claimed(t, p, 2, id, "k", 0)))
	}
	for n := 1; n <= 3; n++ {
		fail(4)
		fail(1)
		for id, want := range map[space.ID]int{4: n, 1: n} {
			if e, code := p.Get(id, []byte("k")); code != space.OK || e.Attempts != want {
				t.Fatalf("space %d after %d attempts: %+v, %v", id, n, e, code)
			}
		}
	}
	if d, _ := p.Get(2, []byte("k")); string(d.Value) != "dead before" {
		t.Fatalf("an earlier dead letter was lost to %q", d.Value)
	}
	apply(t, p, 3, space.DefineCommand(&space.Definition{ID: 9, Name: "nine", Shape: space.ShapeBytes}))
	if fail(4); p.Count(9) != 0 || p.Count(4) != 1 {
		t.Fatal("an entry moved to a space of another shape")
	}
	only(t, p, 3, space.Op{Code: space.OpTake, Space: 2, Key: []byte("k")})
	if fail(1); p.Count(1) != 0 || p.Count(2) != 1 {
		t.Error("the entry did not move when there was a place")
	}
	apply(t, p, 3, space.DropCommand(2))
	apply(t, p, 3, command(put("k", "w")))
	fail(1)
	if fail(1); p.Count(1) != 1 {
		t.Error("an entry was lost with its dead-letter space")
	}
}

// TestLapsedDeadLetterMakesRoom: an entry in the dead-letter space whose lease ends
// no later than the last attempt is gone before its place is looked at.
func TestLapsedDeadLetterMakesRoom(t *testing.T) {
	p := jobs(t)
	apply(t, p, 1, command(put("k", "v"), space.Op{Code: space.OpWrite, Space: 2, Key: []byte("k"), Value: []byte("dead before"), Lease: 10}))
	only(t, p, 1, holding(space.OpNack, claimed(t, p, 1, 1, "k", 0)))
	claimed(t, p, 1, 1, "k", 10)
	before := p.Status().Seq
	apply(t, p, 11, space.TickCommand())
	cs := since(t, p, before)
	if d, _ := p.Get(2, []byte("k")); string(d.Value) != "v" || len(cs) != 3 || cs[0].Cause != space.Expired || cs[1].Cause != space.Exhausted {
		t.Errorf("in the dead-letter space %q after %+v", d.Value, cs)
	}
}

// TestDigestCoversClaims: two replicas that disagree about the end of a claim, or
// about what an entry becomes after a delay, have different digests, though nobody
// can see the difference yet.
func TestDigestCoversClaims(t *testing.T) {
	one := jobs(t)
	apply(t, one, 1, command(put("k", "v")))
	e := claimed(t, one, 1, 1, "k", 0)
	mutated := func(s string) []space.Mutation { return []space.Mutation{{Code: space.MutAppend, Arg: []byte(s)}} }
	seen := map[[16]byte]int{}
	for i, o := range []space.Op{
		{Code: space.OpExtend, Lease: 20}, {Code: space.OpExtend, Lease: 21}, {Code: space.OpNack, Lease: 20},
		{Code: space.OpNack, Lease: 20, Flags: space.FlagUncounted}, {Code: space.OpNack, Lease: 20, Mutations: mutated("a")},
		{Code: space.OpNack, Lease: 20, Mutations: mutated("b")},
	} {
		p := restored(t, one)
		o.Token = e.Token
		if r := only(t, p, 2, o); r.Code != space.OK {
			t.Fatal(r.Code)
		}
		d := p.Image().Digest()
		if d.Content != one.Image().Digest().Content || restored(t, p).Image().Digest() != d {
			t.Errorf("operation %d: the content differs, or a snapshot changes the state", i)
		}
		if j, same := seen[d.State]; same {
			t.Errorf("operations %d and %d leave the same digest", j, i)
		}
		seen[d.State] = i
	}
}

// TestDropEndsClaims: with a space its claims are gone, and their tokens are worth
// nothing.
func TestDropEndsClaims(t *testing.T) {
	p := jobs(t)
	apply(t, p, 1, command(put("a", "1"), space.Op{Code: space.OpWrite, Space: 2, Key: []byte("b")}))
	a, b := claimed(t, p, 1, 1, "a", 0), claimed(t, p, 1, 2, "b", 0)
	apply(t, p, 2, space.DropCommand(1))
	if r := only(t, p, 2, holding(space.OpAck, a)); r.Code != space.CodeFenced {
		t.Errorf("ack in a dropped space: %v", r.Code)
	}
	apply(t, p, 100, space.TickCommand())
	if r := only(t, p, 100, holding(space.OpAck, b)); r.Code != space.OK || p.Status().Claims != 0 {
		t.Errorf("ack in the other space: %v, %d claims left", r.Code, p.Status().Claims)
	}
}

// TestRedefineKeepsClaims: new indexes and groups know nothing of a claimed entry
// but that its group is locked, and all of it once it is shown again.
func TestRedefineKeepsClaims(t *testing.T) {
	p := jobs(t)
	w := func(key string, g int64) space.Op {
		return space.Op{Code: space.OpWrite, Space: 3, Key: []byte(key), Kind: space.KindFields, Value: encode(map[string]any{"g": g, "h": "all"})}
	}
	apply(t, p, 1, command(w("a", 1), w("b", 1), w("c", 2)))
	e := claimed(t, p, 1, 3, "a", 0)
	def := space.Definition{
		ID: 3, Name: "fields", Shape: space.ShapeFields, Group: "h", ScanLimit: 1,
		Indexes: []space.Index{{Name: "g", Fields: []string{"g"}}},
	}
	apply(t, p, 1, space.DefineCommand(&def))
	find := space.Op{Code: space.OpTakeMatch, Space: 3, Template: encode(map[string]any{"g": int64(1)})}
	all := space.Op{Code: space.OpTakeMatch, Space: 3}
	for _, o := range []space.Op{find, all} {
		if r := only(t, p, 1, o); r.Code != space.CodeNotFound {
			t.Errorf("of a locked group: %v %v", r.Code, r.Entries)
		}
	}
	only(t, p, 1, holding(space.OpNack, e))
	for _, want := range []string{"a", "b"} {
		if r := only(t, p, 1, find); r.Code != space.OK || string(r.Entries[0].Key) != want {
			t.Errorf("%v %v, want %s", r.Code, r.Entries, want)
		}
	}
}

// TestClaimInCompany: a command may write and claim at once, acknowledge and write
// what came of it, and give back what another of its operations claims again.
func TestClaimInCompany(t *testing.T) {
	p := jobs(t)
	r := apply(t, p, 1, command(put("in", "1"), space.Op{Code: space.OpClaim, Space: 1, Key: []byte("in"), Lease: 50}))
	e := r.Results[1].Entries[0]
	if r.Code != space.OK || e.Version != r.Results[0].Version || e.Token.Number != e.Version+1 || e.Order == 0 {
		t.Fatalf("write and claim: %+v", r)
	}
	if cs := since(t, p, e.Version-1); len(cs) != 2 || cs[0].More != 1 || cs[1].Op != space.Claimed || cs[1].Previous != e.Version {
		t.Fatalf("write and claim: %+v", cs)
	}
	r = apply(t, p, 2, command(holding(space.OpNack, e), space.Op{Code: space.OpClaim, Space: 1, Key: []byte("in"), Lease: 50}))
	again := r.Results[1].Entries[0]
	if r.Code != space.OK || again.Token.Number <= e.Token.Number || again.Attempts != 1 || p.Status().Claims != 1 {
		t.Fatalf("nack and claim: %+v", r)
	}
	r = apply(t, p, 3, command(holding(space.OpAck, again), put("out", "2")))
	if r.Code != space.OK || p.Status().Claims != 0 || p.Count(1) != 1 {
		t.Fatalf("ack and write: %+v", r)
	}
}

// TestColdStartKnowsNoClaims: what a store holds of a claimed entry is the entry,
// attempts included, free for everybody; a token of before is fenced, and the next
// one is higher.
func TestColdStartKnowsNoClaims(t *testing.T) {
	p := jobs(t)
	apply(t, p, 1, command(put("k", "v")))
	only(t, p, 1, holding(space.OpNack, claimed(t, p, 1, 1, "k", 0)))
	e := claimed(t, p, 1, 1, "k", 0)
	st := p.Status()
	l := space.NewLoader(space.Loaded{ID: 3, History: space.History{8}, Origin: space.Position{History: testHistory, Seq: st.Seq}, Epoch: st.Epoch, Clock: st.Clock})
	for _, d := range p.Definitions() {
		if err := l.Define(d); err != nil {
			t.Fatal(err)
		}
		p.Image().Scan(d.ID, func(e space.Entry) bool {
			if err := l.Add(d.ID, e); err != nil {
				t.Fatal(err)
			}
			return true
		})
	}
	q := restored(t, l.Partition())
	if r := only(t, q, 2, holding(space.OpAck, e)); r.Code != space.CodeFenced {
		t.Fatalf("the old token is good for %v", r.Code)
	}
	again := claimed(t, q, 2, 1, "k", 0)
	if again.Attempts != 1 || again.Token.Number <= e.Token.Number || again.Token.Epoch < e.Token.Epoch {
		t.Fatalf("after the start %+v, before %+v", again, e)
	}
}

// A nack with a delay that empties the entry leaves it empty, also at a partition
// that has computed nothing before.
func TestDelayedNackOfAnEmptiedValue(t *testing.T) {
	p := space.New(3, testHistory)
	apply := func(p *space.Partition, now space.Time, c space.Command) space.Reply {
		t.Helper()
		reply, err := space.DecodeReply(p.Apply(now, &c))
		if err != nil || reply.Err() != nil {
			t.Fatal(err, reply.Err())
		}
		return reply
	}
	apply(p, 0, space.DefineCommand(&space.Definition{ID: 1, Name: "jobs"}))
	apply(p, 0, space.Command{Ops: []space.Op{{Code: space.OpWrite, Space: 1, Key: []byte("a"), Value: []byte("old")}}})
	claimed := apply(p, 0, space.Command{Ops: []space.Op{{Code: space.OpClaim, Space: 1, Key: []byte("a")}}})
	var image bytes.Buffer
	if err := p.Image().Export(&image); err != nil {
		t.Fatal(err)
	}
	restored, err := space.Restore(&image)
	if err != nil {
		t.Fatal(err)
	}
	later := space.Command{Ops: []space.Op{{
		Code: space.OpChange, Space: 1, Key: []byte("b"), Flags: space.FlagCreate, Mutations: []space.Mutation{{Code: space.MutSet, Arg: []byte("x")}},
	}}}
	for _, p := range []*space.Partition{p, restored} {
		apply(p, 1, space.Command{Ops: []space.Op{{
			Code: space.OpNack, Token: claimed.Results[0].Entries[0].Token, Lease: 5, Mutations: []space.Mutation{{Code: space.MutSet, Arg: []byte{}}},
		}}})
		apply(p, 9, later)
		if e, code := p.Get(1, []byte("a")); code != space.OK || len(e.Value) != 0 {
			t.Errorf("the entry has %q (%v), want nothing", e.Value, code)
		}
	}
	if a, b := p.Image().Digest(), restored.Image().Digest(); a != b {
		t.Errorf("digests %v and %v", a, b)
	}
}
