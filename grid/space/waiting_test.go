package space_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/grid/space/spacetest"
)

// line is a partition and those who wait in it, one session each.
type line struct {
	t *testing.T
	p *space.Partition
}

func newLine(t *testing.T) *line { return &line{t, newPartition(t)} }

// ask sends a command of a session, its first one unless it says otherwise.
func (l *line) ask(now space.Time, id space.SessionID, o space.Op) space.Reply {
	l.t.Helper()
	return l.send(now, id, 1, 1, o)
}

func (l *line) send(now space.Time, id space.SessionID, sequence, acked uint64, o space.Op) space.Reply {
	l.t.Helper()
	c := session(sequence, acked, 1000, o)
	c.Session = id
	if err := c.Validate(); err != nil {
		l.t.Fatal(err)
	}
	return apply(l.t, l.p, now, c)
}

// wait sends a command that must wait.
func (l *line) wait(now space.Time, id space.SessionID, o space.Op) {
	l.t.Helper()
	if o.Wait == 0 {
		o.Wait = 100
	}
	if r := l.ask(now, id, o); r.Code != space.CodeWaiting {
		l.t.Fatalf("session %d is answered %v instead of waiting", id, r.Err())
	}
}

// granted returns what the last command handed out: the session and the keys, or
// the code if there was nothing.
func (l *line) granted() string {
	l.t.Helper()
	var s string
	for _, g := range l.p.Granted() {
		r, err := space.DecodeReply(g.Reply)
		if err != nil {
			l.t.Fatal(err)
		}
		s += fmt.Sprint(" ", g.Session, ":")
		if r.Err() != nil {
			s += r.Results[0].Code.String()
		}
		for _, e := range r.Results[0].Entries {
			s += string(e.Key)
		}
	}
	return s
}

func (l *line) want(s string) {
	l.t.Helper()
	if got := l.granted(); got != s {
		l.t.Errorf("handed out%s, want%s", got, s)
	}
}

func fieldsEntry(key string, a int64) space.Op {
	return space.Op{Code: space.OpWrite, Space: 2, Key: []byte(key), Kind: space.KindFields, Value: encode(map[string]any{"a": a, "b": "x"})}
}

func takeWith(a int64) space.Op {
	return space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": a})}
}

var takeAny = space.Op{Code: space.OpTakeMatch, Space: 2}

// TestFirstComeFirstServed: one entry wakes one waiter, the oldest that it fits,
// whatever they wait with; and what waits cannot be overtaken by what does not.
func TestFirstComeFirstServed(t *testing.T) {
	l := newLine(t)
	l.wait(1, 1, takeWith(1))
	l.wait(1, 2, takeAny)
	l.wait(1, 3, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 2, Key: []byte("k")})
	l.wait(1, 4, takeWith(1))
	apply(t, l.p, 2, command(fieldsEntry("x", 7)))
	l.want(" 2:x")
	apply(t, l.p, 2, command(fieldsEntry("k", 1), fieldsEntry("m", 1), fieldsEntry("n", 1)))
	l.want(" 1:k 4:m")
	if r := l.ask(3, 9, takeWith(1)); r.Err() != nil || string(r.Results[0].Entries[0].Key) != "n" {
		t.Errorf("what is left is answered %v", r.Err())
	}
	apply(t, l.p, 4, command(fieldsEntry("k", 1)))
	l.want(" 3:k")
	// The same command sent again has its answer.
	if r := l.ask(5, 4, takeWith(1)); r.Err() != nil || string(r.Results[0].Entries[0].Key) != "m" {
		t.Errorf("a repeat is answered %v", r.Err())
	}
	if s := l.p.Status(); s.Waiting != 0 || s.Entries != 0 {
		t.Errorf("%d wait, %d entries are left", s.Waiting, s.Entries)
	}
}

// TestAnUpdateMakesAnEntryFit, and what one command adds is handed out together
// to one who waits for several, oldest first.
func TestAnUpdateMakesAnEntryFit(t *testing.T) {
	l := newLine(t)
	apply(t, l.p, 0, command(fieldsEntry("old", 1), fieldsEntry("new", 1)))
	l.wait(1, 1, takeWith(2))
	several := takeWith(3)
	several.Limit = 2
	l.wait(1, 2, several)
	set := func(key string, a int64) space.Op {
		return space.Op{Code: space.OpChange, Space: 2, Key: []byte(key), Mutations: []space.Mutation{{Code: space.MutSet, Field: "a", Arg: encode(a)}}}
	}
	apply(t, l.p, 2, command(fieldsEntry("z", 3), fieldsEntry("y", 3), set("new", 3), set("old", 2)))
	l.want(" 1:old 2:newz")
	if n := l.p.Count(2); n != 1 {
		t.Errorf("%d entries are left", n)
	}
}

// TestALateWaiterConsumesNothing: at its end a wait is over, before anything else
// that happens at that time, and an entry that comes then is not taken by it.
func TestALateWaiterConsumesNothing(t *testing.T) {
	l := newLine(t)
	o := takeAny
	o.Wait = 10
	l.wait(5, 1, o)
	o.Wait = 5000
	l.wait(5, 2, o)
	if d := l.p.NextDeadline(); d != 15 {
		t.Errorf("the next deadline is %v", d)
	}
	apply(t, l.p, 15, command(fieldsEntry("k", 1)))
	l.want(" 1:not found 2:k")
	l.wait(20, 3, o)
	if d := l.p.NextDeadline(); d != 1000 {
		t.Errorf("the next deadline is %v, not that of the command", d)
	}
	apply(t, l.p, 1000, space.TickCommand())
	l.want(" 3:not found")
	if r := l.ask(1001, 3, o); r.Code != space.CodeLate && r.Code != space.CodeForgotten {
		t.Errorf("a repeat after the deadline is answered %v", r.Err())
	}
}

// TestClaimsWait: a waiting claim gets an entry that a claim gave back, with a
// token, and a waiting take one whose claim has lapsed.
func TestClaimsWait(t *testing.T) {
	l := newLine(t)
	apply(t, l.p, 0, command(fieldsEntry("k", 1)))
	claim := space.Op{Code: space.OpClaimMatch, Space: 2, Lease: 10}
	first := l.ask(1, 1, claim).Results[0].Entries[0].Token
	l.wait(2, 2, claim)
	l.wait(2, 3, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 2, Key: []byte("k")})
	apply(t, l.p, 3, command(space.Op{Code: space.OpNack, Token: first}))
	l.want(" 2:k")
	r, err := space.DecodeReply(l.p.Granted()[0].Reply)
	if err != nil || r.Results[0].Entries[0].Token.Number <= first.Number || r.Results[0].Entries[0].Attempts != 1 {
		t.Errorf("%v, %+v after token %v", err, r.Results[0].Entries[0], first)
	}
	// An immediate take in the command that ends the claim comes too late.
	if r := l.ask(13, 4, takeAny); r.Err() == nil {
		t.Error("a take has overtaken one that waits")
	}
	if r := l.ask(14, 3, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 2, Key: []byte("k"), Wait: 100}); r.Err() != nil || r.Results[0].Entries[0].Attempts != 2 {
		t.Errorf("the waiting take is answered %v", r.Err())
	}
}

// TestAClaimOfSeveralWaits: what it gets together nobody else gets.
func TestAClaimOfSeveralWaits(t *testing.T) {
	l := newLine(t)
	l.wait(1, 1, space.Op{Code: space.OpClaimMatch, Space: 2, Limit: 2})
	l.wait(1, 2, takeAny)
	l.wait(1, 3, space.Op{Code: space.OpClaimMatch, Space: 2, Limit: 2})
	apply(t, l.p, 2, command(fieldsEntry("k", 1), fieldsEntry("l", 1), fieldsEntry("m", 1)))
	l.want(" 1:kl 2:m")
	if n := l.p.Status().Waiting; n != 1 {
		t.Errorf("%d wait", n)
	}
}

// TestGroupsAndWaiters: who waits by template gets the head of a group and only
// once the claim before it has ended; who names a key gets that entry at once; and
// when a space gives its groups up, all that they held back is handed out.
func TestGroupsAndWaiters(t *testing.T) {
	l := newLine(t)
	def := space.Definition{ID: 3, Name: "groups", Shape: space.ShapeFields, Group: "a"}
	apply(t, l.p, 0, space.DefineCommand(&def))
	in := func(o space.Op) space.Op { o.Space = 3; return o }
	apply(t, l.p, 1, command(in(fieldsEntry("k", 1))))
	token := l.ask(1, 1, space.Op{Code: space.OpClaimMatch, Space: 3}).Results[0].Entries[0].Token
	l.wait(1, 2, in(takeAny))
	l.wait(1, 3, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 3, Key: []byte("m")})
	apply(t, l.p, 2, command(in(fieldsEntry("l", 1)), in(fieldsEntry("m", 1))))
	l.want(" 3:m")
	apply(t, l.p, 3, command(space.Op{Code: space.OpAck, Token: token}))
	l.want(" 2:l")
	apply(t, l.p, 4, command(in(fieldsEntry("n", 1)), in(fieldsEntry("o", 1))))
	if r := l.ask(4, 4, space.Op{Code: space.OpClaimMatch, Space: 3, Lease: 50}); string(r.Results[0].Entries[0].Key) != "n" {
		t.Fatal(r.Err())
	}
	l.wait(5, 5, in(takeAny))
	def.Group = ""
	apply(t, l.p, 6, space.DefineCommand(&def))
	l.want(" 5:o")
}

// TestPredicatesWait: a predicate narrows what a waiter gets, with a template,
// with a key and alone.
func TestPredicatesWait(t *testing.T) {
	l := newLine(t)
	over := func(n int) []byte {
		p, err := predicate.Gt("a", n)
		if err != nil {
			t.Fatal(err)
		}
		return p.Append(nil)
	}
	// None of them finds anything, so that it is the waiting that is narrowed.
	l.wait(1, 1, space.Op{Code: space.OpTakeMatch, Space: 2, Predicate: over(5)})
	l.wait(1, 2, space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"b": "x"}), Predicate: over(2)})
	l.wait(1, 3, space.Op{Code: space.OpTake, Flags: space.FlagReturn, Space: 2, Key: []byte("k"), Predicate: over(1)})
	apply(t, l.p, 2, command(fieldsEntry("k", 1)))
	l.want("")
	apply(t, l.p, 3, command(fieldsEntry("k", 2)))
	l.want(" 3:k")
	apply(t, l.p, 4, command(fieldsEntry("k", 9), fieldsEntry("m", 3)))
	l.want(" 1:k 2:m")
}

// TestCancel ends a wait or says what came of it, and reaches commands that are
// still on their way.
func TestCancel(t *testing.T) {
	cancel := space.Op{Code: space.OpCancel, Target: 1}
	t.Run("a wait", func(t *testing.T) {
		l := newLine(t)
		l.wait(1, 1, takeAny)
		if r := l.send(2, 1, 2, 1, cancel); r.Results[0].Code != space.CodeCancelled {
			t.Error(r.Err())
		}
		l.want(" 1:cancelled")
		apply(t, l.p, 3, command(fieldsEntry("k", 1)))
		l.want("")
	})
	t.Run("what was served", func(t *testing.T) {
		l := newLine(t)
		l.wait(1, 1, takeAny)
		apply(t, l.p, 2, command(fieldsEntry("k", 1)))
		if r := l.send(3, 1, 2, 1, cancel); r.Err() != nil || string(r.Results[0].Entries[0].Key) != "k" {
			t.Error(r.Err())
		}
	})
	t.Run("what has not arrived", func(t *testing.T) {
		l := newLine(t)
		apply(t, l.p, 0, command(fieldsEntry("k", 1)))
		if r := l.send(1, 1, 2, 1, cancel); r.Results[0].Code != space.CodeCancelled {
			t.Error(r.Err())
		}
		if r := l.ask(2, 1, takeAny); r.Results[0].Code != space.CodeCancelled || l.p.Count(2) != 1 {
			t.Errorf("the late command is answered %v", r.Err())
		}
	})
	t.Run("what is settled", func(t *testing.T) {
		l := newLine(t)
		l.wait(1, 1, takeAny)
		if r := l.send(2, 1, 3, 2, cancel); r.Results[0].Code != space.CodeForgotten {
			t.Error(r.Err())
		}
	})
}

// TestAWaitGoesWithItsAnswer: nobody can be served any more who would not ask for
// it.
func TestAWaitGoesWithItsAnswer(t *testing.T) {
	l := newLine(t)
	l.wait(1, 1, takeAny)
	l.wait(1, 2, takeAny)
	l.send(2, 1, 2, 2, space.Op{Code: space.OpRespond}) // settles the first
	if n := l.p.Status().Waiting; n != 1 {
		t.Errorf("%d wait", n)
	}
	apply(t, l.p, 3, command(fieldsEntry("k", 1)))
	l.want(" 2:k")
	l.wait(4, 3, takeAny)
	apply(t, l.p, 5, space.DropCommand(2))
	l.want(" 3:no such space")
}

// TestWaitsAreBounded, each bound by a refusal that says so, and for one client
// before it is for all.
func TestWaitsAreBounded(t *testing.T) {
	// fill lets sessions wait until one is refused, and returns how many did.
	fill := func(t *testing.T, most int, ask func(l *line, i int) space.Reply) int {
		l := newLine(t)
		for i := range most {
			switch r := ask(l, i); {
			case r.Code == space.CodeWaiting:
			case r.Results[0].Code == space.CodeFull:
				return i
			default:
				t.Fatalf("%d: %v", i, r.Err())
			}
		}
		return most
	}
	waiting := func(o space.Op) space.Op { o.Wait = 100; return o }
	for _, test := range []struct {
		name string
		want int
		ask  func(l *line, i int) space.Reply
	}{
		{"of one session", 4096, func(l *line, i int) space.Reply { return l.send(1, 1, uint64(i+1), 1, waiting(takeAny)) }},
		{"of all", 16384, func(l *line, i int) space.Reply {
			return l.send(1, space.SessionID(1+i/2), uint64(1+i%2), 1, waiting(takeAny))
		}},
		{"sets of field names", 64, func(l *line, i int) space.Reply {
			return l.ask(1, space.SessionID(1+i), waiting(space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{fmt.Sprint("f", i): "x"})}))
		}},
		{"predicates", 256, func(l *line, i int) space.Reply {
			p, err := predicate.Gt("a", i)
			if err != nil {
				t.Fatal(err)
			}
			return l.ask(1, space.SessionID(1+i), waiting(space.Op{Code: space.OpTakeMatch, Space: 2, Predicate: p.Append(nil)}))
		}},
		{"bytes", 16 << 20 / (space.MaxValueBytes / 2), func(l *line, i int) space.Reply {
			long := encode(map[string]any{"b": string(bytes.Repeat([]byte("x"), space.MaxValueBytes/2-9))})
			return l.ask(1, space.SessionID(1+i), waiting(space.Op{Code: space.OpTakeMatch, Space: 2, Template: long}))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if n := fill(t, 2*test.want, test.ask); n != test.want {
				t.Errorf("%d commands wait, want %d", n, test.want)
			}
		})
	}
}

// TestCommandsThatMustNotWait are refused before they are proposed.
func TestCommandsThatMustNotWait(t *testing.T) {
	wait := takeAny
	wait.Wait = 1
	with := func(change func(*space.Command)) space.Command {
		c := session(2, 1, 1000, wait)
		change(&c)
		return c
	}
	for name, c := range map[string]space.Command{
		"without a session": with(func(c *space.Command) { c.Session = 0 }),
		"in company":        with(func(c *space.Command) { c.Ops = append(c.Ops, fieldsEntry("k", 1)) }),
		"independent":       with(func(c *space.Command) { c.Independent = true }),
		"for a version":     with(func(c *space.Command) { c.Ops[0].Match = 3 }),
		"for no time":       with(func(c *space.Command) { c.Ops[0].Wait = -1 }),
		"a write": with(func(c *space.Command) {
			c.Ops[0] = fieldsEntry("k", 1)
			c.Ops[0].Wait = 1
		}),
		"a cancellation of itself":    session(2, 1, 1000, space.Op{Code: space.OpCancel, Target: 2}),
		"a cancellation of nothing":   session(2, 1, 1000, space.Op{Code: space.OpCancel}),
		"a cancellation in company":   session(2, 1, 1000, space.Op{Code: space.OpCancel, Target: 1}, fieldsEntry("k", 1)),
		"a cancellation of no client": command(space.Op{Code: space.OpCancel, Target: 1}),
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("a command that waits %s is valid", name)
		}
		l := newLine(t)
		r := apply(t, l.p, 1, c)
		refused := r.Code != space.OK || c.Independent && r.Results[0].Code != space.OK
		if !refused || r.Code == space.CodeWaiting || l.p.Status().Waiting != 0 {
			t.Errorf("a command that waits %s is answered %v", name, r.Code)
		}
	}
}

// TestNobodyIsOvertaken: whatever is written, taken and cancelled, an entry goes
// to the oldest of those whom it fits, once, in time, and no entry is left that
// somebody waits for.
func TestNobodyIsOvertaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := space.New(1, testHistory)
		c := space.DefineCommand(&space.Definition{ID: 2, Name: "fields", Shape: space.ShapeFields, ScanLimit: -1})
		p.Apply(0, &c)
		type waiter struct {
			id   space.SessionID
			tmpl []byte
			end  space.Time
		}
		var waiting []waiter
		served := map[string]bool{}
		now := space.Time(0)
		for i := range rapid.IntRange(1, 80).Draw(t, "commands") {
			now += space.Time(rapid.IntRange(0, 2).Draw(t, "time"))
			id := space.SessionID(i + 1)
			var c space.Command
			if rapid.Bool().Draw(t, "write") {
				for j := range rapid.IntRange(1, 4).Draw(t, "entries") {
					c.Ops = append(c.Ops, space.Op{Code: space.OpWrite, Space: 2, Key: fmt.Appendf(nil, "%d.%d", i, j), Kind: space.KindFields, Value: encode(spacetest.DrawFields(t))})
				}
			} else {
				c = session(1, 1, 1000, space.Op{
					Code: space.OpTakeMatch, Space: 2, Template: encode(spacetest.DrawFields(t)), Wait: time.Duration(rapid.IntRange(1, 20).Draw(t, "wait")),
				})
				c.Session = id
			}
			reply, err := space.DecodeReply(p.Apply(now, &c))
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range p.Granted() {
				n := slices.IndexFunc(waiting, func(w waiter) bool { return w.id == g.Session })
				if n < 0 {
					t.Fatalf("session %d is served and does not wait", g.Session)
				}
				r, err := space.DecodeReply(g.Reply)
				if err != nil {
					t.Fatal(err)
				}
				if r.Err() != nil {
					if now < waiting[n].end {
						t.Fatalf("session %d is told %v before its time", g.Session, r.Err())
					}
				} else {
					e := r.Results[0].Entries[0]
					_, code := p.Get(2, e.Key)
					if served[string(e.Key)] || code != space.CodeNotFound || now >= waiting[n].end {
						t.Fatalf("%s is handed out at %d to one who waits until %d; before: %v, left: %v", e.Key, now, waiting[n].end, served[string(e.Key)], code)
					}
					served[string(e.Key)] = true
					for _, older := range waiting[:n] {
						if space.Matches(older.tmpl, e.Kind, e.Value) {
							t.Fatalf("session %d is overtaken by %d", older.id, g.Session)
						}
					}
				}
				waiting = slices.Delete(waiting, n, n+1)
			}
			if reply.Code == space.CodeWaiting {
				waiting = append(waiting, waiter{id, c.Ops[0].Template, now + space.Time(c.Ops[0].Wait)})
			}
			p.Scan(2, 0, func(e space.Entry) bool {
				for _, w := range waiting {
					if space.Matches(w.tmpl, e.Kind, e.Value) {
						t.Fatalf("session %d waits for %s, which is there", w.id, e.Key)
					}
				}
				return true
			})
		}
	})
}

// TestWaitersSurviveAnExport, each at its place.
func TestWaitersSurviveAnExport(t *testing.T) {
	l := newLine(t)
	l.wait(1, 3, takeWith(1))
	l.wait(1, 2, takeAny)
	l.wait(1, 1, takeWith(1))
	var b bytes.Buffer
	if err := l.p.Image().Export(&b); err != nil {
		t.Fatal(err)
	}
	before := l.p.Image().Digest()
	var err error
	if l.p, err = space.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if l.p.Image().Digest() != before {
		t.Error("another digest")
	}
	apply(t, l.p, 2, command(fieldsEntry("k", 1), fieldsEntry("l", 1), fieldsEntry("m", 1)))
	l.want(" 3:k 2:l 1:m")
}
