package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ListOp is one part of a transaction over lists: it appends Element to the list
// under Key, or reads the list.
type ListOp struct {
	Key     string
	Append  bool
	Element int64   // used once in a history
	Read    []int64 // what was there, as the transaction saw it before it appended
}

// ListTxn is one request for a transaction. Only of one that is done count the reads.
type ListTxn struct {
	Line         int
	Ops          []ListOp
	Call, Return int64
	Outcome      Outcome
}

// ListVerdict counts what a history of lists shows. Everything from Lost on should
// be zero.
type ListVerdict struct {
	Txns   int // done
	Unread int // lists with acknowledged elements behind the longest read

	Lost       int // acknowledged elements that a later read of the list has not got
	Duplicated int // elements that are in a list twice
	Phantom    int // elements that nobody appended, or whose transaction was refused
	Torn       int // reads that no order of the list's elements explains
	Cycles     int // 1 if the transactions have no serial order that real time allows
	Complaints []string
}

// OK reports whether the history keeps the promise; it does not speak of what is
// unread.
func (v *ListVerdict) OK() bool {
	return v.Lost+v.Duplicated+v.Phantom+v.Torn+v.Cycles == 0
}

// Lists checks that transactions over lists are strictly serializable. The longest
// read of each list is its order; every other read has to be a beginning of it. Of
// two transactions one came first if the other saw or followed what it appended, if
// the other appended what it did not see, or if it was over before the other began;
// there may be no circle of these. The method is that of Kingsbury and Alvaro,
// "Elle: Inferring Isolation Anomalies from Experimental Observations", for lists
// and one level of isolation.
func Lists(txns []ListTxn) ListVerdict {
	l := lists{txns: txns, writer: map[int64]int{}, order: map[string][]int64{}, place: map[int64]int{}, edges: map[int][]int{}}
	l.longest()
	l.check()
	if l.v.OK() {
		l.circle()
	}
	l.v.Complaints = l.said
	return l.v
}

// lists is a history while it is judged.
type lists struct {
	txns   []ListTxn
	writer map[int64]int      // the transaction of an element
	order  map[string][]int64 // the longest read of each list
	place  map[int64]int      // of an element in its list
	edges  map[int][]int      // from a transaction to those before it
	v      ListVerdict
	said   complaints
}

// reads calls fn for every read of a transaction that is done.
func (l *lists) reads(fn func(n int, op *ListOp)) {
	for n := range l.txns {
		t := &l.txns[n]
		for i := range t.Ops {
			if op := &t.Ops[i]; t.Outcome == Done && !op.Append {
				fn(n, op)
			}
		}
	}
}

// longest finds the order of each list.
func (l *lists) longest() {
	for n := range l.txns {
		t := &l.txns[n]
		if t.Outcome == Done {
			l.v.Txns++
		}
		for _, op := range t.Ops {
			if op.Append && t.Outcome != Refused {
				l.writer[op.Element] = n
			}
		}
	}
	l.reads(func(_ int, op *ListOp) {
		if len(op.Read) > len(l.order[op.Key]) {
			l.order[op.Key] = op.Read
		}
	})
	for _, key := range slices.Sorted(maps.Keys(l.order)) {
		for i, e := range l.order[key] {
			if _, twice := l.place[e]; twice {
				l.v.Duplicated++
				l.said.addf("list %q has element %d twice", key, e)
			}
			if _, ok := l.writer[e]; !ok {
				l.v.Phantom++
				l.said.addf("list %q has element %d, which nobody appended", key, e)
			}
			l.place[e] = i
		}
	}
}

// check holds every read and every acknowledged element against the orders.
func (l *lists) check() {
	last := map[string]*ListTxn{} // the read of a list that began last
	l.reads(func(n int, op *ListOp) {
		t := &l.txns[n]
		if was := last[op.Key]; was == nil || t.Call > was.Call {
			last[op.Key] = t
		}
		if order := l.order[op.Key]; !slices.Equal(op.Read, order[:len(op.Read)]) {
			l.v.Torn++
			l.said.addf("line %d read %v of list %q, which is no beginning of %v", t.Line, op.Read, op.Key, order)
		}
	})
	for n := range l.txns {
		t := &l.txns[n]
		for _, op := range t.Ops {
			if _, there := l.place[op.Element]; !op.Append || t.Outcome != Done || there {
				continue
			}
			if r := last[op.Key]; r != nil && r.Call > t.Return {
				l.v.Lost++
				l.said.addf("element %d of line %d is not in list %q, which line %d read later", op.Element, t.Line, op.Key, r.Line)
				continue
			}
			l.v.Unread++
		}
	}
}

// circle looks for a circle of transactions.
func (l *lists) circle() {
	before := func(after, first int) {
		if after != first {
			l.edges[after] = append(l.edges[after], first)
		}
	}
	for _, of := range l.order {
		for i := 1; i < len(of); i++ {
			before(l.writer[of[i]], l.writer[of[i-1]])
		}
	}
	l.reads(func(n int, op *ListOp) {
		order := l.order[op.Key]
		if k := len(op.Read); k > 0 {
			before(n, l.writer[op.Read[k-1]])
		}
		if k := len(op.Read); k < len(order) {
			before(l.writer[order[k]], n)
		}
	})
	l.realTime(before)
	way := Cycle(l.edges)
	if way == nil {
		return
	}
	l.v.Cycles++
	var lines []string
	for _, n := range way {
		lines = append(lines, fmt.Sprint(l.txns[n].Line))
	}
	l.said.addf("each of these came after the next, by what it saw or by the clock: lines %s", strings.Join(lines, ", "))
}

// realTime adds that a transaction that began after another was over came after it.
// Of those that were over only the last ones have to be named: who was over before
// one of these began comes before it.
func (l *lists) realTime(before func(after, first int)) {
	type moment struct {
		at  int64
		end bool
		n   int
	}
	var moments []moment
	for n := range l.txns {
		t := &l.txns[n]
		switch t.Outcome {
		case Done:
			moments = append(moments, moment{t.Call, false, n}, moment{t.Return, true, n})
		case Unknown:
			moments = append(moments, moment{t.Call, false, n})
		case Refused:
		}
	}
	slices.SortFunc(moments, func(a, b moment) int {
		switch {
		case a.at != b.at && a.at < b.at, a.at == b.at && !a.end && b.end:
			return -1
		case a.at == b.at && a.end == b.end:
			return 0
		}
		return 1
	})
	var frontier []int
	for _, m := range moments {
		if !m.end {
			for _, n := range frontier {
				before(m.n, n)
			}
			continue
		}
		frontier = slices.DeleteFunc(frontier, func(n int) bool { return l.txns[n].Return < l.txns[m.n].Call })
		frontier = append(frontier, m.n)
	}
}
