package grid_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// TestChangeSellsWhatThereIs: of many that sell at once, as many succeed as there
// are tickets, and all of them are told.
func TestChangeSellsWhatThereIs(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	shows, err := grid.OpenSpace[Show](ctx, g, "shows")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shows.Write(ctx, Show{ID: "s", Stock: 30}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var left []int
	late := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, err := shows.Change(ctx, "s", grid.Add("stock", -1).Min(0))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				left = append(left, c.Value.Stock)
			case errors.Is(err, grid.ErrRange):
				late++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(left)
	if len(left) != 30 || len(slices.Compact(left)) != 30 || left[0] != 0 || late != 20 {
		t.Fatalf("left after each sale: %v; %d too late", left, late)
	}
}

// TestChangeTells what has become of the entry, and what is refused and why.
func TestChangeTells(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	shows, err := grid.OpenSpace[Show](ctx, g, "shows")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shows.Change(ctx, "s", grid.Add("stock", 1)); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal(err)
	}
	first, err := shows.Change(ctx, "s", grid.OrCreate(), grid.Add("stock", 5))
	if err != nil || first.Value.ID != "s" || first.Value.Stock != 5 || first.Fields != 2 {
		t.Fatalf("%+v, %v", first, err)
	}
	read, version, err := shows.ReadVersion(ctx, "s")
	if err != nil || version != first.Version || read.ID != "s" {
		t.Fatalf("%+v at %d, %v; made %+v", read, version, err, first)
	}
	second, err := shows.Change(ctx, "s", grid.IfVersion(first.Version), grid.Push("buyers", "ada"), grid.Unset("stock"), grid.Append("hall", "west"), grid.Lowest("best", 2.5))
	if err != nil || second.Version <= first.Version || second.Value.Stock != 0 || second.Value.Hall != "west" || second.Value.Best != 2.5 || second.Fields != 4 {
		t.Fatalf("%+v, %v", second, err)
	}
	tests := []struct {
		parts []grid.ChangePart
		want  error
		hint  string
	}{
		{[]grid.ChangePart{grid.IfVersion(first.Version), grid.Add("stock", 1)}, grid.ErrConflict, "read again"},
		{[]grid.ChangePart{grid.Add("best", 1)}, grid.ErrWrongKind, ""},
		{[]grid.ChangePart{grid.Set("buyers.7", "x")}, grid.ErrRange, "nothing was changed"},
		{nil, grid.ErrInvalid, "changes nothing"},
		{[]grid.ChangePart{grid.Set("id", "t")}, grid.ErrInvalid, "key"},
		{[]grid.ChangePart{grid.Set("", 1)}, grid.ErrInvalid, "dots"},
		{[]grid.ChangePart{grid.Set("a..b", 1)}, grid.ErrInvalid, "empty"},
		{[]grid.ChangePart{grid.Set(`"a`, 1)}, grid.ErrInvalid, "open quote"},
		{[]grid.ChangePart{grid.Set("a", make(chan int))}, grid.ErrInvalid, `set "a"`},
		{[]grid.ChangePart{grid.Add("a", math.NaN())}, grid.ErrInvalid, "NaN"},
		{[]grid.ChangePart{grid.Add("a", uint64(math.MaxUint64))}, grid.ErrInvalid, "int64"},
		{[]grid.ChangePart{grid.Add("a", 1).Min(2).Max(1)}, grid.ErrInvalid, "above the upper"},
		{[]grid.ChangePart{grid.Set("a"+strings.Repeat(".a", 16), 1)}, grid.ErrInvalid, "steps"},
		{[]grid.ChangePart{grid.If("stock ="), grid.Set("a", 1)}, grid.ErrInvalid, "predicate"},
		{[]grid.ChangePart{grid.IfAbsent(), grid.Set("a", 1)}, grid.ErrInvalid, "OrCreate"},
	}
	for i, tt := range tests {
		_, err := shows.Change(ctx, "s", tt.parts...)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.hint) {
			t.Errorf("%d: %v, want %v and %q", i, err, tt.want, tt.hint)
		}
	}
	if _, now, err := shows.ReadVersion(ctx, "s"); err != nil || now != second.Version {
		t.Fatalf("the refusals left version %d, %v; want %d", now, err, second.Version)
	}
	// A change may leave what the Go type cannot hold: it has happened.
	odd, err := shows.Change(ctx, "s", grid.Set("stock", "many"))
	if err == nil || errors.Is(err, grid.ErrWrongKind) || odd.Version <= second.Version {
		t.Fatalf("%+v, %v", odd, err)
	}
}

// TestOrCreateSetsTheKey as the type has it, however it is given, so that what is
// made reads like what is written.
func TestOrCreateSetsTheKey(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	type counter struct {
		ID int16 `grid:"id,key"`
		N  int   `grid:"n"`
	}
	counters, err := grid.OpenSpace[counter](ctx, g, "counters")
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []any{7, "7", []byte("7"), int16(7)} {
		if c, err := counters.Change(ctx, key, grid.OrCreate(), grid.Add("n", 1)); err != nil || c.Value != (counter{7, i + 1}) {
			t.Fatalf("%v: %+v, %v", key, c, err)
		}
	}
	for _, key := range []any{"seven", 1 << 20, "07"} {
		if _, err := counters.Change(ctx, key, grid.OrCreate(), grid.Add("n", 1)); !errors.Is(err, grid.ErrInvalid) {
			t.Fatalf("%v: %v", key, err)
		}
	}
	made, err := g.Change(ctx, "counters", 8, grid.OrCreate(), grid.Add("n", 1))
	if id, _ := made.Value.Field("id"); err != nil || id != int64(8) {
		t.Fatalf("%v, %v", id, err)
	}
}

// TestChangeTakesStructs as values, under the names of their tags.
func TestChangeTakesStructs(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	type line struct {
		At   int    `grid:"at"`
		Text string `grid:"text"`
	}
	c, err := g.Change(ctx, grid.DefaultSpace, []byte("k"), grid.OrCreate(), grid.Push("log", line{1, "one"}), grid.Set("last", &line{2, "two"}))
	if err != nil {
		t.Fatal(err)
	}
	if log, _ := c.Value.Field("log"); fmt.Sprint(log) != "[map[at:1 text:one]]" {
		t.Fatal(log)
	}
	if last, _ := c.Value.Field("last"); fmt.Sprint(last) != "map[at:2 text:two]" {
		t.Fatal(last)
	}
}

// TestChangeMatchChangesWhatMatches, together, and a condition narrows it.
func TestChangeMatchChangesWhatMatches(t *testing.T) {
	g, ctx := open(t, grid.Config{})
	shows, err := grid.OpenSpace[Show](ctx, g, "shows")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if _, err := shows.Write(ctx, Show{ID: fmt.Sprint("{t}", i), Hall: "west", Stock: i}); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := shows.ChangeMatch(ctx, grid.Template{"hall": "west"}, 2, grid.Set("hall", "east"), grid.Add("stock", 10))
	if err != nil || len(changed) != 2 || changed[0].Value.Stock != 10 || changed[1].Value.Stock != 11 || changed[1].Value.Hall != "east" {
		t.Fatalf("%+v, %v", changed, err)
	}
	if _, now, err := shows.ReadVersion(ctx, "{t}1"); err != nil || now != changed[1].Version {
		t.Fatalf("version %d, %v; told %d", now, err, changed[1].Version)
	}
	if _, err := shows.ChangeMatch(ctx, grid.Template{"hall": "west"}, 4, grid.Add("stock", 1).Max(5)); !errors.Is(err, grid.ErrRange) {
		t.Fatal(err)
	}
	if s, err := shows.Read(ctx, "{t}2"); err != nil || s.Stock != 2 {
		t.Fatalf("one of them would leave its range, and yet %+v, %v", s, err)
	}
	if _, err := shows.ChangeMatch(ctx, grid.Template{"hall": "north"}, 4, grid.Add("stock", 1)); !errors.Is(err, grid.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := shows.ChangeMatch(ctx, nil, 1, grid.Add("stock", 1), grid.IfVersion(3)); !errors.Is(err, space.ErrInvalid) {
		t.Fatal(err)
	}
	bounded, err := g.CreateSpace(ctx, space.Definition{Name: "bounded", Shape: space.ShapeFields, ScanLimit: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := g.Change(ctx, bounded.Name, fmt.Sprint("{t}", i), grid.OrCreate(), grid.Set("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	last := grid.Template{"n": 4}
	if _, err := g.ChangeMatch(ctx, bounded.Name, last, 1, grid.Set("n", 9)); !errors.Is(err, grid.ErrScanRefused) {
		t.Fatal(err)
	}
	if es, err := g.ChangeMatch(ctx, bounded.Name, last, 1, grid.Set("n", 9), grid.AllowScan()); err != nil || len(es) != 1 || string(es[0].Key) != "{t}4" {
		t.Fatal(es, err)
	}
	narrow, err := shows.ChangeMatch(ctx, grid.Template{"hall": "west"}, 9, grid.If("stock >= ?", 4), grid.If("stock < 5"), grid.Add("stock", -4))
	if err != nil || len(narrow) != 1 || narrow[0].Value.ID != "{t}4" || narrow[0].Value.Stock != 0 {
		t.Fatalf("%+v, %v", narrow, err)
	}
}
