package space

import "time"

// guardedPause is how much longer a claim lasts whose end would bring an entry
// into what a prepared transaction has looked for.
const guardedPause = 100 * time.Millisecond

// endClaims ends the claims and delays whose time is up, in the order of their
// ends and then of their numbers, at most limit of them, and returns what is left
// of limit.
func (p *Partition) endClaims(limit int) int {
	for limit > 0 {
		number, ok := p.claims.due(p.clock)
		if !ok {
			break
		}
		limit--
		c, _ := p.claims.byNumber.get(number)
		e, n := p.claimedEffect(&c)
		value, changed := p.claims.values.get(number)
		if !changed {
			value = e.entry.Value
		}
		if p.guarded(e.space, e.entry.Kind, value) != OK {
			// A prepared transaction relies on nothing new matching: not yet.
			c.until = p.clock.Add(guardedPause)
			p.claims.set(number, c)
			p.prep.reset()
			continue
		}
		p.release(n, number, c.counted || !c.delayed, value)
		p.install()
		p.prep.reset()
	}
	return limit
}

// release shows an entry again that the claim with the given number hides. The
// entry keeps its place in the order. If its lease has ended meanwhile it goes
// instead, and if the attempt that the claim was is its last it moves to the
// dead-letter space.
func (p *Partition) release(n int, number Seq, counted bool, value []byte) {
	e := &p.prep.effects[n]
	e.ends, e.hidden = number, false
	if e.entry.Deadline != Never && e.entry.Deadline <= p.clock {
		e.remove(Expired)
		return
	}
	attempts := e.entry.Attempts
	if counted {
		attempts = min(attempts+1, MaxAttempts)
		if e.space.def.exhausts(attempts) {
			if d := p.deadLetter(e.space, e.entry.Key, e.entry.Kind, value); d >= 0 {
				p.moveToDeadLetters(n, d, value)
				return
			}
			e = &p.prep.effects[n] // the effects may have moved
		}
	}
	e.write(e.entry.Kind, value)
	e.entry.Attempts, e.released = attempts, true
}

// exhausts reports whether an entry has used up its attempts.
func (d *Definition) exhausts(attempts int) bool {
	return d.MaxAttempts > 0 && attempts >= d.MaxAttempts
}

// deadLetter returns the effect in the dead-letter space that an exhausted entry
// of a space can become, or -1 if it has to stay: the dead-letter space is not
// defined or was dropped, it takes entries of another shape, or it has an entry
// under that key already, which must not be lost either, or a prepared transaction locks
// the key or relies on nothing like it coming. An entry that stays is
// shown again with its attempts counted, and moves as soon as a later attempt
// fails and there is a place.
func (p *Partition) deadLetter(sp *entries, key []byte, kind Kind, value []byte) int {
	dead := p.space(sp.def.DeadLetter)
	if dead == nil || dead == sp || dead.def.Shape != sp.def.Shape {
		return -1
	}
	if p.txns.holds(dead.def.ID, key) || p.guarded(dead, kind, value) != OK {
		return -1
	}
	e, n, code := p.touch(dead, key)
	if code != OK || e.exists {
		return -1
	}
	return n
}

// moveToDeadLetters makes the effect to an entry under the same key of the
// dead-letter space, with the lease that this space grants by default and no
// attempts counted: claims there are counted on their own.
func (p *Partition) moveToDeadLetters(from, to int, value []byte) {
	e, d := &p.prep.effects[from], &p.prep.effects[to]
	deadline, code := p.grant(d.space, 0)
	if code != OK {
		panic("space: a space refuses its own default lease")
	}
	d.entry.Deadline = deadline
	d.write(e.entry.Kind, value)
	e.remove(Exhausted)
}

// claimedEffect returns the effect on the entry of a claim in the table, and its
// position.
func (p *Partition) claimedEffect(c *claim) (*effect, int) {
	sp := p.space(c.space)
	if sp == nil {
		panic("space: a claim in a space that is not there")
	}
	r, ok := sp.table.ByOrder(c.order)
	if !ok || !isHidden(r) {
		panic("space: a claim on an entry that is not hidden")
	}
	e, n, code := p.reach(sp, r.Key())
	if code != OK {
		panic("space: a claimed entry cannot be touched")
	}
	return e, n
}

// hide makes the claim that an effect ends in: one change, whose number is the
// token's. more is how many changes of the command follow.
func (p *Partition) hide(x *effect, more int) {
	p.seq++
	p.log.append(&Change{
		Seq: p.seq, Op: Claimed, Space: x.space.def.ID, Key: x.entry.Key, Kind: x.entry.Kind,
		Previous: x.entry.Version, Order: x.entry.Order, At: p.clock, More: more, Attempts: x.entry.Attempts,
	})
	r, ok := x.space.table.Get(x.entry.Key)
	if !ok {
		panic("space: a claim on an entry that is not there")
	}
	x.entry.Claimed = true
	x.space.put(&x.entry, r, true)
	x.entry.Claimed = false
	p.claims.set(p.seq, claim{epoch: p.epoch, space: x.space.def.ID, order: x.entry.Order, until: x.claimed})
	x.token = Token{Epoch: p.epoch, Number: p.seq}
	p.offerHeads(x.space)
}
