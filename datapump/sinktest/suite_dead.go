package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// flushTime bounds what a pump of the suite needs.
const flushTime = 20 * time.Second

// feed runs a pump over a sink until everything of the sources is there.
func (s *suite) feed(sink datapump.Sink, sources ...*Source) datapump.Status {
	s.Helper()
	p, err := datapump.Open(datapump.Config{Name: "suite", Sink: sink, BatchChanges: 64})
	s.must(err)
	defer func() { s.must(p.Close()) }()
	for _, src := range sources {
		s.must(p.Add(src.Fence().Partition, src))
	}
	ctx, cancel := context.WithTimeout(s.Context(), flushTime)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		s.Fatalf("%v: %+v", err, p.Status())
	}
	return p.Status()
}

// letters returns all dead letters of the sink, read page by page.
func (s *suite) letters() (all []datapump.Letter) {
	s.Helper()
	for after := (datapump.LetterID{}); ; after = all[len(all)-1].ID() {
		page, err := s.Sink.List(s.Context(), after, 2)
		s.must(err)
		if all = append(all, page...); len(page) == 0 {
			return all
		}
	}
}

// tell writes letters in short: a bang is at fault, a tilde is parked.
func tell(letters []datapump.Letter) string {
	var b strings.Builder
	for i := range letters {
		mark := "!"
		if letters[i].Parked {
			mark = "~"
		}
		fmt.Fprintf(&b, "%d:%d%s%s ", letters[i].Partition, letters[i].Seq, mark, letters[i].Key)
	}
	return strings.TrimSpace(b.String())
}

// lettersAre checks the side table.
func (s *suite) lettersAre(want string) {
	s.Helper()
	if got := tell(s.letters()); got != want {
		s.Fatalf("the side table has %q, want %q", got, want)
	}
}

// holdsBut checks that the sink holds what the source has led to without some of
// its changes.
func (s *suite) holdsBut(src *Source, without ...space.Seq) {
	s.Helper()
	gone := map[space.Seq]bool{}
	for _, seq := range without {
		gone[seq] = true
	}
	want := src.base.clone()
	for _, c := range src.Changes() {
		if !gone[c.Seq] {
			want.Fold(&c)
		}
	}
	got, at := s.Read(src.Fence().Partition)
	if at.Seq != src.Last() {
		s.Fatalf("the sink stands at %d, want %d", at.Seq, src.Last())
	}
	if got.String() != want.String() {
		s.Fatalf("the sink holds\n%s\nwant\n%s", got, want)
	}
}

// fresh returns a source with space 1 as its change 1.
func fresh(id space.PartitionID) *Source {
	src := NewSource(id, space.History{byte(id)})
	src.Define(1)
	return src
}

// put writes entries of space 1, one command each.
func put(src *Source, pairs ...string) {
	for entry := range slices.Chunk(pairs, 2) {
		src.Put(1, entry[0], entry[1])
	}
}

// poisonedSource has a=2, b=3 poison, c=4, b=5, a=6, b=7.
func poisonedSource() *Source {
	src := fresh(4)
	put(src, "a", "1", "b", "poison", "c", "1", "b", "2", "a", "2", "b", "3")
	return src
}

// section is one that a pump would make of the source's changes above after, if
// those in dead were letters at fault and those in parked waited.
func section(src *Source, after space.Seq, settled uint64, dead, parked []space.Seq) datapump.Section {
	x := src.Section(after, src.Last())
	x.Settled = settled
	all := x.Changes
	x.Changes = nil
	for i := range all {
		c := &all[i]
		l := datapump.DeadLetter{Seq: c.Seq, Space: c.Space, Key: c.Key, Change: c.Append(nil), Txn: c.Txn, At: time.Unix(9, 0)}
		switch {
		case slices.Contains(dead, c.Seq):
			l.Reason = "refused"
			x.Dead = append(x.Dead, l)
		case slices.Contains(parked, c.Seq):
			l.Reason, l.Parked = "waits", true
			x.Dead = append(x.Dead, l)
		default:
			x.Changes = append(x.Changes, *c)
		}
	}
	return x
}

func (s *suite) deadTogether() {
	src, other := poisonedSource(), NewSource(5, space.History{5})
	other.Random(s.rng, 20)
	s.fence(src.Fence())
	s.fence(other.Fence())
	x := section(src, 0, 0, []space.Seq{3}, []space.Seq{5, 7})
	if err := s.apply(x, other.Section(5, 9)); err == nil {
		s.Fatal("a batch with a gap was taken")
	}
	s.lettersAre("")
	s.must(s.apply(x, other.Section(0, 9)))
	s.lettersAre("4:3!b 4:5~b 4:7~b")
	s.holdsBut(src, 3, 5, 7)
	s.must(s.apply(x)) // once more
	s.lettersAre("4:3!b 4:5~b 4:7~b")
	l := s.letters()[0]
	c, _, err := space.DecodeChange(l.Change)
	if err != nil || string(c.Value) != "poison" || l.Reason != "refused" || !l.At.Equal(time.Unix(9, 0)) || l.Space != 1 {
		s.Fatalf("the letter reads back as %+v, %v", l, err)
	}
	standing := s.stands(src.Fence())
	if standing.Seq != 7 || standing.Letters != 1 || standing.Parked != 2 || len(standing.Held) == 0 {
		s.Fatalf("the sink stands as %+v", standing)
	}
	for _, h := range standing.Held {
		if h.Space != 1 || string(h.Key) != "b" {
			s.Fatalf("the sink holds %+v back", h)
		}
	}
	if standing := s.stands(other.Fence()); len(standing.Held) != 0 || standing.Letters != 0 {
		s.Fatalf("another partition stands as %+v", standing)
	}
}

func (s *suite) poison() {
	for _, silent := range []bool{false, true} {
		id := space.PartitionID(4)
		if silent {
			id = 14
		}
		src, other := fresh(id), NewSource(id+1, space.History{5})
		put(src, "a", "1", "b", "poison", "c", "1", "b", "2", "a", "2", "b", "3")
		other.Random(s.rng, 50)
		sink := Poison(s.Sink)
		sink.Silent.Store(silent)
		s.feed(sink, src, other)
		// Folding hides b's poison behind b=3; so one more, as its last value.
		s.holdsBut(src)
		put(src, "d", "1", "b", "poison", "d", "2", "e", "poison", "d", "3", "b", "4")
		before := sink.Refusals.Load()
		st := s.feed(sink, src, other)
		if n := sink.Refusals.Load() - before; n == 0 || n > 16 {
			s.Fatalf("it took %d refusals to find two rows: %+v", n, st)
		}
		if got := s.letters(); len(got) < 2 {
			s.Fatalf("the side table has %q", tell(got))
		}
		var dead []space.Seq
		for _, l := range s.letters() {
			if l.Partition == id {
				dead = append(dead, l.Seq)
			}
			if !l.Parked && !strings.Contains(l.Reason, "poison") {
				s.Fatalf("the reason is %q", l.Reason)
			}
		}
		s.holdsBut(src, dead...)
		s.holds(other, other.Last())
	}
}

func (s *suite) heldOverRestart() {
	src := fresh(4)
	put(src, "a", "1", "b", "poison")
	s.feed(Poison(s.Sink), src)
	s.lettersAre("4:3!b")
	if s.Reopen != nil {
		s.Opened = s.Reopen()
	}
	put(src, "b", "2", "c", "1")
	src.Apply(space.EpochCommand(0)) // another leader's pump
	s.feed(s.Sink, src)              // which would take the poison
	s.lettersAre("4:3!b 4:4~b")
	s.holdsBut(src, 3, 4)
}

func (s *suite) replay() {
	src := poisonedSource()
	s.fence(src.Fence())
	s.must(s.apply(section(src, 0, 0, []space.Seq{3, 4}, []space.Seq{5, 7})))
	id := datapump.LetterID{Partition: 4, Seq: 5}
	if err := s.Sink.Replay(s.Context(), id); !errors.Is(err, datapump.ErrParked) {
		s.Fatalf("replaying a parked change is answered with %v", err)
	}
	if err := s.Sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 6}); !errors.Is(err, datapump.ErrNoLetter) {
		s.Fatalf("replaying nothing is answered with %v", err)
	}
	s.lettersAre("4:3!b 4:4!c 4:5~b 4:7~b")
	id.Seq = 3
	s.must(s.Sink.Replay(s.Context(), id))
	s.lettersAre("4:4!c")
	s.holdsBut(src, 4)
	id.Seq = 4
	s.must(s.Sink.Replay(s.Context(), id))
	s.lettersAre("")
	s.holdsBut(src)
	if err := s.Sink.Replay(s.Context(), id); !errors.Is(err, datapump.ErrNoLetter) {
		s.Fatalf("replaying twice is answered with %v", err)
	}
	put(src, "b", "4")
	s.feed(s.Sink, src)
	s.holdsBut(src)
}

func (s *suite) replayRefused() {
	src := fresh(4)
	put(src, "b", "poison")
	sink := Poison(s.Sink)
	s.feed(sink, src)
	put(src, "b", "2")
	s.feed(sink, src)
	var refused *datapump.RefusedError
	if err := sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 2}); !errors.As(err, &refused) {
		s.Fatalf("a replay that is refused is answered with %v", err)
	}
	s.lettersAre("4:2!b 4:3~b")
	sink.Cured.Store(true)
	s.must(sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 2}))
	s.lettersAre("")
	s.holdsBut(src)
}

func (s *suite) drop() {
	src := poisonedSource()
	s.fence(src.Fence())
	s.must(s.apply(section(src, 0, 0, []space.Seq{3, 4}, []space.Seq{5, 7})))
	if err := s.Sink.Drop(s.Context(), datapump.LetterID{Partition: 4, Seq: 7}); !errors.Is(err, datapump.ErrParked) {
		s.Fatalf("dropping a parked change is answered with %v", err)
	}
	s.must(s.Sink.Drop(s.Context(), datapump.LetterID{Partition: 4, Seq: 3}))
	s.lettersAre("4:4!c")
	s.holdsBut(src, 3, 4)
	s.must(s.Sink.Drop(s.Context(), datapump.LetterID{Partition: 4, Seq: 4}))
	s.lettersAre("")
	s.holdsBut(src, 4)
}

// pair writes two entries of space 1 in one command.
func pair(src *Source, a, x, b, y string) {
	src.Apply(space.Command{Ops: []space.Op{
		{Code: space.OpWrite, Space: 1, Key: []byte(a), Value: []byte(x)},
		{Code: space.OpWrite, Space: 1, Key: []byte(b), Value: []byte(y)},
	}})
}

func (s *suite) wholeCommand() {
	src := fresh(4)
	put(src, "a", "1", "b", "1", "c", "1") // 2, 3, 4
	pair(src, "a", "2", "b", "poison")     // 5, 6
	put(src, "a", "3")                     // 7: waits for 5
	pair(src, "a", "4", "c", "2")          // 8, 9: wait for 5
	put(src, "c", "3", "d", "1")           // 10 waits for 9; 11
	sink := Poison(s.Sink)
	s.feed(sink, src)
	s.lettersAre("4:5~a 4:6!b 4:7~a 4:8~a 4:9~c 4:10~c")
	s.holdsBut(src, 5, 6, 7, 8, 9, 10)
	sink.Cured.Store(true)
	s.must(sink.Drop(s.Context(), datapump.LetterID{Partition: 4, Seq: 6}))
	s.lettersAre("")
	s.holdsBut(src, 5, 6)
	pair(src, "c", "4", "d", "poison") // 12, 13
	sink.Cured.Store(false)
	sink.Silent.Store(true)
	s.feed(sink, src)
	s.lettersAre("4:12!c 4:13!d")
	sink.Cured.Store(true)
	s.must(sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 13}))
	s.lettersAre("")
	s.holdsBut(src, 5, 6)
}

func (s *suite) settledMeanwhile() {
	src := fresh(4)
	put(src, "b", "poison")
	s.fence(src.Fence())
	s.must(s.apply(section(src, 0, 0, []space.Seq{2}, nil)))
	known := s.stands(src.Fence())
	s.must(s.Sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 2}))
	put(src, "b", "2")
	var about *datapump.PartitionError
	err := s.apply(section(src, 2, known.Settled, nil, []space.Seq{3}))
	if !errors.Is(err, datapump.ErrSettled) || !errors.As(err, &about) || about.Partition != 4 {
		s.Fatalf("parking behind a letter that is gone is answered with %v", err)
	}
	now := s.stands(src.Fence())
	if now.Settled <= known.Settled || len(now.Held) != 0 || now.Seq != 2 {
		s.Fatalf("the sink stands as %+v, before as %+v", now, known)
	}
	s.must(s.apply(section(src, 2, known.Settled, nil, nil))) // it parks nothing
	s.holdsBut(src)
}

func (s *suite) resyncDead() {
	src := fresh(4)
	put(src, "a", "1", "b", "poison", "c", "poison", "b", "2")
	s.fence(src.Fence())
	s.must(s.apply(section(src, 0, 0, []space.Seq{3, 4}, []space.Seq{5})))
	src.Trim(src.Last())
	put(src, "d", "1")
	src.Trim(src.Last())
	sink := Poison(s.Sink)
	if st := s.feed(sink, src); st.Stats.Resyncs != 1 {
		s.Fatalf("%d resyncs: %+v", st.Stats.Resyncs, st)
	}
	s.lettersAre("4:4!c")
	s.holdsBut(src, 4)
	put(src, "c", "2")
	s.feed(sink, src)
	s.lettersAre("4:4!c 4:7~c")
	sink.Cured.Store(true)
	s.must(sink.Replay(s.Context(), datapump.LetterID{Partition: 4, Seq: 4}))
	s.lettersAre("")
	s.holdsBut(src)
}
