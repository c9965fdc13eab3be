package main

import (
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// A verdict finds every way in which a sale can have gone wrong, and nothing else.
func TestVerdict(t *testing.T) {
	row := func(buyer string, version uint64) soldRow {
		return soldRow{buyer: buyer, value: []byte(buyer), version: grid.Version(version)}
	}
	good := func() *evidence {
		rows := func() soldRows { return soldRows{"a": row("ann", 5), "b": row("", 2), "c": row("cy", 7)} }
		return &evidence{
			seats:    []string{"a", "b", "c"},
			receipts: []claim{{"a", "ann"}},
			unclear:  []claim{{"c", "cy"}, {"b", "cy"}},
			grid:     rows(),
			stores:   map[string]soldRows{"m1": rows(), "m2": rows()},
		}
	}
	for name, c := range map[string]struct {
		spoil func(*evidence)
		want  verdict
	}{
		"nothing wrong": {func(*evidence) {}, verdict{sold: 2, resolved: 1, storesRead: 2}},
		"sold twice": {
			func(e *evidence) { e.receipts = append(e.receipts, claim{"a", "bob"}) },
			verdict{sold: 2, doubleSold: 1, resolved: 1, storesRead: 2},
		},
		"acknowledged twice to one buyer": {
			func(e *evidence) { e.receipts = append(e.receipts, claim{"a", "ann"}) },
			verdict{sold: 2, doubleSold: 1, resolved: 1, storesRead: 2},
		},
		"sale lost, seat free": {
			func(e *evidence) { e.receipts = append(e.receipts, claim{"b", "bob"}) },
			verdict{sold: 2, lost: 1, resolved: 1, storesRead: 2},
		},
		"sale lost to an unclear one": {
			func(e *evidence) { e.receipts = append(e.receipts, claim{"c", "bob"}) },
			verdict{sold: 2, lost: 1, resolved: 1, storesRead: 2},
		},
		"bought by somebody who was refused": {
			func(e *evidence) { e.unclear = nil },
			verdict{sold: 2, phantom: 1, storesRead: 2},
		},
		"seat gone": {
			func(e *evidence) { e.seats = append(e.seats, "d") },
			verdict{sold: 2, missing: 1, resolved: 1, storesRead: 2},
		},
		"seat from nowhere": {
			func(e *evidence) { e.seats = e.seats[:2] },
			verdict{sold: 2, missing: 1, resolved: 1, storesRead: 2},
		},
		"store lacks a row": {
			func(e *evidence) { delete(e.stores["m2"], "b") },
			verdict{sold: 2, resolved: 1, storesRead: 2, storeDifferences: 1},
		},
		"store has a row more": {
			func(e *evidence) { e.stores["m1"]["d"] = row("", 1) },
			verdict{sold: 2, resolved: 1, storesRead: 2, storeDifferences: 1},
		},
		"store is behind": {
			func(e *evidence) { e.stores["m1"]["a"] = row("", 4) },
			verdict{sold: 2, resolved: 1, storesRead: 2, storeDifferences: 1},
		},
		"store has another version of the same value": {
			func(e *evidence) { e.stores["m1"]["a"] = row("ann", 6) },
			verdict{sold: 2, resolved: 1, storesRead: 2, storeDifferences: 1},
		},
		"store cannot be read": {
			func(e *evidence) { e.errors = map[string]error{"m3": io.ErrUnexpectedEOF} },
			verdict{sold: 2, resolved: 1, storesRead: 2, storeDifferences: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := good()
			c.spoil(e)
			got := judge(e)
			if got.ok() != (name == "nothing wrong") || got.ok() != (len(got.complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.ok(), got.complaints)
			}
			got.complaints = nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}

// A verdict without a store is not a good one.
func TestVerdictNeedsStores(t *testing.T) {
	if v := judge(&evidence{}); v.ok() {
		t.Error("nothing was read, and all is well?")
	}
}

// The gap is the longest pause that touches the time after the kill, of those
// sales that count.
func TestLongestGap(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	sales := func(ms ...int) (rs []receipt) {
		for _, m := range ms {
			rs = append(rs, receipt{claim{seat: "led"}, at(m)}, receipt{claim{seat: "other"}, at(m + 1)})
		}
		return rs
	}
	led := func(r *receipt) bool { return r.seat == "led" }
	for name, c := range map[string]struct {
		receipts []receipt
		want     int
	}{
		"a pause across the kill":            {sales(0, 900, 990, 1300, 1310), 310},
		"a pause before the kill is another": {sales(0, 999, 1001, 1050), 49},
		"a pause after the window is too":    {sales(999, 1010, 2500, 9000), 1490},
		"never again":                        {sales(0, 990), 1010},
		"nothing at all":                     {nil, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			got := longestGap(c.receipts, led, at(1000), at(2000))
			if got != time.Duration(c.want)*time.Millisecond {
				t.Errorf("gap %v, want %d ms", got, c.want)
			}
		})
	}
}

// Every seat of the house has a key of its own, the best ones cost most, and
// buyers prefer them.
func TestVenue(t *testing.T) {
	const n = 3000
	house := venue(n)
	keys := make([]string, n)
	seen := map[string]bool{}
	for i, s := range house {
		if seen[s.ID] || s.Buyer != "" || i > 0 && s.Cents > house[i-1].Cents {
			t.Fatalf("seat %d: %+v", i, s)
		}
		seen[s.ID], keys[i] = true, s.ID
	}
	m := newSeatMap(keys)
	r := rand.New(rand.NewPCG(1, 2))
	front := 0
	for range 1000 {
		if i := m.pick(r); i < n/10 {
			front++
		}
	}
	if front < 200 {
		t.Errorf("%d of 1000 choices are among the best tenth", front)
	}
	for i := range m.gone {
		m.gone[i].Store(true)
	}
	if m.refresh() != 0 || m.pick(r) != -1 {
		t.Error("a sold-out house still has seats")
	}
}
