package space

import (
	"cmp"
	"slices"
)

// maxTogether bounds how many of the other entries that have become available a
// waiter for more than one is compared with when it is served.
const maxTogether = 128

// offers is the entries that have become available and were not offered yet, in
// the order of their spaces and of their own. It is empty between commands.
type offers struct {
	list []offer
	next int // list[:next] has been offered
}

// offer names an entry.
type offer struct {
	space ID
	order uint64
}

func (a offer) compare(b offer) int {
	return cmp.Or(cmp.Compare(a.space, b.space), cmp.Compare(a.order, b.order))
}

func (f *offers) add(o offer) {
	if i, found := slices.BinarySearchFunc(f.list[f.next:], o, offer.compare); !found {
		f.list = slices.Insert(f.list, f.next+i, o)
	}
}

func (f *offers) take() (offer, bool) {
	if f.next == len(f.list) {
		f.list, f.next = f.list[:0], 0
		return offer{}, false
	}
	f.next++
	return f.list[f.next-1], true
}

// available is called when an entry can be handed out that could not be before:
// it was written or changed, a claim on it ended, or it came to the head of its
// group. Those who name its key may have it before that. Whoever waits for such an entry gets it before Apply returns, and before
// any other command can: see serve.
func (p *Partition) available(sp *entries, order uint64) {
	if p.waits.of(sp.def.ID) != nil {
		p.waits.offers.add(offer{sp.def.ID, order})
	}
}

// serve offers the entries that have become available to those who wait, each to
// the oldest waiter that it fits, and carries out what the waiter had asked for.
// What a hand-out makes available in turn is offered as well.
//
// After every Apply, and before the operations of every command, no entry that
// could be handed out fits a waiter. That is why no command overtakes an older
// one that waits.
func (p *Partition) serve() {
	for {
		o, ok := p.waits.offers.take()
		if !ok {
			return
		}
		for p.serveOne(o) {
			// The waiter's command came to nothing, so the entry is there for the
			// next one.
		}
	}
}

// serveOne offers an entry to the oldest waiter that it fits, and reports whether
// it has to be offered again.
func (p *Partition) serveOne(o offer) (again bool) {
	sp := p.space(o.space)
	e, eligible, ok := p.offered(sp, o)
	if !ok {
		return false
	}
	x := p.waits.oldest(&e, o.space, eligible)
	if x == nil {
		return false
	}
	p.waits.ops = append(p.waits.ops[:0], x.handOut(&e))
	p.gather(sp, x, len(e.Key)+len(e.Value))
	var reply Reply
	if x.op.reserves() {
		reply = p.reserve(x.session, &x.op, p.waits.ops...)
	} else if reply = p.applyOps(&Command{Ops: p.waits.ops}); reply.Code == OK {
		reply.Results = joinResults(reply.Results)
	}
	p.answerWaiter(x, &reply)
	p.prep.reset()
	clear(p.waits.ops)
	return reply.Code != OK
}

// gather adds the hand-outs of further entries to a waiter for several: those
// that have become available with the first one.
func (p *Partition) gather(sp *entries, x *waiter, size int) {
	f := &p.waits.offers
	for _, o := range f.list[f.next:min(len(f.list), f.next+maxTogether)] {
		n := len(p.waits.ops)
		if n >= x.wanted() || x.op.claims() && n >= p.claimsLeft() || size >= maxReplyBytes || o.space != sp.def.ID {
			return
		}
		if e, eligible, _ := p.offered(sp, o); eligible && x.line.fits(&e) {
			p.waits.ops = append(p.waits.ops, x.handOut(&e))
			size += len(e.Key) + len(e.Value)
		}
	}
}

// offered returns the entry of an offer, if it can still be handed out. eligible
// says that those may have it, too, who do not name its key.
func (p *Partition) offered(sp *entries, o offer) (e Entry, eligible, ok bool) {
	if sp == nil {
		return Entry{}, false, false
	}
	r, ok := sp.table.ByOrder(o.order)
	if !ok || isHidden(r) || p.gone(sp, r) || p.txns.holds(o.space, r.Key()) {
		return Entry{}, false, false
	}
	return entryOf(r), sp.eligible(r), true
}

// joinResults makes the results of several hand-outs by key that of the one
// operation that asked for them all.
func joinResults(results []Result) []Result {
	for i := range results[1:] {
		results[0].Entries = append(results[0].Entries, results[i+1].Entries...)
	}
	return results[:1]
}
