package datapump

import (
	"errors"
	"fmt"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// DefaultMaxHeld bounds the keys that one partition holds back. A sink that
// refuses more than that has something wrong as a whole: the partition waits,
// with all its changes in the changelog, until letters are settled.
const DefaultMaxHeld = 1024

// ErrTooManyHeld is the trouble of a partition whose sink has refused so many
// changes that the pump no longer believes in the changes being at fault.
var ErrTooManyHeld = errors.New("datapump: the sink refuses too much of this partition (see the reasons of its dead letters, put the sink right, then replay them)")

// isolation is what a pump knows of the refusals of one partition: pure
// decisions, without calls and clock.
//
// A sink names the change that it refuses, or says only that there is one. In
// the first case the change becomes a dead letter in the next section. In the
// second the section is halved until one command is left. In both, what a letter
// holds is a change as it was committed: one that was folded from several is
// offered again unfolded, to learn which of them is at fault.
type isolation struct {
	held    map[hold]space.Seq // keys with a letter, and the first of each
	added   map[hold]space.Seq // what the section under way adds to held
	settled uint64             // Standing.Settled that held belongs to

	letters, parked uint64 // rows in the sink's side table

	reasons map[space.Seq]string // of changes above the watermark that were refused
	plain   map[hold]struct{}    // keys that are not folded, up to until
	// until is where sections end for the time being; 0: anywhere. suspect is the
	// end of a range that has a change that the sink refuses without naming it; 0:
	// there is none.
	until, suspect space.Seq
}

// stands takes over what the sink said of its letters.
func (x *isolation) stands(s *Standing) {
	x.settled, x.letters, x.parked = s.Settled, s.Letters, s.Parked
	x.held = nil
	for i := range s.Held {
		k := hold{s.Held[i].Space, string(s.Held[i].Key)}
		if first, ok := x.held[k]; !ok || s.Held[i].First < first {
			x.held = set(x.held, k, s.Held[i].First)
		}
	}
}

// set sets m[k] and returns m, which is made for the first key.
func set[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if m == nil {
		m = map[K]V{}
	}
	m[k] = v
	return m
}

// passed forgets what concerned changes that the sink has now.
func (x *isolation) passed(watermark space.Seq) {
	for seq := range x.reasons {
		if seq <= watermark {
			delete(x.reasons, seq)
		}
	}
	if x.suspect <= watermark {
		x.suspect = 0
	}
	switch {
	case x.suspect != 0:
		x.until = watermark + max(1, (x.suspect-watermark)/2)
	case x.until <= watermark:
		x.until, x.plain = 0, nil
	}
}

// wrote takes over what the section that the sink has written held back.
func (x *isolation) wrote(s *Section) {
	for k, first := range x.added {
		if _, ok := x.held[k]; !ok {
			x.held = set(x.held, k, first)
		}
	}
	x.added = nil
	for i := range s.Dead {
		if s.Dead[i].Parked {
			x.parked++
		} else {
			x.letters++
		}
	}
	x.passed(s.Through)
}

// first returns the letter that a change of a key waits for, 0 if it need not.
func (x *isolation) first(c *space.Change) space.Seq {
	for _, key := range [2]string{string(c.Key), ""} {
		for _, m := range [2]map[hold]space.Seq{x.held, x.added} {
			if seq, ok := m[hold{c.Space, key}]; ok {
				return seq
			}
		}
	}
	return 0
}

// whole returns the end of the command that begins at i.
func whole(changes []space.Change, i int) int { return i + changes[i].More + 1 }

// cut returns how many of the changes the next section may have: up to until,
// but at least one command.
func (x *isolation) cut(changes []space.Change) int {
	if x.until == 0 {
		return len(changes)
	}
	n := 0
	for n < len(changes) {
		end := whole(changes, n)
		if n > 0 && changes[end-1].Seq > x.until {
			break
		}
		n = end
	}
	return n
}

// split takes the commands out of changes that the sink will not take: those
// that it has refused, and those that wait for such. What stays keeps its place
// in the same memory.
func (x *isolation) split(changes []space.Change, now time.Time) (live []space.Change, dead []DeadLetter) {
	x.added = nil
	if len(x.held) == 0 && len(x.reasons) == 0 {
		return changes, nil
	}
	live = changes[:0]
	for i := 0; i < len(changes); {
		command := changes[i:whole(changes, i)]
		i += len(command)
		waits, fault := space.Seq(0), space.Seq(0)
		for j := range command {
			if _, refused := x.reasons[command[j].Seq]; refused && fault == 0 {
				fault = command[j].Seq
			}
			if waits == 0 {
				waits = x.first(&command[j])
			}
		}
		if waits == 0 && fault == 0 {
			live = append(live, command...)
			continue
		}
		for j := range command {
			dead = append(dead, x.letter(&command[j], waits, fault, now))
		}
	}
	clear(changes[len(live):])
	return live, dead
}

// letter makes a dead letter of a change and holds its key back. A command that
// waits is parked even if one of its changes was refused before.
func (x *isolation) letter(c *space.Change, waits, fault space.Seq, now time.Time) DeadLetter {
	l := DeadLetter{
		Seq: c.Seq, Space: c.Space, Key: c.Key, Change: c.Append(nil), Txn: c.Txn, At: now, Parked: true,
	}
	reason, refused := x.reasons[c.Seq]
	switch {
	case waits != 0:
		l.Reason = fmt.Sprintf("waits for %d", waits)
	case refused:
		l.Reason, l.Parked = reason, false
	default:
		l.Reason = fmt.Sprintf("is of one command with %d", fault)
	}
	k := hold{c.Space, string(c.Key)}
	if _, ok := x.held[k]; !ok {
		if _, ok := x.added[k]; !ok {
			x.added = set(x.added, k, c.Seq)
		}
	}
	return l
}

// refuse decides what follows from the refusal of a section. It reports false if
// the section has nothing that could be refused.
func (x *isolation) refuse(s *Section, e *RefusedError) bool {
	if len(s.Changes) == 0 {
		return false
	}
	reason := cutReason(e.Err)
	for i := range s.Changes {
		c := &s.Changes[i]
		if c.Seq != e.Seq {
			continue
		}
		x.until = c.Seq + space.Seq(c.More)
		k := hold{c.Space, string(c.Key)}
		if _, plain := x.plain[k]; s.Folded && !plain {
			x.plain = set(x.plain, k, struct{}{})
			return true
		}
		x.reasons = set(x.reasons, c.Seq, reason)
		return true
	}
	x.suspect, x.until = s.Through, s.After+max(1, (s.Through-s.After)/2)
	if whole(s.Changes, 0) >= len(s.Changes) && !s.Folded {
		for i := range s.Changes {
			x.reasons = set(x.reasons, s.Changes[i].Seq, reason)
		}
		x.until = s.Through
	}
	return true
}

// plainly reports whether a change must not be folded now.
func (x *isolation) plainly(c *space.Change) bool {
	if x.suspect != 0 {
		return true
	}
	_, ok := x.plain[hold{c.Space, string(c.Key)}]
	return ok
}

// cutReason returns the text of an error in at most MaxReasonBytes.
func cutReason(err error) string {
	s := "refused"
	if err != nil {
		s = err.Error()
	}
	if len(s) > MaxReasonBytes {
		s = s[:MaxReasonBytes]
	}
	return s
}
