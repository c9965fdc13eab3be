package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// RegisterVerb says what an access to a register was.
type RegisterVerb uint8

// The accesses.
const (
	Get RegisterVerb = iota
	// Put writes Value, which is used once in a history, or removes the entry if
	// it is empty.
	Put
	// Swap writes Value if Expect is there. If it is done, Got is what was there:
	// another value than Expect says that nothing was written.
	Swap
	// Peek is a get that may be old.
	Peek
)

// Access is one request about one register. Registers begin empty.
type Access struct {
	Line               int // of the history that it comes from
	Verb               RegisterVerb
	Key                string
	Value, Expect, Got string
	Call, Return       int64 // on one clock
	Outcome            Outcome
}

// wrote reports whether the access is known to have changed the register.
func (a *Access) wrote() bool {
	return a.Outcome == Done && (a.Verb == Put || a.Verb == Swap && a.Got == a.Expect)
}

// mayWrite reports whether the access may have changed the register.
func (a *Access) mayWrite() bool {
	return a.wrote() || a.Outcome == Unknown && (a.Verb == Put || a.Verb == Swap)
}

// saw returns what the access says was there.
func (a *Access) saw() (string, bool) {
	return a.Got, a.Outcome == Done && a.Verb != Put
}

// RegisterVerdict counts what a history of registers shows. Everything from Lost on
// should be zero.
type RegisterVerdict struct {
	Keys int
	// Undecided counts keys for which no answer was found in time. They have
	// neither passed nor failed.
	Undecided int

	Lost    int // reads that found nothing where something acknowledged was
	Stale   int // reads of a value that had been overwritten before they began
	Phantom int // reads of a value that nobody had written, or whose write was refused
	// Disorder counts keys whose accesses have no order that explains them, though
	// no single read is wrong by itself.
	Disorder   int
	Complaints []string
}

// OK reports whether the history keeps the promise; it does not speak of what is
// undecided.
func (v *RegisterVerdict) OK() bool {
	return v.Lost == 0 && v.Stale == 0 && v.Phantom == 0 && v.Disorder == 0
}

// Registers checks that the accesses to each key have an order in which every one
// of them lies between its call and its return and sees what the one before it left:
// linearizability. Accesses that were refused have no effect, those of unknown
// outcome take effect at any time after their call or never. Limit bounds the
// search for one key, and ten times as much that for all.
//
// A register should have a few hundred accesses at most, of which a few at once:
// the search grows exponentially with how many are open together.
func Registers(accesses []Access, limit time.Duration) RegisterVerdict {
	var v RegisterVerdict
	var said complaints
	by := map[string][]*Access{}
	for i := range accesses {
		a := &accesses[i]
		by[a.Key] = append(by[a.Key], a)
	}
	v.Keys = len(by)
	until := time.Now().Add(10 * limit)
	for _, key := range slices.Sorted(maps.Keys(by)) {
		r := register{ops: by[key], v: &v, said: &said}
		slices.SortFunc(r.ops, func(a, b *Access) int { return cmp.Compare(a.Call, b.Call) })
		if r.eachRead(); r.bad == 0 {
			r.order(min(limit, time.Until(until)))
		}
	}
	v.Complaints = said
	return v
}

// register is one key while it is judged.
type register struct {
	ops  []*Access // by call
	v    *RegisterVerdict
	said *complaints
	bad  int
}

func (r *register) badf(count *int, format string, args ...any) {
	*count++
	r.bad++
	r.said.addf(format, args...)
}

// eachRead finds the reads that are wrong whatever the order.
func (r *register) eachRead() {
	writer := map[string]*Access{}
	for _, a := range r.ops {
		if a.mayWrite() && a.Value != "" {
			writer[a.Value] = a
		}
	}
	for _, a := range r.ops {
		got, ok := a.saw()
		if !ok {
			continue
		}
		if got == "" {
			if w := r.vanished(a); w != nil && a.Verb != Peek {
				r.badf(&r.v.Lost, "register %q: line %d found nothing, and line %d had written %q", a.Key, a.Line, w.Line, w.Value)
			}
			continue
		}
		w := writer[got]
		switch {
		case w == nil || w.Call > a.Return:
			r.badf(&r.v.Phantom, "register %q: line %d read %q, which nobody had written", a.Key, a.Line, got)
		case a.Verb == Peek || !w.wrote():
		default:
			if over := r.overwritten(w, a); over != nil {
				r.badf(&r.v.Stale, "register %q: line %d read %q of line %d, which line %d had overwritten before", a.Key, a.Line, got, w.Line, over.Line)
			}
		}
	}
}

// overwritten returns a write that came after w and before a read began.
func (r *register) overwritten(w, read *Access) *Access {
	for _, x := range r.ops {
		if x.Call >= read.Call {
			break
		}
		if x.wrote() && x.Call > w.Return && x.Return < read.Call {
			return x
		}
	}
	return nil
}

// vanished returns a write that a read should have seen, or what came after it, if
// nobody can have removed it.
func (r *register) vanished(read *Access) *Access {
	var last *Access // the acknowledged write that began last
	for _, x := range r.ops {
		if x.Call >= read.Call {
			break
		}
		if x.wrote() && x.Value != "" && x.Return < read.Call {
			last = x
		}
	}
	if last == nil {
		return nil
	}
	for _, x := range r.ops {
		if x.mayWrite() && x.Value == "" && x.Call <= read.Return && (x.Outcome == Unknown || x.Return >= last.Call) {
			return nil
		}
	}
	return last
}

// order looks for an order of all accesses.
func (r *register) order(limit time.Duration) {
	ops := r.relevant()
	if len(ops) == 0 {
		return
	}
	if limit <= 0 {
		r.v.Undecided++
		return
	}
	switch porcupine.CheckOperationsTimeout(registerModel, ops, limit) {
	case porcupine.Ok:
	case porcupine.Unknown:
		r.v.Undecided++
	case porcupine.Illegal:
		_, info := porcupine.CheckOperationsVerbose(registerModel, ops, min(limit, explainTime))
		r.badf(&r.v.Disorder, "register %q: no order explains its %d accesses%s", r.ops[0].Key, len(ops), firstOutside(ops, info))
	}
}

// explainTime bounds the search for what to complain about.
const explainTime = 5 * time.Second

// firstOutside names the earliest access that the longest order has no place for.
func firstOutside(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, part := range info.PartialLinearizations() {
		for _, way := range part {
			if len(way) > len(longest) {
				longest = way
			}
		}
	}
	first := -1
	for i := range ops {
		if !slices.Contains(longest, i) && (first < 0 || ops[i].Return < ops[first].Return) {
			first = i
		}
	}
	if first < 0 {
		return ""
	}
	return fmt.Sprintf("; %d have a place, line %d has none", len(longest), ops[first].Input.(*Access).Line)
}

// relevant returns the accesses that an order has to have a place for. A write of
// unknown outcome whose value nobody saw changes nothing for anybody, so that it is
// left out: it may as well not have happened.
func (r *register) relevant() []porcupine.Operation {
	seen := map[string]bool{}
	for _, a := range r.ops {
		if got, ok := a.saw(); ok && a.Verb != Peek {
			seen[got] = true
		}
	}
	for again := true; again; {
		again = false
		for _, a := range r.ops {
			if a.Verb == Swap && a.Outcome == Unknown && seen[a.Value] && !seen[a.Expect] {
				seen[a.Expect], again = true, true
			}
		}
	}
	var ops []porcupine.Operation
	for _, a := range r.ops {
		op := porcupine.Operation{Input: a, Call: a.Call, Return: a.Return}
		switch {
		case a.Outcome == Refused, a.Verb == Peek:
			continue
		case a.Outcome == Done:
		case a.Verb == Get, a.Value != "" && !seen[a.Value]:
			continue
		default:
			op.Return = math.MaxInt64
		}
		ops = append(ops, op)
	}
	return ops
}

// registerModel is what a register does. Its state is the value.
var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		a, now := input.(*Access), state.(string)
		switch {
		case a.Verb == Get:
			return a.Got == now, now
		case a.Verb == Put:
			return true, a.Value
		case a.Outcome == Unknown && now != a.Expect:
			return true, now
		case a.Outcome == Unknown:
			return true, a.Value
		case a.Got == a.Expect:
			return now == a.Expect, a.Value
		}
		return now == a.Got, now
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}
