package space_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// newPartition returns a partition with the spaces "any" (1) and "fields" (2,
// with an index on a).
func newPartition(t testing.TB) *space.Partition {
	t.Helper()
	p := space.New(3, testHistory)
	for _, d := range []space.Definition{
		{ID: 1, Name: "any"},
		{ID: 2, Name: "fields", Shape: space.ShapeFields, ScanLimit: 10, Indexes: []space.Index{{Name: "a", Fields: []string{"a"}}}},
	} {
		c := space.DefineCommand(&d)
		if r := apply(t, p, 0, c); r.Code != space.OK {
			t.Fatal(r.Code)
		}
	}
	return p
}

func apply(t testing.TB, p *space.Partition, now space.Time, c space.Command) space.Reply {
	t.Helper()
	r, err := space.DecodeReply(p.ApplyBytes(now, c.Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func put(key, value string) space.Op {
	return space.Op{Code: space.OpWrite, Space: 1, Key: []byte(key), Value: []byte(value)}
}

func command(ops ...space.Op) space.Command { return space.Command{Ops: ops} }

// session returns a command of a client.
func session(seq, acked uint64, deadline space.Time, ops ...space.Op) space.Command {
	return space.Command{History: testHistory, Session: 1, Sequence: seq, Acked: acked, Deadline: deadline, Ops: ops}
}

// TestRepeatHasFirstAnswer also after the state went through an export: a counter
// counts once however often its command arrives.
func TestRepeatHasFirstAnswer(t *testing.T) {
	p := newPartition(t)
	count := session(1, 1, 1000, space.Op{
		Code: space.OpChange, Space: 1, Key: []byte("n"), Flags: space.FlagCreate | space.FlagReturn,
		Mutations: []space.Mutation{{Code: space.MutAdd, Arg: encode(int64(5))}},
	})
	first := p.ApplyBytes(1, count.Append(nil))
	var b bytes.Buffer
	if err := p.Image().Export(&b); err != nil {
		t.Fatal(err)
	}
	p, err := space.Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	if again := p.ApplyBytes(7, count.Append(nil)); !bytes.Equal(first, again) {
		t.Fatalf("first answer %x, then %x", first, again)
	}
	if e, _ := p.Get(1, []byte("n")); string(e.Value) != "5" {
		t.Fatalf("counted to %s", e.Value)
	}
}

// TestSettledAnswersAreForgotten and a repeat of them is refused, never applied.
func TestSettledAnswersAreForgotten(t *testing.T) {
	p := newPartition(t)
	apply(t, p, 1, session(1, 1, 1000, put("a", "1")))
	apply(t, p, 1, session(2, 2, 1000, put("b", "1")))
	if r := apply(t, p, 1, session(1, 1, 1000, put("a", "2"))); r.Code != space.CodeForgotten {
		t.Fatalf("a settled command is answered %v", r.Code)
	}
	if n := p.Status().Answers; n != 1 {
		t.Fatalf("%d answers kept, want 1", n)
	}
}

// TestUnsettledCommandsAreBounded: a client that never settles is refused, and
// can go on once it settles.
func TestUnsettledCommandsAreBounded(t *testing.T) {
	p := newPartition(t)
	seq := uint64(1)
	for {
		r := apply(t, p, 1, session(seq, 1, 1000, put("a", "1")))
		if r.Code == space.CodeBusy {
			break
		}
		if seq++; seq > 1<<17 {
			t.Fatal("nothing bounds the table of answers")
		}
	}
	if r := apply(t, p, 1, session(seq, seq, 1000, put("a", "2"))); r.Code != space.OK {
		t.Fatalf("after settling: %v", r.Code)
	}
}

// TestAnswersGoAtTheirDeadline, and a repeat after it is refused as late.
func TestAnswersGoAtTheirDeadline(t *testing.T) {
	p := newPartition(t)
	apply(t, p, 1, session(1, 1, 50, put("a", "1")))
	apply(t, p, 60, space.TickCommand())
	if n := p.Status().Answers; n != 0 {
		t.Fatalf("%d answers kept past their deadline", n)
	}
	if r := apply(t, p, 60, session(1, 1, 50, put("a", "2"))); r.Code != space.CodeLate {
		t.Fatalf("a late repeat is answered %v", r.Code)
	}
}

// TestHigherAttemptMayFollowAnAbort, and nothing may follow a success or the
// final attempt.
func TestHigherAttemptMayFollowAnAbort(t *testing.T) {
	p := newPartition(t)
	apply(t, p, 1, command(put("a", "1")))
	try := func(attempt uint8, match space.Seq) space.Code {
		c := session(1, 1, 1000, space.Op{Code: space.OpCheck, Space: 1, Key: []byte("a"), Match: match}, put("b", "x"))
		c.Attempt = attempt
		return apply(t, p, 2, c).Code
	}
	for _, step := range []struct {
		attempt uint8
		match   space.Seq
		want    space.Code
	}{
		{0, 99, space.CodeAborted},
		{0, 3, space.CodeAborted}, // a repeat of the same attempt has its answer
		{1, 3, space.OK},
		{2, 99, space.OK}, // the answer stands
	} {
		if got := try(step.attempt, step.match); got != step.want {
			t.Fatalf("attempt %d: %v, want %v", step.attempt, got, step.want)
		}
	}
}

// TestFailedCommandHasNoEffect: neither on entries nor on Seq nor on the
// changelog.
func TestFailedCommandHasNoEffect(t *testing.T) {
	p := newPartition(t)
	before := p.Image().Digest()
	r := apply(t, p, 0, command(put("a", "1"), put("b", "2"), space.Op{Code: space.OpTake, Space: 1, Key: []byte("absent")}))
	if r.Code != space.CodeAborted || r.Failed != 2 || !errors.Is(r.Err(), space.ErrNotFound) {
		t.Fatalf("%+v", r)
	}
	if after := p.Image().Digest(); after != before {
		t.Fatal("a failed command changed the state")
	}
}

// TestLeaseEndsWhenACommandPastItIsApplied: not earlier, not only when somebody
// looks, and for many entries at once without one long step.
func TestLeaseEndsWhenACommandPastItIsApplied(t *testing.T) {
	p := newPartition(t)
	const n = 1000
	for i := range n {
		o := put(strconv.Itoa(i), "x")
		o.Lease = 10 * time.Nanosecond
		apply(t, p, 0, command(o))
	}
	if _, code := p.Get(1, []byte("1")); code != space.OK || p.NextDeadline() != 10 {
		t.Fatalf("%v, next deadline %d", code, p.NextDeadline())
	}
	seq := p.Status().Seq
	r := apply(t, p, 10, command(space.Op{Code: space.OpRead, Space: 1, Key: []byte("999")}))
	if r.Code != space.CodeAborted || r.Results[0].Code != space.CodeNotFound {
		t.Fatalf("an entry past its deadline is read: %+v", r)
	}
	if removed := p.Status().Seq - seq; removed >= n {
		t.Fatalf("one command removed %d entries", removed)
	}
	if es, _, _ := p.Match(nil, 1, nil, nil, 0, n, math.MaxInt, true); len(es) != 0 {
		t.Fatalf("%d entries are still matched", len(es))
	}
	for range n {
		apply(t, p, 10, space.TickCommand())
	}
	if s := p.Status(); s.Entries != 0 || s.Seq != seq+n || p.NextDeadline() != space.Never {
		t.Fatalf("%d entries left, %d removals", s.Entries, s.Seq-seq)
	}
}

// TestUnindexedTemplateIsRefused beyond the scan limit, unless allowed.
func TestUnindexedTemplateIsRefused(t *testing.T) {
	p := newPartition(t)
	for i := range 30 {
		apply(t, p, 0, command(space.Op{
			Code: space.OpWrite, Space: 2, Key: []byte(strconv.Itoa(i)), Kind: space.KindFields,
			Value: encode(map[string]any{"a": int64(i % 3), "b": int64(i)}),
		}))
	}
	take := space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"b": int64(29)})}
	if r := apply(t, p, 0, command(take)); r.Results[0].Code != space.CodeScanRefused {
		t.Fatalf("a scan is answered %v", r.Results[0].Code)
	}
	take.Flags = space.FlagAllowScan
	if r := apply(t, p, 0, command(take)); r.Code != space.OK || string(r.Results[0].Entries[0].Key) != "29" {
		t.Fatalf("%+v", r)
	}
	indexed := space.Op{Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": int64(1)}), Limit: 3}
	r := apply(t, p, 0, command(indexed))
	for i, want := range []string{"1", "4", "7"} {
		if string(r.Results[0].Entries[i].Key) != want {
			t.Fatalf("take %d is %s, want %s", i, r.Results[0].Entries[i].Key, want)
		}
	}
}

// TestIndexCanBeAddedLater and finds what was there before.
func TestIndexCanBeAddedLater(t *testing.T) {
	p := newPartition(t)
	for i := range 30 {
		apply(t, p, 0, command(space.Op{
			Code: space.OpWrite, Space: 2, Key: []byte(strconv.Itoa(i)), Kind: space.KindFields,
			Value: encode(map[string]any{"b": int64(i)}),
		}))
	}
	def := p.Definitions()[1]
	def.Indexes = append(def.Indexes, space.Index{Name: "b", Fields: []string{"b"}})
	if r := apply(t, p, 0, space.DefineCommand(&def)); r.Code != space.OK {
		t.Fatal(r.Code)
	}
	es, _, code := p.Match(nil, 2, encode(map[string]any{"b": int64(29)}), nil, 0, 10, math.MaxInt, false)
	if code != space.OK || len(es) != 1 {
		t.Fatalf("%v, %d found", code, len(es))
	}
}

// TestMatchStopsWhenItHasEnough: by entries or by bytes, and going on behind the
// last entry finds the rest.
func TestMatchStopsWhenItHasEnough(t *testing.T) {
	p := newPartition(t)
	for i := range 10 {
		apply(t, p, 0, command(put(strconv.Itoa(i), "123456789"))) // ten bytes each
	}
	for _, c := range []struct{ limit, room, want int }{{3, math.MaxInt, 3}, {100, 1, 1}, {100, 30, 3}, {100, 31, 4}, {100, math.MaxInt, 10}} {
		var all []space.Entry
		for from, more := uint64(0), true; more; {
			var es []space.Entry
			var code space.Code
			es, more, code = p.Match(nil, 1, nil, nil, from, c.limit, c.room, true)
			if code != space.OK || more && len(es) != c.want || len(es) > c.want {
				t.Fatalf("%+v: %v, %d found, more %v", c, code, len(es), more)
			}
			if all = append(all, es...); more {
				from = es[len(es)-1].Order + 1
			}
		}
		if len(all) != 10 {
			t.Errorf("%+v: %d found in the end", c, len(all))
		}
	}
}

// TestChangelogIsReadFromAnywhereAboveTheFloor: whole commands, in order; below
// the floor it says so, above the end too.
func TestChangelogIsReadFromAnywhereAboveTheFloor(t *testing.T) {
	p := newPartition(t)
	for i := range 2000 {
		apply(t, p, 0, command(put(fmt.Sprint("a", i), "some value of some length"), put(fmt.Sprint("b", i), "x")))
	}
	last := p.Changelog().Last()
	for after := space.Seq(0); after < last; after += 97 {
		changes, err := p.Changelog().Read(nil, after, 1)
		if err != nil || changes[0].Seq != after+1 || changes[len(changes)-1].More != 0 {
			t.Fatalf("after %d: %v, %d changes", after, err, len(changes))
		}
	}
	apply(t, p, 0, space.TrimCommand(space.Trim{Floor: last - 100}))
	if _, err := p.Changelog().Read(nil, 0, 1); !errors.Is(err, space.ErrTrimmed) {
		t.Fatalf("trimmed changes: %v", err)
	}
	if _, err := p.Changelog().Read(nil, last+1, 1); !errors.Is(err, space.ErrAhead) {
		t.Fatalf("changes to come: %v", err)
	}
	if changes, err := p.Changelog().Read(nil, last-100, 1<<20); err != nil || len(changes) != 100 {
		t.Fatalf("%v, %d changes", err, len(changes))
	}
}

// TestTrimStopsAtRequiredSinks, whatever floor is asked for.
func TestTrimStopsAtRequiredSinks(t *testing.T) {
	p := newPartition(t)
	apply(t, p, 0, space.SinkCommand(space.Sink{ID: space.StoreSink, Name: "store", Required: true}))
	for i := range 10 {
		apply(t, p, 0, command(put(strconv.Itoa(i), "x")))
	}
	apply(t, p, 0, space.TrimCommand(space.Trim{Floor: 100, Watermarks: []space.Watermark{{Sink: space.StoreSink, Seq: 4}}}))
	if s := p.Status(); s.Floor != 4 || s.Watermarks[0].Seq != 4 {
		t.Fatalf("floor %d, watermark %d", s.Floor, s.Watermarks[0].Seq)
	}
	apply(t, p, 0, space.TrimCommand(space.Trim{Floor: 2, Watermarks: []space.Watermark{{Sink: space.StoreSink, Seq: 1}}}))
	if s := p.Status(); s.Floor != 4 || s.Watermarks[0].Seq != 4 {
		t.Fatalf("went back to floor %d, watermark %d", s.Floor, s.Watermarks[0].Seq)
	}
}

// TestLoaderContinuesAboveItsOrigin: the content of a store begins a new history
// whose Seq goes on.
func TestLoaderContinuesAboveItsOrigin(t *testing.T) {
	p := newPartition(t)
	for i := range 50 {
		apply(t, p, 5, command(put(strconv.Itoa(i), "x")))
	}
	s := p.Status()
	l := space.NewLoader(space.Loaded{
		ID: 3, History: space.History{9}, Origin: space.Position{History: testHistory, Seq: s.Seq}, Epoch: 4, Clock: s.Clock,
	})
	for _, d := range p.Definitions() {
		if err := l.Define(d); err != nil {
			t.Fatal(err)
		}
		p.Scan(d.ID, 0, func(e space.Entry) bool {
			if err := l.Add(d.ID, e); err != nil {
				t.Fatal(err)
			}
			return true
		})
	}
	q := l.Partition()
	r := apply(t, q, 0, command(put("new", "x")))
	if r.Results[0].Version != s.Seq+1 || r.Clock != 5 {
		t.Fatalf("version %d at %d after a load at %d", r.Results[0].Version, r.Clock, s.Seq)
	}
	if _, err := q.Changelog().Read(nil, s.Seq-1, 1); !errors.Is(err, space.ErrTrimmed) {
		t.Fatalf("changes of the older history: %v", err)
	}
	if err := l.Add(1, space.Entry{Key: []byte("1"), Order: 99, Version: 1}); err == nil {
		t.Fatal("a key was loaded twice")
	}
}

// TestReadersBesideTheWriter see whole values only, and View sees whole commands.
func TestReadersBesideTheWriter(t *testing.T) {
	p := newPartition(t)
	both := func(i int) space.Command {
		v := strconv.Itoa(i)
		return command(put("left", v), put("right", v))
	}
	apply(t, p, 0, both(0))
	done := make(chan struct{})
	var readers sync.WaitGroup
	var consistent int
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			var l, r space.Entry
			if p.View(func() { l, _ = p.Get(1, []byte("left")); r, _ = p.Get(1, []byte("right")) }) {
				consistent++
				if !bytes.Equal(l.Value, r.Value) {
					t.Errorf("half a command: %s and %s", l.Value, r.Value)
					return
				}
			}
		}
	})
	var at space.Seq
	readers.Go(func() {
		for at < 20000 {
			changes, err := p.Changelog().Read(nil, at, 4096)
			if err != nil {
				t.Error(err)
				return
			}
			for _, c := range changes {
				if c.Seq != at+1 {
					t.Errorf("change %d after %d", c.Seq, at)
					return
				}
				at = c.Seq
			}
		}
	})
	for i := range 10000 {
		apply(t, p, 0, both(i))
	}
	close(done)
	readers.Wait()
	if consistent == 0 {
		t.Fatal("no view was ever consistent")
	}
}

// TestValidateRefusesWhatApplyTakesForGranted, with a reason.
func TestValidateRefusesWhatApplyTakesForGranted(t *testing.T) {
	unsorted := []byte{0x82, 0xa1, 'b', 1, 0xa1, 'a', 1}
	for name, o := range map[string]space.Op{
		"system operation":     {Code: space.OpTrim},
		"no key":               {Code: space.OpWrite, Space: 1},
		"long key":             {Code: space.OpRead, Space: 1, Key: make([]byte, space.MaxKeyBytes+1)},
		"large value":          {Code: space.OpWrite, Space: 1, Key: []byte("k"), Value: make([]byte, space.MaxValueBytes+1)},
		"fields not canonical": {Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: unsorted},
		"fields not a map":     {Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: []byte{1}},
		"fields cut short":     {Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: []byte{0x81}},
		"bad template":         {Code: space.OpTakeMatch, Space: 1, Template: unsorted},
		"negative lease":       {Code: space.OpRenew, Space: 1, Key: []byte("k"), Lease: -5},
		"no mutations":         {Code: space.OpChange, Space: 1, Key: []byte("k")},
		"mutation argument":    {Code: space.OpChange, Space: 1, Key: []byte("k"), Mutations: []space.Mutation{{Code: space.MutAdd, Arg: []byte{0xc1}}}},
	} {
		c := command(o)
		var refused *space.Error
		if err := c.Validate(); !errors.As(err, &refused) || refused.Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := command(put("k", "v"), space.Op{Code: space.OpReadMatch, Space: 1}, space.Op{Code: space.OpRespond})
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	empty := space.Command{}
	if empty.Validate() == nil {
		t.Error("a command without operations is valid")
	}
}

// TestTextArithmetic keeps numbers what they are: text stays text, integers stay
// integers, and what is neither is refused without effect.
func TestTextArithmetic(t *testing.T) {
	p := newPartition(t)
	change := func(key string, kind space.Kind, m space.Mutation) (string, space.Code) {
		r := apply(t, p, 0, command(space.Op{
			Code: space.OpChange, Space: 1, Key: []byte(key), Kind: kind, Flags: space.FlagCreate | space.FlagReturn, Mutations: []space.Mutation{m},
		}))
		if r.Results[0].Code != space.OK {
			return "", r.Results[0].Code
		}
		return string(r.Results[0].Entries[0].Value), space.OK
	}
	add := func(n int64) space.Mutation { return space.Mutation{Code: space.MutAdd, Arg: encode(n)} }
	apply(t, p, 0, command(put("max", "9223372036854775807"), put("text", "abc"), put("zero", "007")))
	for _, c := range []struct {
		key  string
		m    space.Mutation
		want string
		code space.Code
	}{
		{"new", add(5), "5", space.OK},
		{"new", add(-7), "-2", space.OK},
		{"max", add(1), "", space.CodeRange},
		{"text", add(1), "", space.CodeWrongKind},
		{"zero", add(1), "", space.CodeWrongKind},
		{"float", space.Mutation{Code: space.MutAddFloat, Arg: encode(1.5)}, "1.5", space.OK},
		{"float", space.Mutation{Code: space.MutAddFloat, Arg: encode(1.5)}, "3", space.OK},
		{"text", space.Mutation{Code: space.MutAppend, Arg: []byte("def")}, "abcdef", space.OK},
		{"text", space.Mutation{Code: space.MutSetRange, Offset: 8, Arg: []byte("x")}, "abcdef\x00\x00x", space.OK},
		{"huge", space.Mutation{Code: space.MutSetRange, Offset: space.MaxValueBytes, Arg: []byte("x")}, "", space.CodeTooLarge},
	} {
		if got, code := change(c.key, space.KindBytes, c.m); got != c.want || code != c.code {
			t.Errorf("%s: %q, %v; want %q, %v", c.key, got, code, c.want, c.code)
		}
	}
	textField := space.Mutation{Code: space.MutSet, Field: "n", Arg: encode("41")}
	if _, code := change("h", space.KindFields, textField); code != space.OK {
		t.Fatal(code)
	}
	one := add(1)
	one.Field = "n"
	if _, code := change("h", space.KindFields, one); code != space.OK {
		t.Fatal(code)
	}
	if e, _ := p.Get(1, []byte("h")); decode(e.Value).(map[string]any)["n"] != "42" {
		t.Fatalf("text plus one is %v", decode(e.Value))
	}
}
