package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/aggregate"
)

// TestUnknownOutcomesCanBeAskedFor: a coordinator that has told its caller that a
// commit is not in force everywhere yet goes on to finish it; the outcome can be
// asked for as long as any other.
func TestUnknownOutcomesCanBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 4})
		r := n.Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		parts := []*TxnPart{partOf(r, writeOp(id, keys[0], "1")), partOf(r, writeOp(id, keys[1], "1"))}
		ref := prepared(t, r, parts)
		if committed, err := r.decideTxn(t.Context(), ref); !committed || err != nil {
			t.Fatal(committed, err)
		}
		r.txns.add(r, txnDuty{ref, commitLeft}) // as Transact does beside a TxnUnknownError
		time.Sleep(TxnTime + outcomeStays/2)
		if got, _ := read(t, r, id, keys[1]); got != "1" {
			t.Fatalf("the commit is not in force: %q", got)
		}
		if committed, err := r.TxnStatus(t.Context(), ref); !committed || err != nil {
			t.Error("a commit in force is said to be none:", committed, err)
		}
	})
}

// TestAggregatesCountTheLocked: an entry whose lease has ended under the lock of
// a transaction is there until the outcome. Who counts neither waits for that nor
// asks the partition again and again.
func TestAggregatesCountTheLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 4})
		r := n.Router()
		id := defaultSpace(t, r)
		keys := keysApart(r, 2)
		for _, key := range keys {
			o := space.Op{Code: space.OpWrite, Space: id, Key: []byte(key), Kind: space.KindFields, Value: encoded(t, map[string]any{"v": 1}), Lease: time.Second}
			one(t, r, key, o)
		}
		check := space.Op{Code: space.OpRead, Space: id, Key: []byte(keys[0])}
		ref := prepared(t, r, []*TxnPart{partOf(r, check), partOf(r, writeOp(id, keysApart(r, 3)[2], "1"))})
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := r.Aggregate(ctx, Linearizable, Aggregate{Space: id, Spec: &aggregate.Spec{Columns: []aggregate.Column{aggregate.CountOf("v")}}})
		if rows := rowsOf(t, p, err); rows[0][0] != int64(1) {
			t.Errorf("counted %v", rows)
		}
		if err := r.finishTxn(t.Context(), ref, false); err != nil {
			t.Error(err)
		}
	})
}
