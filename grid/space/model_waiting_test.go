package space_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// modelWaiter is a waiting command, carried out again whenever it could have
// something.
type modelWaiter struct {
	modelCommand
	end space.Time
	op  space.Op
}

// modelWaits is what the model knows of waiting commands: a list, oldest first.
type modelWaits struct {
	list    []modelWaiter
	granted []modelCommand
}

// wait decides about a command that was answered r: if it waits, it joins the
// list.
func (m *model) wait(c *space.Command, r space.Reply) space.Reply {
	o := &c.Ops[0]
	if o.Wait <= 0 || r.Code != space.CodeAborted || !mayCome(r.Results[0].Code) {
		return r
	}
	w := modelWaiter{modelCommand{c.Session, c.Sequence}, min(m.clock+space.Time(o.Wait), c.Deadline), *o}
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
		if o.Wait == 0 && o.Code == space.OpTakeMatch && o.Txn != (space.TxnID{}) {
			return false
		}
		if o.Wait != 0 && (o.Wait < 0 || !takes || o.Match != 0 || len(c.Ops) > 1 || c.Session == 0 || c.Independent) {
			return false
		}
	}
	return true
}

func (m *model) fail(code space.Code) space.Reply {
	r := m.reply(space.CodeAborted)
	r.Failed, r.Results = 0, []space.Result{{Code: code}}
	return r
}

func (m *model) end(i int, r space.Reply) {
	w := m.waits.list[i]
	m.waits.list = slices.Delete(m.waits.list, i, i+1)
	m.answered[w.modelCommand] = modelAnswer{reply: r, attempt: 255}
	m.waits.granted = append(m.waits.granted, w.modelCommand)
}

// lapse ends the waits whose time is up, in the order of their ends.
func (m *model) lapse() {
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
func (m *model) serve() {
	for m.serveOne() {
	}
}

func (m *model) serveOne() bool {
	for id := space.ID(1); id <= 4; id++ {
		s := m.spaces[id]
		if s == nil {
			continue
		}
		for _, key := range s.inOrder() {
			for i, w := range m.waits.list {
				if w.op.Space == id && !s.entries[key].Claimed && !m.txns.holds(id, key) && w.wants(s, s.entries[key]) {
					m.end(i, m.hand(w.session, w.op))
					return true
				}
			}
		}
	}
	return false
}

// hand carries out a waiting command as if it did not wait. One that reserves is
// a transaction of its own, prepared, of which it sees the one take.
func (m *model) hand(id space.SessionID, o space.Op) space.Reply {
	if o.Txn == (space.TxnID{}) {
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

func (w *modelWaiter) wants(s *modelSpace, e space.Entry) bool {
	if w.op.Code == space.OpTake || w.op.Code == space.OpClaim {
		return string(w.op.Key) == string(e.Key)
	}
	if !s.eligible(e) {
		return false
	}
	if len(w.op.Template) == 0 {
		return true
	}
	return fits(decode(w.op.Template).(map[string]any), e)
}

func (m *model) cancel(c *space.Command) space.Reply {
	target := modelCommand{c.Session, c.Ops[0].Target}
	if c.Session == 0 || target.sequence == 0 || target.sequence >= c.Sequence {
		return m.fail(space.CodeInvalid)
	}
	for i := range m.waits.list {
		if m.waits.list[i].modelCommand == target {
			m.end(i, m.fail(space.CodeCancelled))
			break
		}
	}
	if _, ok := m.answered[target]; !ok {
		m.answered[target] = modelAnswer{reply: m.fail(space.CodeCancelled)}
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

// tooLate reports whether a command asks about one whose answer the partition
// need not keep any more, and makes the model follow the partition in that.
func (r *run) tooLate(c *space.Command, got space.Reply) bool {
	if c.Ops[0].Code != space.OpCancel || got.Code != space.CodeAborted {
		return false
	}
	gone := true // there never was one, and its place does not stay for good
	for _, s := range r.sent {
		gone = gone && (s.Session != c.Session || s.Sequence != c.Ops[0].Target)
	}
	if code := got.Results[0].Code; gone && (code == space.CodeForgotten || code == space.CodeCancelled) {
		r.model.answered[modelCommand{c.Session, c.Sequence}] = modelAnswer{reply: got}
		return true
	}
	return false
}

// drawWait draws a command that waits, or one that ends a wait.
func drawWait(t *rapid.T, r *run) space.Command {
	o := space.Op{Code: space.OpCancel}
	if rapid.IntRange(0, 3).Draw(t, "wait") > 0 {
		o = space.Op{
			Code:  rapid.SampledFrom([]space.OpCode{space.OpTake, space.OpTakeMatch, space.OpTakeMatch, space.OpClaim, space.OpClaimMatch}).Draw(t, "take"),
			Space: space.ID(rapid.IntRange(1, 4).Draw(t, "space")),
			Wait:  time.Duration(rapid.IntRange(1, 40).Draw(t, "long")),
		}
		if o.Code == space.OpClaim || o.Code == space.OpClaimMatch {
			o.Lease = time.Duration(rapid.SampledFrom([]int{0, 0, 3, 8}).Draw(t, "claim lease"))
		}
		if o.Code == space.OpTake || o.Code == space.OpClaim {
			o.Key, o.Flags = []byte(fmt.Sprint(rapid.IntRange(0, 12).Draw(t, "key"))), space.FlagReturn
		} else {
			o.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
			if o.Code == space.OpTakeMatch && rapid.Bool().Draw(t, "reserve") {
				o.Txn = space.TxnID{Session: 9, Number: uint64(rapid.IntRange(1, 3).Draw(t, "txn"))}
				o.Lease = time.Duration(rapid.IntRange(0, 9).Draw(t, "reserved"))
			}
			if rapid.Bool().Draw(t, "template") {
				o.Template = encode(drawFields(t))
			}
		}
	}
	c := space.Command{Ops: []space.Op{o}, Independent: rapid.IntRange(0, 20).Draw(t, "independent") == 0}
	if rapid.IntRange(0, 20).Draw(t, "company") == 0 {
		c.Ops = append(c.Ops, drawOp(t, r))
	}
	c = r.sign(c)
	if o.Code == space.OpCancel {
		target := uint64(rapid.IntRange(0, int(c.Sequence)).Draw(t, "target"))
		c.Ops[0].Target = target
		if i := slices.IndexFunc(r.sent, func(s space.Command) bool { return s.Session == c.Session && s.Sequence == target }); i >= 0 {
			c.Deadline = r.sent[i].Deadline
		}
		r.sent[len(r.sent)-1] = c
	}
	return c
}

// compareGranted compares what waiting commands were answered, and returns it.
func (r *run) compareGranted() (answers []*space.Reply) {
	got := r.p.Granted()
	if len(got) != len(r.model.waits.granted) {
		r.t.Fatalf("%d waiting commands were answered, want %v", len(got), r.model.waits.granted)
	}
	for i, g := range got {
		id := r.model.waits.granted[i]
		reply, err := space.DecodeReply(g.Reply)
		want := r.model.answered[id].reply
		if err != nil || g.Session != id.session || g.Sequence != id.sequence || show(&reply) != show(&want) {
			r.t.Fatalf("%d of session %d: %s, %v\nwant %d of session %d: %s", g.Sequence, g.Session, show(&reply), err, id.sequence, id.session, show(&want))
		}
		answers = append(answers, &reply)
	}
	if n := r.p.Status().Waiting; n != len(r.model.waits.list) {
		r.t.Fatalf("%d commands wait, want %d", n, len(r.model.waits.list))
	}
	return answers
}
