package space

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/pairtree"
)

// Bounds of the waiting commands of one partition. At a bound a command that
// would have to wait is refused with CodeFull.
const (
	maxWaiters        = 16384    // waiting commands, about as many as sessions
	maxSessionWaiters = 4096     // of one session, so that one client leaves room for others
	maxWaiterBytes    = 16 << 20 // their keys, templates and predicates
)

// waits is the table of waiting commands: takes and claims that found nothing,
// in the order in which they came. It is part of the partition's state; the
// lines, which find a waiter by what it waits for, are derived from it.
//
// A waiter leaves when it is served, when its time is up, when its client cancels
// or settles it, and when its space is dropped. All but settling put the real
// answer in the place of the CodeWaiting that is kept for it.
type waits struct {
	seed    maphash.Seed
	place   uint64 // of the last waiter that came
	bytes   int
	byPlace cutMap[uint64, *waiter]
	ends    pairtree.Tree // (end, place)
	spaces  map[ID]*lines // of the spaces that somebody waits in

	offers  offers
	ops     []Op // scratch of serve
	granted []Grant
}

// waiter is one waiting command.
type waiter struct {
	session  SessionID
	sequence uint64
	place    uint64 // in line, over all spaces of the partition; from 1
	end      Time   // it waits until then, and not at it
	op       Op     // its slices are those of line

	line       *line
	prev, next *waiter // in line, by place
}

// Grant is the answer that a waiting command has got at last.
type Grant struct {
	Session  SessionID
	Sequence uint64
	Reply    []byte // encoded; not to be changed
}

// beginWaits makes the table of a new partition.
func (p *Partition) beginWaits() {
	p.waits = waits{seed: p.seed, byPlace: newCutMap[uint64, *waiter](spreadNumber), spaces: map[ID]*lines{}}
	p.sessions.waits = &p.waits
}

// Granted returns what became, in the last Apply, of commands that had been
// waiting before it, except for those that their clients have settled. It is
// valid until the next Apply. Only the goroutine that applies may call it.
func (p *Partition) Granted() []Grant { return p.waits.granted }

// Waits reports whether an encoded reply says that the command waits.
func Waits(reply []byte) bool { return len(reply) > 0 && Code(reply[0]) == CodeWaiting }

// begin makes ready for the next command.
func (w *waits) begin() {
	clear(w.granted)
	w.granted = w.granted[:0]
}

// mayWait reports whether a command has the only form that may wait.
func (c *Command) mayWait() bool {
	if len(c.Ops) != 1 || c.Session == 0 || c.Independent {
		return false
	}
	switch o := &c.Ops[0]; o.Code {
	case OpTake, OpTakeMatch, OpClaim, OpClaimMatch:
		return o.Wait > 0 && o.Match == 0
	}
	return false
}

// validateWait checks what Apply would refuse of a command that waits or ends a
// wait.
func (c *Command) validateWait() error {
	for i := range c.Ops {
		switch o := &c.Ops[i]; {
		case o.Wait != 0 && !c.mayWait():
			return &Error{
				Code: CodeInvalid, Detail: fmt.Sprintf("operation %d must not wait", i),
				Hint: "only a take or claim waits, alone in a command of a session, without a required version and not independent",
			}
		case o.reserves() && (!c.mayWait() || o.Lease < 0 || o.Lease > maxHorizon):
			return &Error{
				Code: CodeInvalid, Detail: fmt.Sprintf("operation %d must not reserve", i),
				Hint: fmt.Sprintf("only a take that waits reserves, for at most %v", maxHorizon),
			}
		case o.Code == OpCancel && (len(c.Ops) != 1 || c.Session == 0 || o.Target == 0 || o.Target >= c.Sequence):
			return &Error{
				Code: CodeInvalid, Detail: fmt.Sprintf("operation %d must not cancel %d", i, o.Target),
				Hint: "a cancellation stands alone in a command and names an earlier one of the same session",
			}
		}
	}
	return nil
}

// mayCome reports whether an entry that an operation could not have for the
// given reason may still become available.
func mayCome(code Code) bool {
	switch code {
	case CodeNotFound, CodeClaimed, CodeLocked, CodeUnmet:
		return true
	}
	return false
}

// keyed reports whether an operation that waits names its entry.
func (o *Op) keyed() bool { return o.Code == OpTake || o.Code == OpClaim }

// claims reports whether an operation that waits hides what it gets.
func (o *Op) claims() bool { return o.Code == OpClaim || o.Code == OpClaimMatch }

// waitBytes is what a waiter counts against maxWaiterBytes.
func (o *Op) waitBytes() int { return len(o.Key) + len(o.Template) + len(o.Predicate) }

// wanted is the number of entries that a waiter takes at most.
func (x *waiter) wanted() int {
	if x.op.keyed() {
		return 1
	}
	return max(x.op.Limit, 1)
}

// handOut returns the operation that gives a waiter one entry.
func (x *waiter) handOut(e *Entry) Op {
	o := Op{Code: x.op.Code, Space: x.op.Space, Flags: x.op.Flags, Lease: x.op.Lease, Key: e.Key}
	switch o.Code {
	case OpTakeMatch:
		o.Code, o.Flags = OpTake, o.Flags|FlagReturn
	case OpClaimMatch:
		o.Code = OpClaim
	}
	return o
}

// mustWait answers a command that found nothing: with CodeWaiting if there is
// room for one more to wait, otherwise with the reason why not.
func (p *Partition) mustWait(c *Command) Code {
	w, o := &p.waits, &c.Ops[0]
	if w.byPlace.len() >= maxWaiters || w.bytes+o.waitBytes() > maxWaiterBytes || p.sessions.waiting(c.Session) >= maxSessionWaiters {
		return CodeFull
	}
	if _, code := p.filter(o.Template, o.Predicate); code != OK {
		return code
	}
	if in := w.of(o.Space); in != nil && !in.room(w.seed, o) {
		return CodeFull
	}
	return CodeWaiting
}

// wait puts a command in line whose answer CodeWaiting has just been kept.
func (p *Partition) wait(c *Command) {
	o := &c.Ops[0]
	x := &waiter{session: c.Session, sequence: c.Sequence, place: p.waits.place + 1, end: c.Deadline}
	if o.Wait < c.Deadline.Sub(p.clock) {
		x.end = p.clock.Add(o.Wait)
	}
	x.op = Op{
		Code: o.Code, Flags: o.Flags, Space: o.Space, Limit: o.Limit, Lease: o.Lease, Wait: o.Wait,
		Key: o.Key, Template: o.Template, Predicate: o.Predicate, Txn: o.Txn,
	}
	p.waits.add(x)
	p.sessions.attach(x)
}

// of returns the lines of a space, or nil if nobody waits in it.
func (w *waits) of(id ID) *lines {
	if w.byPlace.len() == 0 {
		return nil
	}
	return w.spaces[id]
}

// add puts a waiter at the end of its line. What it keeps of the operation is
// copied.
func (w *waits) add(x *waiter) {
	in := w.spaces[x.op.Space]
	if in == nil {
		in = newLines()
		w.spaces[x.op.Space] = in
	}
	in.join(w.seed, x)
	w.place = x.place
	w.byPlace.set(x.place, x)
	w.ends.Insert(uint64(x.end), x.place)
	w.bytes += x.op.waitBytes()
}

// remove takes a waiter out of its line.
func (w *waits) remove(x *waiter) {
	in := w.spaces[x.op.Space]
	if in.leave(x); in.waiters == 0 {
		delete(w.spaces, x.op.Space)
	}
	w.byPlace.remove(x.place)
	w.ends.Delete(uint64(x.end), x.place)
	w.bytes -= x.op.waitBytes()
}

// oldest returns the waiter that has been waiting longest of those that an entry
// fits, or nil: of those only who name its key, unless it is eligible.
func (w *waits) oldest(e *Entry, id ID, eligible bool) *waiter {
	if in := w.of(id); in != nil {
		return in.oldest(w.seed, e, eligible)
	}
	return nil
}

// answerWaiter ends a wait: its answer is kept in the place of CodeWaiting.
func (p *Partition) answerWaiter(x *waiter, r *Reply) {
	p.prep.reply = r.Append(p.prep.reply[:0])
	kept := p.sessions.replace(x, p.prep.reply)
	p.waits.remove(x)
	p.waits.granted = append(p.waits.granted, Grant{x.session, x.sequence, kept})
}

// endWait ends a wait with the answer of a command that has found nothing and
// does not wait.
func (p *Partition) endWait(x *waiter, code Code) {
	r := p.refused(code)
	p.answerWaiter(x, &r)
}

// lapse ends the waits whose time is up, before anything else can: whatever a
// late waiter were given, nobody might come for it.
func (p *Partition) lapse() {
	for {
		end, place, ok := p.waits.ends.Min()
		if !ok || Time(end) > p.clock {
			return
		}
		x, _ := p.waits.byPlace.get(place)
		p.endWait(x, CodeNotFound)
	}
}

// endWaitsIn ends the waits in a space that is dropped.
func (p *Partition) endWaitsIn(id ID) {
	if p.waits.of(id) == nil {
		return
	}
	all := p.waits.byPlace.freeze()
	for _, x := range all.sorted(compareNumbers) {
		if x.op.Space == id {
			p.endWait(x, CodeNoSpace)
		}
	}
}

// applyCancel ends the wait of a command of the same session, or says what that
// command has been answered. If it has not arrived yet it is cancelled all the
// same: it must not begin to wait when nobody asks for its answer any more. That
// its answer is gone cannot be mistaken for that, because a cancellation carries
// the deadline of the command that it cancels.
//
// The result is that of the command: OK with entries if it was served,
// CodeNotFound if its time was up, CodeCancelled if it was cancelled,
// CodeForgotten if its answer is gone.
func (p *Partition) applyCancel(c *Command) Reply {
	target := c.Ops[0].Target
	if c.Session == 0 || target == 0 || target >= c.Sequence {
		return p.refused(CodeInvalid)
	}
	_, a := p.sessions.place(c, target)
	switch {
	case a == nil:
		return p.refused(CodeForgotten)
	case a.waiter != nil:
		p.endWait(a.waiter, CodeCancelled)
	case a.reply == nil:
		r := p.refused(CodeCancelled)
		p.prep.reply = r.Append(p.prep.reply[:0])
		p.sessions.fill(a, p.prep.reply)
		a.deadline = c.Deadline
	}
	r, err := DecodeReply(a.reply)
	if err != nil {
		panic("space: a kept answer does not read back: " + err.Error())
	}
	switch {
	case len(r.Results) != 1:
		return p.refused(CodeInvalid) // it never waited
	case r.Results[0].Code != OK:
		return p.refused(r.Results[0].Code)
	}
	reply := p.reply(OK)
	reply.Results = r.Results
	return reply
}

// refused is the reply to a command of one operation that fails.
func (p *Partition) refused(code Code) Reply {
	r := p.reply(CodeAborted)
	r.Failed, r.Results = 0, []Result{{Code: code}}
	return r
}

// frozenWaits is the table of an image.
type frozenWaits struct {
	place   uint64
	byPlace frozenMap[uint64, *waiter]
}

func (w *waits) freeze() frozenWaits { return frozenWaits{w.place, w.byPlace.freeze()} }

// encode returns all waiters in a form that depends on nothing but them.
func (w *frozenWaits) encode() (dst []byte) {
	dst = binary.AppendUvarint(dst, w.place)
	dst = binary.AppendUvarint(dst, uint64(w.byPlace.length))
	for place, x := range w.byPlace.sorted(compareNumbers) {
		// What places it in its line is the writer's; the rest never changes.
		dst = binary.AppendUvarint(dst, place)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(x.session))
		dst = binary.AppendUvarint(dst, x.sequence)
		dst = binary.AppendUvarint(dst, uint64(x.end))
		dst = x.op.append(dst)
	}
	return dst
}

// restoreWaits reads what waits.encode wrote into a partition whose kept answers
// are there already.
func (p *Partition) restoreWaits(b []byte) error {
	p.beginWaits()
	d := decoder{b: b}
	d.waiting(p)
	if !d.done() || p.sessions.unattached != p.waits.byPlace.len() {
		return &CorruptError{What: "export: waiting commands"}
	}
	p.sessions.unattached = 0
	return nil
}

func (d *decoder) waiting(p *Partition) {
	w := &p.waits
	last := d.uvarint()
	const waiterMin = 16
	for range d.count(maxWaiters, waiterMin) {
		x := &waiter{place: d.uvarint(), session: SessionID(d.u64()), sequence: d.uvarint(), end: Time(d.uvarint()), op: d.op()}
		c := Command{Session: x.session, Ops: []Op{x.op}}
		if d.failed || !c.mayWait() || x.place <= w.place || x.place > last || p.mustWait(&c) != CodeWaiting {
			d.fail()
			return
		}
		w.add(x)
		if !p.sessions.attach(x) {
			d.fail()
			return
		}
	}
	w.place = last
}
