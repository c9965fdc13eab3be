package spacetest

import (
	"cmp"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// claim is why an entry of a table is hidden.
type claim struct {
	epoch   space.Epoch
	key     string
	until   space.Time
	delayed bool
	counted bool
	value   []byte // what a nack with a delay made of the entry, or nil
}

// claimOp runs an operation on claims; false if o is none.
func (m *Model) claimOp(o *space.Op, touched *[]place) (space.Result, bool) {
	switch o.Code {
	case space.OpAck, space.OpNack, space.OpExtend:
		return m.held(o, touched), true
	case space.OpClaim, space.OpClaimMatch:
	default:
		return space.Result{}, false
	}
	s := m.spaces[o.Space]
	if s == nil {
		return space.Result{Code: space.CodeNoSpace}, true
	}
	until, ok := m.claimUntil(s, o)
	if !ok {
		return space.Result{Code: space.CodeInvalid}, true
	}
	var r space.Result
	if o.Code == space.OpClaimMatch {
		take := *o
		take.Code = space.OpTakeMatch
		scratch := s.clone()
		if r = m.match(scratch, &take, touched); r.Code != space.OK {
			return r, true
		}
	} else {
		*touched = append(*touched, place{o.Space, string(o.Key)})
		e, ok := s.entries[string(o.Key)]
		switch {
		case e.Claimed:
			return space.Result{Code: space.CodeClaimed}, true
		case !ok:
			return space.Result{Code: space.CodeNotFound}, true
		case o.Match != 0 && e.Version != o.Match:
			return space.Result{Code: space.CodeConflict}, true
		}
		r.Entries = []space.Entry{e}
	}
	for i := range r.Entries {
		e := r.Entries[i]
		*touched = append(*touched, place{o.Space, string(e.Key)})
		e.Claimed = true
		s.put(string(e.Key), e)
		s.claim(unnumbered+space.Seq(len(s.claims)), claim{epoch: m.epoch, key: string(e.Key), until: until})
		r.Entries[i].Token = space.Token{Number: unnumbered}
	}
	return r, true
}

func (m *Model) claimUntil(s *table, o *space.Op) (space.Time, bool) {
	lease := cmp.Or(o.Lease, s.def.ClaimLease, space.DefaultClaimLease)
	return m.clock + space.Time(lease), lease > 0 && lease <= space.MaxClaimLease
}

// numberClaim gives the claim that the running command has made on an entry its
// number.
func (m *Model) numberClaim(k place, c *space.Command, results []space.Result) {
	s := m.spaces[k.space]
	for number, x := range s.claims {
		if number < unnumbered || x.key != k.key {
			continue
		}
		m.seq++
		s.unclaim(number)
		s.claim(m.seq, x)
		for i := range results {
			for j := range results[i].Entries {
				if e := &results[i].Entries[j]; e.Token.Number == unnumbered && c.Ops[i].Space == k.space && string(e.Key) == k.key {
					e.Token = space.Token{Epoch: m.epoch, Number: m.seq}
					e.Version, e.Order = s.entries[k.key].Version, s.entries[k.key].Order
				}
			}
		}
		return
	}
}

func (m *Model) held(o *space.Op, touched *[]place) space.Result {
	for id, s := range m.spaces {
		c, ok := s.claims[o.Token.Number]
		if !ok || c.epoch != o.Token.Epoch || c.delayed {
			continue
		}
		*touched = append(*touched, place{id, c.key})
		e := s.entries[c.key]
		switch o.Code {
		case space.OpAck:
			s.unclaim(o.Token.Number)
			s.remove(c.key)
			return space.Result{}
		case space.OpExtend:
			until, ok := m.claimUntil(s, o)
			if !ok {
				return space.Result{Code: space.CodeInvalid}
			}
			c.until = until
			s.claim(o.Token.Number, c)
			return space.Result{}
		}
		if o.Lease < 0 || o.Lease > space.MaxClaimLease {
			return space.Result{Code: space.CodeInvalid}
		}
		var r space.Result
		c.counted = o.Flags&space.FlagUncounted == 0
		if len(o.Mutations) > 0 {
			// On an entry of its own, so that change can be asked.
			plain := e
			plain.Claimed = false
			scratch := &table{def: s.def, entries: map[string]space.Entry{c.key: plain}}
			r = m.change(scratch, &space.Op{Key: []byte(c.key), Mutations: o.Mutations}, plain, true, false)
			if r.Code != space.OK {
				return r
			}
			c.value, r.Version = scratch.entries[c.key].Value, 0
		}
		if m.txns.guarded(id, space.Entry{Kind: e.Kind, Value: c.becomes(e)}) {
			return space.Result{Code: space.CodeLocked}
		}
		last := c.counted && s.def.MaxAttempts > 0 && e.Attempts+1 >= s.def.MaxAttempts
		if o.Lease == 0 || last && m.deadLetters(s, c, touched) != nil {
			m.release(id, o.Token.Number, c, touched)
			return r
		}
		c.delayed, c.until = true, m.clock+space.Time(o.Lease)
		s.claim(o.Token.Number, c)
		return r
	}
	return space.Result{Code: space.CodeFenced}
}

// becomes returns the value of a claimed entry after the claim.
func (c *claim) becomes(e space.Entry) []byte {
	if c.value != nil {
		return c.value
	}
	return e.Value
}

func (m *Model) deadLetters(s *table, c claim, touched *[]place) *table {
	d := m.spaces[s.def.DeadLetter]
	if d == nil || d.def.Shape != s.def.Shape || m.txns.holds(d.def.ID, c.key) {
		return nil
	}
	e := s.entries[c.key]
	if m.txns.guarded(d.def.ID, space.Entry{Kind: e.Kind, Value: c.becomes(e)}) {
		return nil
	}
	*touched = append(*touched, place{d.def.ID, c.key})
	if _, ok := d.entries[c.key]; ok {
		return nil
	}
	return d
}

func (m *Model) release(id space.ID, number space.Seq, c claim, touched *[]place) {
	s := m.spaces[id]
	s.unclaim(number)
	e := s.entries[c.key]
	if c.value != nil {
		e.Value = c.value
	}
	e.Claimed = false
	if m.past(e) {
		s.remove(c.key)
		return
	}
	e.Version = unnumbered
	if c.counted {
		e.Attempts++
		if s.def.MaxAttempts > 0 && e.Attempts >= s.def.MaxAttempts {
			if d := m.deadLetters(s, c, touched); d != nil {
				s.remove(c.key)
				e.Attempts, e.Order, e.Deadline = 0, 0, m.deadline(d, &space.Op{})
				d.put(c.key, e)
				return
			}
		}
	}
	s.put(c.key, e)
}

// past reports whether the lease of an entry has ended.
func (m *Model) past(e space.Entry) bool { return e.Deadline != space.Never && e.Deadline <= m.clock }

// expireDeadLetter ends the lease of the entry whose place the end of a claim asks
// for, if it is due: claims end before leases do.
func (m *Model) expireDeadLetter(s *table, c *claim) {
	e, d := s.entries[c.key], m.spaces[s.def.DeadLetter]
	exhausted := c.counted && s.def.MaxAttempts > 0 && e.Attempts+1 >= s.def.MaxAttempts
	if !exhausted || m.past(e) || d == nil || d.def.Shape != s.def.Shape {
		return
	}
	if m.txns.holds(d.def.ID, c.key) || m.txns.guarded(d.def.ID, space.Entry{Kind: e.Kind, Value: c.becomes(e)}) {
		return
	}
	if x, ok := d.entries[c.key]; ok && !x.Claimed && m.past(x) {
		d.remove(c.key)
		m.seq++
	}
}

// endClaims ends what is due, each claim like a command of its own.
func (m *Model) endClaims() {
	for {
		var id space.ID
		var number space.Seq
		var due claim
		for i, s := range m.spaces {
			for n, c := range s.claims {
				if c.until <= m.clock && (number == 0 || cmp.Or(cmp.Compare(c.until, due.until), cmp.Compare(n, number)) < 0) {
					id, number, due = i, n, c
				}
			}
		}
		if number == 0 {
			return
		}
		s := m.spaces[id]
		if e := s.entries[due.key]; m.txns.guarded(id, space.Entry{Kind: e.Kind, Value: due.becomes(e)}) {
			due.until = m.clock.Add(100 * time.Millisecond)
			s.claim(number, due)
			continue
		}
		due.counted = due.counted || !due.delayed
		m.expireDeadLetter(m.spaces[id], &due)
		before := m.spaces
		m.spaces = m.copySpaces()
		touched := []place{{id, due.key}}
		m.release(id, number, due, &touched)
		m.number(&space.Command{}, before, touched, nil)
	}
}
