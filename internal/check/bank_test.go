package check

import (
	"reflect"
	"testing"
)

// A bank is good if every read has the whole sum, nothing is below zero, and in the
// end the receipts explain the balances and the answers.
func TestBank(t *testing.T) {
	good := func() *BankHistory {
		return &BankHistory{
			Start: map[string]map[string]int64{"g": {"a": 100, "b": 100}},
			Transfers: []Transfer{
				{Line: 1, ID: "t1", From: "a", To: "b", Amount: 30, Outcome: Done},
				{Line: 2, ID: "t2", From: "b", To: "a", Amount: 5, Outcome: Unknown},
				{Line: 3, ID: "t3", From: "b", To: "a", Amount: 7, Outcome: Unknown},
				{Line: 4, ID: "t4", From: "b", To: "a", Amount: 9, Outcome: Refused},
			},
			Reads:    []Balances{{Line: 5, Group: "g", Of: map[string]int64{"a": 70, "b": 130}}},
			Final:    []Balances{{Line: 6, Group: "g", Of: map[string]int64{"a": 75, "b": 125}}},
			Receipts: map[string]bool{"t1": true, "t2": true},
		}
	}
	for name, c := range map[string]struct {
		change func(*BankHistory)
		want   BankVerdict
	}{
		"good":                        {func(*BankHistory) {}, BankVerdict{}},
		"good: nobody saw the end":    {func(h *BankHistory) { h.Final = nil }, BankVerdict{Unread: 1}},
		"good: nobody saw the papers": {func(h *BankHistory) { h.Receipts = nil }, BankVerdict{Unread: 1}},
		"half a transfer is seen":     {func(h *BankHistory) { h.Reads[0].Of["b"] = 100 }, BankVerdict{Torn: 1}},
		"an account is overdrawn":     {func(h *BankHistory) { h.Reads[0].Of = map[string]int64{"a": -1, "b": 201} }, BankVerdict{Negative: 1}},
		"an account is gone":          {func(h *BankHistory) { h.Reads[0].Of = map[string]int64{"b": 200} }, BankVerdict{Absent: 1}},
		"an account nobody opened":    {func(h *BankHistory) { h.Reads[0].Of = map[string]int64{"c": 100, "b": 100} }, BankVerdict{Absent: 1}},
		"an acknowledged transfer is lost": {
			func(h *BankHistory) {
				delete(h.Receipts, "t1")
				h.Final[0].Of = map[string]int64{"a": 105, "b": 95}
			}, BankVerdict{Lost: 1},
		},
		"a refused transfer was made": {
			func(h *BankHistory) {
				h.Receipts["t4"] = true
				h.Final[0].Of = map[string]int64{"a": 84, "b": 116}
			}, BankVerdict{Phantom: 1},
		},
		"a receipt from nowhere":       {func(h *BankHistory) { h.Receipts["t9"] = true }, BankVerdict{Phantom: 1}},
		"a transfer was made twice":    {func(h *BankHistory) { h.Final[0].Of = map[string]int64{"a": 45, "b": 155} }, BankVerdict{Unbalanced: 2}},
		"a transfer without a receipt": {func(h *BankHistory) { h.Final[0].Of = map[string]int64{"a": 82, "b": 118} }, BankVerdict{Unbalanced: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(h)
			got := Bank(h)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			c.want.Reads = len(h.Reads) + len(h.Final)
			if got.Complaints = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}
