package reader_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
	"github.com/spacegrid/spacegrid/writer"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 4)) }

func openStore(t testing.TB, fs vfs.FS) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{
		Dir: "store", FS: fs, MemTableBytes: 1 << 20, OnFatal: func(err error) { t.Errorf("the disk failed: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// pump brings a store up to date with sources and returns the resyncs it took.
func pump(t testing.TB, s *store.Store, sources ...*sinktest.Source) uint64 {
	t.Helper()
	p, err := datapump.Open(datapump.Config{Name: "store", Sink: writer.New(s, nil), Takeover: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, src := range sources {
		if err := p.Add(src.Fence().Partition, src); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.Status().Stats.Resyncs
}

// filled returns a source after a random load, with entries of every kind.
func filled(id space.PartitionID, commands int) *sinktest.Source {
	src := sinktest.NewSource(id, space.History{byte(id), 1})
	src.Define(1)
	src.Define(5) // stays empty
	src.Random(rng(uint64(id)), commands)
	return src
}

func same(t *testing.T, got *space.Partition, want *sinktest.Source) {
	t.Helper()
	if g, w := sinktest.ContentOf(got.Image()), want.At(want.Last()); g.String() != w.String() {
		t.Fatalf("loaded\n%s\nwant\n%s", g, w)
	}
	f, st := want.Fence(), got.Status()
	origin := space.Position{History: f.History, Seq: want.Last()}
	if st.ID != f.Partition || st.Origin != origin || st.Seq != origin.Seq || st.Epoch != f.Epoch+reader.EpochGap {
		t.Fatalf("loaded as %+v, want partition %d from %v", st, f.Partition, origin)
	}
}

// What a pump wrote is loaded as the same content: entries with versions, orders
// and deadlines, and definitions. The new history goes on, and the store follows
// it without a resync.
func TestColdStart(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	first := filled(4, 400)
	pump(t, s, first)
	s.Close()
	s = openStore(t, fs)
	at, err := reader.New(s).Positions()
	if err != nil || len(at) != 1 || at[0].Seq != first.Last() || at[0].Entries != uint64(first.At(first.Last()).Len()) {
		t.Fatalf("the store says it holds %+v, %v", at, err)
	}
	p, err := reader.New(s).Load(t.Context(), 4, space.History{4, 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, p, first)
	if clock := p.Status().Clock; clock != at[0].Clock {
		t.Errorf("the clock goes on from %d, the store's is %d", clock, at[0].Clock)
	}
	second := sinktest.SourceOf(p)
	second.Random(rng(9), 200)
	if n := pump(t, s, second); n != 0 {
		t.Errorf("following the new history took %d resyncs", n)
	}
	again, err := reader.New(s).Load(t.Context(), 4, space.History{4, 3}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, again, second)
	if _, err := reader.New(s).Load(t.Context(), 4, space.History{4, 2}, 0); err == nil {
		t.Error("a partition was loaded into the history that the store holds")
	}
	if p, err := reader.New(s).Load(t.Context(), 4, space.History{4, 3}, 9*reader.EpochGap); err != nil || p.Epoch() != 10*reader.EpochGap {
		t.Errorf("above a far higher epoch of another store it is loaded at epoch %d, %v", p.Epoch(), err)
	}
	if _, err := reader.New(s).Load(t.Context(), 5, space.History{1}, 0); !errors.Is(err, reader.ErrNotStored) {
		t.Errorf("loading what is not stored: %v", err)
	}
}

// A store that was behind when the grid started anew from another one is brought
// up again, and a space that was dropped is gone from it.
func TestLaggingStore(t *testing.T) {
	ahead, behind := openStore(t, vfs.NewMem()), openStore(t, vfs.NewMem())
	src := filled(4, 100)
	src.Put(1, "early", "value")
	pump(t, ahead, src)
	pump(t, behind, src)
	src.Apply(space.DropCommand(1))
	src.Random(rng(2), 50)
	src.Apply(space.DropCommand(1))
	pump(t, ahead, src)
	p, err := reader.New(ahead).Load(t.Context(), 4, space.History{4, 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := sinktest.SourceOf(p)
	next.Random(rng(3), 50)
	if n := pump(t, behind, next); n != 1 {
		t.Errorf("the store that was behind took %d resyncs, want 1", n)
	}
	q, err := reader.New(behind).Load(t.Context(), 4, space.History{4, 3}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, q, next)
}

// Many partitions load at once, each once and whole; an error stops everybody,
// and nobody is left running.
func TestLoadAll(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	sources := map[space.PartitionID]*sinktest.Source{}
	histories := map[space.PartitionID]space.History{}
	for id := range space.PartitionID(20) {
		sources[id] = filled(id, 20+10*int(id))
		histories[id] = space.History{byte(id), 2}
		pump(t, s, sources[id])
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := reader.New(s)
	loaded := 0
	err := r.LoadAll(t.Context(), histories, 3, func(p *space.Partition) error {
		loaded++
		if p.History() != histories[p.ID()] {
			t.Errorf("partition %d has history %s", p.ID(), p.History())
		}
		same(t, p, sources[p.ID()])
		return nil
	})
	if err != nil || loaded != 20 {
		t.Errorf("%d partitions were loaded, %v", loaded, err)
	}
	broken := errors.New("no room")
	loaded = 0
	err = r.LoadAll(t.Context(), histories, 3, func(*space.Partition) error { loaded++; return broken })
	if !errors.Is(err, broken) || loaded > 3 {
		t.Errorf("after %d partitions: %v", loaded, err)
	}
	histories[77] = space.History{77}
	if err := r.LoadAll(t.Context(), histories, 3, func(*space.Partition) error { return nil }); !errors.Is(err, reader.ErrNotStored) {
		t.Errorf("a partition that is not stored: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.LoadAll(ctx, histories, 3, func(*space.Partition) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Single entries can be read before their partition is loaded, with the position
// that they were read at.
func TestGetAndDefinitions(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	src := filled(4, 50)
	src.Define(1)
	src.Put(1, "seat", "taken")
	pump(t, s, src)
	r := reader.New(s)
	e, at, ok, err := r.Get(4, 1, []byte("seat"))
	if !ok || err != nil || string(e.Value) != "taken" || string(e.Key) != "seat" || e.Version != src.Last() || at.Seq != src.Last() {
		t.Errorf("the entry is %+v at %v, %v, %v", e, at, ok, err)
	}
	if _, at, ok, err := r.Get(4, 1, []byte("nothing")); ok || err != nil || at.Seq != src.Last() {
		t.Errorf("an absent entry is %v at %v, %v", ok, at, err)
	}
	defs, err := r.Definitions()
	if err != nil || len(defs) != len(src.At(src.Last())) || defs[0].ID != 1 {
		t.Errorf("the definitions are %+v, %v", defs, err)
	}
}

func exported(t testing.TB, src *sinktest.Source, s *store.Store) []byte {
	t.Helper()
	pump(t, s, src)
	var b bytes.Buffer
	at, err := reader.New(s).Export(t.Context(), src.Fence().Partition, &b)
	if err != nil || at.Seq != src.Last() {
		t.Fatalf("export at %v: %v", at, err)
	}
	return b.Bytes()
}

// A stream makes the same partition elsewhere, is read exactly, and with any
// byte changed or missing makes nothing.
func TestStream(t *testing.T) {
	src := filled(4, 60)
	stream := exported(t, src, openStore(t, vfs.NewMem()))
	rest := bytes.NewReader(append(bytes.Clone(stream), "what follows"...))
	if p, err := reader.Import(bytes.NewReader(stream), space.History{4, 2}, 1000); err != nil || p.Epoch() != 1000+reader.EpochGap {
		t.Errorf("above epoch 1000 of another store it is read at epoch %d, %v", p.Epoch(), err)
	}
	p, err := reader.Import(iotest.OneByteReader(rest), space.History{4, 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, p, src)
	if rest.Len() != len("what follows") {
		t.Errorf("%d bytes are left after the stream", rest.Len())
	}
	for i := range stream {
		stream[i] ^= 0x40
		if _, err := reader.Import(bytes.NewReader(stream), space.History{4, 2}, 0); !errors.Is(err, reader.ErrDamaged) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
		stream[i] ^= 0x40
		if _, err := reader.Import(bytes.NewReader(stream[:i]), space.History{4, 2}, 0); !errors.Is(err, reader.ErrDamaged) {
			t.Fatalf("cut off at byte %d: %v", i, err)
		}
	}
	if _, err := reader.Import(bytes.NewReader(stream), src.Fence().History, 0); err == nil || errors.Is(err, reader.ErrDamaged) {
		t.Errorf("importing into the same history: %v", err)
	}
}

// A writer that fails ends the export with its error.
func TestExportFails(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	src := filled(4, 60)
	pump(t, s, src)
	if _, err := reader.New(s).Export(t.Context(), 4, full{}); !errors.Is(err, errFull) {
		t.Errorf("the export ends with %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// goldenStream is a partition of two spaces, one of them empty, and two entries,
// byte for byte. Another form is another format.
const goldenStream = "0118000000c96fbe9501040401c096b1020401000000000000000000000000000002140000000796e290010773706163652d310000000000000000000000031400000053d6b93c000301000161036f6e650004020001620374776f021400000090f2b49a020773706163652d3200000000000000000000000401000000a654f53c02"

// What Export writes has not changed since the format was given its number.
func TestStreamGolden(t *testing.T) {
	src := sinktest.NewSource(4, space.History{4, 1})
	src.Define(1)
	src.Define(2)
	src.Put(1, "a", "one")
	src.Put(1, "b", "two")
	if got := hex.EncodeToString(exported(t, src, openStore(t, vfs.NewMem()))); got != goldenStream {
		t.Errorf("the stream is\n%s, want\n%s", got, goldenStream)
	}
}

// Whatever bytes come, importing them ends without a panic, with a partition or
// with an error.
func FuzzImport(f *testing.F) {
	golden, err := hex.DecodeString(goldenStream)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, stream := range [][]byte{b, reader.Reseal(b)} {
			p, err := reader.Import(bytes.NewReader(stream), space.History{4, 2}, 0)
			if (p == nil) == (err == nil) {
				t.Errorf("import made %v and ended with %v", p, err)
			}
		}
	})
}
