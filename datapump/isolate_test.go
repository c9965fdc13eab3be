package datapump_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
)

// poisonLoad applies random writes, removals and commands of two writes to a few
// keys; one value in eight is poison.
func poisonLoad(src *sinktest.Source, rng *rand.Rand, commands int) {
	op := func() space.Op {
		o := space.Op{Code: space.OpWrite, Space: 1, Key: fmt.Appendf(nil, "k%d", rng.IntN(12))}
		switch n := rng.IntN(16); {
		case n < 2:
			o.Value = fmt.Appendf(nil, "%s %d", sinktest.PoisonPrefix, rng.IntN(1000))
		case n < 5:
			o.Code = space.OpTake
		default:
			o.Value = fmt.Append(nil, rng.IntN(1000))
		}
		return o
	}
	for range commands {
		c := space.Command{Ops: []space.Op{op()}}
		if rng.IntN(4) == 0 {
			c.Ops = append(c.Ops, op())
		}
		src.Apply(c)
	}
}

// letters returns all dead letters of a partition in a sink.
func letters(t *testing.T, m *sinktest.Memory, id space.PartitionID) []datapump.Letter {
	t.Helper()
	all, err := m.List(t.Context(), datapump.LetterID{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(l datapump.Letter) bool { return l.Partition != id })
}

// Whatever is refused, whether the sink names it or not, while calls fail and
// operators replay and drop letters: what the sink holds is the fold of all
// changes but the dead and the dropped ones, and no change of a key overtakes a
// dead one.
func TestPoison(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testPoison(t, rng(seed), seed%2 == 0, seed%3 == 0) })
		})
	}
}

func testPoison(t *testing.T, rng *rand.Rand, silent, every bool) {
	inner, hazard := newFlaky(), rand.New(rand.NewPCG(rng.Uint64(), 1))
	var healthy atomic.Bool
	inner.trouble(func() error {
		if !healthy.Load() && hazard.IntN(5) == 0 {
			return errDown
		}
		return nil
	}, nil)
	sink := sinktest.Poison(inner)
	sink.Silent.Store(silent)
	p := open(t, datapump.Config{Name: "poisoned", Sink: sink, BatchChanges: 48, EveryChange: every})
	src := sinktest.NewSource(1, space.History{1})
	src.Define(1)
	add(t, p, src)
	gone := map[space.Seq]bool{}
	for range 25 {
		poisonLoad(src, rng, 12)
		p.Notify(1)
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		if rng.IntN(6) == 0 {
			src.Apply(space.EpochCommand(0))
		}
		at := letters(t, inner.Memory, 1)
		if len(at) == 0 || rng.IntN(3) > 0 {
			continue
		}
		drop(t, inner.Memory, src, at[rng.IntN(len(at))], gone)
	}
	healthy.Store(true)
	flush(t, p)
	dead := letters(t, inner.Memory, 1)
	s := p.Status()
	if got, want := s.Partitions[0].DeadLetters+s.Partitions[0].Parked, uint64(len(dead)); got != want && s.Stats.Failures == 0 {
		t.Errorf("the pump counts %d letters, the sink has %d", got, want)
	}
	if len(dead)+len(gone) == 0 {
		t.Fatal("nothing was refused: the load is too tame")
	}
	without := map[space.Seq]bool{}
	for i := range dead {
		without[dead[i].Seq] = true
		c, _, err := space.DecodeChange(dead[i].Change)
		if err != nil {
			t.Fatal(err)
		}
		if !dead[i].Parked && !silent && !strings.HasPrefix(string(c.Value), sinktest.PoisonPrefix) {
			t.Errorf("change %d was given up, though %q is no poison", c.Seq, c.Value)
		}
	}
	compare(t, inner.Memory, src, without, gone)
	sink.Cured.Store(true)
	for {
		dead := letters(t, inner.Memory, 1)
		if len(dead) == 0 {
			break
		}
		at := slices.IndexFunc(dead, func(l datapump.Letter) bool { return !l.Parked })
		if at < 0 {
			t.Fatalf("only parked changes are left, and nothing that they wait for: %d", len(dead))
		}
		if err := sink.Replay(t.Context(), dead[at].ID()); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, inner.Memory, src, nil, gone)
	poisonLoad(src, rng, 20)
	p.Notify(1)
	flush(t, p)
	compare(t, inner.Memory, src, nil, gone)
}

// drop drops a letter with its command, unless it is parked.
func drop(t *testing.T, m *sinktest.Memory, src *sinktest.Source, l datapump.Letter, gone map[space.Seq]bool) {
	t.Helper()
	err := m.Drop(t.Context(), l.ID())
	if errors.Is(err, datapump.ErrParked) && l.Parked || errors.Is(err, datapump.ErrNoLetter) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	all := src.Changes()
	at := slices.IndexFunc(all, func(c space.Change) bool { return c.Seq == l.Seq })
	for at > 0 && all[at-1].More > 0 {
		at--
	}
	for i := at; i <= at+all[at].More; i++ {
		gone[all[i].Seq] = true
	}
}

// compare checks that the sink holds the fold of the changes that are in neither
// set.
func compare(t *testing.T, m *sinktest.Memory, src *sinktest.Source, dead, gone map[space.Seq]bool) {
	t.Helper()
	want := sinktest.Content{}
	for _, c := range src.Changes() {
		if !dead[c.Seq] && !gone[c.Seq] {
			want.Fold(&c)
		}
	}
	got, at := m.Read(1)
	if at.Seq != src.Last() || got.String() != want.String() {
		t.Fatalf("the sink at %d holds\n%s\nthe partition at %d gives\n%s", at.Seq, got, src.Last(), want)
	}
}

// A sink that refuses everything is not drained into the side table: the
// partition waits, what came stays in the changelog, and the status says why.
func TestRefusesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := sinktest.Poison(sinktest.NewMemory())
		p := open(t, datapump.Config{Sink: sink, MaxHeld: 10})
		src := sinktest.NewSource(1, space.History{1})
		src.Define(1)
		for i := range 50 {
			src.Put(1, fmt.Sprint(i), sinktest.PoisonPrefix)
		}
		add(t, p, src)
		synctest.Wait()
		s := p.Status().Partitions[0]
		if !errors.Is(s.Err, datapump.ErrTooManyHeld) || s.DeadLetters != 10 || s.BacklogChanges != 40 {
			t.Fatalf("%+v", s)
		}
		sink.Cured.Store(true)
		for _, l := range letters(t, sink.FullSink.(*sinktest.Memory), 1) {
			if err := sink.Replay(t.Context(), l.ID()); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		holds(t, sink.FullSink.(*sinktest.Memory), src)
	})
}
