package arena

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"
)

func number(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func value(n int) []byte { return make([]byte, n) }

func mustAudit(t *testing.T, table *Table) {
	t.Helper()
	if err := audit(table); err != nil {
		t.Fatal(err)
	}
}

// A record gives back every field, with and without the optional ones, at the
// lengths where layouts change.
func TestRecordGivesBackWhatWasPut(t *testing.T) {
	table := New(maphash.MakeSeed())
	order := uint64(0)
	for _, deadline := range []int64{0, 1, -1, 1 << 62} {
		for _, extra := range []uint64{0, 1, 1<<64 - 1} {
			for _, keyLen := range []int{0, 1, 7, 8, 9, 1024, MaxKeyLen} {
				for _, valueLen := range []int{0, 1, 8, ownSlabLen - headerLen, ownSlabLen, 1 << 20} {
					order++
					want := entry{
						key:   string(value(keyLen)),
						meta:  Meta{Version: order * 3, Order: order, Deadline: deadline, Extra: extra, Kind: byte(order)},
						value: string(value(valueLen)),
					}
					table.Put([]byte(want.key), want.meta, []byte(want.value))
					rec, ok := table.Get([]byte(want.key))
					if !ok {
						t.Fatalf("key of %d bytes is not there", keyLen)
					}
					if err := same(rec, want); err != nil {
						t.Fatal(err)
					}
					table.Delete([]byte(want.key))
				}
			}
		}
	}
	mustAudit(t, table)
}

// A record that a reader holds stays as it was, though the entry is rewritten,
// deleted and compacted away.
func TestHeldRecordNeverChanges(t *testing.T) {
	table := New(maphash.MakeSeed())
	table.Put([]byte("held"), Meta{Version: 1, Order: 0}, []byte("first"))
	held, _ := table.Get([]byte("held"))
	id := table.slabs.tail.id
	for i := range 10_000 {
		table.Put([]byte("held"), Meta{Version: uint64(i + 2)}, value(100))
		table.Put(number(i%50), Meta{Order: uint64(i%50 + 1)}, value(100))
	}
	table.Delete([]byte("held"))
	if table.slabs.dir.Load().at(id) != nil {
		t.Fatal("the first slab is still there: nothing was tested")
	}
	if err := same(held, entry{"held", Meta{Version: 1}, "first"}); err != nil {
		t.Fatal(err)
	}
}

// A value may be passed that lies in the table itself.
func TestPutOfTheTablesOwnMemory(t *testing.T) {
	table := New(maphash.MakeSeed())
	want := "the value that goes round"
	table.Put([]byte("key"), Meta{}, []byte(want))
	for i := range 5000 {
		rec, _ := table.Get([]byte("key"))
		table.Put(rec.Key(), Meta{Version: uint64(i)}, rec.Value())
	}
	if rec, _ := table.Get([]byte("key")); string(rec.Value()) != want {
		t.Fatalf("%q", rec.Value())
	}
}

// Two entries with one order, and records too long to be stated, are faults.
func TestFaultsPanic(t *testing.T) {
	faults := map[string]func(*Table){
		"order taken, sparse": func(t *Table) { t.Put([]byte("b"), Meta{Order: 7}, nil) },
		"order taken, dense":  func(t *Table) { t.Put([]byte("b"), Meta{Order: 400}, nil) },
		"long key":            func(t *Table) { t.Put(value(MaxKeyLen+1), Meta{Order: 1 << 40}, nil) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			table := New(maphash.MakeSeed())
			table.Put([]byte("a"), Meta{Order: 7}, nil)
			if name == "order taken, dense" {
				for i := range maxPairs + 10 {
					table.Put(number(i), Meta{Order: uint64(300 + i)}, nil)
				}
			}
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			fault(table)
		})
	}
}

// One write moves at most four records, however much garbage there is.
func TestWriteMovesFewRecords(t *testing.T) {
	const n = 2000
	table := New(maphash.MakeSeed())
	for i := range n {
		table.Put(number(i), Meta{Order: uint64(i)}, value(100))
	}
	places := func() (all [n]ref) {
		for i := range all {
			all[i] = table.pages.at(uint64(i))
		}
		return all
	}
	most := 0
	for range 400 {
		for range 25 {
			table.Put(number(rand.IntN(n)), Meta{}, value(100))
		}
		before := places()
		table.Put(number(rand.IntN(n)), Meta{}, value(100))
		moved := -1 // the written one
		for i, place := range places() {
			if place != before[i] {
				moved++
			}
		}
		most = max(most, moved)
	}
	if most == 0 || most > maxMoved {
		t.Fatalf("a write moved %d records, want 1 to %d", most, maxMoved)
	}
}

// Garbage stays near its limit through rewrites of every pattern, and what is
// deleted is given back.
func TestGarbageStaysBounded(t *testing.T) {
	const n = 10_000
	patterns := map[string]func(i int) int{
		"at random":   func(int) int { return rand.IntN(n) },
		"in turn":     func(i int) int { return i % n },
		"few of them": func(i int) int { return i * i % 64 * (n / 64) },
	}
	for name, pattern := range patterns {
		t.Run(name, func(t *testing.T) {
			table := New(maphash.MakeSeed())
			for i := range n {
				table.Put(number(i), Meta{Order: uint64(i)}, value(100))
			}
			for i := range 5 * n {
				table.Put(number(pattern(i)), Meta{}, value(100))
			}
			b := table.Bytes()
			// The tail is up to half of its limit above, as a slab is a quarter of live.
			if limit := b.Live * 3 / 5; b.Slabs-b.Live > limit {
				t.Errorf("%+v: %d bytes beside the live ones, want at most %d", b, b.Slabs-b.Live, limit)
			}
			mustAudit(t, table)
			for i := range n {
				table.Delete(number(i))
			}
			if b := table.Bytes(); b.Live != 0 || b.Index > 1024 || b.Total() > maxSlabLen+8<<10 {
				t.Errorf("after deleting all: %+v", b)
			}
			mustAudit(t, table)
		})
	}
}

// An empty table is next to nothing, and one with a few entries is small.
func TestSmallTableIsSmall(t *testing.T) {
	table := New(maphash.MakeSeed())
	if b := table.Bytes(); b.Total() != 0 {
		t.Errorf("empty: %+v", b)
	}
	for i := range 10 {
		table.Put(number(i), Meta{Order: uint64(i)}, value(100))
	}
	if b := table.Bytes(); b.Total() > minSlabLen+1024 {
		t.Errorf("ten entries: %+v", b)
	}
}

// A queue takes memory for what is in it, however many entries have gone through
// and however far their orders lie apart.
func TestQueueStaysFlat(t *testing.T) {
	for _, length := range []int{0, 1, 300, 3000} {
		for _, stride := range []uint64{1, 7, 5000} {
			t.Run(fmt.Sprintf("%d entries %d apart", length, stride), func(t *testing.T) {
				table := New(maphash.MakeSeed())
				most, out := 0, 0
				for in := range 20_000 {
					table.Put(number(in), Meta{Order: uint64(in) * stride}, value(100))
					if table.Len() > length {
						for rec := range table.Ascend(0) {
							if rec.Order() != uint64(out)*stride {
								t.Fatalf("order %d came out, want %d", rec.Order(), uint64(out)*stride)
							}
							table.Delete(rec.Key())
							out++
							break
						}
					}
					most = max(most, table.Bytes().Total())
				}
				if limit := 24<<10 + 260*length; most > limit {
					t.Errorf("took %d bytes, want at most %d", most, limit)
				}
				if root := table.pages.root.Load(); len(root.firsts) > 2 {
					t.Errorf("the page directory has %d leaves", len(root.firsts))
				}
				mustAudit(t, table)
			})
		}
	}
}

// Orders cost 8 bytes an entry where they are dense and at most 32 where they are
// not, whichever way they came to be sparse and in whatever sequence they came.
func TestOrdersCostWhatTheyHold(t *testing.T) {
	const n = 30_000
	cases := map[string]struct {
		order func(i int) uint64
		keep  func(i int) bool
		limit int // bytes an entry
	}{
		"dense":                  {func(i int) uint64 { return uint64(i) }, nil, 9},
		"every third":            {func(i int) uint64 { return uint64(i) * 3 }, nil, 26},
		"every hundredth":        {func(i int) uint64 { return uint64(i) * 100 }, nil, 26},
		"wide apart":             {func(i int) uint64 { return uint64(i) << 40 }, nil, 26},
		"shuffled":               {func(i int) uint64 { return uint64(i*48611) % n }, nil, 9},
		"shuffled, wide apart":   {func(i int) uint64 { return uint64(i*48611) % n << 30 }, nil, 32},
		"falling":                {func(i int) uint64 { return uint64(n-i) * 1000 }, nil, 32},
		"few survive":            {func(i int) uint64 { return uint64(i) }, func(i int) bool { return i%600 == 0 }, 32},
		"the last of each block": {func(i int) uint64 { return uint64(i) }, func(i int) bool { return i%512 > 500 }, 32},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			table := New(maphash.MakeSeed())
			for i := range n {
				table.Put(number(i), Meta{Order: c.order(i)}, nil)
			}
			for i := range n {
				if c.keep != nil && !c.keep(i) {
					table.Delete(number(i))
				}
			}
			// The last page may be dense and almost empty.
			if got := table.Bytes().Pages; got > c.limit*table.Len()+8*blockLen {
				t.Errorf("%d bytes for %d entries, want at most %d an entry", got, table.Len(), c.limit)
			}
			mustAudit(t, table)
		})
	}
}

// A page that was the last one gives up the memory of its dead when orders go on
// in another.
func TestLastPageShrinksWhenLeft(t *testing.T) {
	for _, survivors := range []int{0, 1, 50} {
		table := New(maphash.MakeSeed())
		for i := range 500 {
			table.Put(number(i), Meta{Order: uint64(i)}, nil)
		}
		for i := range 500 - survivors {
			table.Delete(number(i))
		}
		table.Put([]byte("next"), Meta{Order: 600}, nil)
		if got := table.Bytes().Pages; got > 600+24*survivors {
			t.Errorf("%d entries take %d bytes of pages", table.Len(), got)
		}
		mustAudit(t, table)
	}
}

// The directory of pages is full where orders only grow, and shrinks as they go.
func TestPageDirectoryFollowsThePages(t *testing.T) {
	const n = 150_000
	var s pages
	count := func() (leaves, pages int) {
		root := s.root.Load()
		for i := range root.leaves {
			pages += len(root.leaves[i].Load().pages)
		}
		return len(root.leaves), pages
	}
	for i := range uint64(n) {
		s.insert(i<<20, ref(i+1))
	}
	leaves, pages := count()
	if pages < 5*maxLeaf || leaves > pages/maxLeaf+1 {
		t.Errorf("%d leaves for %d pages", leaves, pages)
	}
	survives := func(i uint64) bool { return i%10_000 < 300 }
	for i := range uint64(n) {
		if !survives(i) {
			s.remove(i << 20)
		}
	}
	if leaves, pages = count(); leaves > 2 {
		t.Errorf("%d leaves for the %d pages that are left", leaves, pages)
	}
	for i := range uint64(n) {
		if got := s.at(i << 20); got != 0 && got != ref(i+1) || survives(i) == (got == 0) {
			t.Fatalf("order %d leads to %d", i<<20, got)
		}
	}
}

// The content and its sequence do not depend on the seed of the hash.
func TestSeedDoesNotShow(t *testing.T) {
	content := func() (all []string) {
		table := New(maphash.MakeSeed())
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 10_000 {
			table.Put(number(rnd.IntN(3000)), Meta{Version: uint64(i), Order: uint64(i)}, value(rnd.IntN(50)))
			table.Delete(number(rnd.IntN(3000)))
		}
		for rec := range table.Ascend(0) {
			all = append(all, fmt.Sprint(rec.Key(), rec.Meta(), rec.Value()))
		}
		return all
	}
	if !slices.Equal(content(), content()) {
		t.Fatal("two tables with one history differ")
	}
}

// Numbers of slabs come round to the ones that are free.
func TestSlabNumbersComeRound(t *testing.T) {
	m := newModel()
	m.t.slabs.idMask = 63
	for i := range 30_000 {
		if err := m.put(fmt.Sprint(rand.IntN(200)), Meta{Order: uint64(i)}, string(value(100))); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.check(); err != nil {
		t.Fatal(err)
	}
	if top := len(m.t.slabs.dir.Load().chunks); top != 1 {
		t.Fatalf("slab directory of %d chunks", top)
	}
}

// A reserved index does not grow while the reserved entries are loaded.
func TestReserveSpareGrowth(t *testing.T) {
	const n = 100_000
	table := New(maphash.MakeSeed())
	table.Reserve(n)
	was := table.Bytes().Index
	for i := range n {
		table.Put(number(i), Meta{Order: uint64(i)}, nil)
	}
	if got := table.Bytes().Index; got > was*21/20 {
		t.Errorf("the index grew from %d to %d bytes", was, got)
	}
	if was > 18*n {
		t.Errorf("%d bytes were reserved for %d entries", was, n)
	}
	table.Reserve(10 * n)
	mustAudit(t, table)
}
