package check

import (
	"maps"
	"slices"
)

// Transfer is one request to move an amount between two accounts of a group.
type Transfer struct {
	Line     int
	ID       string // used once; also the name of its receipt
	From, To string
	Amount   int64
	Outcome  Outcome
}

// Balances is what one read of a group's accounts returned.
type Balances struct {
	Line  int
	Group string
	Of    map[string]int64
}

// BankHistory is everything that was asked for in a run, and what was there at the
// end. A transfer and its receipt are one transaction.
type BankHistory struct {
	Start     map[string]map[string]int64 // the first balances, by group
	Transfers []Transfer
	Reads     []Balances
	Final     []Balances // one of each group, with the bank left alone
	// Receipts are those that were there at the end; nil if nobody could look.
	Receipts map[string]bool
}

// BankVerdict counts what a history of a bank shows. Everything from Torn on should
// be zero.
type BankVerdict struct {
	Reads int
	// Unread counts groups without a final read, and one for missing receipts.
	Unread int

	Torn       int // reads with another sum than the group began with
	Negative   int // reads with an account below zero
	Absent     int // reads without one of the accounts, or with one more
	Lost       int // acknowledged transfers without a receipt
	Phantom    int // receipts of transfers that were refused, or that nobody asked for
	Unbalanced int // accounts that are not what the receipts make of them
	Complaints []string
}

// OK reports whether the history keeps the promises; it does not speak of what is
// unread.
func (v *BankVerdict) OK() bool {
	return v.Torn+v.Negative+v.Absent+v.Lost+v.Phantom+v.Unbalanced == 0
}

// Bank checks that a read of a group's accounts sees no part of a transfer, that no
// account is ever overdrawn, and that in the end exactly those transfers have been
// made, once each, of which there is a receipt: all that were acknowledged, and
// none that was refused.
func Bank(h *BankHistory) BankVerdict {
	b := bank{h: h, v: BankVerdict{Reads: len(h.Reads) + len(h.Final)}}
	for _, reads := range [][]Balances{h.Reads, h.Final} {
		for i := range reads {
			b.read(&reads[i])
		}
	}
	b.end()
	b.v.Complaints = b.said
	return b.v
}

// bank is a history while it is judged.
type bank struct {
	h    *BankHistory
	v    BankVerdict
	said complaints
}

func (b *bank) read(r *Balances) {
	start := b.h.Start[r.Group]
	var want, have int64
	for _, n := range start {
		want += n
	}
	whole := len(start) == len(r.Of)
	for _, account := range slices.Sorted(maps.Keys(r.Of)) {
		n := r.Of[account]
		if have += n; n < 0 {
			b.v.Negative++
			b.said.addf("line %d: account %q has %d", r.Line, account, n)
		}
		if _, ok := start[account]; !ok {
			whole = false
		}
	}
	switch {
	case !whole:
		b.v.Absent++
		b.said.addf("line %d: group %q has the accounts %v", r.Line, r.Group, slices.Sorted(maps.Keys(r.Of)))
	case have != want:
		b.v.Torn++
		b.said.addf("line %d: group %q has %d in all, not %d", r.Line, r.Group, have, want)
	}
}

// end compares what is there with what the receipts say.
func (b *bank) end() {
	final := map[string]int64{}
	groups := map[string]bool{}
	for _, r := range b.h.Final {
		groups[r.Group] = true
		maps.Copy(final, r.Of)
	}
	b.v.Unread = len(b.h.Start) - len(groups)
	if b.h.Receipts == nil {
		b.v.Unread++
		return
	}
	want := map[string]int64{}
	for _, of := range b.h.Start {
		maps.Copy(want, of)
	}
	asked := map[string]bool{}
	for i := range b.h.Transfers {
		t := &b.h.Transfers[i]
		asked[t.ID] = true
		has := b.h.Receipts[t.ID]
		if has {
			want[t.From] -= t.Amount
			want[t.To] += t.Amount
		}
		switch {
		case t.Outcome == Done && !has:
			b.v.Lost++
			b.said.addf("transfer %q, line %d, was acknowledged and has no receipt", t.ID, t.Line)
		case t.Outcome == Refused && has:
			b.v.Phantom++
			b.said.addf("transfer %q, line %d, was refused and has a receipt", t.ID, t.Line)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.h.Receipts)) {
		if !asked[id] {
			b.v.Phantom++
			b.said.addf("there is a receipt of transfer %q, which nobody asked for", id)
		}
	}
	for _, account := range slices.Sorted(maps.Keys(final)) {
		if final[account] != want[account] {
			b.v.Unbalanced++
			b.said.addf("account %q has %d, and its receipts make it %d", account, final[account], want[account])
		}
	}
}
