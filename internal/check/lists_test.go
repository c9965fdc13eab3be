package check

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func add(key string, element int64) ListOp { return ListOp{Key: key, Append: true, Element: element} }

func saw(key string, elements ...int64) ListOp { return ListOp{Key: key, Read: elements} }

func txn(call, ret int64, outcome Outcome, ops ...ListOp) ListTxn {
	return ListTxn{Line: int(call), Call: call, Return: ret, Outcome: outcome, Ops: ops}
}

// Transactions over lists are good if they have an order that real time allows.
func TestLists(t *testing.T) {
	for name, c := range map[string]struct {
		txns []ListTxn
		want ListVerdict
	}{
		"good": {[]ListTxn{
			txn(1, 2, Done, saw("x"), add("x", 1)),
			txn(3, 4, Unknown, add("x", 2), add("y", 9)),
			txn(5, 6, Done, saw("x", 1), saw("y")),
			txn(7, 8, Done, saw("x", 1, 2), saw("y", 9)),
			txn(3, 4, Unknown, add("x", 3)),
		}, ListVerdict{Txns: 3}},
		"good: nobody read it again": {[]ListTxn{txn(1, 2, Done, add("x", 1))}, ListVerdict{Txns: 1, Unread: 1}},
		"an element is lost": {[]ListTxn{
			txn(1, 2, Done, add("x", 1)), txn(3, 4, Done, saw("x")),
		}, ListVerdict{Txns: 2, Lost: 1}},
		"an element is there twice": {[]ListTxn{
			txn(1, 2, Done, add("x", 1)), txn(3, 4, Done, saw("x", 1, 1)),
		}, ListVerdict{Txns: 2, Duplicated: 1}},
		"an element from nowhere": {[]ListTxn{
			txn(1, 2, Refused, add("x", 1)), txn(3, 4, Done, saw("x", 1)),
		}, ListVerdict{Txns: 1, Phantom: 1}},
		"two orders": {[]ListTxn{
			txn(1, 2, Unknown, add("x", 1)), txn(1, 2, Unknown, add("x", 2)),
			txn(3, 4, Done, saw("x", 1, 2)), txn(5, 6, Done, saw("x", 2)),
		}, ListVerdict{Txns: 2, Torn: 1}},
		"an old read": {[]ListTxn{
			txn(1, 2, Done, add("x", 1)), txn(3, 4, Done, saw("x")), txn(5, 6, Done, saw("x", 1)),
		}, ListVerdict{Txns: 3, Cycles: 1}},
		"each saw what the other had not written yet": {[]ListTxn{
			txn(1, 9, Done, saw("x"), saw("y"), add("x", 1)),
			txn(2, 8, Done, saw("x"), saw("y"), add("y", 2)),
			txn(10, 11, Done, saw("x", 1), saw("y", 2)),
		}, ListVerdict{Txns: 3, Cycles: 1}},
		"half a transaction is seen": {[]ListTxn{
			txn(1, 9, Done, add("x", 1), add("y", 2)),
			txn(2, 8, Done, saw("x", 1), saw("y")),
			txn(10, 11, Done, saw("x", 1), saw("y", 2)),
		}, ListVerdict{Txns: 3, Cycles: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Lists(c.txns)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			if got.Complaints = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}

// What was carried out one transaction after the other is good, however many there
// are and however they overlap, and is judged in a moment; two reads exchanged are
// found in it.
func TestManyLists(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	state := map[string][]int64{}
	var txns []ListTxn
	for i := range int64(20_000) {
		key := string(rune('a' + r.IntN(20)))
		if len(state[key]) > 40 {
			key += "'"
		}
		x := txn(10*i-r.Int64N(40), 10*i+r.Int64N(40), Done, saw(key, state[key]...))
		if r.IntN(2) == 0 && len(state[key]) < 60 {
			x.Ops = append(x.Ops, add(key, i+1))
			state[key] = append(state[key][:len(state[key]):len(state[key])], i+1)
		}
		txns = append(txns, x)
	}
	begun := time.Now()
	if got := Lists(txns); !got.OK() {
		t.Fatalf("verdict %+v", got)
	}
	t.Logf("%d transactions in %v", len(txns), time.Since(begun))
	txns[100].Call, txns[100].Return, txns[5000].Call, txns[5000].Return =
		txns[5000].Call, txns[5000].Return, txns[100].Call, txns[100].Return
	if got := Lists(txns); got.OK() {
		t.Error("a transaction from the past is not found")
	}
}
