package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

type seat struct {
	ID    string `grid:"id,key"`
	Row   int    `grid:"row,index"`
	Buyer string `grid:"buyer"`
}

func open(t *testing.T, c grid.Config) (*grid.Grid, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	g, err := grid.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, ctx
}

// TestZeroConfigIsAGrid: one member in memory serves typed entries.
func TestZeroConfigIsAGrid(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint("s", i), Row: i % 4}); err != nil {
			t.Fatal(err)
		}
	}
	got, version, err := seats.ReadVersion(ctx, "s7")
	if err != nil || got.Row != 3 {
		t.Fatal(got, err)
	}
	if _, err := seats.Write(ctx, seat{ID: "s7", Row: 3, Buyer: "ann"}, grid.IfVersion(version)); err != nil {
		t.Fatal(err)
	}
	if _, err := seats.Write(ctx, seat{ID: "s7"}, grid.IfVersion(version)); !errors.Is(err, grid.ErrConflict) {
		t.Fatalf("an old version is accepted: %v", err)
	}
	if _, err := seats.Write(ctx, seat{ID: "s7"}, grid.IfAbsent()); !errors.Is(err, grid.ErrExists) {
		t.Fatal(err)
	}
	n := 0
	for s, err := range seats.Query(ctx, grid.Template{"row": 3}) {
		if err != nil || s.Row != 3 {
			t.Fatal(s, err)
		}
		n++
	}
	if n != 5 {
		t.Fatalf("%d seats in row 3", n)
	}
	for range 5 {
		if _, err := seats.TakeMatch(ctx, grid.Template{"row": 3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := seats.TakeMatch(ctx, grid.Template{"row": 3}); !errors.Is(err, grid.ErrNotFound) {
		t.Fatalf("a sixth seat of five: %v", err)
	}
	if err := seats.Update(ctx, "s8", func(s *seat) error { s.Buyer = "bob"; return nil }); err != nil {
		t.Fatal(err)
	}
	if ok, err := seats.Delete(ctx, "s8"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := seats.Read(ctx, "s8"); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestRestartKeepsWhatWasAcknowledged, spaces included.
func TestRestartKeepsWhatWasAcknowledged(t *testing.T) {
	c := grid.Config{Dir: t.TempDir(), Name: "m1"}
	ctx := t.Context()
	for i := range 3 {
		g, err := grid.Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		seats, err := grid.OpenSpace[seat](ctx, g, "seats")
		if err != nil {
			t.Fatal(err)
		}
		for j := range i {
			if s, err := seats.Read(ctx, fmt.Sprint(j)); err != nil || s.Row != j {
				t.Fatal(s, err)
			}
		}
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint(i), Row: i}); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAtomicBatch takes effect together or not at all, and only in one partition.
func TestAtomicBatch(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	def, err := g.Describe(ctx, grid.DefaultSpace)
	if err != nil {
		t.Fatal(err)
	}
	write := func(key string) space.Op {
		return space.Op{Code: space.OpWrite, Space: def.ID, Key: []byte(key), Value: []byte("x")}
	}
	b := g.NewAtomicBatch()
	b.Do(write("{a}1"))
	b.Do(space.Op{Code: space.OpTake, Space: def.ID, Key: []byte("{a}absent")})
	if err := g.Run(ctx, b); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Result(0); !errors.Is(err, space.ErrAborted) {
		t.Fatal(err)
	}
	if _, err := b.Result(1); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal(err)
	}
	b = g.NewAtomicBatch()
	b.Do(write("a"))
	b.Do(write("b"))
	if err := g.Run(ctx, b); !errors.Is(err, grid.ErrCrossPartition) {
		t.Fatal(err)
	}
}

// TestWatchSeesSnapshotThenChanges, and a cursor continues without gap or
// repetition.
func TestWatchSeesSnapshotThenChanges(t *testing.T) {
	g, ctx := open(t, grid.Config{Partitions: 8})
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint("old", i)}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := g.Watch(ctx, "seats", grid.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := 0
	for e, err := range w.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == grid.Snapshot {
			snapshot++
		}
		if e.Kind == grid.SnapshotEnd {
			break
		}
	}
	if snapshot != 50 {
		t.Fatalf("%d entries in the snapshot", snapshot)
	}
	cursor := w.Cursor()
	for i := range 30 {
		if _, err := seats.Write(ctx, seat{ID: fmt.Sprint("new", i)}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for len(seen) < 30 {
		w, err := g.Watch(ctx, "seats", grid.WatchOptions{From: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range w.Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == grid.Written {
				seen[string(e.Entry.Key)]++
				break // a new watch continues at the cursor
			}
		}
		cursor = w.Cursor()
	}
	for k, n := range seen {
		if n != 1 {
			t.Fatalf("%s was seen %d times", k, n)
		}
	}
	if _, err := g.Watch(ctx, "seats", grid.WatchOptions{From: "nonsense"}); !errors.Is(err, grid.ErrInvalid) {
		t.Fatal(err)
	}
}

// TestPatientContext: a request that may take hours is carried out like any
// other.
func TestPatientContext(t *testing.T) {
	g, _ := open(t, grid.Config{Partitions: 4})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	seats, err := grid.OpenSpace[seat](ctx, g, "seats")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := seats.Write(ctx, seat{ID: "1"})
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still repeated after 20 s")
	}
}
