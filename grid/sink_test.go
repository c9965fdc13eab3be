package grid_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/cluster"
	"github.com/spacegrid/spacegrid/grid/gridtest"
	"github.com/spacegrid/spacegrid/grid/space"
)

// journal is a database that all members reach: a sink in memory with a journal
// of every change that it has ever carried out, each time it did.
type journal struct {
	*sinktest.Memory
	mu      sync.Mutex
	applied map[space.PartitionID][]space.Seq
	down    atomic.Bool
	lossy   atomic.Bool // the answer to a call is lost now and then, after it was carried out
	rng     *rand.Rand
}

var errDown = errors.New("the database is down")

func newJournal() *journal {
	return &journal{
		Memory: sinktest.NewMemory(), applied: map[space.PartitionID][]space.Seq{}, rng: rand.New(rand.NewPCG(1, 1)),
	}
}

// kind makes a kind of sink of whatever wraps the journal.
func kind(s datapump.Sink) grid.SinkKind {
	return grid.SinkKind{EveryChange: true, Open: func(context.Context, grid.SinkSettings) (datapump.Sink, error) { return s, nil }}
}

func (j *journal) Fence(ctx context.Context, f datapump.Fence) (datapump.Standing, error) {
	if j.down.Load() {
		return datapump.Standing{}, errDown
	}
	return j.Memory.Fence(ctx, f)
}

func (j *journal) Apply(ctx context.Context, b *datapump.Batch) error {
	if j.down.Load() {
		return errDown
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	before := map[space.PartitionID]space.Seq{}
	for i := range b.Sections {
		_, at := j.Read(b.Sections[i].Partition)
		before[b.Sections[i].Partition] = at.Seq
	}
	if err := j.Memory.Apply(ctx, b); err != nil {
		return err
	}
	for i := range b.Sections {
		s := &b.Sections[i]
		for k := range s.Changes {
			if s.Changes[k].Seq > before[s.Partition] {
				j.applied[s.Partition] = append(j.applied[s.Partition], s.Changes[k].Seq)
			}
		}
	}
	if j.lossy.Load() && j.rng.IntN(5) == 0 {
		return errors.New("the answer was lost")
	}
	return nil
}

// once checks that every change is in the journal once, in order, from the first.
func (j *journal) once(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for p, seqs := range j.applied {
		for i, seq := range seqs {
			if seq != space.Seq(i+1) {
				t.Fatalf("partition %d: entry %d of the journal is change %d", p, i+1, seq)
			}
		}
	}
}

// keys returns the keys that the database has of a space.
func (j *journal) keys(partitions int, id space.ID) []string {
	var keys []string
	for p := range partitions {
		c, _ := j.Read(space.PartitionID(p))
		if sp := c[id]; sp != nil {
			keys = slices.AppendSeq(keys, maps.Keys(sp.ByKey))
		}
	}
	slices.Sort(keys)
	return keys
}

type line struct {
	ID   string `grid:"id,key"`
	Text string `grid:"text"`
}

func openLines(t *testing.T, g *grid.Grid, name string) *grid.Space[line] {
	t.Helper()
	s, err := grid.OpenSpace[line](t.Context(), g, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func withSinks(kinds map[string]grid.SinkKind) gridtest.Option {
	return gridtest.WithConfig(func(c *grid.Config) { c.Sinks = kinds })
}

// A database that all leaders feed has every acknowledged write, each change once
// and in order, though leaders are killed, come back, and answers of the database
// are lost after it has committed.
func TestSinkOverLeaderKills(t *testing.T) {
	db := newJournal()
	db.lossy.Store(true)
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		must(t, g.AddSink(ctx, grid.SinkDefinition{Name: "db", Kind: "journal", Required: true}))
		lines := openLines(t, g, "lines")
		var acked sync.Map
		var load sync.WaitGroup
		var quiet atomic.Bool
		for w := range 4 {
			load.Go(func() {
				for i := 0; !quiet.Load(); i++ {
					id := fmt.Sprintf("l-%d-%d", w, i)
					if _, err := lines.Write(ctx, line{ID: id, Text: "x"}); err != nil {
						t.Error(err)
						return
					}
					acked.Store(id, true)
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		for range 3 {
			time.Sleep(time.Second)
			victim := c.Leader("l-0-1")
			c.Kill(victim)
			time.Sleep(time.Second)
			c.Start(victim)
			c.Ready()
			time.Sleep(15 * time.Second) // its replicas vote again
		}
		quiet.Store(true)
		load.Wait()
		must(t, g.FlushSink(ctx, "db"))
		db.once(t)
		def, err := g.Describe(ctx, "lines")
		must(t, err)
		have := db.keys(g.Partitions(), def.ID)
		n := 0
		for id := range acked.Range {
			n++
			if _, found := slices.BinarySearch(have, id.(string)); !found {
				t.Errorf("%v was acknowledged and is not in the database", id)
			}
		}
		if n != len(have) {
			t.Errorf("%d writes were acknowledged, the database has %d entries", n, len(have))
		}
	}, withSinks(map[string]grid.SinkKind{"journal": kind(db)}))
}

// A write that the database refuses is a dead letter: who waits for it to be
// durable is told, everything else flows, a replay brings it in.
func TestSinkDeadLetters(t *testing.T) {
	db := newJournal()
	poisoned := sinktest.Poison(db)
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		must(t, g.AddSink(ctx, grid.SinkDefinition{Name: "db", Kind: "journal", Required: true}))
		def, err := g.CreateSpace(ctx, space.Definition{Name: "raw", Shape: space.ShapeBytes})
		must(t, err)
		write := func(key, value string) space.Seq {
			t.Helper()
			p := space.PartitionOf([]byte(key), g.Partitions())
			call := &cluster.Call{Partition: p, Ops: []space.Op{{Code: space.OpWrite, Space: def.ID, Key: []byte(key), Value: []byte(value)}}}
			g.Router().Do(ctx, []*cluster.Call{call})
			must(t, call.Err)
			return call.Reply.Results[0].Version
		}
		p := space.PartitionOf([]byte("{a}1"), g.Partitions())
		good := write("{a}1", "good")
		bad := write("{a}2", sinktest.PoisonPrefix)
		later := write("{a}2", "later")
		other := write("{a}3", "good")
		for _, seq := range []space.Seq{good, other} {
			must(t, g.WaitDurable(ctx, p, seq))
		}
		for _, seq := range []space.Seq{bad, later} {
			if err := g.WaitDurable(ctx, p, seq); !errors.Is(err, grid.ErrDeadLettered) {
				t.Fatalf("waiting for change %d, which is refused, ends with %v", seq, err)
			}
		}
		letters, err := g.DeadLetters(ctx, "db", grid.DeadLetterID{}, 10)
		must(t, err)
		if len(letters) != 2 || letters[0].Seq != bad || letters[0].Parked || !letters[1].Parked ||
			letters[0].Space != "raw" || string(letters[0].Key) != "{a}2" || string(letters[0].Value) != sinktest.PoisonPrefix {
			t.Fatalf("the dead letters are %+v", letters)
		}
		if err := g.ReplayDeadLetter(ctx, "db", letters[0].DeadLetterID); !errors.Is(err, grid.ErrConflict) {
			t.Fatalf("a replay that is refused again ends with %v", err)
		}
		poisoned.Cured.Store(true)
		must(t, g.ReplayDeadLetter(ctx, "db", letters[0].DeadLetterID))
		if err := g.ReplayDeadLetter(ctx, "db", letters[0].DeadLetterID); !errors.Is(err, grid.ErrNotFound) {
			t.Fatalf("a second replay ends with %v", err)
		}
		must(t, g.WaitDurable(ctx, p, later))
		must(t, g.WaitDurable(ctx, p, write("{a}2", "after")))
		if got := db.keys(g.Partitions(), def.ID); !slices.Equal(got, []string{"{a}1", "{a}2", "{a}3"}) {
			t.Errorf("the database has %v", got)
		}
	}, withSinks(map[string]grid.SinkKind{"journal": kind(poisoned)}))
}

// When a required sink is down and the changes kept for it are as many as may be,
// writes are refused, with a reason that names the sink; taking goes on. Nothing
// is lost: when the sink is back, everything arrives and writes are taken again.
func TestHeldBack(t *testing.T) {
	db := newJournal()
	gridtest.Run(t, 1, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		must(t, g.AddSink(ctx, grid.SinkDefinition{Name: "db", Kind: "journal", Required: true}))
		lines := openLines(t, g, "lines")
		db.down.Store(true)
		text := string(make([]byte, 4<<10))
		acked := 0
		var refused error
		for i := range 400 {
			if _, refused = lines.Write(ctx, line{ID: fmt.Sprint(i), Text: text}); refused != nil {
				break
			}
			acked++
			time.Sleep(10 * time.Millisecond)
		}
		var held *cluster.HeldBackError
		if !errors.Is(refused, grid.ErrHeldBack) || !errors.As(refused, &held) || held.Sinks != "db" {
			t.Fatalf("after %d writes the next ends with %v", acked, refused)
		}
		if acked*len(text) > 1<<20 {
			t.Errorf("%d writes of 4 KiB were taken, with room for 256 KiB", acked)
		}
		if _, err := lines.Take(ctx, "0"); err != nil {
			t.Errorf("taking is not held back: %v", err)
		}
		db.down.Store(false)
		c.Await("writes are taken again", func() bool {
			_, err := lines.Write(ctx, line{ID: "after", Text: text})
			return err == nil
		})
		must(t, g.FlushSink(ctx, "db"))
		db.once(t)
		def, err := g.Describe(ctx, "lines")
		must(t, err)
		// One was taken, one came after.
		if got := len(db.keys(g.Partitions(), def.ID)); got != acked {
			t.Errorf("the database has %d entries, want %d", got, acked)
		}
	}, withSinks(map[string]grid.SinkKind{"journal": kind(db)}), gridtest.WithConfig(func(c *grid.Config) {
		c.Tune = func(n *cluster.NodeConfig) {
			n.RetentionBytes, n.BacklogBytes, n.HoldBackWait = 64<<10, 256<<10, -1
		}
	}))
}

// An optional sink holds nobody up: when it was away for too long, it starts over
// from an image. A sink gets the spaces that it was defined with, only.
func TestOptionalSink(t *testing.T) {
	db := newJournal()
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		lines, other := openLines(t, g, "lines"), openLines(t, g, "other")
		must(t, g.AddSink(ctx, grid.SinkDefinition{Name: "db", Kind: "journal", Spaces: []string{"lines"}}))
		db.down.Store(true)
		text := string(make([]byte, 4<<10))
		for i := range 100 {
			for _, s := range []*grid.Space[line]{lines, other} {
				if _, err := s.Write(ctx, line{ID: fmt.Sprint(i), Text: text}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		db.down.Store(false)
		must(t, g.FlushSink(ctx, "db"))
		def, err := g.Describe(ctx, "lines")
		must(t, err)
		without, err := g.Describe(ctx, "other")
		must(t, err)
		if got := len(db.keys(g.Partitions(), def.ID)); got != 100 {
			t.Errorf("the database has %d entries, want 100", got)
		}
		if got := db.keys(g.Partitions(), without.ID); len(got) > 0 {
			t.Errorf("the database has %v of a space that it does not get", got)
		}
		resyncs := uint64(0)
		for i := range 3 {
			for _, s := range inspectSinks(t, c.Member(i)) {
				resyncs += s.Resyncs
			}
		}
		if resyncs == 0 {
			t.Error("nothing was trimmed: the test shows nothing")
		}
	}, withSinks(map[string]grid.SinkKind{"journal": kind(db)}), gridtest.WithConfig(func(c *grid.Config) {
		c.Tune = func(n *cluster.NodeConfig) { n.RetentionBytes, n.BacklogBytes = 64<<10, 128<<10 }
	}))
}

// A paused sink gets nothing until it is resumed, whoever leads; altered settings
// open it anew; a removed one is fed no more and frees its place.
func TestAlterSink(t *testing.T) {
	db := newJournal()
	var opened atomic.Pointer[string]
	k := kind(db)
	k.Open = func(_ context.Context, s grid.SinkSettings) (datapump.Sink, error) {
		opened.Store(&s.Config)
		return db, nil
	}
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		d := grid.SinkDefinition{Name: "db", Kind: "journal", Required: true, Config: "one"}
		must(t, g.AddSink(ctx, d))
		must(t, g.AddSink(ctx, d)) // again
		if err := g.AddSink(ctx, grid.SinkDefinition{Name: "db", Kind: "journal"}); !errors.Is(err, grid.ErrSinkConflict) {
			t.Fatalf("another sink of that name is answered with %v", err)
		}
		lines := openLines(t, g, "lines")
		def, err := g.Describe(ctx, "lines")
		must(t, err)
		must(t, g.FlushSink(ctx, "db"))
		must(t, g.AlterSink(ctx, "db", grid.SinkAlteration{Paused: new(true)}))
		time.Sleep(time.Second)
		if _, err := lines.Write(ctx, line{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		c.Kill(c.Leader("a"))
		time.Sleep(3 * time.Second)
		if got := db.keys(g.Partitions(), def.ID); len(got) > 0 {
			t.Fatalf("a paused sink was given %v", got)
		}
		must(t, g.AlterSink(ctx, "db", grid.SinkAlteration{Paused: new(false), Config: new("two")}))
		c.Await("the write is there", func() bool { return len(db.keys(g.Partitions(), def.ID)) == 1 })
		if *opened.Load() != "two" {
			t.Errorf("the sink was opened with %q", *opened.Load())
		}
		must(t, g.RemoveSink(ctx, "db"))
		if err := g.RemoveSink(ctx, "db"); !errors.Is(err, grid.ErrNoSink) {
			t.Errorf("removing it twice is answered with %v", err)
		}
		time.Sleep(time.Second)
		version, err := lines.Write(ctx, line{ID: "b"})
		must(t, err)
		must(t, g.WaitDurable(ctx, space.PartitionOf([]byte("b"), g.Partitions()), version))
		if got := db.keys(g.Partitions(), def.ID); !slices.Equal(got, []string{"a"}) {
			t.Errorf("after it was removed, the sink has %v", got)
		}
	}, withSinks(map[string]grid.SinkKind{"journal": k}))
}

// inspectSinks returns what a member says of its sinks.
func inspectSinks(t *testing.T, g *grid.Grid) []grid.SinkStatus {
	t.Helper()
	b, err := g.Inspect(t.Context(), g.Node().Name(), "sinks")
	must(t, err)
	var all []grid.SinkStatus
	must(t, json.Unmarshal(b, &all))
	return all
}

// A function gets every change at least once and in order: what it has already,
// after a failure or a leader's death, it gets again from there, never a gap.
func TestSinkFunc(t *testing.T) {
	var mu sync.Mutex
	last, calls := map[space.PartitionID]space.Seq{}, 0
	got := map[string]int{}
	take := func(_ context.Context, b *datapump.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		for i := range b.Sections {
			s := &b.Sections[i]
			for k := range s.Changes {
				c := &s.Changes[k]
				if c.Seq > last[s.Partition]+1 {
					t.Errorf("partition %d: change %d comes after %d", s.Partition, c.Seq, last[s.Partition])
				}
				last[s.Partition] = max(last[s.Partition], c.Seq)
				if c.Op == space.Written {
					got[string(c.Key)]++
				}
			}
		}
		if calls++; calls%7 == 0 {
			return errors.New("the broker has lost the connection")
		}
		return nil
	}
	gridtest.Run(t, 3, func(t *testing.T, c *gridtest.Cluster) {
		ctx := t.Context()
		g := c.Dial()
		must(t, g.AddSink(ctx, grid.SinkDefinition{Name: "broker", Kind: "func", Required: true}))
		lines := openLines(t, g, "lines")
		for i := range 100 {
			if _, err := lines.Write(ctx, line{ID: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
			if i == 50 {
				c.Kill(c.Leader("50"))
			}
			time.Sleep(20 * time.Millisecond)
		}
		for i := range 3 {
			if c.Leader("50") == i {
				must(t, c.Member(i).FlushSink(ctx, "broker"))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range 100 {
			if got[fmt.Sprint(i)] == 0 {
				t.Errorf("line %d did not come", i)
			}
		}
	}, withSinks(map[string]grid.SinkKind{"func": grid.SinkFunc(take)}))
}
