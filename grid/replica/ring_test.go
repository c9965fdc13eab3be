package replica

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

func ringEntry(index uint64, size int) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Data: make([]byte, size-entryOverheadBytes)}
}

func TestRingIsBounded(t *testing.T) {
	// At its limit the ring refuses entries and keeps what it has; raft's truncation makes room; an empty one takes any entry.
	r := NewRing(10_000)
	if r.Limit() != 10_000 {
		t.Fatalf("limit %d", r.Limit())
	}
	for index := uint64(1); index <= 10; index++ {
		if err := r.StoreLog(ringEntry(index, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.StoreLog(ringEntry(11, entryOverheadBytes)); !errors.Is(err, ErrRingFull) {
		t.Fatalf("append above the limit: %v, want ErrRingFull", err)
	}
	if last, _ := r.LastIndex(); last != 10 || r.Bytes() != 10_000 {
		t.Fatalf("after a refusal: last %d, %d bytes", last, r.Bytes())
	}
	if err := r.DeleteRange(1, 4); err != nil {
		t.Fatal(err)
	}
	if err := r.StoreLogs([]*raft.Log{ringEntry(11, 2000), ringEntry(12, 2000)}); err != nil || r.Bytes() != 10_000 {
		t.Fatalf("append after truncation: %v, %d bytes", err, r.Bytes())
	}
	if err := r.DeleteRange(1, 12); err != nil || r.Bytes() != 0 {
		t.Fatalf("emptied: %v, %d bytes", err, r.Bytes())
	}
	if err := r.StoreLog(ringEntry(13, 50_000)); err != nil {
		t.Fatalf("large entry into an empty ring: %v", err)
	}
}

func TestEntryRingLetsGo(t *testing.T) {
	// What is dropped is no longer referenced, and slots are given back: a burst must not keep its memory for ever.
	var r entryRing
	for index := uint64(1); index <= 5000; index++ {
		r.push(ringEntry(index, 200))
	}
	if len(r.slots) != 8192 || r.bytes != 5000*200 {
		t.Fatalf("%d slots, %d bytes", len(r.slots), r.bytes)
	}
	r.dropThrough(4000)
	r.dropFrom(4101)
	if len(r.slots) >= 1024 || r.count != 100 || r.bytes != 100*200 {
		t.Errorf("%d slots, %d entries, %d bytes", len(r.slots), r.count, r.bytes)
	}
	referenced := 0
	for _, slot := range r.slots {
		if slot.Data != nil {
			referenced++
		}
	}
	if referenced != 100 {
		t.Errorf("%d slots hold data, want 100", referenced)
	}
	r.evict(10, 1<<20)
	if r.first() != 4091 || r.count != 10 {
		t.Errorf("after evicting by count: first %d, %d entries", r.first(), r.count)
	}
	r.evict(10, 1)
	if r.first() != 4100 || r.count != 1 {
		t.Errorf("after evicting by bytes: first %d, %d entries; the newest must stay", r.first(), r.count)
	}
}
