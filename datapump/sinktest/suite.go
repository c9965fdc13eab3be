package sinktest

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Opened is a sink under test, and how to read back what it holds.
type Opened struct {
	Sink FullSink
	Read func(space.PartitionID) (Content, space.Position)
	// Reopen closes the sink and opens it again over the same store; nil if what
	// it holds ends with it.
	Reopen func() Opened
}

// Run checks a sink against the contract; open returns an empty one each time.
func Run(t *testing.T, open func(*testing.T) Opened) {
	for _, x := range []struct {
		promise string
		check   func(*suite)
	}{
		{"changes arrive once, however often they are sent", (*suite).repeated},
		{"a gap is refused and leaves nothing behind", (*suite).gap},
		{"a failed section leaves nothing of the whole batch", (*suite).together},
		{"an older epoch is refused for good", (*suite).epochs},
		{"another history is refused", (*suite).foreign},
		{"a store that stands where a history began follows it", (*suite).origin},
		{"an empty sink does not follow a history that began with something", (*suite).emptyOrigin},
		{"a resync replaces everything, and only at its end", (*suite).resync},
		{"a resync that was given up leaves no trace", (*suite).abort},
		{"of two resyncs the later one counts", (*suite).twoResyncs},
		{"a claim leaves an entry as it is, its end writes attempts or a dead letter", (*suite).claims},
		{"a resync is refused once a newer leader has fenced", (*suite).fencedResync},
		{"dead letters and watermark are one transaction", (*suite).deadTogether},
		{"a poison row in the middle of a batch is kept, its successors wait, the rest flows", (*suite).poison},
		{"keys are held back over a restart", (*suite).heldOverRestart},
		{"a replay releases what waited, in order", (*suite).replay},
		{"a letter that is refused again stays", (*suite).replayRefused},
		{"dropping a letter releases what waited for it", (*suite).drop},
		{"a command is dead-lettered whole, and so are those that wait for it", (*suite).wholeCommand},
		{"parking by an older standing is refused", (*suite).settledMeanwhile},
		{"a resync replaces the dead letters too", (*suite).resyncDead},
	} {
		t.Run(x.promise, func(t *testing.T) {
			s := &suite{T: t, Opened: open(t), rng: rand.New(rand.NewPCG(1, 2)), src: NewSource(3, space.History{3})}
			s.src.Random(s.rng, 100)
			x.check(s)
		})
	}
}

type suite struct {
	*testing.T
	Opened
	rng *rand.Rand
	src *Source
}

func (s *suite) fence(f datapump.Fence) space.Seq {
	s.Helper()
	return s.stands(f).Seq
}

func (s *suite) stands(f datapump.Fence) datapump.Standing {
	s.Helper()
	standing, err := s.Sink.Fence(s.Context(), f)
	if err != nil {
		s.Fatal(err)
	}
	return standing
}

func (s *suite) apply(sections ...datapump.Section) error {
	return s.Sink.Apply(s.Context(), &datapump.Batch{Sections: sections})
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// holds checks that the sink holds exactly what the source held at seq.
func (s *suite) holds(src *Source, seq space.Seq) {
	s.Helper()
	f := src.Fence()
	got, at := s.Read(f.Partition)
	if want := (space.Position{History: f.History, Seq: seq}); at != want {
		s.Fatalf("the sink stands at %v, want %v", at, want)
	}
	if want := src.At(seq); got.String() != want.String() {
		s.Fatalf("at %d the sink holds\n%s\nwant\n%s", seq, got, want)
	}
}

func (s *suite) repeated() {
	s.fence(s.src.Fence())
	last := s.src.Last()
	for at := space.Seq(0); at < last; {
		to := min(last, at+space.Seq(1+s.rng.IntN(9)))
		// Each section begins somewhere in what the sink has already.
		s.must(s.apply(s.src.Section(space.Seq(s.rng.Uint64N(uint64(at)+1)), to)))
		s.holds(s.src, to)
		s.must(s.apply(s.src.Section(0, space.Seq(s.rng.Uint64N(uint64(to)+1)))))
		s.holds(s.src, to)
		at = to
	}
	if seq := s.fence(s.src.Fence()); seq != last {
		s.Fatalf("the fence says %d, want %d", seq, last)
	}
}

func (s *suite) gap() {
	s.fence(s.src.Fence())
	s.must(s.apply(s.src.Section(0, 10)))
	err := s.apply(s.src.Section(11, 20))
	var gap *datapump.GapError
	if !errors.As(err, &gap) || gap.Has != 10 || gap.After != 11 || gap.Partition != 3 {
		s.Fatalf("a gap is answered with %v", err)
	}
	s.holds(s.src, 10)
}

func (s *suite) together() {
	other := NewSource(4, space.History{4})
	other.Random(s.rng, 50)
	s.fence(s.src.Fence())
	s.fence(other.Fence())
	err := s.apply(s.src.Section(0, 20), other.Section(5, 9))
	var about *datapump.PartitionError
	if !errors.As(err, &about) || about.Partition != 4 {
		s.Fatalf("the failure of a section is answered with %v", err)
	}
	s.holds(s.src, 0)
	s.holds(other, 0)
	s.must(s.apply(s.src.Section(0, 20), other.Section(0, 9)))
	s.holds(s.src, 20)
	s.holds(other, 9)
}

func (s *suite) epochs() {
	old := s.src.Fence()
	s.fence(old)
	s.must(s.apply(s.src.Section(0, 10)))
	section := s.src.Section(10, 20)
	s.src.Apply(space.EpochCommand(0))
	if seq := s.fence(s.src.Fence()); seq != 10 {
		s.Fatalf("the new leader is told %d, want 10", seq)
	}
	if err := s.apply(section); !errors.Is(err, datapump.ErrFenced) {
		s.Fatalf("the old leader's batch is answered with %v", err)
	}
	if _, err := s.Sink.Fence(s.Context(), old); !errors.Is(err, datapump.ErrFenced) {
		s.Fatalf("the old leader's fence is answered with %v", err)
	}
	s.holds(s.src, 10)
	s.must(s.apply(s.src.Section(10, 20)))
	s.holds(s.src, 20)
}

func (s *suite) foreign() {
	s.fence(s.src.Fence())
	s.must(s.apply(s.src.Section(0, 10)))
	other := NewSource(3, space.History{9})
	other.Random(s.rng, 50)
	var foreign *datapump.ForeignError
	if _, err := s.Sink.Fence(s.Context(), other.Fence()); !errors.As(err, &foreign) || foreign.Stored.Seq != 10 {
		s.Fatalf("a fence of another history is answered with %v", err)
	}
	if err := s.apply(other.Section(0, 20)); !errors.As(err, &foreign) {
		s.Fatalf("a batch of another history is answered with %v", err)
	}
	s.holds(s.src, 10)
}

// loaded returns a source whose history began with what s.src held at its end.
func (s *suite) loaded(h space.History) *Source {
	p := space.NewLoader(space.Loaded{
		ID: 3, History: h, Origin: space.Position{History: s.src.Fence().History, Seq: s.src.Last()},
		Epoch: s.src.Fence().Epoch, Clock: 1 << 40,
	})
	for _, d := range s.src.p.Definitions() {
		s.must(p.Define(d))
		s.src.p.Image().Scan(d.ID, func(e space.Entry) bool {
			s.must(p.Add(d.ID, e))
			return true
		})
	}
	return SourceOf(p.Partition())
}

func (s *suite) origin() {
	s.fence(s.src.Fence())
	next := s.loaded(space.History{8})
	next.Random(s.rng, 30)
	last := s.src.Last()
	s.must(s.apply(s.src.Section(0, last-1)))
	var foreign *datapump.ForeignError
	if _, err := s.Sink.Fence(s.Context(), next.Fence()); !errors.As(err, &foreign) {
		s.Fatalf("one change short of the origin, the fence is answered with %v", err)
	}
	s.must(s.apply(s.src.Section(last-1, last)))
	if seq := s.fence(next.Fence()); seq != last {
		s.Fatalf("the fence says %d, want %d", seq, last)
	}
	if err := s.apply(s.src.Section(0, last)); !errors.As(err, &foreign) {
		s.Fatalf("the history that ended is answered with %v", err)
	}
	s.must(s.apply(next.Section(last, next.Last())))
	s.holds(next, next.Last())
}

func (s *suite) emptyOrigin() {
	next := s.loaded(space.History{8})
	var foreign *datapump.ForeignError
	if _, err := s.Sink.Fence(s.Context(), next.Fence()); !errors.As(err, &foreign) || foreign.Stored != (space.Position{}) {
		s.Fatalf("the fence is answered with %v", err)
	}
}

// begin starts a resync to the source's present state and returns its steps.
func (s *suite) begin(src *Source) (datapump.Resync, func() bool, space.Seq) {
	s.Helper()
	cut, err := src.Cut(s.Context())
	s.must(err)
	r, err := s.Sink.BeginResync(s.Context(), datapump.Target{Fence: src.Fence(), Seq: cut.Image.Seq(), Clock: cut.Clock})
	s.must(err)
	defs := cut.Image.Definitions()
	return r, func() bool {
		if len(defs) == 0 {
			return false
		}
		var entries []space.Entry
		cut.Image.Scan(defs[0].ID, func(e space.Entry) bool {
			entries = append(entries, e)
			return true
		})
		half := len(entries) / 2
		s.must(r.Write(s.Context(), &defs[0], entries[:half]))
		s.must(r.Write(s.Context(), &defs[0], entries[half:]))
		defs = defs[1:]
		return true
	}, cut.Image.Seq()
}

func (s *suite) resync() {
	s.fence(s.src.Fence())
	s.must(s.apply(s.src.Section(0, 10)))
	other := NewSource(3, space.History{9})
	other.Random(s.rng, 80)
	r, step, seq := s.begin(other)
	for step() {
		s.holds(s.src, 10)
	}
	s.must(r.Finish(s.Context(), nil))
	s.holds(other, seq)
	other.Random(s.rng, 20)
	s.must(s.apply(other.Section(seq, other.Last())))
	s.holds(other, other.Last())
}

func (s *suite) abort() {
	s.fence(s.src.Fence())
	s.must(s.apply(s.src.Section(0, 10)))
	r, step, _ := s.begin(s.src)
	step()
	r.Abort()
	if err := r.Finish(s.Context(), nil); !errors.Is(err, datapump.ErrFenced) {
		s.Fatalf("finishing after giving up is answered with %v", err)
	}
	s.holds(s.src, 10)
	s.must(s.apply(s.src.Section(10, 20)))
	s.holds(s.src, 20)
}

func (s *suite) twoResyncs() {
	first, step, _ := s.begin(s.src)
	step()
	s.src.Random(s.rng, 10)
	second, step, seq := s.begin(s.src)
	for step() {
	}
	if err := first.Finish(s.Context(), nil); !errors.Is(err, datapump.ErrFenced) {
		s.Fatalf("the earlier resync is answered with %v", err)
	}
	s.must(second.Finish(s.Context(), nil))
	s.holds(s.src, seq)
}

func (s *suite) fencedResync() {
	s.fence(s.src.Fence())
	s.must(s.apply(s.src.Section(0, 10)))
	r, step, _ := s.begin(s.src)
	step()
	s.src.Apply(space.EpochCommand(0))
	s.fence(s.src.Fence())
	if err := r.Finish(s.Context(), nil); !errors.Is(err, datapump.ErrFenced) {
		s.Fatalf("the old leader's resync is answered with %v", err)
	}
	s.holds(s.src, 10)
}

// claims follows one job from its writing to the dead-letter space. What the sink
// must hold is spelled out: it depends on nothing that the sink has in common with
// this package.
func (s *suite) claims() {
	src := NewSource(4, space.History{4})
	src.Define(2)
	src.Apply(space.DefineCommand(&space.Definition{ID: 1, Name: "jobs", MaxAttempts: 2, DeadLetter: 2}))
	written := src.Put(1, "job", "work").Results[0].Version
	s.fence(src.Fence())
	row := space.Entry{Key: []byte("job"), Value: []byte("work"), Version: written, Order: 1}
	step := func(want string, in space.ID) {
		s.Helper()
		has := s.fence(src.Fence())
		s.must(s.apply(src.Section(has, src.Last())))
		got, _ := s.Read(4)
		if e := got[in].ByKey["job"]; got.Len() != 1 || e != string(space.AppendEntry(nil, &row)) {
			s.Fatalf("%s: the sink holds\n%s\nwant %+v in space %d", want, got, row, in)
		}
	}
	claim := func() space.Token {
		r := src.Apply(space.Command{Ops: []space.Op{{Code: space.OpClaim, Space: 1, Key: []byte("job")}}})
		return r.Results[0].Entries[0].Token
	}
	step("written", 1)
	token := claim()
	step("claimed", 1)
	r, more, seq := s.begin(src)
	for more() {
	}
	s.must(r.Finish(s.Context(), nil))
	if step("claimed, after a resync", 1); seq != src.Last() {
		s.Fatalf("the resync is of %d, not %d", seq, src.Last())
	}
	src.Apply(space.Command{Ops: []space.Op{{Code: space.OpNack, Token: token}}})
	row.Version, row.Attempts = src.Last(), 1
	step("given back", 1)
	src.Apply(space.Command{Ops: []space.Op{{Code: space.OpNack, Token: claim()}}})
	row.Version, row.Attempts = src.Last(), 0
	step("exhausted", 2)
}
