package datapump_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
)

var errDown = errors.New("the sink is down")

// flaky is a sink in memory that fails, hangs and dawdles as told, and records
// what it was given.
type flaky struct {
	*sinktest.Memory
	mu      sync.Mutex
	before  func() error // asked before a call is carried out
	after   func() error // asked when it has been: the caller does not know that
	batches []int        // changes of each batch that arrived
}

func newFlaky() *flaky { return &flaky{Memory: sinktest.NewMemory()} }

// trouble sets what happens to calls from now on.
func (f *flaky) trouble(before, after func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *flaky) ask(which func(*flaky) func() error) error {
	f.mu.Lock()
	fn := which(f)
	f.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn()
}

func (f *flaky) around(call func() error) error {
	if err := f.ask(func(f *flaky) func() error { return f.before }); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return f.ask(func(f *flaky) func() error { return f.after })
}

func (f *flaky) Fence(ctx context.Context, x datapump.Fence) (s datapump.Standing, err error) {
	err = f.around(func() (err error) { s, err = f.Memory.Fence(ctx, x); return err })
	return s, err
}

func (f *flaky) Apply(ctx context.Context, b *datapump.Batch) error {
	return f.around(func() error {
		f.mu.Lock()
		f.batches = append(f.batches, b.Changes())
		f.mu.Unlock()
		return f.Memory.Apply(ctx, b)
	})
}

func (f *flaky) sizes() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches
}

func (f *flaky) BeginResync(ctx context.Context, to datapump.Target) (r datapump.Resync, err error) {
	err = f.around(func() (err error) { r, err = f.Memory.BeginResync(ctx, to); return err })
	return flakyResync{r, f}, err
}

type flakyResync struct {
	datapump.Resync
	f *flaky
}

func (r flakyResync) Write(ctx context.Context, def *space.Definition, entries []space.Entry) error {
	return r.f.around(func() error { return r.Resync.Write(ctx, def, entries) })
}

func (r flakyResync) Finish(ctx context.Context, dead []datapump.DeadLetter) error {
	return r.f.around(func() error { return r.Resync.Finish(ctx, dead) })
}

// open starts a pump that is closed with the test.
func open(t *testing.T, c datapump.Config) *datapump.Pump {
	t.Helper()
	p, err := datapump.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func add(t *testing.T, p *datapump.Pump, sources ...*sinktest.Source) {
	t.Helper()
	for _, s := range sources {
		if err := p.Add(s.Fence().Partition, s); err != nil {
			t.Fatal(err)
		}
	}
}

func flush(t *testing.T, p *datapump.Pump) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatalf("flush: %v; %+v", err, p.Status())
	}
}

// holds checks that a sink holds exactly what a source does.
func holds(t *testing.T, m *sinktest.Memory, src *sinktest.Source) {
	t.Helper()
	f := src.Fence()
	got, at := m.Read(f.Partition)
	if want := (space.Position{History: f.History, Seq: src.Last()}); at != want {
		t.Fatalf("the sink stands at %v, the partition at %v", at, want)
	}
	if want := src.At(src.Last()); got.String() != want.String() {
		t.Fatalf("the sink holds\n%s\nwant\n%s", got, want)
	}
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 3)) }

// Whatever a sink does — fail, fail after it has written, dawdle, hang, lose what
// it had — everything arrives in order, once in effect, and nothing is left.
func TestFlakySink(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink, chance := newFlaky(), rng(seed)
				hazard := func() error {
					switch chance.IntN(6) {
					case 0:
						return errDown
					case 1:
						time.Sleep(time.Duration(chance.IntN(2000)) * time.Millisecond)
					}
					return nil
				}
				sink.trouble(hazard, hazard)
				marks := map[space.PartitionID]space.Seq{}
				p := open(t, datapump.Config{
					Name: "flaky", Sink: sink, BatchChanges: 64, BatchBytes: 4 << 10, EveryChange: seed%2 == 0,
					OnDurable: func(w datapump.Watermark) {
						if w.Seq < marks[w.Partition] {
							t.Errorf("the watermark of partition %d fell from %d to %d", w.Partition, marks[w.Partition], w.Seq)
						}
						marks[w.Partition] = w.Seq
					},
				})
				var sources []*sinktest.Source
				var load sync.WaitGroup
				for i := range 5 {
					id := space.PartitionID(i)
					src := sinktest.NewSource(id, space.History{byte(i + 1)})
					sources = append(sources, src)
					random := rng(seed*100 + uint64(i))
					add(t, p, src)
					load.Go(func() {
						for range 40 {
							src.Random(random, 5)
							p.Notify(id)
							time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
							if random.IntN(20) == 0 {
								src.Trim(src.Last())
							}
						}
					})
				}
				load.Wait()
				flush(t, p)
				p.Close()
				for _, src := range sources {
					holds(t, sink.Memory, src)
				}
				for _, s := range p.Status().Partitions {
					if s.BacklogChanges != 0 || s.BacklogBytes != 0 || s.Lag != 0 || s.State != datapump.Following {
						t.Errorf("after a flush: %+v", s)
					}
				}
			})
		})
	}
}

// A sink whose changes were trimmed from the changelog is brought up again from
// an image, while other partitions go on, and then follows.
func TestTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		p := open(t, datapump.Config{Sink: sink, BatchChanges: 8})
		src, other := sinktest.NewSource(1, space.History{1}), sinktest.NewSource(2, space.History{2})
		src.Random(rng(1), 200)
		src.Trim(src.Last() - 5)
		src.Random(rng(2), 5)
		other.Random(rng(3), 100)
		add(t, p, src, other)
		flush(t, p)
		holds(t, sink.Memory, src)
		holds(t, sink.Memory, other)
		src.Random(rng(4), 50)
		p.Notify(1)
		flush(t, p)
		holds(t, sink.Memory, src)
		if n := p.Status().Stats.Resyncs; n != 1 {
			t.Errorf("%d resyncs, want 1", n)
		}
	})
}

// A sink that holds another history is left alone, unless taking over was
// allowed; one that stands where the history began follows without a resync.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		old, next := sinktest.NewSource(1, space.History{1}), sinktest.NewSource(1, space.History{2})
		old.Random(rng(1), 50)
		next.Random(rng(2), 50)
		p := open(t, datapump.Config{Sink: sink})
		add(t, p, old)
		flush(t, p)
		add(t, p, next)
		synctest.Wait()
		var foreign *datapump.ForeignError
		if s := p.Status().Partitions[0]; s.State != datapump.Stopped || !errors.As(s.Err, &foreign) {
			t.Errorf("fed with another history, the pump is %v: %v", s.State, s.Err)
		}
		holds(t, sink.Memory, old)
		taker := open(t, datapump.Config{Sink: sink, Takeover: true})
		add(t, taker, next)
		flush(t, taker)
		holds(t, sink.Memory, next)

		l := space.NewLoader(space.Loaded{ID: 1, History: space.History{3}, Origin: space.Position{History: space.History{2}, Seq: next.Last()}})
		img, _ := next.Cut(t.Context())
		for _, d := range img.Image.Definitions() {
			if err := l.Define(d); err != nil {
				t.Fatal(err)
			}
			img.Image.Scan(d.ID, func(e space.Entry) bool { return l.Add(d.ID, e) == nil })
		}
		cold := sinktest.SourceOf(l.Partition())
		cold.Random(rng(5), 50)
		add(t, p, cold)
		flush(t, p)
		holds(t, sink.Memory, cold)
		if n := p.Status().Stats.Resyncs; n != 0 {
			t.Errorf("a history that goes on where the sink stands took %d resyncs", n)
		}
	})
}

// Of two pumps that feed one sink, the one of the older epoch is refused from
// the moment the newer has fenced, and says so.
func TestTwoPumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		src := sinktest.NewSource(1, space.History{1})
		leader := open(t, datapump.Config{Sink: sink})
		src.Random(rng(1), 50)
		addSource(t, leader, 1, staleSource{src, src.Fence().Epoch})
		flush(t, leader)
		src.Apply(space.EpochCommand(0))
		next := open(t, datapump.Config{Sink: sink})
		add(t, next, src)
		flush(t, next)
		src.Random(rng(2), 50)
		leader.Notify(1)
		synctest.Wait()
		if s := leader.Status().Partitions[0]; s.State != datapump.Fenced || !errors.Is(s.Err, datapump.ErrFenced) {
			t.Errorf("the older leader's pump is %v: %v", s.State, s.Err)
		}
		next.Notify(1)
		flush(t, next)
		holds(t, sink.Memory, src)
	})
}

// A partition that gets a new leader while it is in the pump is fenced again
// before its changes go on, so that the sink knows the epoch that they are of.
func TestANewLeaderIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		src := sinktest.NewSource(1, space.History{1})
		p := open(t, datapump.Config{Sink: sink})
		src.Random(rng(1), 50)
		add(t, p, src)
		flush(t, p)
		before := src.Fence()
		src.Apply(space.EpochCommand(0))
		src.Random(rng(2), 50)
		flush(t, p)
		holds(t, sink.Memory, src)
		if got, want := p.Status().Partitions[0].Epoch, src.Fence().Epoch; got != want {
			t.Errorf("the pump feeds with epoch %d, the partition is at %d", got, want)
		}
		if _, err := sink.Fence(t.Context(), before); !errors.Is(err, datapump.ErrFenced) {
			t.Errorf("the sink lets the leader before come back: %v", err)
		}
	})
}

// staleSource is a source whose epoch stands still: a leader that has not heard.
type staleSource struct {
	*sinktest.Source
	epoch space.Epoch
}

func (s staleSource) Describe() datapump.Description {
	d := s.Source.Describe()
	d.Epoch = s.epoch
	return d
}

func addSource(t *testing.T, p *datapump.Pump, id space.PartitionID, s datapump.Source) {
	t.Helper()
	if err := p.Add(id, s); err != nil {
		t.Fatal(err)
	}
}

// While a sink is down, notifying never waits, backlog and lag grow, the breaker
// opens; when it is back, a small batch comes first and then everything.
func TestBreakerAndLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		src := sinktest.NewSource(1, space.History{1})
		src.Define(1)
		p := open(t, datapump.Config{Sink: sink, BatchChanges: 160, Chance: func() float64 { return 0 }})
		add(t, p, src)
		flush(t, p)
		sink.trouble(func() error { return errDown }, nil)
		start := time.Now()
		for i := range 400 {
			src.Put(1, fmt.Sprint(i), "value")
			p.Notify(1)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("notifying waited %v for a sink that is down", took)
		}
		time.Sleep(time.Minute)
		s := p.Status()
		if x := s.Partitions[0]; s.Breaker != datapump.BreakerOpen || !errors.Is(s.Err, errDown) || x.BacklogChanges != 400 ||
			x.Lag != time.Minute || x.BacklogBytes == 0 {
			t.Errorf("a minute after the sink went down: %+v", s)
		}
		before := len(sink.sizes())
		sink.trouble(nil, nil)
		flush(t, p)
		if back := time.Since(start); back > time.Minute+15*time.Second {
			t.Errorf("the pump needed %v to notice that the sink is back", back-time.Minute)
		}
		sizes := sink.sizes()[before:]
		if len(sizes) != 4 || sizes[0] != 10 || sizes[1] != 160 {
			t.Errorf("after the break the batches had %v changes", sizes)
		}
		holds(t, sink.Memory, src)
		if s := p.Status(); s.Breaker != datapump.BreakerClosed || s.Err != nil || s.Partitions[0].Lag != 0 || s.Partitions[0].Err != nil {
			t.Errorf("after a flush: %+v", s)
		}
	})
}

// While a slow sink works, the next batch grows, up to the limit, and repeated
// changes of one key are folded.
func TestAdaptiveBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		sink.trouble(func() error { time.Sleep(time.Second); return nil }, nil)
		src := sinktest.NewSource(1, space.History{1})
		src.Define(1)
		p := open(t, datapump.Config{Sink: sink, BatchChanges: 500})
		add(t, p, src)
		flush(t, p)
		before := len(sink.sizes())
		for i := range 3000 {
			src.Put(1, fmt.Sprint(i%100), "value")
			p.Notify(1)
			time.Sleep(5 * time.Millisecond)
		}
		flush(t, p)
		sizes := sink.sizes()[before:]
		if len(sizes) > 20 || p.Status().Stats.Read != 3001 || sizes[2] != 100 {
			t.Errorf("3000 changes of 100 keys went in batches of %v", sizes)
		}
		holds(t, sink.Memory, src)
	})
}

// A command is never split, however large: it is a batch of its own.
func TestLargeCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		src := sinktest.NewSource(1, space.History{1})
		src.Define(1)
		c := space.Command{}
		for i := range 50 {
			c.Ops = append(c.Ops, space.Op{
				Code: space.OpWrite, Space: 1, Key: fmt.Append(nil, i), Value: []byte(strings.Repeat("x", 1000)),
			})
		}
		src.Apply(c)
		src.Put(1, "after", "")
		p := open(t, datapump.Config{Sink: sink, BatchChanges: 4, BatchBytes: 2000})
		add(t, p, src)
		flush(t, p)
		if got := fmt.Sprint(sink.sizes()); got != "[1 50 1]" {
			t.Errorf("a command of 50 changes went in batches of %s", got)
		}
		holds(t, sink.Memory, src)
	})
}

// A pause ends after the call under way; nothing moves until it is over.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newFlaky()
		sink.trouble(func() error { time.Sleep(time.Second); return nil }, nil)
		src := sinktest.NewSource(1, space.History{1})
		src.Random(rng(1), 200)
		p := open(t, datapump.Config{Sink: sink, BatchChanges: 4})
		add(t, p, src)
		time.Sleep(5500 * time.Millisecond)
		start := time.Now()
		if err := p.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("the pause began after %v", took)
		}
		before := p.Watermarks()[0]
		time.Sleep(time.Hour)
		if now := p.Watermarks()[0]; now != before || !p.Status().Paused {
			t.Errorf("during the pause the watermark went from %d to %d", before.Seq, now.Seq)
		}
		p.Resume()
		flush(t, p)
		holds(t, sink.Memory, src)
	})
}

// Closing cancels a call that hangs and gives up a resync; a flush that waits is
// told, as is one whose partition is removed.
func TestCloseAndRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &hanging{Memory: sinktest.NewMemory()}
		src := sinktest.NewSource(1, space.History{1})
		src.Define(1)
		src.Put(1, "key", "value")
		p := open(t, datapump.Config{Sink: sink, CallTimeout: time.Hour})
		add(t, p, src)
		flushed := make(chan error, 1)
		go func() { flushed <- p.Flush(t.Context()) }()
		synctest.Wait()
		p.Remove(1)
		if err := <-flushed; !errors.Is(err, datapump.ErrRemoved) {
			t.Errorf("a flush of a partition that was removed ends with %v", err)
		}
		add(t, p, src)
		go func() { flushed <- p.Flush(t.Context()) }()
		synctest.Wait()
		p.Close()
		p.Close()
		if err := <-flushed; !errors.Is(err, datapump.ErrClosed) {
			t.Errorf("a flush ends with %v when the pump is closed", err)
		}
		if err := p.Add(2, src); !errors.Is(err, datapump.ErrClosed) {
			t.Errorf("adding to a closed pump ends with %v", err)
		}
	})
}

// hanging is a sink whose batches take as long as they may.
type hanging struct{ *sinktest.Memory }

func (h *hanging) Apply(ctx context.Context, _ *datapump.Batch) error {
	<-ctx.Done()
	return ctx.Err()
}
