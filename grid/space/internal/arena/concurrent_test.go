package arena

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// ledger says, for each key, which write of it has begun and which is done. A
// reader that finds the two equal around its read knows what it must have read.
type ledger struct {
	begun, done []atomic.Uint64
}

// gone marks the version of a delete.
const gone = 1 << 63

// valueOf derives a value from key and version, so that a torn or foreign record
// shows.
func valueOf(key, version uint64) []byte {
	x := key*0x9e3779b97f4a7c15 ^ version*0xff51afd7ed558ccd
	n := x >> 40 % 150
	if x%500 == 0 {
		n = ownSlabLen + x%1000
	}
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, x), int(n)/8+1)[:n]
}

func checkRecord(rec Record) error {
	key, version := binary.BigEndian.Uint64(rec.Key()), rec.Version()
	if !bytes.Equal(rec.Value(), valueOf(key, version)) {
		return fmt.Errorf("key %d version %d has a foreign value", key, version)
	}
	if rec.Extra() != key^version {
		return fmt.Errorf("key %d version %d has extra %d", key, version, rec.Extra())
	}
	return nil
}

// Readers beside the writer never miss an entry, never see one that is gone, an
// older version than was written before they began, or a torn record: through
// growth, splits, deletes, compaction and images.
func TestReadersBesideTheWriter(t *testing.T) {
	const (
		keys   = 6000
		stable = 500 // keys that are written first and never deleted
		writes = 60_000
	)
	table := New(maphash.MakeSeed())
	l := ledger{make([]atomic.Uint64, keys), make([]atomic.Uint64, keys)}
	var (
		readers  sync.WaitGroup
		ready    sync.WaitGroup
		finished atomic.Bool
		reads    [2]atomic.Int64
		images   = make(chan cut)
	)
	version := uint64(0)
	put := func(key int) {
		version++
		l.begun[key].Store(version)
		// Keys reappear with a new, higher order.
		table.Put(number(key), Meta{Version: version, Order: version, Extra: uint64(key) ^ version}, valueOf(uint64(key), version))
		l.done[key].Store(version)
	}
	for key := range stable {
		put(key)
	}

	read := func(n int, once func(rnd *rand.Rand) error) {
		ready.Add(1)
		readers.Go(func() {
			ready.Done()
			rnd := rand.New(rand.NewPCG(uint64(n), 7))
			for !finished.Load() {
				if err := once(rnd); err != nil {
					t.Error(err)
					return
				}
				reads[n].Add(1)
			}
		})
	}
	read(0, func(rnd *rand.Rand) error {
		key := rnd.IntN(keys)
		before := l.done[key].Load()
		rec, ok := table.Get(number(key))
		unchanged := l.begun[key].Load() == before
		switch absent := before == 0 || before&gone != 0; {
		case ok && checkRecord(rec) != nil:
			return checkRecord(rec)
		case ok && rec.Version() < before&^gone:
			return fmt.Errorf("key %d: version %d, after %d was written", key, rec.Version(), before)
		case unchanged && ok == absent:
			return fmt.Errorf("key %d: found %v, while its last write was %#x", key, ok, before)
		case ok:
			// The entry may have gone meanwhile, but its order leads to no other.
			if again, ok := table.ByOrder(rec.Order()); ok && !bytes.Equal(again.Key(), rec.Key()) {
				return fmt.Errorf("order %d leads from %x to %x", rec.Order(), rec.Key(), again.Key())
			}
		}
		return nil
	})
	read(1, func(rnd *rand.Rand) error {
		seen, last := 0, int64(-1)
		for rec := range table.Ascend(0) {
			if int64(rec.Order()) <= last {
				return fmt.Errorf("order %d after %d", rec.Order(), last)
			}
			last = int64(rec.Order())
			if err := checkRecord(rec); err != nil {
				return err
			}
			if rec.Order() <= stable {
				seen++
			}
		}
		if b := table.Bytes(); b.Live <= 0 || b.Garbage < 0 || b.Slabs <= 0 {
			return fmt.Errorf("sizes are off: %+v", b)
		}
		if seen != stable {
			return fmt.Errorf("a walk met %d of %d entries that were there all the while", seen, stable)
		}
		return nil
	})
	readers.Go(func() {
		for c := range images {
			if err := sameAll(c.image.Ascend(), c.want); err != nil {
				t.Errorf("image: %v", err)
			}
		}
	})

	ready.Wait()
	rnd := rand.New(rand.NewPCG(3, 3))
	for i := range writes {
		// The keys in play grow, so that segments split all the way.
		inPlay := stable + (keys-stable)*(i+1)/writes
		key := rnd.IntN(inPlay)
		if key >= stable && rnd.IntN(3) == 0 {
			version++
			l.begun[key].Store(version | gone)
			table.Delete(number(key))
			l.done[key].Store(version | gone)
		} else {
			put(key)
		}
		if i%2000 == 0 {
			c := cut{image: table.Image()}
			for rec := range table.Ascend(0) {
				c.want = append(c.want, entry{string(rec.Key()), rec.Meta(), string(rec.Value())})
			}
			images <- c
		}
	}
	// On two busy cores a reader may not have had its turn yet.
	for reads[0].Load() == 0 || reads[1].Load() == 0 {
		if put(rnd.IntN(stable)); t.Failed() {
			break
		}
	}
	finished.Store(true)
	close(images)
	readers.Wait()
	mustAudit(t, table)
}

// A reader that comes across a reference whose slab has gone looks again, until it
// finds where the record is now.
func TestReaderLooksAgainWhenTheSlabIsGone(t *testing.T) {
	table := New(maphash.MakeSeed())
	table.Put([]byte("key"), Meta{Order: 7}, nil)
	p := table.index.find([]byte("key"))
	c := table.pages.root.Load().find(7)
	slot, _ := c.page().search(7)
	nowhere := makeRef(1<<20, 0)
	reads := map[string]func() (Record, bool){
		"by key":   func() (Record, bool) { return table.Get([]byte("key")) },
		"by order": func() (Record, bool) { return table.ByOrder(7) },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			// Whether the reader meets the dead reference depends on the scheduler:
			// in a hundred rounds it does.
			for range 100 {
				p.set(nowhere)
				c.page().store(slot, nowhere)
				begun, found := make(chan bool), make(chan bool)
				go func() {
					begun <- true
					_, ok := read()
					found <- ok
				}()
				<-begun
				for range 10 {
					runtime.Gosched()
				}
				p.set(p.ref)
				c.page().store(slot, p.ref)
				if !<-found {
					t.Fatal("the entry was there all the while and was not found")
				}
			}
		})
	}
}
