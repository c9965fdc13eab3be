package space

import (
	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// holds reports whether a prepared transaction has locked a key.
func (t *transactions) holds(id ID, key []byte) bool {
	if len(t.locks) == 0 {
		return false
	}
	_, ok := t.locks[lockKey{id, string(key)}]
	return ok
}

// Locked reports whether a prepared transaction has locked a key: the lease of the
// entry under it does not end before the outcome. Only the goroutine that applies
// may call it.
func (p *Partition) Locked(id ID, key []byte) bool { return p.txns.holds(id, key) }

// locked returns CodeLocked for an operation on a key that has to leave it to a
// prepared transaction.
func (p *Partition) locked(o *Op) Code {
	if len(p.txns.locks) == 0 || len(o.Key) == 0 {
		return OK
	}
	l, held := p.txns.locks[lockKey{o.Space, string(o.Key)}]
	if !held {
		return OK
	}
	switch o.Code {
	case OpCheck:
		if !l.writer {
			return OK
		}
	case OpRead:
		if !l.writer || !p.prep.preparing {
			return OK
		}
	}
	return CodeLocked
}

// guarded returns CodeLocked if a value may not come into a space now because a
// prepared transaction relies on nothing new matching.
func (p *Partition) guarded(sp *entries, kind Kind, value []byte) Code {
	if p.txns.guards == 0 {
		return OK
	}
	for _, t := range p.txns.prepared.all() {
		for i := range t.guards {
			if g := &t.guards[i]; g.space == sp.def.ID && g.parsed.matches(kind, value) {
				return CodeLocked
			}
		}
	}
	return OK
}

// prepareCheckMatch fails if a change after the given one made an entry match, or
// if a prepared transaction is about to.
func (p *Partition) prepareCheckMatch(sp *entries, o *Op) Code {
	f, code := p.filter(o.Template, o.Predicate)
	switch {
	case code != OK:
		return code
	case o.Match > p.seq:
		return CodeInvalid
	case o.Match < p.floor || p.seq-o.Match > maxChangesChecked:
		return CodeTrimmed
	}
	if p.prep.checked += int(p.seq - o.Match); p.prep.checked > maxCheckedTogether {
		return CodeTooLarge
	}
	id := sp.def.ID
	conflict := p.log.any(o.Match, func(c *Change) bool {
		return c.Space == id && (c.Op == Written || c.Op == Updated || c.Op == Released) && f.matches(c.Kind, c.Value)
	})
	if conflict {
		return CodeConflict
	}
	coming := false
	for _, x := range p.txns.prepared.all() {
		for i := range x.keys {
			k := &x.keys[i]
			if !k.write || !k.exists || k.space != id {
				continue
			}
			// All are counted, whichever comes first: the count decides what becomes
			// of later checks.
			p.prep.checked++
			coming = coming || f.matches(k.kind, k.value)
		}
	}
	if coming {
		return CodeLocked
	}
	return OK
}

// free reports whether a transaction can have all the locks that it needs. Most
// operations that cannot are refused before they are prepared, by themselves.
func (p *Partition) free(t *preparedTxn) bool {
	for i := range t.keys {
		k := &t.keys[i]
		if l := p.txns.locks[lockKey{k.space, string(k.key)}]; l.writer || k.write && l.readers > 0 {
			return false
		}
	}
	return true
}

// addTxn registers a prepared transaction and takes its locks, which are free.
func (p *Partition) addTxn(t *preparedTxn) {
	p.txns.prepared.set(t.id, t)
	p.txns.asks.Insert(t.id.at(t.asks))
	p.txns.bytes += t.bytes
	p.txns.guards += len(t.guards)
	for i := range t.keys {
		k := &t.keys[i]
		at := lockKey{k.space, string(k.key)}
		l := p.txns.locks[at]
		if l.writer || k.write && l.readers > 0 {
			panic("space: a lock is taken over")
		}
		if k.write {
			l.writer = true
		} else {
			l.readers++
		}
		p.txns.locks[at] = l
		if sp, r, ok := p.leased(k); ok {
			sp.leases.Delete(uint64(r.Deadline()), r.Order())
		}
	}
}

// removeTxn forgets a prepared transaction and gives its locks back.
func (p *Partition) removeTxn(t *preparedTxn) {
	p.txns.prepared.remove(t.id)
	p.txns.asks.Delete(t.id.at(t.asks))
	p.txns.bytes -= t.bytes
	p.txns.guards -= len(t.guards)
	for i := range t.keys {
		p.unlock(&t.keys[i])
	}
}

func (p *Partition) unlock(k *preparedKey) {
	at := lockKey{k.space, string(k.key)}
	l := p.txns.locks[at]
	if k.write {
		l.writer = false
	} else {
		l.readers--
	}
	if l != (lock{}) {
		p.txns.locks[at] = l
		return
	}
	delete(p.txns.locks, at)
	if sp, r, ok := p.leased(k); ok {
		sp.leases.Insert(uint64(r.Deadline()), r.Order())
	}
}

// leased returns the entry under a key if it has a lease that ends.
func (p *Partition) leased(k *preparedKey) (*entries, arena.Record, bool) {
	sp := p.space(k.space)
	if sp == nil {
		return nil, arena.Record{}, false
	}
	r, ok := sp.table.Get(k.key)
	return sp, r, ok && Time(r.Deadline()) != Never
}

// dropLocks takes a space out of all prepared transactions: what they would do
// to it is gone with it.
func (p *Partition) dropLocks(id ID) {
	for _, old := range p.txns.prepared.all() {
		// An image may have the old one.
		changed := *old
		t := &changed
		var keys []preparedKey
		var guards []guard
		for i := range t.keys {
			if k := t.keys[i]; k.space != id {
				keys = append(keys, k)
			} else {
				p.unlock(&k)
				t.bytes -= len(k.key) + len(k.value)
				p.txns.bytes -= len(k.key) + len(k.value)
			}
		}
		for _, g := range t.guards {
			if g.space != id {
				guards = append(guards, g)
			} else {
				t.bytes -= g.bytes()
				p.txns.bytes -= g.bytes()
				p.txns.guards--
			}
		}
		t.keys, t.guards = keys, guards
		p.txns.prepared.set(t.id, t)
	}
}

// any reports whether fn holds for a change after the given one, published or not.
func (l *Changelog) any(after Seq, fn func(*Change) bool) bool {
	last := l.next - 1
	if after >= last {
		return false
	}
	view := newChangelog(last)
	view.chunks.Store(l.chunks.Load())
	var buf []Change
	for after < last {
		var err error
		if buf, err = view.Read(buf[:0], after, changelogChunkMax); err != nil {
			panic("space: the changelog lacks changes above its floor: " + err.Error())
		}
		for i := range buf {
			if fn(&buf[i]) {
				return true
			}
		}
		after = buf[len(buf)-1].Seq
	}
	return false
}
