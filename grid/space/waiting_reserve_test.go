package space_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// reserveAny is a waiting take that only reserves what it is granted.
func reserveAny(number uint64) space.Op {
	return space.Op{Code: space.OpTakeMatch, Space: 2, Wait: 100, Lease: 20, Txn: space.TxnID{Session: 9, Number: number}}
}

func finishHold(number uint64, commit bool) space.Op {
	o := space.Op{Code: space.OpFinish, Txn: space.TxnID{Session: 9, Number: number}}
	if commit {
		o.Flags = space.FlagCommit
	}
	return o
}

// TestAReservationHoldsItsEntry: readers see it, nobody else gets it or writes it,
// and committing takes it, once.
func TestAReservationHoldsItsEntry(t *testing.T) {
	l := newLine(t)
	l.wait(1, 1, reserveAny(1))
	apply(t, l.p, 2, command(fieldsEntry("x", 7), fieldsEntry("y", 7)))
	l.want(" 1:x")
	if _, code := l.p.Get(2, []byte("x")); code != space.OK {
		t.Errorf("a reserved entry cannot be read: %v", code)
	}
	if r := apply(t, l.p, 3, command(fieldsEntry("x", 8))); r.Results[0].Code != space.CodeLocked {
		t.Errorf("a reserved entry is written: %v", r.Results[0].Code)
	}
	if r := l.ask(3, 5, takeAny); string(r.Results[0].Entries[0].Key) != "y" {
		t.Errorf("an entry is handed out twice: %+v", r)
	}
	if r := l.ask(3, 6, takeAny); r.Results[0].Code != space.CodeNotFound {
		t.Errorf("an entry is handed out twice: %+v", r)
	}
	if r := apply(t, l.p, 4, command(finishHold(1, true))); r.Err() != nil || r.Results[0].Count != 1 {
		t.Errorf("commit: %+v", r)
	}
	for _, commit := range []bool{true, false} {
		if r := apply(t, l.p, 5, command(finishHold(1, commit))); r.Results[0].Code != space.CodeUnprepared {
			t.Errorf("a reservation ends twice: %+v", r)
		}
	}
	if n := l.p.Count(2); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// TestAReservationGivenUpLeavesTheEntryInItsPlace: the next in line gets it, and
// it goes before what came later.
func TestAReservationGivenUpLeavesTheEntryInItsPlace(t *testing.T) {
	l := newLine(t)
	apply(t, l.p, 0, command(fieldsEntry("x", 1), fieldsEntry("y", 1)))
	if r := l.ask(1, 1, reserveAny(1)); r.Err() != nil || string(r.Results[0].Entries[0].Key) != "x" {
		t.Fatalf("what is there is not reserved at once: %+v", r)
	}
	apply(t, l.p, 2, command(finishHold(1, false)))
	if r := l.ask(3, 2, takeAny); string(r.Results[0].Entries[0].Key) != "x" {
		t.Errorf("the oldest entry is %s", r.Results[0].Entries[0].Key)
	}
	l.ask(4, 3, reserveAny(3))
	l.wait(5, 4, reserveAny(4))
	apply(t, l.p, 6, command(finishHold(3, false)))
	l.want(" 4:y")
}

// TestAReservedHeadKeepsItsGroupWaiting, and committing lets the group go on.
func TestAReservedHeadKeepsItsGroupWaiting(t *testing.T) {
	for _, commit := range []bool{false, true} {
		p := space.New(5, testHistory)
		l := &line{t, p}
		define := space.DefineCommand(&space.Definition{ID: 2, Name: "grouped", Group: "a", ScanLimit: -1})
		p.Apply(0, &define)
		l.wait(1, 1, reserveAny(1))
		l.wait(1, 2, reserveAny(2))
		apply(t, p, 2, command(fieldsEntry("x", 7), fieldsEntry("y", 7), fieldsEntry("z", 8)))
		l.want(" 1:x 2:z")
		l.wait(3, 3, takeAny)
		apply(t, p, 4, command(finishHold(1, commit)))
		if commit {
			l.want(" 3:y")
		} else {
			l.want(" 3:x")
		}
	}
}

// TestALapsedReservationIsGivenUp: its own partition answers that it is aborted,
// and who commits too late has nothing.
func TestALapsedReservationIsGivenUp(t *testing.T) {
	l := newLine(t)
	l.wait(1, 1, reserveAny(1))
	apply(t, l.p, 2, command(fieldsEntry("x", 7)))
	if lapsed := l.p.Lapsed(21, 9); len(lapsed) != 0 {
		t.Fatalf("%+v after 19", lapsed)
	}
	lapsed := l.p.Lapsed(22, 9)
	if len(lapsed) != 1 || lapsed[0].Home != l.p.ID() {
		t.Fatalf("%+v after 20", lapsed)
	}
	ask := command(space.Op{Code: space.OpDecide, Txn: lapsed[0].Txn, Target: uint64(lapsed[0].Until)})
	if r := apply(t, l.p, 22, ask); r.Err() != nil || r.Results[0].Count != 0 {
		t.Errorf("its home decides %+v", r)
	}
	apply(t, l.p, 23, command(finishHold(1, false)))
	if r := apply(t, l.p, 24, command(finishHold(1, true))); r.Results[0].Code != space.CodeUnprepared {
		t.Errorf("a late commit: %+v", r)
	}
	if r := l.ask(25, 2, takeAny); r.Err() != nil {
		t.Errorf("the entry is lost: %+v", r)
	}
}

// TestOnlyATakeThatWaitsReserves: anything else is refused before it is proposed,
// and by Apply too.
func TestOnlyATakeThatWaitsReserves(t *testing.T) {
	l := newLine(t)
	apply(t, l.p, 0, command(fieldsEntry("x", 1)))
	for name, change := range map[string]func(*space.Op, *space.Command){
		"no wait":    func(o *space.Op, _ *space.Command) { o.Wait = 0 },
		"too long":   func(o *space.Op, _ *space.Command) { o.Lease = 2 * time.Hour },
		"negative":   func(o *space.Op, _ *space.Command) { o.Lease = -1 },
		"no session": func(_ *space.Op, c *space.Command) { c.Session = 0 },
	} {
		o := reserveAny(1)
		c := session(1, 1, 1000, o)
		change(&c.Ops[0], &c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if r := apply(t, l.p, 1, c); r.Code == space.OK || r.Results[0].Code != space.CodeInvalid {
			t.Errorf("%s: %+v", name, r)
		}
		l = newLine(t)
		apply(t, l.p, 0, command(fieldsEntry("x", 1)))
	}
}

// TestTakesEverywhereLoseNothing: takers wait in several partitions at once; their
// messages are lost, repeated and overtaken, and they die at any moment. Each
// gets one entry at most, no entry is removed unless a taker decided on it, and when
// everything is over nothing is locked and nobody waits.
func TestTakesEverywhereLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTakeWorld(t)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.step()
		}
		w.heal()
		w.check()
	})
}

const takePartitions = 3

// takeWorld is a few partitions, the messages on their way and those who take.
type takeWorld struct {
	t       *rapid.T
	parts   [takePartitions]*space.Partition
	now     space.Time
	flight  []txnMessage
	takers  []*anyTaker
	written int
	next    uint64
}

// anyTaker waits in all partitions for one entry.
type anyTaker struct {
	id     uint64
	sent   [takePartitions]space.Command
	dead   bool
	chosen int // the partition whose reservation it commits, -1
	key    string
	got    bool
}

func newTakeWorld(t *rapid.T) *takeWorld {
	w := &takeWorld{t: t}
	for i := range w.parts {
		w.parts[i] = space.New(space.PartitionID(i), testHistory)
		define := space.DefineCommand(&space.Definition{ID: 2, Name: "work", ScanLimit: -1})
		w.parts[i].Apply(0, &define)
	}
	return w
}

func (w *takeWorld) step() {
	switch rapid.SampledFrom([]string{"take", "write", "deliver", "deliver", "deliver", "deliver", "lose", "repeat", "again", "time", "die", "resolve", "export"}).Draw(w.t, "step") {
	case "take":
		w.take()
	case "write":
		i := rapid.IntRange(0, takePartitions-1).Draw(w.t, "where")
		w.written++
		w.apply(i, command(fieldsEntry(fmt.Sprint("e", w.written), int64(i))))
	case "deliver":
		w.deliver(true)
	case "repeat":
		w.deliver(false)
	case "lose":
		if n := len(w.flight); n > 0 {
			i := rapid.IntRange(0, n-1).Draw(w.t, "lost")
			w.flight = slices.Delete(w.flight, i, i+1)
		}
	case "again":
		if n := len(w.takers); n > 0 {
			w.ask(w.takers[rapid.IntRange(0, n-1).Draw(w.t, "who")])
		}
	case "time":
		w.now += space.Time(rapid.IntRange(1, 20).Draw(w.t, "passes"))
	case "die":
		if n := len(w.takers); n > 0 {
			w.takers[rapid.IntRange(0, n-1).Draw(w.t, "who")].dead = true
		}
	case "resolve":
		w.resolve()
	case "export":
		i := rapid.IntRange(0, takePartitions-1).Draw(w.t, "where")
		w.parts[i] = exported(w.t, w.parts[i])
	}
}

func (w *takeWorld) apply(i int, c space.Command) space.Reply {
	r, err := space.DecodeReply(w.parts[i].Apply(w.now, &c))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// sign makes the only command of a session of its own.
func (w *takeWorld) sign(o space.Op) space.Command {
	w.next++
	c := session(1, 1, 10_000, o)
	c.Session = space.SessionID(100 + w.next)
	return c
}

func (w *takeWorld) take() {
	w.next++
	x := &anyTaker{id: w.next, chosen: -1}
	for i := range x.sent {
		o := reserveAny(x.id)
		o.Wait = time.Duration(rapid.IntRange(1, 60).Draw(w.t, "patience"))
		x.sent[i] = w.sign(o)
	}
	w.takers = append(w.takers, x)
	w.ask(x)
}

// ask sends a taker's commands, as often as it likes.
func (w *takeWorld) ask(x *anyTaker) {
	if x.dead || x.chosen >= 0 {
		return
	}
	for i := range x.sent {
		w.flight = append(w.flight, txnMessage{i, x.sent[i], func(r space.Reply) { w.granted(x, i, r) }})
	}
}

// granted is a taker that hears of what one partition has for it: it commits the
// first that it hears of and gives any other back.
func (w *takeWorld) granted(x *anyTaker, i int, r space.Reply) {
	if x.dead || r.Code != space.OK || x.chosen == i {
		return
	}
	if x.chosen >= 0 {
		w.flight = append(w.flight, txnMessage{i, w.sign(finishHold(x.id, false)), nil})
		return
	}
	x.chosen, x.key = i, string(r.Results[0].Entries[0].Key)
	w.flight = append(w.flight, txnMessage{i, w.sign(finishHold(x.id, true)), func(r space.Reply) { x.got = x.got || r.Code == space.OK }})
}

func (w *takeWorld) deliver(once bool) {
	if len(w.flight) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.flight)-1).Draw(w.t, "delivered")
	m := w.flight[i]
	if once {
		w.flight = slices.Delete(w.flight, i, i+1)
	}
	r := w.apply(m.to, m.command)
	if m.reply != nil && rapid.IntRange(0, 4).Draw(w.t, "answer") > 0 {
		m.reply(r)
	}
}

// resolve is what leaders do about reservations that have lasted too long.
func (w *takeWorld) resolve() {
	for i, p := range w.parts {
		for _, x := range p.Lapsed(w.now, 100) {
			r := w.apply(int(x.Home), command(space.Op{Code: space.OpDecide, Txn: x.Txn, Target: uint64(x.Until)}))
			if r.Err() != nil || r.Results[0].Count != 0 {
				w.t.Fatalf("home decides %+v", r)
			}
			w.apply(i, command(finishHold(x.Txn.Number, false)))
		}
	}
}

// heal kills all takers and waits until whatever they have left is over.
func (w *takeWorld) heal() {
	for _, x := range w.takers {
		x.dead = true
	}
	for range 3 {
		w.now += 100
		for i := range w.parts {
			w.apply(i, space.TickCommand())
		}
		w.resolve()
	}
}

func (w *takeWorld) check() {
	left, decided := map[string]bool{}, map[string]int{}
	for i, p := range w.parts {
		order := uint64(0)
		for {
			r := w.apply(i, command(takeAny))
			if r.Code != space.OK {
				break
			}
			e := r.Results[0].Entries[0]
			if e.Order <= order {
				w.t.Fatalf("%s is handed out too late", e.Key)
			}
			order, left[string(e.Key)] = e.Order, true
		}
		if s := p.Status(); s.Waiting != 0 || s.Entries != 0 {
			w.t.Fatalf("%d wait, %d entries cannot be had", s.Waiting, s.Entries)
		}
	}
	for _, x := range w.takers {
		if x.chosen >= 0 {
			decided[x.key]++
		}
		if x.got && left[x.key] {
			w.t.Fatalf("%s is taken and there", x.key)
		}
	}
	got := map[string]int{}
	for _, x := range w.takers {
		if x.got {
			got[x.key]++
		}
	}
	for i := range w.written {
		key := fmt.Sprint("e", i+1)
		if got[key] > 1 || !left[key] && decided[key] == 0 {
			w.t.Fatalf("%s: taken %d times, decided on by %d, there: %v", key, got[key], decided[key], left[key])
		}
	}
}
