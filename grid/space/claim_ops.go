package space

import "slices"

// claimEdit is what an operation makes of a claim that stays in the table: longer,
// or given back with a delay.
type claimEdit struct {
	number  Seq
	claim   claim
	value   []byte // of the entry after the delay, if changed; it may be empty
	changed bool
}

// grantedToken is a token in the results whose number is not known before the
// command is installed.
type grantedToken struct {
	result, entry, effect int
}

// prepareClaim hides the entry under a key. It asks for one entry and therefore
// passes over the order of groups.
func (p *Partition) prepareClaim(sp *entries, o *Op, i int) Code {
	until, code := p.claimUntil(&sp.def, o.Lease)
	if code != OK {
		return code
	}
	e, n, code := p.touch(sp, o.Key)
	switch {
	case code != OK:
		return code
	case !e.exists:
		return CodeNotFound
	case o.Match != 0 && !e.is(o.Match):
		return CodeConflict
	}
	if code := p.unmet(o, true, &e.entry); code != OK {
		return code
	}
	if p.claimsLeft() == 0 {
		return CodeFull
	}
	p.prep.results[i].Entries = p.prep.list(e.entry)
	p.prep.claim(n, until, i, 0)
	return OK
}

// prepareClaimMatch hides the first entries that match: as many as asked for, or
// as the table of claims has room for.
func (p *Partition) prepareClaimMatch(sp *entries, o *Op, i int) Code {
	until, code := p.claimUntil(&sp.def, o.Lease)
	if code != OK {
		return code
	}
	f, code := p.filter(o.Template, o.Predicate)
	if code != OK {
		return code
	}
	limit := min(max(o.Limit, 1), p.claimsLeft())
	if limit == 0 {
		return CodeFull
	}
	found, code := p.findToHandOut(sp, &f, limit, o.Flags&FlagAllowScan != 0)
	if code != OK {
		return code
	}
	if len(found) == 0 {
		return CodeNotFound
	}
	p.prep.results[i].Entries = p.prep.list(found...)
	for j := range found {
		_, n, code := p.touch(sp, found[j].Key)
		if code != OK {
			panic("space: an entry that matched cannot be claimed")
		}
		p.prep.claim(n, until, i, j)
	}
	return OK
}

// claimsLeft returns how many claims the command may still make.
func (p *Partition) claimsLeft() int {
	return max(0, maxClaims-p.claims.byNumber.len()-len(p.prep.granted))
}

// claim makes an effect end in a claim, whose token belongs to an entry of a
// result.
func (pr *prepared) claim(n int, until Time, result, entry int) {
	e := &pr.effects[n]
	e.hidden, e.claimed = true, until
	pr.granted = append(pr.granted, grantedToken{result, entry, n})
}

// prepareHeld runs an operation of a claim's holder. It is judged by the token
// alone: also a claim whose time is up is good as long as it is in the table.
func (p *Partition) prepareHeld(o *Op, i int) Code {
	number := o.Token.Number
	c, ok := p.claims.byNumber.get(number)
	if !ok || c.epoch != o.Token.Epoch || c.delayed {
		return CodeFenced
	}
	e, n := p.claimedEffect(&c)
	if e.edit > 0 {
		c = p.prep.held[e.edit-1].claim
	}
	if c.delayed || e.ends != 0 {
		return CodeFenced // by an operation before this one
	}
	switch o.Code {
	case OpAck:
		e.ends, e.hidden = number, false
		e.remove(Taken)
		return OK
	case OpExtend:
		until, code := p.claimUntil(&e.space.def, o.Lease)
		if code == OK {
			c.until = until
			p.prep.setEdit(n, claimEdit{number: number, claim: c})
		}
		return code
	}
	return p.prepareNack(o, i, number, c, n)
}

// prepareNack gives an entry back, now or after a delay. What mutations make of
// it is worked out at once, so that they can be refused, and shown with it. An
// entry that has no attempt left leaves at once, whatever the delay.
func (p *Partition) prepareNack(o *Op, i int, number Seq, c claim, n int) Code {
	e := &p.prep.effects[n]
	c.counted = o.Flags&FlagUncounted == 0
	if o.Lease < 0 || o.Lease > MaxClaimLease {
		return CodeInvalid
	}
	value, count := e.entry.Value, 0
	if len(o.Mutations) > 0 {
		changed, n, code := p.prep.mutate(e.entry.Kind, value, o.Mutations)
		if code == OK {
			code = checkValue(&e.space.def, e.entry.Kind, len(changed))
		}
		if code == OK && !e.space.def.routed(e.entry.Key, e.entry.Kind, changed) {
			code = CodeInvalid
		}
		if code != OK {
			return code
		}
		value, count = changed, n
	}
	if code := p.guarded(e.space, e.entry.Kind, value); code != OK {
		return code
	}
	p.prep.results[i].Count = count
	if o.Lease == 0 || c.counted && e.space.def.exhausts(e.entry.Attempts+1) && p.deadLetter(e.space, e.entry.Key, e.entry.Kind, value) >= 0 {
		p.release(n, number, c.counted, value)
		return OK
	}
	c.delayed, c.until = true, p.clock.Add(o.Lease)
	edit := claimEdit{number: number, claim: c}
	if len(o.Mutations) > 0 {
		edit.value, edit.changed = value, true
	}
	p.prep.setEdit(n, edit)
	return OK
}

// setEdit notes what becomes of the claim on the entry of effect n.
func (pr *prepared) setEdit(n int, x claimEdit) {
	e := &pr.effects[n]
	if e.edit == 0 {
		pr.held = append(pr.held, x)
		e.edit = len(pr.held)
	}
	pr.held[e.edit-1] = x
}

// installClaims puts in force what the command made of claims that stay.
func (p *Partition) installClaims() {
	for i := range p.prep.held {
		x := &p.prep.held[i]
		if _, ok := p.claims.byNumber.get(x.number); !ok {
			continue // a later operation has ended it
		}
		p.claims.set(x.number, x.claim)
		if x.changed {
			p.claims.values.set(x.number, slices.Clone(x.value))
		}
	}
	for _, g := range p.prep.granted {
		e, x := &p.prep.results[g.result].Entries[g.entry], &p.prep.effects[g.effect]
		e.Token, e.Version, e.Order = x.token, x.entry.Version, x.entry.Order
	}
}
