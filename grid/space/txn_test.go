package space_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// exported returns a partition that went through an export.
func exported(t interface {
	Helper()
	Fatal(...any)
}, p *space.Partition) *space.Partition {
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

func txn(n uint64) space.TxnID { return space.TxnID{Session: 9, Number: n} }

// prepareOps returns the command that prepares operations for transaction n, which its
// home, partition 4, commits before 100.
func prepareOps(n uint64, ops ...space.Op) space.Command {
	first := space.Op{Code: space.OpPrepare, Txn: txn(n), Home: 4, Target: 100, Lease: 50}
	return session(n, 1, 1000, append([]space.Op{first}, ops...)...)
}

func decideTxn(n uint64, commit bool, until uint64) space.Command {
	o := space.Op{Code: space.OpDecide, Txn: txn(n), Target: until}
	if commit {
		o.Flags, o.Value = space.FlagCommit, space.AppendPartitions(nil, []space.PartitionID{3, 4})
	}
	return command(o)
}

func fields(key string, m map[string]any) space.Op {
	return space.Op{Code: space.OpWrite, Space: 2, Key: []byte(key), Kind: space.KindFields, Value: encode(m)}
}

func on(code space.OpCode, key string) space.Op {
	return space.Op{Code: code, Space: 1, Key: []byte(key)}
}

// stage is a partition at a time.
type stage struct {
	t   testing.TB
	p   *space.Partition
	now space.Time
}

func (s stage) must(c space.Command) space.Reply {
	s.t.Helper()
	r := apply(s.t, s.p, s.now, c)
	if err := r.Err(); err != nil {
		s.t.Fatalf("%+v: %v", c.Ops[0], err)
	}
	return r
}

func (s stage) refused(want error, c space.Command) {
	s.t.Helper()
	r := apply(s.t, s.p, s.now, c)
	if err := r.Err(); !errors.Is(err, want) {
		s.t.Fatalf("%+v: %v, want %v", c.Ops[len(c.Ops)-1], err, want)
	}
}

// TestLocksKeepOthersOut: what a prepared transaction changes nobody else changes
// or checks, what it looked at others may look at too, and everybody may read
// what was there before.
func TestLocksKeepOthersOut(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	s.must(command(put("changed", "1"), put("seen", "1")))
	s.must(prepareOps(1, put("changed", "2"), on(space.OpCheck, "absent"), on(space.OpRead, "seen")))
	s.p = exported(t, s.p)
	change := on(space.OpChange, "")
	change.Mutations = []space.Mutation{{Code: space.MutAdd, Arg: encode(int64(1))}}
	change.Flags = space.FlagCreate
	for _, key := range []string{"changed", "seen", "absent"} {
		for _, o := range []space.Op{put("", "3"), on(space.OpTake, ""), on(space.OpRenew, ""), change} {
			o.Key = []byte(key)
			s.refused(space.ErrLocked, command(o))
			s.refused(space.ErrLocked, prepareOps(2, o))
		}
	}
	s.refused(space.ErrLocked, command(space.Op{Code: space.OpCheck, Space: 1, Key: []byte("changed"), Match: 3}))
	s.refused(space.ErrLocked, prepareOps(3, on(space.OpRead, "changed")))
	s.must(command(on(space.OpRead, "changed"), on(space.OpRead, "seen")))
	s.must(prepareOps(4, on(space.OpCheck, "absent"), on(space.OpRead, "seen")))
	if e, _ := s.p.Get(1, []byte("changed")); string(e.Value) != "1" {
		t.Fatalf("a reader sees %q before the outcome", e.Value)
	}
	all := space.Op{Code: space.OpReadMatch, Space: 1, Limit: 9}
	if r := s.must(command(all)); len(r.Results[0].Entries) != 2 {
		t.Fatalf("a search finds %d of 2 entries", len(r.Results[0].Entries))
	}
	all.Code = space.OpTakeMatch
	s.refused(space.ErrNotFound, command(all))
	if r := s.must(command(space.Op{Code: space.OpClear, Space: 1, Limit: 9})); r.Results[0].Count != 0 {
		t.Fatal("a locked entry is cleared")
	}

	// Not before the last of those who looked at it is gone.
	s.must(finishTxn(txn(1), true))
	s.refused(space.ErrLocked, command(put("seen", "3")))
	s.must(finishTxn(txn(4), false))
	s.must(command(put("seen", "3"), put("absent", "3"), put("changed", "3")))
	s.refused(&space.Error{Code: space.CodeUnprepared}, finishTxn(txn(1), true))
}

// TestPreparedTakesAreGivenBackOrGone: the entries are in the answer to the
// prepare, nobody else gets them, and an abort leaves them as they were.
func TestPreparedTakesAreGivenBackOrGone(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	s.must(command(put("a", "1"), put("b", "2")))
	take := space.Op{Code: space.OpTakeMatch, Space: 1}
	r := s.must(prepareOps(1, take))
	if got := r.Results[1].Entries; len(got) != 1 || string(got[0].Key) != "a" {
		t.Fatalf("prepared to take %v", got)
	}
	if r = s.must(command(take)); string(r.Results[0].Entries[0].Key) != "b" {
		t.Fatal("a prepared entry is handed out")
	}
	s.must(finishTxn(txn(1), false))
	before, _ := s.p.Get(1, []byte("a"))
	if r = s.must(prepareOps(2, take)); string(r.Results[1].Entries[0].Key) != "a" || r.Results[1].Entries[0].Version != before.Version {
		t.Fatal("an abort does not leave the entry as it was")
	}
	s.must(finishTxn(txn(2), true))
	if _, code := s.p.Get(1, []byte("a")); code != space.CodeNotFound {
		t.Fatal("a taken entry is still there")
	}
}

// TestTransactionIsOneRecord: its changes are tagged with its id, follow each
// other, and count down to the last one.
func TestTransactionIsOneRecord(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	s.must(command(put("a", "1"), put("c", "1")))
	s.must(prepareOps(1, put("a", "2"), put("b", "2"), on(space.OpTake, "c"), on(space.OpCheck, "d")))
	from := s.p.Changelog().Last()
	if r := s.must(finishTxn(txn(1), true)); r.Results[0].Count != 3 {
		t.Fatalf("%d changes", r.Results[0].Count)
	}
	changes, err := s.p.Changelog().Read(nil, from, 1)
	if err != nil || len(changes) != 3 {
		t.Fatalf("%d changes in one read: %v", len(changes), err)
	}
	for i, c := range changes {
		if c.Txn != txn(1) || c.More != 2-i {
			t.Fatalf("change %d: %+v", i, c)
		}
	}
}

// TestGuardKeepsMatchesOut: what a transaction found to match nothing new stays so
// until its outcome, and it is told of what others are about to write.
func TestGuardKeepsMatchesOut(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	s.must(command(fields("x", map[string]any{"a": int64(1), "b": int64(1)})))
	red := encode(map[string]any{"a": int64(7)})
	seen := s.p.Changelog().Last()
	check := space.Op{Code: space.OpCheckMatch, Space: 2, Template: red, Match: seen}
	s.must(prepareOps(1, check))
	s.p = exported(t, s.p)
	makes := fields("y", map[string]any{"a": int64(7)})
	turns := space.Op{Code: space.OpChange, Space: 2, Key: []byte("x"), Mutations: []space.Mutation{{Code: space.MutSet, Field: "a", Arg: encode(int64(7))}}}
	s.refused(space.ErrLocked, command(makes))
	s.refused(space.ErrLocked, command(turns))
	s.refused(space.ErrLocked, prepareOps(2, makes))
	s.must(command(fields("z", map[string]any{"a": int64(8)})))
	s.must(finishTxn(txn(1), true))

	s.must(prepareOps(3, makes))
	s.refused(space.ErrLocked, prepareOps(4, check))
	s.refused(space.ErrLocked, command(check))
	s.must(finishTxn(txn(3), true))
	s.refused(space.ErrConflict, command(check))
	check.Match = s.p.Changelog().Last()
	s.must(command(check))
	s.must(command(fields("y", map[string]any{"a": int64(7), "b": int64(2)})))
	s.refused(space.ErrConflict, command(check))
}

// TestCheckOfTheForgottenIsRefused: what happened since the read must be known,
// also on a replica that keeps more than it has to.
func TestCheckOfTheForgottenIsRefused(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	trimmed := &space.Error{Code: space.CodeTrimmed}
	check := space.Op{Code: space.OpCheckMatch, Space: 1, Match: s.p.Changelog().Last()}
	s.must(command(put("a", "1")))
	s.must(space.TrimCommand(space.Trim{Floor: check.Match + 1}))
	s.refused(trimmed, command(check))
	s.refused(trimmed, prepareOps(1, check))
	check.Match++
	s.must(command(check))
	for range 5 {
		var ops []space.Op
		for i := range space.MaxOps {
			ops = append(ops, fields(fmt.Sprint(i), map[string]any{}))
		}
		s.must(command(ops...))
	}
	s.refused(trimmed, command(check))
	check.Match = s.p.Changelog().Last() + 1
	s.refused(space.ErrInvalid, command(check))
}

// TestLeaseWaitsForTheOutcome: the lease of a locked entry does not end, one that
// is granted in a transaction begins with its commit, and one that ended
// meanwhile ends when the lock goes.
func TestLeaseWaitsForTheOutcome(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	leased := func(key string, lease time.Duration) space.Op {
		o := put(key, "1")
		o.Lease = lease
		return o
	}
	keep := put("keep", "2")
	keep.Flags = space.FlagKeepLease
	s.must(command(leased("seen", 10), leased("taken", 10), leased("keep", 10), leased("renewed", 10)))
	renew := on(space.OpRenew, "renewed")
	renew.Lease = 10
	s.must(prepareOps(1, on(space.OpRead, "seen"), on(space.OpTake, "taken"), keep, renew, leased("new", 20)))
	s.now = 30
	s.must(space.TickCommand())
	s.p = exported(t, s.p)
	if d := s.p.NextDeadline(); d != space.Never {
		t.Fatalf("the lease of a locked entry ends at %d", d)
	}
	if r := s.must(command(space.Op{Code: space.OpReadMatch, Space: 1, Limit: 9})); len(r.Results[0].Entries) != 4 {
		t.Fatalf("%d of 4 locked entries are there after their leases", len(r.Results[0].Entries))
	}
	s.must(finishTxn(txn(1), true))
	for key, deadline := range map[string]space.Time{"seen": 11, "keep": 11, "renewed": 40, "new": 50} {
		if e, code := s.p.Get(1, []byte(key)); code != space.OK || e.Deadline != deadline {
			t.Fatalf("%s: %v, deadline %d instead of %d", key, code, e.Deadline, deadline)
		}
	}
	s.must(space.TickCommand())
	if n := s.p.Count(1); n != 2 {
		t.Fatalf("%d entries instead of the two whose leases last", n)
	}
}

// TestOutcomeIsWrittenOnce: whoever proposes first decides, everybody after that
// is told the same, and past its time nothing is committed, whether or not the
// home still knows why.
func TestOutcomeIsWrittenOnce(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	for i, first := range []bool{true, false} {
		n := uint64(i + 1)
		for _, proposed := range []bool{first, !first, first} {
			if r := s.must(decideTxn(n, proposed, 100)); r.Results[0].Count == 1 != first {
				t.Fatalf("%v decided first, then %d stands", first, r.Results[0].Count)
			}
			s.p = exported(t, s.p)
		}
	}
	s.now = 100
	for n, commit := range map[uint64]int{1: 1, 2: 0, 3: 0} {
		if r := s.must(decideTxn(n, true, 100)); r.Results[0].Count != commit {
			t.Fatalf("transaction %d: %d", n, r.Results[0].Count)
		}
	}
	if st := s.p.Status(); st.Outcomes != 1 {
		t.Fatalf("%d outcomes are kept", st.Outcomes)
	}
	if open := s.p.Unsettled(100, 9); len(open) != 1 || open[0].Txn != txn(1) || len(open[0].Participants) != 2 {
		t.Fatalf("unsettled: %+v", open)
	}
	s.must(settleTxn(txn(1), 7))
	s.now = 106
	if r := s.must(decideTxn(1, false, 100)); r.Results[0].Count != 1 {
		t.Fatal("a settled commit is forgotten at once")
	}
	s.now = 107
	s.must(space.TickCommand())
	if st := s.p.Status(); st.Outcomes != 0 {
		t.Fatal("a settled commit is never forgotten")
	}
	s.refused(space.ErrInvalid, decideTxn(4, true, 107+uint64(2*time.Hour)))
}

// TestParticipantAsks when its time has come, and not before.
func TestParticipantAsks(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	s.must(prepareOps(2, put("a", "1")))
	s.must(prepareOps(1, put("b", "1")))
	s.p = exported(t, s.p)
	if l := s.p.Lapsed(50, 9); len(l) != 0 {
		t.Fatalf("asks early: %v", l)
	}
	want := space.LapsedTxn{Txn: txn(1), Home: 4, Until: 100}
	if l := s.p.Lapsed(51, 9); len(l) != 2 || l[0] != want {
		t.Fatalf("asks for %v", l)
	}
	if l := s.p.Lapsed(51, 1); len(l) != 1 {
		t.Fatalf("asks for %d at once", len(l))
	}
}

// TestDroppedSpaceLeavesTheTransaction: the rest of it is carried out.
func TestDroppedSpaceLeavesTheTransaction(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	check := space.Op{Code: space.OpCheckMatch, Space: 2}
	s.must(prepareOps(1, check, put("a", "1"), fields("x", map[string]any{"a": int64(1)})))
	s.must(space.DropCommand(2))
	s.p = exported(t, s.p)
	if r := s.must(finishTxn(txn(1), true)); r.Results[0].Count != 1 {
		t.Fatalf("%d changes", r.Results[0].Count)
	}
	s.must(command(put("a", "2")))
}

// TestPrepareIsRefused when it could not be kept to: without a session, out of
// place, with operations that a transaction cannot hold back, or twice.
func TestPrepareIsRefused(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	good := prepareOps(1, put("a", "1"))
	bare := command(good.Ops...)
	s.refused(space.ErrInvalid, bare)
	free := good
	free.Independent = true
	s.refused(space.ErrInvalid, free)
	good.Sequence = 2
	nameless := session(3, 1, 1000, space.Op{Code: space.OpPrepare, Target: 100}, put("a", "1"))
	s.refused(space.ErrInvalid, nameless)
	s.refused(space.ErrInvalid, session(4, 1, 1000, put("a", "1"), good.Ops[0]))
	for i, code := range []space.OpCode{space.OpReadMatch, space.OpClaim, space.OpClaimMatch, space.OpAck, space.OpPrepare, space.OpDecide, space.OpFinish, space.OpTick} {
		s.refused(space.ErrInvalid, session(uint64(5+i), 1, 1000, good.Ops[0], on(code, "k")))
	}
	s.must(good)
	again := good
	again.Sequence = 30
	s.refused(space.ErrExists, again)
	for _, c := range []space.Command{free, nameless, command(put("a", "1"), good.Ops[0]), command(good.Ops[0])} {
		if err := c.Validate(); !errors.Is(err, space.ErrInvalid) {
			t.Fatalf("%+v passes for valid: %v", c, err)
		}
	}
	if err := errors.Join(good.Validate(), new(decideTxn(1, true, 5)).Validate(), new(finishTxn(txn(1), true)).Validate()); err != nil {
		t.Fatal(err)
	}
}

// TestTransactionsAreBounded: at a bound the next one is refused and has locked
// nothing.
func TestTransactionsAreBounded(t *testing.T) {
	t.Run("prepared", func(t *testing.T) {
		s := stage{t, newPartition(t), 1}
		for n := range uint64(space.MaxPrepared) {
			s.must(prepareOps(n+1, on(space.OpCheck, "shared")))
		}
		s.refused(space.ErrFull, prepareOps(space.MaxPrepared+1, put("a", "1")))
		s.must(command(put("a", "1")))
	})
	t.Run("keys", func(t *testing.T) {
		s := stage{t, newPartition(t), 1}
		n := uint64(0)
		for left := space.MaxLockedKeys; left > 0; {
			var ops []space.Op
			for range min(left, space.MaxOps-1) {
				ops = append(ops, on(space.OpCheck, fmt.Sprint("k", left)))
				left--
			}
			n++
			s.must(prepareOps(n, ops...))
		}
		s.refused(space.ErrFull, prepareOps(n+1, put("a", "1")))
		s.must(command(put("a", "1")))
	})
	t.Run("bytes", func(t *testing.T) {
		s := stage{t, newPartition(t), 1}
		big := make([]byte, space.MaxValueBytes)
		for n := range uint64(15) {
			s.must(prepareOps(n+1, put(fmt.Sprint(n), string(big))))
		}
		s.refused(space.ErrFull, prepareOps(16, put("a", string(big)), put("b", "1")))
		s.must(command(put("a", "1")))
		s.must(finishTxn(txn(1), false))
		s.must(prepareOps(17, put("b", string(big))))
	})
}

// TestDigestCoversTransactions: replicas that disagree about what is prepared or
// decided do not pass for equal.
func TestDigestCoversTransactions(t *testing.T) {
	s := stage{t, newPartition(t), 1}
	seen := map[[16]byte]bool{s.p.Image().Digest().State: true}
	for _, c := range []space.Command{prepareOps(1, put("a", "1")), decideTxn(1, true, 90), settleTxn(txn(1), 50)} {
		c.Session = min(c.Session, 1)
		s.must(c)
		// What is kept of answers is in the digest too: without it here.
		q := exported(t, s.p)
		if d := q.Image().Digest(); seen[d.State] || d != s.p.Image().Digest() {
			t.Fatalf("after %+v the digest is an old one, or changes with an export", c.Ops[0])
		} else {
			seen[d.State] = true
		}
	}
}

// Every prepared transaction is asked for in its time, the oldest first, however
// transactions come and go, and after an export as before.
func TestAllThatLapseAreFound(t *testing.T) {
	p := newPartition(t)
	for i := range 20_000 {
		c := busyCommand(i)
		p.Apply(space.Time(i+1), &c)
		if i%997 != 0 {
			continue
		}
		all := p.Lapsed(space.Time(i)+space.Time(time.Hour), 1<<20)
		if st := p.Status(); len(all) != st.Prepared {
			t.Fatalf("%d of %d prepared transactions lapse", len(all), st.Prepared)
		}
		if !slices.IsSortedFunc(all, func(a, b space.LapsedTxn) int { return cmp.Compare(a.Txn.Number, b.Txn.Number) }) {
			t.Fatal("they do not lapse in the order in which they came")
		}
		if n := len(p.Lapsed(space.Time(i)+space.Time(time.Hour), 3)); n != min(3, len(all)) {
			t.Fatalf("%d of at most 3", n)
		}
		open := p.Unsettled(1<<62, 1<<20)
		q := restored(t, p)
		if !slices.Equal(q.Lapsed(1<<62, 1<<20), all) || len(q.Unsettled(1<<62, 1<<20)) != len(open) {
			t.Fatal("an export has lost some")
		}
	}
}
