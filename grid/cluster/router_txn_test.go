package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// keysApart returns n keys that lie in n partitions.
func keysApart(r *Router, n int) []string {
	seen := map[space.PartitionID]bool{}
	var keys []string
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprint("k", i); !seen[at(r, key)] {
			seen[at(r, key)] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// partOf returns a part with operations on keys of one partition.
func partOf(r *Router, ops ...space.Op) *TxnPart {
	return &TxnPart{Partition: at(r, string(ops[0].Key)), Ops: ops}
}

func writeOp(id space.ID, key, value string) space.Op {
	return space.Op{Code: space.OpWrite, Space: id, Key: []byte(key), Value: []byte(value)}
}

// TestTransactIsAllOrNothing: over several partitions it takes effect everywhere,
// or, when an operation is refused, nowhere; and it leaves no lock.
func TestTransactIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 4})
		r := n.Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 3)
		take := func(key string) space.Op {
			return space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: id, Key: []byte(key)}
		}
		write(t, r, id, keys[2], "old")
		parts := []*TxnPart{partOf(r, writeOp(id, keys[0], "new")), partOf(r, writeOp(id, keys[1], "new")), partOf(r, take(keys[2]))}
		if err := r.Transact(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if got := parts[2].Results[0].Entries; len(got) != 1 || string(got[0].Value) != "old" {
			t.Errorf("the transaction took %v", got)
		}
		for i, want := range []string{"new", "new", ""} {
			if got, _ := read(t, r, id, keys[i]); got != want {
				t.Errorf("%s is %q, want %q", keys[i], got, want)
			}
		}
		// The last part finds nothing to take.
		err := r.Transact(t.Context(), []*TxnPart{partOf(r, writeOp(id, keys[0], "newer")), partOf(r, take(keys[2]))})
		if !errors.Is(err, space.ErrNotFound) {
			t.Errorf("a refused transaction: %v", err)
		}
		if got, _ := read(t, r, id, keys[0]); got != "new" {
			t.Errorf("a refused transaction left %q", got)
		}
		write(t, r, id, keys[0], "free")
		// One partition needs no prepare: its results have versions.
		only := partOf(r, writeOp(id, keys[0], "one"))
		if err := r.Transact(t.Context(), []*TxnPart{only}); err != nil || only.Results[0].Version == 0 {
			t.Errorf("one part: %v, %+v", err, only.Results)
		}
		synctest.Wait()
		expectNoTransactions(t, n)
	})
}

// expectNoTransactions fails if a member holds something of a transaction that is
// not settled.
func expectNoTransactions(t *testing.T, n *Node) {
	t.Helper()
	for i := range n.groups {
		h := n.groups[i].Load()
		if h == nil {
			continue
		}
		err := h.group.Inspect(t.Context(), func() {
			for id, p := range h.host.all() {
				if s := p.Status(); s.Prepared > 0 || len(p.Unsettled(1<<62, 9)) > 0 {
					t.Errorf("partition %d on %s: %d prepared, unsettled %v", id, n.name, s.Prepared, p.Unsettled(1<<62, 9))
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestPlainWritesWaitForALock: a command that runs into a transaction is tried
// again until the transaction is through, and takes effect once.
func TestPlainWritesWaitForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 4}).Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		add := space.Op{Code: space.OpChange, Flags: space.FlagCreate, Space: id, Key: []byte(keys[0]), Mutations: []space.Mutation{{Code: space.MutAdd, Arg: []byte{1}}}}
		parts := []*TxnPart{partOf(r, writeOp(id, keys[0], "10")), partOf(r, writeOp(id, keys[1], "10"))}
		ref := prepared(t, r, parts)
		done := make(chan error)
		go func() {
			c := &Call{Partition: at(r, keys[0]), Ops: []space.Op{add}}
			r.Do(t.Context(), []*Call{c})
			done <- c.failure()
		}()
		time.Sleep(time.Second)
		select {
		case err := <-done:
			t.Fatalf("a write passes the lock: %v", err)
		default:
		}
		if got, ok := read(t, r, id, keys[0]); ok {
			t.Fatalf("a reader sees %q before the outcome", got)
		}
		if committed, err := r.decideTxn(t.Context(), ref); !committed || err != nil {
			t.Fatal(committed, err)
		}
		if err := r.finishTxn(t.Context(), ref, true); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got, _ := read(t, r, id, keys[0]); got != "11" {
			t.Errorf("10 and 1 are %s", got)
		}

		// A command that has no time to wait says what it ran into.
		ref = prepared(t, r, parts)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c := &Call{Partition: at(r, keys[0]), Ops: []space.Op{add}}
		r.Do(ctx, []*Call{c})
		if err := c.failure(); !errors.Is(err, space.ErrLocked) || errors.Is(err, ErrIndeterminate) {
			t.Errorf("out of time before a lock: %v", err)
		}
		r.giveUp(t.Context(), ref)
	})
}

// TestIndependentWritesWaitForALock each by itself: what is free is done once, what
// is locked is done once when the lock is gone, or says what it ran into.
func TestIndependentWritesWaitForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 4}).Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		add := func(key string) space.Op {
			return space.Op{Code: space.OpChange, Flags: space.FlagCreate | space.FlagReturn, Space: id, Key: []byte(key), Mutations: []space.Mutation{{Code: space.MutAdd, Arg: []byte{1}}}}
		}
		beside := "{" + keys[0] + "}beside"
		ops := []space.Op{add(keys[0]), add(beside), add(keys[0])}
		parts := []*TxnPart{partOf(r, writeOp(id, keys[0], "10")), partOf(r, writeOp(id, keys[1], "10"))}
		try := func(once bool, d time.Duration) *Call {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			c := &Call{Partition: at(r, keys[0]), Independent: true, Once: once, Ops: ops}
			r.Do(ctx, []*Call{c})
			if c.Err != nil || len(c.Reply.Results) != 3 || len(c.Ops) != 3 {
				t.Fatalf("%v, %d results", c.Err, len(c.Reply.Results))
			}
			return c
		}
		ref := prepared(t, r, parts)
		for i, once := range []bool{true, false} {
			c := try(once, 100*time.Millisecond)
			for j, want := range []space.Code{space.CodeLocked, space.OK, space.CodeLocked} {
				if got := c.Reply.Results[j].Code; got != want {
					t.Errorf("once %v: operation %d: %v, want %v", once, j, got, want)
				}
			}
			if got, _ := read(t, r, id, beside); got != fmt.Sprint(i+1) {
				t.Errorf("what is free was done %s times, want %d", got, i+1)
			}
		}
		go func() {
			time.Sleep(time.Second)
			r.giveUp(t.Context(), ref)
		}()
		c := try(false, 10*time.Second)
		for j, want := range []string{"1", "3", "2"} {
			if x := c.Reply.Results[j]; x.Code != space.OK || string(x.Entries[0].Value) != want {
				t.Errorf("operation %d: %+v, want %s", j, x, want)
			}
		}
	})
}

// prepared prepares a transaction as a coordinator does that is about to die.
func prepared(t *testing.T, r *Router, parts []*TxnPart) TxnRef {
	t.Helper()
	ref, err := r.beginTxn(t.Context(), parts)
	if err == nil {
		err = r.prepareTxn(t.Context(), ref, parts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestCoordinatorsMayDie: wherever a coordinator stops, the leaders bring its
// transaction to an end, the same one in every partition, and whoever asks is
// told which.
func TestCoordinatorsMayDie(t *testing.T) {
	for _, x := range []struct {
		dies string
		// after carries out the transaction up to there.
		after  func(t *testing.T, r *Router, parts []*TxnPart) TxnRef
		commit bool
	}{
		{"before all are prepared", func(t *testing.T, r *Router, parts []*TxnPart) TxnRef {
			ref, err := r.beginTxn(t.Context(), parts)
			if err == nil {
				err = r.prepareTxn(t.Context(), ref, parts[:2])
			}
			if err != nil {
				t.Fatal(err)
			}
			return ref
		}, false},
		{"before it decides", prepared, false},
		{"after it has decided", func(t *testing.T, r *Router, parts []*TxnPart) TxnRef {
			ref := prepared(t, r, parts)
			if committed, err := r.decideTxn(t.Context(), ref); !committed || err != nil {
				t.Fatal(committed, err)
			}
			return ref
		}, true},
		{"before all have finished", func(t *testing.T, r *Router, parts []*TxnPart) TxnRef {
			ref := prepared(t, r, parts)
			if committed, err := r.decideTxn(t.Context(), ref); !committed || err != nil {
				t.Fatal(committed, err)
			}
			some := ref
			some.Partitions = ref.Partitions[:1]
			if err := r.finishTxn(t.Context(), some, true); err != nil {
				t.Fatal(err)
			}
			return ref
		}, true},
		{"before it has settled", func(t *testing.T, r *Router, parts []*TxnPart) TxnRef {
			ref := prepared(t, r, parts)
			if committed, err := r.decideTxn(t.Context(), ref); !committed || err != nil {
				t.Fatal(committed, err)
			}
			if err := r.finishTxn(t.Context(), ref, true); err != nil {
				t.Fatal(err)
			}
			return ref
		}, true},
	} {
		t.Run(x.dies, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 3, NodeConfig{Partitions: 6})
				g.start("a", "b", "c")
				g.ready()
				r := g.nodes["a"].Router()
				id := defaultSpace(t, r)
				keys := keysApart(r, 3)
				var parts []*TxnPart
				for _, key := range keys {
					parts = append(parts, partOf(r, writeOp(id, key, "new")))
				}
				for _, key := range keys {
					write(t, r, id, key, "old")
				}
				ref := x.after(t, r, parts)
				// Somebody else's keys are locked at most until the leaders ask.
				ctx, cancel := context.WithTimeout(t.Context(), TxnTime+5*time.Second)
				defer cancel()
				for _, key := range keys[:2] {
					c := &Call{Partition: at(r, key), Ops: []space.Op{{Code: space.OpRenew, Space: id, Key: []byte(key)}}}
					g.nodes["b"].Router().Do(ctx, []*Call{c})
					if err := c.failure(); err != nil {
						t.Fatalf("%s stays locked: %v", key, err)
					}
				}
				time.Sleep(2 * TxnTime)
				want := "old"
				if x.commit {
					want = "new"
				}
				for _, key := range keys {
					if got, _ := read(t, r, id, key); got != want {
						t.Errorf("%s is %q, want %q", key, got, want)
					}
				}
				for _, n := range g.nodes {
					expectNoTransactions(t, n)
				}
				if committed, err := r.TxnStatus(t.Context(), ref); committed != x.commit || err != nil {
					t.Errorf("the status is %v, %v", committed, err)
				}
				g.agree()
			})
		})
	}
}

// TestStatusGivesUpTheUndecided: after it has said no, nobody can commit; and it
// tells for ten minutes.
func TestStatusGivesUpTheUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 4}).Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		parts := []*TxnPart{partOf(r, writeOp(id, keys[0], "1")), partOf(r, writeOp(id, keys[1], "1"))}
		ref := prepared(t, r, parts)
		if committed, err := r.TxnStatus(t.Context(), ref); committed || err != nil {
			t.Fatal(committed, err)
		}
		if committed, err := r.decideTxn(t.Context(), ref); committed || err != nil {
			t.Fatal("committed after it was given up", err)
		}
		write(t, r, id, keys[1], "2") // nothing is locked

		ref = prepared(t, r, parts)
		if _, err := r.decideTxn(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if committed, err := r.TxnStatus(t.Context(), ref); !committed || err != nil {
			t.Fatal(committed, err)
		}
		if got, _ := read(t, r, id, keys[1]); got != "1" {
			t.Errorf("the status says committed and a reader sees %q", got)
		}
		time.Sleep(TxnTime + outcomeStays/2)
		if committed, err := r.TxnStatus(t.Context(), ref); !committed || err != nil {
			t.Error("asked within its time:", committed, err)
		}
		time.Sleep(outcomeStays)
		write(t, r, id, keys[1], "3")
		if committed, err := r.TxnStatus(t.Context(), ref); committed || !errors.Is(err, ErrTxnForgotten) {
			t.Error("asked too late:", committed, err)
		}
	})
}

// TestLeaseWaitsForTheOutcomeOfATransaction: an entry whose lease ends under a
// lock can be read until the outcome, and then not any more.
func TestLeaseWaitsForTheOutcomeOfATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alone(t, NodeConfig{Partitions: 4}).Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		leased := writeOp(id, keys[0], "v")
		leased.Lease = time.Second
		one(t, r, keys[0], leased)
		check := space.Op{Code: space.OpRead, Space: id, Key: []byte(keys[0])}
		ref := prepared(t, r, []*TxnPart{partOf(r, check), partOf(r, writeOp(id, keys[1], "1"))})
		time.Sleep(2 * time.Second)
		if got, ok := read(t, r, id, keys[0]); !ok || got != "v" {
			t.Fatalf("a locked entry is gone: %q", got)
		}
		r.giveUp(t.Context(), ref)
		if got, ok := read(t, r, id, keys[0]); ok {
			t.Fatalf("after its lease and the lock the entry is %q", got)
		}
	})
}

// deaf is a member of whose answers to decisions nobody hears.
type deaf struct{ Service }

func (d deaf) Submit(ctx context.Context, g GroupID, subs []Submission) []Outcome {
	outs := d.Service.Submit(ctx, g, subs)
	for i := range subs {
		var c space.Command
		if space.DecodeCommand(&c, subs[i].Command) == nil && c.Ops[0].Code == space.OpDecide {
			outs[i] = Outcome{Err: ErrIndeterminate}
		}
	}
	return outs
}

// TestLostDecisionIsUnknown: a coordinator that does not hear what its home has
// decided neither commits nor gives up, and says so; its status tells.
func TestLostDecisionIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 4})
		id := defaultSpace(t, n.Router())
		r := NewRouter(RouterConfig{Topology: topology{n}, Self: n.name, Local: deaf{n}})
		defer r.Close()
		keys := keysApart(r, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Transact(ctx, []*TxnPart{partOf(r, writeOp(id, keys[0], "1")), partOf(r, writeOp(id, keys[1], "1"))})
		unknown, ok := errors.AsType[*TxnUnknownError](err)
		if !ok || !errors.Is(err, ErrIndeterminate) {
			t.Fatalf("a lost decision: %v", err)
		}
		if committed, err := n.Router().TxnStatus(t.Context(), unknown.Ref); !committed || err != nil {
			t.Error(committed, err)
		}
		for _, key := range keys {
			if got, _ := read(t, n.Router(), id, key); got != "1" {
				t.Errorf("%s is %q", key, got)
			}
		}
	})
}
