package space_test

import (
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// TestSlotsAreThoseOfRedisCluster, so that its clients find the right leader by
// themselves. The vectors are of its specification.
func TestSlotsAreThoseOfRedisCluster(t *testing.T) {
	for _, c := range []struct {
		key  string
		slot uint16
	}{
		{"123456789", 0x31C3 % space.Slots},
		{"", 0},
		{"foo", 12182},
		{"{foo}.bar", 12182},
		{"{user1000}.following", space.Slot([]byte("user1000"))},
		{"foo{}{bar}", space.Slot([]byte("foo{}{bar}"))}, // an empty tag is none
		{"foo{{bar}}zap", space.Slot([]byte("{bar"))},
		{"foo{bar}{zap}", space.Slot([]byte("bar"))},
	} {
		if got := space.Slot([]byte(c.key)); got != c.slot {
			t.Errorf("slot of %q is %d, want %d", c.key, got, c.slot)
		}
	}
	if space.Slot([]byte("foo{}{bar}")) == space.Slot([]byte("bar")) {
		t.Error("an empty tag must not be skipped")
	}
}

// TestPartitionsShareTheSlots: for every count, ranges are contiguous, cover all
// slots and agree with PartitionOfSlot.
func TestPartitionsShareTheSlots(t *testing.T) {
	for _, count := range []int{1, 2, 3, 7, 256, 1000, space.MaxPartitions} {
		next := 0
		for p := range count {
			first, last := space.SlotRange(space.PartitionID(p), count)
			if int(first) != next || last < first {
				t.Fatalf("%d partitions: partition %d has slots %d to %d, want from %d", count, p, first, last, next)
			}
			for _, s := range []uint16{first, last} {
				if got := space.PartitionOfSlot(s, count); int(got) != p {
					t.Fatalf("%d partitions: slot %d is in %d, want %d", count, s, got, p)
				}
			}
			next = int(last) + 1
		}
		if next != space.Slots {
			t.Fatalf("%d partitions cover %d slots", count, next)
		}
	}
}
