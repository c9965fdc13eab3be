package space

import (
	"encoding/binary"
	"slices"
	"time"
)

// Bounds of the table of kept answers of one partition. At a bound new commands
// are refused with CodeBusy; repeats are always answered.
const (
	maxSessions      = 16384    // sessions with answers kept
	maxWindow        = 16384    // commands of one session between its oldest unsettled and its newest
	maxAnswers       = 65536    // answers kept, and places held for those to come
	maxAnswerBytes   = 64 << 20 // bytes of answers kept
	answerChunkBytes = 8 << 10  // answers are cut from chunks of this size

	// maxHorizon is how far ahead of the partition clock a deadline may lie: until
	// then an answer may have to be kept. A client whose estimate of the clock is
	// so far off asks for it again.
	maxHorizon = time.Hour
)

// sessions is the table of kept answers: for every session the replies of its
// commands from the lowest one that the client has not settled. An answer goes
// when the client settles it or when its deadline passes, after which a repeat
// is refused as late.
type sessions struct {
	byID    cutMap[SessionID, *session]
	answers int
	places  int // lengths of all windows
	bytes   int
	repeats int    // answers given again; not state that replicas agree on
	chunk   []byte // the rest of the chunk that answers are cut from
	waits   *waits // of the same partition: a waiter goes with its answer
	// unattached counts, in a table that was read, the answers that say that a
	// command waits whose waiter was not read yet.
	unattached int
}

// session holds the answers of sequence numbers base, base+1, … in window.
type session struct {
	base    uint64
	window  []answer // answers[i] belongs to base+i; reply nil: not seen yet, or gone
	last    Time     // the latest deadline seen; the session may go after it
	waiting int      // commands of the session that wait
	cut     uint64   // cuts of the table that had been made when this was: see own
}

type answer struct {
	deadline Time
	reply    []byte // encoded Reply; immutable
	attempt  uint8
	aborted  bool    // the reply is an abort, which a higher attempt may follow
	waiter   *waiter // the command waits, and the reply says so
}

func newSessions() sessions {
	return sessions{byID: newCutMap[SessionID, *session](spreadNumber)}
}

// of returns a session to look at, or nil.
func (t *sessions) of(id SessionID) *session {
	s, _ := t.byID.get(id)
	return s
}

// own returns a session, or nil, for the writer to change: itself, or a copy in its
// place if an image has it.
func (t *sessions) own(id SessionID, s *session) *session {
	if s == nil || s.cut == t.byID.cuts {
		return s
	}
	mine := *s
	mine.window, mine.cut = slices.Clone(s.window), t.byID.cuts
	t.byID.set(id, &mine)
	return &mine
}

// add adds a session.
func (t *sessions) add(id SessionID, base uint64) *session {
	s := &session{base: base, cut: t.byID.cuts}
	t.byID.set(id, s)
	return s
}

// lookup returns the kept answer of a command, or the code to refuse it with,
// or OK and nil if the command is to be applied.
func (t *sessions) lookup(c *Command, now Time) ([]byte, Code) {
	s := t.of(c.Session)
	if s != nil {
		if c.Sequence < s.base {
			return nil, CodeForgotten
		}
		if i := c.Sequence - s.base; i < uint64(len(s.window)) && s.window[i].reply != nil {
			a := &s.window[i]
			if !a.aborted || c.Attempt <= a.attempt {
				t.repeats++
				return a.reply, OK
			}
		}
	}
	if c.Deadline <= now || c.Deadline > now.Add(maxHorizon) {
		return nil, CodeLate
	}
	base, held, stay := c.Acked, uint64(0), uint64(0)
	if s != nil {
		base, held = max(base, s.base), uint64(len(s.window))
		stay = held - min(held, base-s.base) // after the command has settled others
	} else if t.byID.len() >= maxSessions {
		return nil, CodeBusy
	}
	wanted := c.Sequence - base + 1
	if wanted > maxWindow || t.bytes >= maxAnswerBytes || uint64(t.places)-held+max(stay, wanted) > maxAnswers {
		return nil, CodeBusy
	}
	return nil, OK
}

// settle drops the answers below the command's Acked.
func (t *sessions) settle(c *Command) {
	s := t.of(c.Session)
	if s == nil || c.Acked <= s.base {
		return
	}
	s = t.own(c.Session, s)
	n := min(c.Acked-s.base, uint64(len(s.window)))
	for i := range s.window[:n] {
		t.forget(s, &s.window[i])
	}
	s.window = s.window[n:]
	t.places -= int(n)
	s.base = c.Acked
}

// forget drops an answer. A command whose client does not want its answer any
// more waits no longer.
func (t *sessions) forget(s *session, a *answer) {
	if a.waiter != nil {
		t.waits.remove(a.waiter)
		s.waiting--
	}
	if a.reply != nil {
		t.answers--
		t.bytes -= len(a.reply)
		*a = answer{}
	}
}

// keep stores the answer of a command that lookup let pass, in place of the one
// of a lower attempt if there is one, and returns the stored bytes.
func (t *sessions) keep(c *Command, code Code, reply []byte) []byte {
	s, a := t.place(c, c.Sequence)
	t.forget(s, a)
	t.fill(a, reply)
	a.deadline, a.attempt, a.aborted = c.Deadline, c.Attempt, code == CodeAborted
	s.last = max(s.last, c.Deadline)
	return a.reply
}

// place returns c's session and the place in it for the answer of a command not
// later than c itself, or nil if that command is settled.
func (t *sessions) place(c *Command, sequence uint64) (*session, *answer) {
	s := t.own(c.Session, t.of(c.Session))
	if s == nil {
		s = t.add(c.Session, c.Acked)
	}
	if sequence < s.base {
		return s, nil
	}
	i := sequence - s.base
	for uint64(len(s.window)) <= i {
		s.window = append(s.window, answer{})
		t.places++
	}
	return s, &s.window[i]
}

// fill puts a reply into an empty place.
func (t *sessions) fill(a *answer, reply []byte) {
	if len(reply) == 0 {
		panic("space: an answer without bytes would be taken for none")
	}
	a.reply = t.store(reply)
	t.answers++
	t.bytes += len(a.reply)
}

// waiting returns how many commands of a session wait.
func (t *sessions) waiting(id SessionID) int {
	if s := t.of(id); s != nil {
		return s.waiting
	}
	return 0
}

// answerOf returns the place of a waiter's answer, to be changed, or nil if there
// is none that says that it waits.
func (t *sessions) answerOf(x *waiter) (*session, *answer) {
	s := t.own(x.session, t.of(x.session))
	if s == nil || x.sequence < s.base || x.sequence-s.base >= uint64(len(s.window)) {
		return nil, nil
	}
	if a := &s.window[x.sequence-s.base]; Waits(a.reply) {
		return s, a
	}
	return nil, nil
}

// attach ties a waiter to the answer that says that it waits; false if there is
// no such answer.
func (t *sessions) attach(x *waiter) bool {
	s, a := t.answerOf(x)
	if a == nil || a.waiter != nil || x.end > a.deadline {
		return false
	}
	a.waiter = x
	s.waiting++
	return true
}

// replace puts the real answer in the place of the one that says that a command
// waits, and returns the stored bytes. The table may grow over its bound by what
// waiters get: that has left the entries.
func (t *sessions) replace(x *waiter, reply []byte) []byte {
	s, a := t.answerOf(x)
	if a == nil || a.waiter != x {
		panic("space: a waiter without an answer to replace")
	}
	a.waiter = nil
	s.waiting--
	old := *a
	t.forget(s, a)
	t.fill(a, reply)
	a.deadline, a.attempt = old.deadline, old.attempt
	return a.reply
}

// store copies b into a chunk shared by many answers.
func (t *sessions) store(b []byte) []byte {
	if len(b) > answerChunkBytes/4 {
		return slices.Clone(b)
	}
	if len(t.chunk) < len(b) {
		t.chunk = make([]byte, answerChunkBytes)
	}
	n := copy(t.chunk, b)
	kept := t.chunk[:n:n]
	t.chunk = t.chunk[n:]
	return kept
}

// expire drops the answers whose deadline has passed and the sessions that have
// nothing left which a repeat could ask for.
func (t *sessions) expire(now Time) {
	for id, s := range t.byID.all() {
		if s.last <= now {
			s = t.own(id, s)
			for i := range s.window {
				t.forget(s, &s.window[i])
			}
			t.places -= len(s.window)
			t.byID.remove(id)
			continue
		}
		if len(s.window) == 0 || s.window[0].deadline > now {
			continue
		}
		s = t.own(id, s)
		for len(s.window) > 0 && (s.window[0].reply == nil || s.window[0].deadline <= now) {
			// A hole may still be filled by a command on its way whose deadline
			// is later than its neighbours', so only answered ones move the base.
			if s.window[0].reply == nil {
				break
			}
			t.forget(s, &s.window[0])
			s.window = s.window[1:]
			t.places--
			s.base++
		}
	}
}

// frozenSessions is the table of an image. Of an answer, who its waiter is belongs
// to the writer.
type frozenSessions struct {
	byID frozenMap[SessionID, *session]
}

func (t *sessions) freeze() frozenSessions { return frozenSessions{t.byID.freeze()} }

// each calls fn for the parts of the table in turn, which make a form that depends
// on nothing but the kept answers when they are put together.
func (t *frozenSessions) each(fn func(appendTo func([]byte) []byte)) {
	fn(func(dst []byte) []byte { return binary.AppendUvarint(dst, uint64(t.byID.length)) })
	for id, s := range t.byID.sorted(compareNumbers) {
		fn(func(dst []byte) []byte {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(id))
			dst = binary.AppendUvarint(dst, s.base)
			dst = binary.AppendUvarint(dst, uint64(s.last))
			return binary.AppendUvarint(dst, uint64(len(s.window)))
		})
		for i := range s.window {
			a := &s.window[i]
			fn(func(dst []byte) []byte {
				dst = binary.AppendUvarint(dst, uint64(a.deadline))
				dst = append(dst, a.attempt, boolByte(a.aborted))
				return appendBytes(dst, a.reply)
			})
		}
	}
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (d *decoder) sessions() sessions {
	t := newSessions()
	for range d.count(maxSessions, 11) {
		id := SessionID(d.u64())
		s := &session{base: d.uvarint(), last: Time(d.uvarint())}
		for range d.count(maxWindow, 4) {
			a := answer{deadline: Time(d.uvarint()), attempt: d.u8(), aborted: d.u8() == 1}
			if b := d.bytes(); len(b) > 0 {
				a.reply = t.store(b)
				t.answers++
				t.bytes += len(b)
				r, err := DecodeReply(a.reply)
				if err != nil {
					d.fail()
				}
				if r.Code == CodeWaiting {
					t.unattached++
				}
			}
			s.window = append(s.window, a)
			if t.places++; t.places > maxAnswers {
				d.fail()
			}
		}
		t.byID.set(id, s)
	}
	return t
}
