package space_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// modelClaim is why an entry of a modelSpace is hidden.
type modelClaim struct {
	epoch   space.Epoch
	key     string
	until   space.Time
	delayed bool
	counted bool
	value   []byte // what a nack with a delay made of the entry, or nil
}

// claimOp runs an operation on claims; false if o is none.
func (m *model) claimOp(o *space.Op, touched *[]modelKey) (space.Result, bool) {
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
		*touched = append(*touched, modelKey{o.Space, string(o.Key)})
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
		*touched = append(*touched, modelKey{o.Space, string(e.Key)})
		e.Claimed = true
		s.entries[string(e.Key)] = e
		s.claims[unnumbered+space.Seq(len(s.claims))] = modelClaim{epoch: m.epoch, key: string(e.Key), until: until}
		r.Entries[i].Token = space.Token{Number: unnumbered}
	}
	return r, true
}

func (m *model) claimUntil(s *modelSpace, o *space.Op) (space.Time, bool) {
	lease := cmp.Or(o.Lease, s.def.ClaimLease, space.DefaultClaimLease)
	return m.clock + space.Time(lease), lease > 0 && lease <= space.MaxClaimLease
}

// numberClaim gives the claim that the running command has made on an entry its
// number.
func (m *model) numberClaim(k modelKey, c *space.Command, results []space.Result) {
	s := m.spaces[k.space]
	for number, x := range s.claims {
		if number < unnumbered || x.key != k.key {
			continue
		}
		m.seq++
		delete(s.claims, number)
		s.claims[m.seq] = x
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

func (m *model) held(o *space.Op, touched *[]modelKey) space.Result {
	for id, s := range m.spaces {
		c, ok := s.claims[o.Token.Number]
		if !ok || c.epoch != o.Token.Epoch || c.delayed {
			continue
		}
		*touched = append(*touched, modelKey{id, c.key})
		e := s.entries[c.key]
		switch o.Code {
		case space.OpAck:
			delete(s.claims, o.Token.Number)
			delete(s.entries, c.key)
			return space.Result{}
		case space.OpExtend:
			until, ok := m.claimUntil(s, o)
			if !ok {
				return space.Result{Code: space.CodeInvalid}
			}
			c.until = until
			s.claims[o.Token.Number] = c
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
			scratch := &modelSpace{def: s.def, entries: map[string]space.Entry{c.key: plain}}
			r = m.change(scratch, &space.Op{Key: []byte(c.key), Mutations: o.Mutations}, plain, true, false)
			if r.Code != space.OK {
				return r
			}
			c.value, r.Version = scratch.entries[c.key].Value, 0
		}
		last := c.counted && s.def.MaxAttempts > 0 && e.Attempts+1 >= s.def.MaxAttempts
		if o.Lease == 0 || last && m.deadLetters(s, c.key, touched) != nil {
			m.release(id, o.Token.Number, c, touched)
			return r
		}
		c.delayed, c.until = true, m.clock+space.Time(o.Lease)
		s.claims[o.Token.Number] = c
		return r
	}
	return space.Result{Code: space.CodeFenced}
}

func (m *model) deadLetters(s *modelSpace, key string, touched *[]modelKey) *modelSpace {
	d := m.spaces[s.def.DeadLetter]
	if d == nil || d.def.Shape != s.def.Shape {
		return nil
	}
	*touched = append(*touched, modelKey{d.def.ID, key})
	if _, ok := d.entries[key]; ok {
		return nil
	}
	return d
}

func (m *model) release(id space.ID, number space.Seq, c modelClaim, touched *[]modelKey) {
	s := m.spaces[id]
	delete(s.claims, number)
	e := s.entries[c.key]
	if c.value != nil {
		e.Value = c.value
	}
	e.Claimed = false
	if m.past(e) {
		delete(s.entries, c.key)
		return
	}
	e.Version = unnumbered
	if c.counted {
		e.Attempts++
		if s.def.MaxAttempts > 0 && e.Attempts >= s.def.MaxAttempts {
			if d := m.deadLetters(s, c.key, touched); d != nil {
				delete(s.entries, c.key)
				e.Attempts, e.Order, e.Deadline = 0, 0, m.deadline(d, &space.Op{})
				d.entries[c.key] = e
				return
			}
		}
	}
	s.entries[c.key] = e
}

// past reports whether the lease of an entry has ended.
func (m *model) past(e space.Entry) bool { return e.Deadline != space.Never && e.Deadline <= m.clock }

// expireDeadLetter ends the lease of the entry whose place the end of a claim asks
// for, if it is due: claims end before leases do.
func (m *model) expireDeadLetter(s *modelSpace, c *modelClaim) {
	e, d := s.entries[c.key], m.spaces[s.def.DeadLetter]
	exhausted := c.counted && s.def.MaxAttempts > 0 && e.Attempts+1 >= s.def.MaxAttempts
	if !exhausted || m.past(e) || d == nil || d.def.Shape != s.def.Shape {
		return
	}
	if x, ok := d.entries[c.key]; ok && !x.Claimed && m.past(x) {
		delete(d.entries, c.key)
		m.seq++
	}
}

// endClaims ends what is due, each claim like a command of its own.
func (m *model) endClaims() {
	for {
		var id space.ID
		var number space.Seq
		var due modelClaim
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
		due.counted = due.counted || !due.delayed
		m.expireDeadLetter(m.spaces[id], &due)
		before := m.spaces
		m.spaces = m.copySpaces()
		touched := []modelKey{{id, due.key}}
		m.release(id, number, due, &touched)
		m.number(&space.Command{}, before, touched, nil)
	}
}

// drawClaims turns a drawn keyed operation into one on claims.
func drawClaims(t *rapid.T, r *run, o space.Op) space.Op {
	c := space.Op{
		Code: rapid.SampledFrom([]space.OpCode{space.OpClaim, space.OpAck, space.OpNack, space.OpNack, space.OpExtend}).Draw(t, "claim"),
		// Beyond the longest claim it is refused.
		Lease: time.Duration(rapid.SampledFrom([]int{0, 0, 3, 8, int(space.MaxClaimLease) + 1}).Draw(t, "claim lease")),
	}
	if c.Code == space.OpClaim {
		c.Space, c.Key, c.Match = o.Space, o.Key, o.Match
		return c
	}
	c.Token = space.Token{Epoch: 1, Number: 1}
	if len(r.tokens) > 0 {
		// Mostly a late one: it is more likely to be good.
		c.Token = r.tokens[len(r.tokens)-1-rapid.IntRange(0, min(len(r.tokens)-1, 6)).Draw(t, "token")]
	}
	if rapid.IntRange(0, 9).Draw(t, "forged") == 0 {
		c.Token.Epoch++
	}
	if c.Code == space.OpNack {
		c.Flags = space.OpFlags(rapid.SampledFrom([]int{0, 0, int(space.FlagUncounted)}).Draw(t, "uncounted"))
		if rapid.IntRange(0, 2).Draw(t, "changed") == 0 {
			c.Mutations = []space.Mutation{drawMutation(t, o.Kind)}
		}
	}
	return c
}

// noteTokens remembers the tokens of a reply, and that they only grow.
func (r *run) noteTokens(reply *space.Reply) {
	for i := range reply.Results {
		for _, e := range reply.Results[i].Entries {
			if e.Token == (space.Token{}) || slices.Contains(r.tokens, e.Token) {
				continue
			}
			if n := len(r.tokens); n > 0 && (e.Token.Epoch < r.tokens[n-1].Epoch || e.Token.Number <= r.tokens[n-1].Number) {
				r.t.Fatalf("token %v after %v", e.Token, r.tokens[n-1])
			}
			r.tokens = append(r.tokens, e.Token)
		}
	}
}

// foldClaim folds a change that hides or shows an entry.
func (r *run) foldClaim(c *space.Change, k modelKey) {
	e := r.fold[k]
	if c.Op == space.Claimed {
		if e.Claimed || e.Version != c.Previous || len(c.Value) > 0 {
			r.t.Fatalf("change %+v over %+v", c, e)
		}
		e.Claimed = true
		r.fold[k] = e
		return
	}
	if !e.Claimed || e.Version != c.Previous {
		r.t.Fatalf("change %+v over %+v", c, e)
	}
	r.fold[k] = space.Entry{
		Key: c.Key, Value: c.Value, Kind: c.Kind, Version: c.Seq, Order: c.Order, Deadline: c.Deadline, Attempts: c.Attempts,
	}
}

func (s *modelSpace) clone() *modelSpace {
	return &modelSpace{def: s.def, entries: maps.Clone(s.entries), nextOrder: s.nextOrder, claims: maps.Clone(s.claims)}
}
