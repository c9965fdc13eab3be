package writer_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
	"github.com/spacegrid/spacegrid/writer"
)

// openStore opens a store in fs that fails the test if its disk does.
func openStore(t testing.TB, fs vfs.FS) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{
		Dir: "store", FS: fs, MemTableBytes: 1 << 20,
		OnFatal: func(err error) { t.Errorf("the disk failed: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// contentOf reads back what a store holds of a partition.
func contentOf(t testing.TB, s *store.Store, p space.PartitionID) (sinktest.Content, space.Position) {
	t.Helper()
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	m, err := snapshot.Mark(p)
	if err != nil {
		t.Fatal(err)
	}
	c := sinktest.Content{}
	spaces, err := snapshot.Spaces(p, m.Generation)
	if err != nil {
		t.Fatal(err)
	}
	for i := range spaces {
		c.Define(&spaces[i].Definition)
	}
	at, err := reader.New(s).Scan(t.Context(), p, func(id space.ID, e space.Entry) error {
		c.Put(id, e)
		return nil
	})
	if err != nil && !errors.Is(err, reader.ErrNotStored) {
		t.Fatal(err)
	}
	for i := range spaces {
		if id := spaces[i].Definition.ID; uint64(len(c[id].ByKey)) != spaces[i].Entries {
			t.Errorf("space %d counts %d entries and holds %d", id, spaces[i].Entries, len(c[id].ByKey))
		}
	}
	return c, at
}

// The writer keeps the contract of a sink.
func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Opened {
		fs := vfs.NewMem()
		var open func() sinktest.Opened
		open = func() sinktest.Opened {
			s := openStore(t, fs)
			return sinktest.Opened{
				Sink: writer.New(s, nil),
				Read: func(p space.PartitionID) (sinktest.Content, space.Position) { return contentOf(t, s, p) },
				Reopen: func() sinktest.Opened {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
					return open()
				},
			}
		}
		return open()
	})
}

// A pump over a store leaves exactly the partition's content in it.
func TestPumpToStore(t *testing.T) {
	src := sinktest.NewSource(7, space.History{7})
	s := openStore(t, vfs.NewMem())
	pump, err := datapump.Open(datapump.Config{Name: "store", Sink: writer.New(s, nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer pump.Close()
	if err := pump.Add(7, src); err != nil {
		t.Fatal(err)
	}
	rng := newRand(1)
	for range 20 {
		src.Random(rng, 50)
		pump.Notify(7)
	}
	if err := pump.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	got, at := contentOf(t, s, 7)
	if want := src.At(src.Last()); got.String() != want.String() || at.Seq != src.Last() {
		t.Fatalf("store at %d:\n%s\npartition at %d:\n%s", at.Seq, got, src.Last(), want)
	}
}

// A partition that is dropped leaves nothing behind, and others are not touched.
func TestDrop(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	w := writer.New(s, nil)
	sources := []*sinktest.Source{sinktest.NewSource(7, space.History{7}), sinktest.NewSource(8, space.History{8})}
	for _, src := range sources {
		src.Random(newRand(1), 50)
		if _, err := w.Fence(t.Context(), src.Fence()); err != nil {
			t.Fatal(err)
		}
		if err := w.Apply(t.Context(), &datapump.Batch{Sections: []datapump.Section{src.Section(0, src.Last())}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Forget(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if c, at := contentOf(t, s, 7); len(c) != 0 || at != (space.Position{}) {
		t.Errorf("of the dropped partition %v is left at %v", c, at)
	}
	if c, at := contentOf(t, s, 8); c.String() != sources[1].At(at.Seq).String() || at.Seq != sources[1].Last() {
		t.Errorf("the other partition stands at %v with\n%s", at, c)
	}
}

// A refused change reads back as it was kept over a restart of the store, and its
// partition's dropping takes it along.
func TestLettersRest(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	src := sinktest.NewSource(7, space.History{7})
	src.Define(1)
	src.Put(1, "key", "value")
	w := writer.New(s, nil)
	if _, err := w.Fence(t.Context(), src.Fence()); err != nil {
		t.Fatal(err)
	}
	section := src.Section(0, src.Last())
	c := section.Changes[1]
	section.Changes = section.Changes[:1]
	want := datapump.DeadLetter{
		Seq: c.Seq, Reason: "no", Space: 1, Key: []byte("key"), Change: c.Append(nil), At: time.Unix(1, 2),
	}
	section.Dead = []datapump.DeadLetter{want}
	if err := w.Apply(t.Context(), &datapump.Batch{Sections: []datapump.Section{section}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w = writer.New(openStore(t, fs), nil)
	letters, err := w.List(t.Context(), datapump.LetterID{}, 10)
	if err != nil || len(letters) != 1 || !reflect.DeepEqual(letters[0], datapump.Letter{Partition: 7, DeadLetter: want}) {
		t.Fatalf("the letters are %+v, %v; want %+v", letters, err, want)
	}
	if err := w.Forget(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if letters, err := w.List(t.Context(), datapump.LetterID{}, 10); err != nil || len(letters) != 0 {
		t.Fatalf("of a partition that was dropped, %+v is left, %v", letters, err)
	}
}
