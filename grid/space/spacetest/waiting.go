package spacetest

import (
	"bytes"
	"maps"
	"slices"

	"github.com/spacegrid/spacegrid/grid/space"
)

// waiter is a waiting command, carried out again whenever it could have
// something.
type waiter struct {
	commandID
	end space.Time
	op  space.Op
}

// Granted is the answer of a command that has waited.
type Granted struct {
	Session  space.SessionID
	Sequence uint64
	Reply    space.Reply
}

// Granted returns the waiting commands that the last Apply answered, in the order
// in which they were.
func (m *Model) Granted() []Granted {
	all := make([]Granted, len(m.waits.granted))
	for i, id := range m.waits.granted {
		all[i] = Granted{id.session, id.sequence, m.answered[id].reply}
	}
	return all
}

// Waiting returns how many commands wait.
func (m *Model) Waiting() int { return len(m.waits.list) }

// waits is what the model knows of waiting commands: a list, oldest first.
type waits struct {
	list    []waiter
	granted []commandID
}

// wait decides about a command that was answered r: if it waits, it joins the
// list.
func (m *Model) wait(c *space.Command, r space.Reply) space.Reply {
	o := &c.Ops[0]
	if o.Wait <= 0 || r.Code != space.CodeAborted || !mayCome(r.Results[0].Code) {
		return r
	}
	w := waiter{commandID{c.Session, c.Sequence}, min(m.clock+space.Time(o.Wait), c.Deadline), *o}
	w.op.Wait = 0
	m.waits.list = append(m.waits.list, w)
	return m.reply(space.CodeWaiting)
}

func mayCome(code space.Code) bool {
	return code == space.CodeNotFound || code == space.CodeClaimed || code == space.CodeLocked
}

// mayWait reports whether no operation waits that must not.
func mayWait(c *space.Command) bool {
	for i := range c.Ops {
		o := &c.Ops[i]
		takes := o.Code == space.OpTake || o.Code == space.OpTakeMatch || o.Code == space.OpClaim || o.Code == space.OpClaimMatch
		if o.Wait == 0 && reserves(o) {
			return false
		}
		if o.Wait != 0 && (o.Wait < 0 || !takes || o.Match != 0 || len(c.Ops) > 1 || c.Session == 0 || c.Independent) {
			return false
		}
	}
	return true
}

func (m *Model) fail(code space.Code) space.Reply {
	r := m.reply(space.CodeAborted)
	r.Failed, r.Results = 0, []space.Result{{Code: code}}
	return r
}

func (m *Model) end(i int, r space.Reply) {
	w := m.waits.list[i]
	m.waits.list = slices.Delete(m.waits.list, i, i+1)
	m.answered[w.commandID] = kept{reply: r, attempt: 255}
	m.waits.granted = append(m.waits.granted, w.commandID)
}

// lapse ends the waits whose time is up, in the order of their ends.
func (m *Model) lapse() {
	for {
		first := -1
		for i, w := range m.waits.list {
			if w.end <= m.clock && (first < 0 || w.end < m.waits.list[first].end) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		m.end(first, m.fail(space.CodeNotFound))
	}
}

// serve hands out whatever a waiter can have: the first entry that anybody waits
// for to the one who came first.
func (m *Model) serve() {
	for len(m.waits.list) > 0 && m.serveOne() {
	}
}

// handsOut reports whether an entry can be given to somebody: no claim and no
// transaction holds it, and its lease has not ended, as it may have under a lock
// that this command has lifted.
func (m *Model) handsOut(id space.ID, s *table, key string) bool {
	e := s.entries[key]
	return !e.Claimed && !m.txns.holds(id, key) && !m.past(e)
}

func (m *Model) serveOne() bool {
	for _, id := range slices.Sorted(maps.Keys(m.spaces)) {
		s := m.spaces[id]
		for _, key := range s.inOrder() {
			for i, w := range m.waits.list {
				if w.op.Space == id && m.handsOut(id, s, key) && w.wants(s, s.entries[key]) {
					m.end(i, m.hand(w.session, w.op))
					return true
				}
			}
		}
	}
	return false
}

// reserves reports whether a take only prepares the removal of what it gets.
func reserves(o *space.Op) bool { return o.Code == space.OpTakeMatch && o.Txn != (space.TxnID{}) }

// hand carries out a waiting command as if it did not wait. One that reserves is
// a transaction of its own, prepared, of which it sees the one take.
func (m *Model) hand(id space.SessionID, o space.Op) space.Reply {
	if !reserves(&o) {
		return m.run(&space.Command{Ops: []space.Op{o}})
	}
	prepare := space.Op{Code: space.OpPrepare, Txn: o.Txn}
	o.Txn, o.Wait = space.TxnID{}, 0
	r := m.run(&space.Command{Session: id, Ops: []space.Op{prepare, o}})
	if r.Code != space.OK {
		return m.fail(r.Results[r.Failed].Code)
	}
	r.Results = r.Results[1:]
	return r
}

func (w *waiter) wants(s *table, e space.Entry) bool {
	if w.op.Code == space.OpTake || w.op.Code == space.OpClaim {
		return bytes.Equal(w.op.Key, e.Key)
	}
	if !s.eligible(e) {
		return false
	}
	if len(w.op.Template) == 0 {
		return true
	}
	return fits(decode(w.op.Template).(map[string]any), e)
}

func (m *Model) cancel(c *space.Command) space.Reply {
	target := commandID{c.Session, c.Ops[0].Target}
	if c.Session == 0 || target.sequence == 0 || target.sequence >= c.Sequence {
		return m.fail(space.CodeInvalid)
	}
	for i := range m.waits.list {
		if m.waits.list[i].commandID == target {
			m.end(i, m.fail(space.CodeCancelled))
			break
		}
	}
	if _, ok := m.answered[target]; !ok {
		m.answered[target] = kept{reply: m.fail(space.CodeCancelled)}
	}
	kept := m.answered[target].reply
	switch {
	case len(kept.Results) != 1:
		return m.fail(space.CodeInvalid)
	case kept.Results[0].Code != space.OK:
		return m.fail(kept.Results[0].Code)
	}
	r := m.reply(space.OK)
	r.Results = kept.Results
	return r
}
