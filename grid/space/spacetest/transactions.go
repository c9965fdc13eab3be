package spacetest

import (
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Txn returns the transaction over several partitions that a change was part of,
// or the zero TxnID.
func (m *Model) Txn(change space.Seq) space.TxnID { return m.txns.tags[change] }

// transactions is the model's side of transactions over several partitions: what is
// prepared as the entries that it would leave, and the outcomes. It looks for
// locks by going through everything that is prepared.
type transactions struct {
	prepared map[space.TxnID]*txn
	outcomes map[space.TxnID]*outcome
	tags     map[space.Seq]space.TxnID // of the changes of finished transactions
	written  []version                 // every version an entry ever had
}

type txn struct {
	at     space.Time
	keys   []txnKey
	guards []guard
}

type txnKey struct {
	place
	write   bool
	exists  bool
	granted bool
	entry   space.Entry
}

type guard struct {
	space space.ID
	tmpl  []byte
}

type outcome struct {
	commit, open bool
	until        space.Time
}

type version struct {
	space space.ID
	entry space.Entry
}

func newTransactions() transactions {
	return transactions{prepared: map[space.TxnID]*txn{}, outcomes: map[space.TxnID]*outcome{}, tags: map[space.Seq]space.TxnID{}}
}

// holds reports whether a key is locked, for whatever reason.
func (x *transactions) holds(id space.ID, key string) bool {
	read, written := x.lock(id, key)
	return read || written
}

func (x *transactions) lock(id space.ID, key string) (read, written bool) {
	for _, t := range x.prepared {
		for _, k := range t.keys {
			if k.place == (place{id, key}) {
				read, written = read || !k.write, written || k.write
			}
		}
	}
	return read, written
}

func (x *transactions) forget(now space.Time) {
	for id, o := range x.outcomes {
		if !o.open && o.until <= now {
			delete(x.outcomes, id)
		}
	}
}

// guarded reports whether a value may not come into a space now.
func (x *transactions) guarded(id space.ID, e space.Entry) bool {
	for _, t := range x.prepared {
		for _, g := range t.guards {
			if g.space == id && matches(g.tmpl, e) {
				return true
			}
		}
	}
	return false
}

func matches(tmpl []byte, e space.Entry) bool {
	if len(tmpl) == 0 {
		return true
	}
	return fits(decode(tmpl).(map[string]any), e)
}

// inTxn is what transactions have to say about an operation before the operation
// itself is carried out; done if that is all.
func (m *Model) inTxn(c *space.Command, i int) (r space.Result, done bool) {
	o := &c.Ops[i]
	preparing := c.Ops[0].Code == space.OpPrepare
	if o.Code == space.OpPrepare {
		if c.Session == 0 || len(c.Ops) == 1 {
			return space.Result{Code: space.CodeInvalid}, true
		}
		if m.txns.prepared[o.Txn] != nil {
			return space.Result{Code: space.CodeExists}, true
		}
		return space.Result{}, true
	}
	if preparing {
		switch o.Code {
		case space.OpRespond, space.OpReadMatch, space.OpClaim, space.OpClaimMatch, space.OpAck, space.OpNack, space.OpExtend:
			return space.Result{Code: space.CodeInvalid}, true
		}
	}
	switch o.Code {
	case space.OpAck, space.OpNack, space.OpExtend:
		return space.Result{}, false
	}
	if o.Code != space.OpRespond && m.spaces[o.Space] == nil {
		return space.Result{Code: space.CodeNoSpace}, true
	}
	read, written := m.txns.lock(o.Space, string(o.Key))
	if s := m.spaces[o.Space]; preparing && (o.Code == space.OpCheck || o.Code == space.OpRead) && s.entries[string(o.Key)].Claimed {
		return space.Result{Code: space.CodeClaimed}, true
	}
	switch o.Code {
	case space.OpCheckMatch:
		return space.Result{Code: m.checkMatch(o)}, true
	case space.OpCheck:
		if written {
			return space.Result{Code: space.CodeLocked}, true
		}
	case space.OpRead:
		if written && preparing {
			return space.Result{Code: space.CodeLocked}, true
		}
	case space.OpWrite, space.OpTake, space.OpChange, space.OpRenew, space.OpClaim:
		if read || written {
			return space.Result{Code: space.CodeLocked}, true
		}
	}
	return space.Result{}, false
}

func (m *Model) checkMatch(o *space.Op) space.Code {
	if o.Match > m.seq {
		return space.CodeInvalid
	}
	for _, v := range m.txns.written {
		if v.space == o.Space && v.entry.Version > o.Match && matches(o.Template, v.entry) {
			return space.CodeConflict
		}
	}
	for _, t := range m.txns.prepared {
		for _, k := range t.keys {
			if k.space == o.Space && k.write && k.exists && matches(o.Template, k.entry) {
				return space.CodeLocked
			}
		}
	}
	return space.OK
}

// prepare keeps the difference that the command's operations made, and takes it
// back.
func (m *Model) prepare(c *space.Command, before map[space.ID]*table, touched []place, results []space.Result) {
	t := &txn{at: m.clock}
	for i, k := range touched {
		if slices.Index(touched, k) < i {
			continue
		}
		old, existed := before[k.space].entries[k.key]
		e, exists := m.spaces[k.space].entries[k.key]
		x := txnKey{place: k, exists: exists, entry: e, write: exists && e.Version == unnumbered || existed && !exists}
		x.granted = !existed || e.Deadline != old.Deadline
		for _, o := range c.Ops {
			if o.Space == k.space && string(o.Key) == k.key {
				x.granted = x.granted || o.Code == space.OpRenew || o.Code == space.OpWrite && o.Flags&space.FlagKeepLease == 0
			}
		}
		t.keys = append(t.keys, x)
	}
	for i := range c.Ops {
		if o := &c.Ops[i]; o.Code == space.OpCheckMatch {
			t.guards = append(t.guards, guard{o.Space, o.Template})
		}
		r := &results[i]
		if r.Version == unnumbered {
			r.Version = 0
		}
		for j := range r.Entries {
			if e := &r.Entries[j]; e.Version == unnumbered {
				e.Version, e.Order = 0, before[c.Ops[i].Space].entries[string(e.Key)].Order
			}
		}
	}
	results[0].Count = len(t.keys)
	m.spaces = before
	m.txns.prepared[c.Ops[0].Txn] = t
}

// step decides or finishes.
func (m *Model) step(c *space.Command) space.Reply {
	o := &c.Ops[0]
	var result space.Result
	if o.Code == space.OpFinish {
		result = m.finish(o)
	} else {
		result = m.decide(o)
	}
	r := m.reply(space.OK)
	if result.Code != space.OK {
		r = m.reply(space.CodeAborted)
		r.Failed = 0
	}
	r.Results = []space.Result{result}
	return r
}

func (m *Model) decide(o *space.Op) space.Result {
	x := m.txns.outcomes[o.Txn]
	commit := o.Flags&space.FlagCommit != 0
	switch {
	case o.Flags&space.FlagSettled != 0 && (x == nil || !x.commit):
		return space.Result{Code: space.CodeUnprepared}
	case o.Flags&space.FlagSettled != 0:
		x.open, x.until = false, max(x.until, m.clock+space.Time(o.Lease))
		return space.Result{}
	case x != nil && x.commit:
		return space.Result{Count: 1}
	case x != nil || space.Time(o.Target) <= m.clock:
		return space.Result{}
	}
	m.txns.outcomes[o.Txn] = &outcome{commit: commit, open: commit, until: space.Time(o.Target)}
	if commit {
		return space.Result{Count: 1}
	}
	return space.Result{}
}

func (m *Model) finish(o *space.Op) space.Result {
	t := m.txns.prepared[o.Txn]
	if t == nil {
		return space.Result{Code: space.CodeUnprepared}
	}
	delete(m.txns.prepared, o.Txn)
	n := 0
	for _, k := range t.keys {
		if o.Flags&space.FlagCommit == 0 || !k.write {
			continue
		}
		n++
		m.seq++
		m.txns.tags[m.seq] = o.Txn
		s := m.spaces[k.space]
		old, existed := s.entries[k.key]
		if !k.exists {
			s.remove(k.key)
			continue
		}
		e := k.entry
		e.Version = m.seq
		if k.granted && e.Deadline != space.Never {
			e.Deadline = m.clock + e.Deadline - t.at
		}
		if e.Order = old.Order; !existed {
			e.Order = s.nextOrder
			s.nextOrder++
		}
		s.put(k.key, e)
		m.txns.written = append(m.txns.written, version{k.space, e})
	}
	return space.Result{Count: n}
}
