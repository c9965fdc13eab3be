package space

import "github.com/spacegrid/spacegrid/grid/space/internal/arena"

// firstLeap is how many entries a search for heads examines by one way before it
// goes on by the other. Each turn is twice as long as the one before: to begin
// anew behind a place may cost an index as much as going through all of it.
const firstLeap = 64

// findToHandOut returns copies of at most limit entries that match and may be
// handed out. In a space with groups it does not see entries that the command
// itself has written, claimed or removed, nor others of their groups: a group goes
// on when the command is in force.
func (p *Partition) findToHandOut(sp *entries, f *filter, limit int, allowScan bool) ([]Entry, Code) {
	if sp.groups == nil {
		return p.find(sp, f, limit, allowScan, true)
	}
	busy := p.prep.groupsTouched(sp)
	var found []Entry
	size := p.prep.returned
	code := sp.matchHeads(f, allowScan, func(r arena.Record) bool {
		// What a transaction has locked keeps its place: its group waits with it.
		if p.gone(sp, r) || p.txns.holds(sp.def.ID, r.Key()) {
			return true
		}
		if x := p.prep.find(sp, r.Key()); x != nil && x.changes() > 0 {
			return true
		}
		if group, ok := sp.groups.of(kindOf(r), r.Value()); ok && busy[string(group)] {
			return true
		}
		found = append(found, entryOf(r))
		size += len(r.Key()) + len(r.Value())
		return len(found) < limit && size < maxReplyBytes
	})
	if code != OK {
		return nil, code
	}
	return found, OK
}

// groupsTouched returns the groups of a space that the command has changed so
// far, before and after the change.
func (pr *prepared) groupsTouched(sp *entries) map[string]bool {
	var touched map[string]bool
	note := func(kind Kind, value []byte) {
		if group, ok := sp.groups.of(kind, value); ok {
			if touched == nil {
				touched = map[string]bool{}
			}
			touched[string(group)] = true
		}
	}
	for i := range pr.effects {
		x := &pr.effects[i]
		if x.space != sp || x.changes() == 0 {
			continue
		}
		if x.existed {
			note(kindOf(x.old), x.old.Value())
		}
		if x.exists {
			note(x.entry.Kind, x.entry.Value)
		}
	}
	return touched
}

// matchHeads calls fn for the heads of groups that match, ascending by order,
// until fn returns false. A template that names the group has one candidate. Any
// other is looked for among the heads, and where an index helps also by that, in
// turns: each way goes on where the other has come to, so the search is fast where
// either is, with many entries waiting behind their heads or with many heads of
// which few match. Only without an index the scan limit counts.
func (sp *entries) matchHeads(f *filter, allowScan bool, fn func(arena.Record) bool) Code {
	if group, ok := f.field(sp.groups.field); ok {
		if r, ok := sp.head(group); ok && f.matches(kindOf(r), r.Value()) {
			fn(r)
		}
		return OK
	}
	if _, ok := sp.plan(f); !ok {
		limit := sp.def.scanLimit()
		if allowScan {
			limit = int(^uint(0) >> 1)
		}
		if _, done := sp.walkHeads(f, 0, limit, fn); !done {
			return CodeScanRefused
		}
		return OK
	}
	for at, leap := uint64(0), firstLeap; ; leap *= 2 {
		var done bool
		if at, done = sp.walkHeads(f, at, leap, fn); done {
			return OK
		}
		hits, more := 0, true
		code := sp.match(f, at, true, func(r arena.Record) bool {
			hits++
			at = r.Order() + 1
			more = (!sp.eligible(r) || fn(r)) && more
			return more && hits < leap
		})
		if code != OK || !more || hits < leap {
			return code
		}
	}
}

// walkHeads calls fn for the heads that match from an order on. It gives up when
// it has examined limit that did not match, and returns where it stands; done says
// that there is nothing more to look for.
func (sp *entries) walkHeads(f *filter, from uint64, limit int, fn func(arena.Record) bool) (at uint64, done bool) {
	examined := 0
	at, done = from, true
	sp.groups.heads.AscendFrom(0, from, func(_, order uint64) bool {
		r, ok := sp.table.ByOrder(order)
		if !ok {
			panic("space: a head that is not there")
		}
		if f.matches(kindOf(r), r.Value()) {
			return fn(r)
		}
		if examined++; examined > limit {
			at, done = order, false
		}
		return done
	})
	return at, done
}
