package space

import "github.com/spacegrid/spacegrid/grid/space/internal/pairtree"

// maxTogether bounds how many of the other entries that have become available a
// waiter for more than one is compared with when it is served.
const maxTogether = 128

// offers is the entries that have become available and were not offered yet, in
// the order of their spaces and of their own. It is empty between commands.
type offers struct {
	waiting pairtree.Tree // (space, order)
}

// offer names an entry.
type offer struct {
	space ID
	order uint64
}

func (f *offers) add(o offer) { f.waiting.Insert(uint64(o.space), o.order) }

func (f *offers) take() (offer, bool) {
	space, order, ok := f.waiting.Min()
	if ok {
		f.waiting.Delete(space, order)
	}
	return offer{ID(space), order}, ok
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
	defer p.prep.reset()
	p.waits.ops = append(p.waits.ops[:0], x.handOut(&e))
	p.gather(sp, x, len(e.Key)+len(e.Value))
	defer clear(p.waits.ops)
	var reply Reply
	if x.op.reserves() {
		reply = p.reserve(x.session, &x.op, p.waits.ops...)
	} else {
		reply = p.handOut(p.waits.ops)
	}
	switch {
	case reply.Code == OK:
		reply.Results = joinResults(reply.Results)
	case mayCome(reply.Results[reply.Failed].Code):
		return false // not now after all: it will be offered again
	}
	p.answerWaiter(x, &reply)
	return reply.Code != OK
}

// handOut carries out the hand-outs to one waiter: all of them, or the first if
// they do not go together.
func (p *Partition) handOut(ops []Op) Reply {
	reply := p.applyOps(&Command{Ops: ops})
	if reply.Code != OK && len(ops) > 1 {
		p.prep.reset()
		reply = p.applyOps(&Command{Ops: ops[:1]})
	}
	return reply
}

// gather adds the hand-outs of further entries to a waiter for several: those
// that have become available with the first one.
func (p *Partition) gather(sp *entries, x *waiter, size int) {
	left := maxTogether
	p.waits.offers.waiting.AscendFrom(0, 0, func(space, order uint64) bool {
		n := len(p.waits.ops)
		if left == 0 || n >= x.wanted() || x.op.claims() && n >= p.claimsLeft() || size >= maxReplyBytes || ID(space) != sp.def.ID {
			return false
		}
		left--
		if e, eligible, _ := p.offered(sp, offer{sp.def.ID, order}); eligible && x.line.fits(&e) {
			p.waits.ops = append(p.waits.ops, x.handOut(&e))
			size += len(e.Key) + len(e.Value)
		}
		return true
	})
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
