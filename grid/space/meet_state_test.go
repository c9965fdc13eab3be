package space_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// meetingCommands returns commands of every form that a partition takes from
// clients and from the leaders of others.
func meetingCommands() []space.Command {
	template := encode(map[string]any{"a": int64(1)})
	change := []space.Mutation{{Code: space.MutSet, Field: "a", Arg: encode(int64(2))}}
	write := space.Op{Code: space.OpWrite, Space: 2, Key: []byte("k"), Kind: space.KindFields, Value: template}
	return []space.Command{
		session(1, 1, 99, space.Op{Code: space.OpTakeMatch, Space: 2, Template: template, Limit: 3, Wait: 20}),
		session(1, 1, 99, space.Op{Code: space.OpClaim, Space: 1, Key: []byte("a"), Lease: 5, Wait: 20}),
		session(2, 1, 99, space.Op{Code: space.OpCancel, Target: 1}),
		session(1, 1, 99, space.Op{Code: space.OpPrepare, Txn: txn(1), Home: 4, Target: 50, Lease: 9}, write,
			space.Op{Code: space.OpChangeMatch, Space: 2, Template: template, Mutations: change, Limit: 2},
			space.Op{Code: space.OpCheckMatch, Space: 2, Template: template, Match: 3}, space.Op{Code: space.OpCheck, Space: 1, Key: []byte("z")}),
		decideTxn(1, true, 50),
		command(space.Op{Code: space.OpDecide, Flags: space.FlagSettled, Txn: txn(1), Lease: 9}),
		command(space.Op{Code: space.OpFinish, Txn: txn(1), Flags: space.FlagCommit}),
		command(space.Op{Code: space.OpClear, Space: 2, Template: template, Limit: 5}),
	}
}

// meetingOfAll returns a partition in the midst of everything: claims that last
// and delays after nacks, with and without a value; waiters for a key, a template
// and a predicate; a session with an answer and one that waits; transactions that
// write, read and guard; outcomes that are open, kept and settled; groups with a
// claimed head; an index that is half built; a space that is dropped.
func meetingOfAll(t testing.TB) *space.Partition {
	t.Helper()
	const after = space.Time(time.Hour)
	p := jobs(t)
	must := func(now space.Time, c space.Command, want space.Code) space.Reply {
		t.Helper()
		r := apply(t, p, now, c)
		if r.Code != want {
			t.Fatalf("%v, want %v: %v", r.Code, want, r.Err())
		}
		return r
	}
	on3 := func(key string, m map[string]any) space.Op {
		o := entry(key, m)
		o.Space = 3
		return o
	}
	must(0, space.DefineCommand(&space.Definition{ID: 6, Name: "gone"}), space.OK)
	must(1, command(put("a", "1"), put("b", "2"), put("c", "3"), put("d", "4")), space.OK)
	for i := range 5 * space.MaxOps / 4 {
		must(1, command(on3(string(rune('A'+i%26))+time.Duration(i).String(), map[string]any{"g": i % 7, "n": i})), space.OK)
	}
	claimed(t, p, 1, 1, "a", time.Minute)
	claimed(t, p, 1, 3, "A0s", time.Minute)
	for _, key := range []string{"b", "c"} {
		nack := holding(space.OpNack, claimed(t, p, 1, 1, key, time.Minute))
		nack.Lease = time.Minute
		if key == "c" {
			nack.Mutations = []space.Mutation{{Code: space.MutSet, Arg: []byte("later")}}
		}
		must(1, command(nack), space.OK)
	}
	must(1, session(1, 1, after, put("e", "5")), space.OK)
	for i, o := range []space.Op{
		{Code: space.OpTake, Space: 1, Key: []byte("a")},
		{Code: space.OpClaimMatch, Space: 3, Template: encode(map[string]any{"g": 99}), Limit: 3},
		{Code: space.OpTakeMatch, Space: 2, Flags: space.FlagAllowScan},
	} {
		o.Wait = 2 * time.Minute
		must(1, session(uint64(i)+2, 1, after, o), space.CodeWaiting)
	}
	seq := p.Status().Seq
	write := put("d", "9")
	write.Lease = time.Minute
	guarded := session(5, 1, after, space.Op{Code: space.OpPrepare, Txn: txn(1), Home: 3, Target: uint64(after)},
		write, space.Op{Code: space.OpCheckMatch, Space: 3, Match: seq, Template: encode(map[string]any{"g": 50})},
		space.Op{Code: space.OpCheck, Space: 1, Key: []byte("absent")})
	must(1, guarded, space.OK)
	must(1, session(6, 1, after, space.Op{Code: space.OpPrepare, Txn: txn(2), Home: 4, Target: uint64(after)}, space.Op{Code: space.OpRead, Space: 1, Key: []byte("e")}), space.OK)
	for n := range uint64(3) {
		must(1, decideTxn(n+1, n > 0, uint64(after)), space.OK)
	}
	must(1, command(space.Op{Code: space.OpDecide, Flags: space.FlagSettled, Txn: txn(3), Lease: time.Minute}), space.OK)
	must(1, space.DropCommand(6), space.OK)
	def := space.Definition{ID: 3, Name: "fields", Shape: space.ShapeFields, Group: "g", Indexes: []space.Index{{Name: "n", Fields: []string{"n"}, Ordered: true}}}
	must(1, space.DefineCommand(&def), space.OK)
	if !p.Building() {
		t.Fatal("the index is built already")
	}
	return p
}

// TestARestoredPartitionGoesOnTheSame: one that is cut in the midst of everything
// answers and changes like the original from then on, whatever is asked.
func TestARestoredPartitionGoesOnTheSame(t *testing.T) {
	p := meetingOfAll(t)
	q := restored(t, p)
	at := space.Time(1)
	both := func(c space.Command) {
		t.Helper()
		at += space.Time(time.Second)
		b := c.Append(nil)
		if one, two := p.ApplyBytes(at, b), q.ApplyBytes(at, b); !bytes.Equal(one, two) {
			t.Fatalf("%v: answers %x and %x", c.Ops[0].Code, one, two)
		}
		if len(p.Granted()) != len(q.Granted()) {
			t.Fatal("grants", p.Granted(), q.Granted())
		}
		if p.Image().Digest() != q.Image().Digest() {
			t.Fatalf("after %v they differ", c.Ops[0].Code)
		}
		if p.NextDeadline() != q.NextDeadline() {
			t.Fatalf("after %v: %v and %v", c.Ops[0].Code, p.NextDeadline(), q.NextDeadline())
		}
	}
	take := space.Op{Code: space.OpTakeMatch, Space: 3, Predicate: nil, Limit: 20}
	for range 3 {
		both(command(take))
	}
	both(command(space.Op{Code: space.OpFinish, Txn: txn(1), Flags: space.FlagCommit}))
	both(command(space.Op{Code: space.OpFinish, Txn: txn(2)}))
	for range 14 { // claims and delays end, waiters are served, the index is built
		at += space.Time(5 * time.Second)
		both(space.TickCommand())
	}
	both(session(7, 3, space.Time(time.Hour), space.Op{Code: space.OpCancel, Target: 3}))
	both(command(take))
	at += space.Time(2 * time.Hour)
	for range 20 {
		both(space.TickCommand())
	}
	if s := p.Status(); s.Claims+s.Waiting+s.Prepared+s.Answers > 0 || p.Building() {
		t.Errorf("something is left: %+v", s)
	}
}
