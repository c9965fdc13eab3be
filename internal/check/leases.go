package check

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// LeaseVerb says what was asked of an entry with a lease.
type LeaseVerb uint8

// What is asked of such entries.
const (
	Lend  LeaseVerb = iota // write it
	Renew                  // grant it another lease, from now on
	Look                   // read it
)

// LeaseOp is one request about an entry with a lease. An entry is lent once and
// never removed. A renewal that found no entry is refused.
type LeaseOp struct {
	Line         int
	Key          string
	Verb         LeaseVerb
	Lease        int64 // asked for, in nanoseconds
	There        bool  // Look: it was there
	Call, Return int64
	Outcome      Outcome
	// Final says that there was time enough for every lease to end.
	Final bool
}

// LeaseVerdict counts what a history of leases shows. Everything from Early on should
// be zero.
type LeaseVerdict struct {
	Lent    int
	Expired int // seen to be gone
	Unread  int // without a final look

	Early      int // gone before the lease was over
	Returned   int // there after somebody had seen that they are gone
	Immortal   int // there long after the last lease that they can have had
	Phantom    int // there, and never lent, or refused
	Complaints []string
}

// OK reports whether the history keeps the promises; it does not speak of what is
// unread.
func (v *LeaseVerdict) OK() bool { return v.Early+v.Returned+v.Immortal+v.Phantom == 0 }

// Leases checks that an entry is there for as long as it was lent, less bound
// nanoseconds, since clocks are not exact; that nobody sees it after somebody has
// seen that it is gone; and that it goes.
func Leases(ops []LeaseOp, bound int64) LeaseVerdict {
	var v LeaseVerdict
	var said complaints
	by := map[string][]*LeaseOp{}
	for i := range ops {
		by[ops[i].Key] = append(by[ops[i].Key], &ops[i])
	}
	for _, key := range slices.Sorted(maps.Keys(by)) {
		of := by[key]
		slices.SortFunc(of, func(a, b *LeaseOp) int { return cmp.Compare(a.Call, b.Call) })
		v.entry(of, bound, &said)
	}
	v.Complaints = said
	return v
}

// entry judges what was asked of one entry, by call.
func (v *LeaseVerdict) entry(ops []*LeaseOp, bound int64, said *complaints) {
	var lent *LeaseOp
	final := false
	for _, o := range ops {
		if o.Verb == Lend && o.Outcome != Refused {
			lent = o
		}
		final = final || o.Final && o.Outcome == Done
	}
	if lent != nil {
		v.Lent++
		if !final {
			v.Unread++
		}
	}
	var gone *LeaseOp // the answer that came first of those that found nothing after it was there
	for _, o := range ops {
		if o.Verb != Look || o.Outcome != Done || o.There || lent == nil || lent.Outcome != Done || o.Call <= lent.Return {
			continue
		}
		if gone == nil || o.Return < gone.Return {
			gone = o
		}
		if grant := promise(ops, o, bound); grant != nil {
			v.Early++
			said.addf("%q: line %d found nothing %v before the end of the lease of line %d", o.Key, o.Line, over(grant, o), grant.Line)
		}
	}
	if gone != nil {
		v.Expired++
	}
	for _, o := range ops {
		there := o.Outcome == Done && (o.Verb == Look && o.There || o.Verb == Renew)
		switch {
		case !there:
		case lent == nil || lent.Call > o.Return:
			v.Phantom++
			said.addf("%q: line %d found it, and nobody had written it", o.Key, o.Line)
		case gone != nil && gone.Return < o.Call:
			v.Returned++
			said.addf("%q: line %d found it, and by line %d it was gone", o.Key, o.Line, gone.Line)
		case o.Final:
			v.Immortal++
			said.addf("%q: line %d found it, when all its leases had long been over", o.Key, o.Line)
		}
	}
}

// promise returns a grant by which an entry had to be there when a look that found
// nothing was answered. A lease counts from a moment after it was asked for, and the
// grid's clock may stand still but does not run ahead. Grants that overlapped may be
// in force in any order.
func promise(ops []*LeaseOp, look *LeaseOp, bound int64) *LeaseOp {
	var last *LeaseOp // the one that was asked for last
	for _, o := range ops {
		if o.Verb != Look && o.Outcome != Refused && o.Call <= look.Return {
			last = o
		}
	}
	if last == nil || last.Outcome != Done || last.Return >= look.Call {
		return nil
	}
	least := last
	for _, o := range ops {
		open := o.Outcome == Unknown || o.Return >= last.Call
		if o.Verb != Look && o.Outcome != Refused && o.Call <= look.Return && open && o.end() < least.end() {
			least = o
		}
	}
	if least.end()-bound > look.Return {
		return least
	}
	return nil
}

// end is the earliest end of a lease.
func (o *LeaseOp) end() int64 { return o.Call + o.Lease }

// over is how much of a lease was left when a look was answered.
func over(grant, look *LeaseOp) string {
	return time.Duration(grant.end() - look.Return).Round(time.Millisecond).String()
}
