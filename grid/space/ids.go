package space

import (
	"encoding/hex"
	"fmt"
	"math"
	"time"
)

// PartitionID names one of the partitions of a grid, counted from 0.
type PartitionID uint16

// ID names a space inside a grid. It is given out once, when the space is
// created, and never reused, so that a dropped and recreated space of the same
// name is another space. 0 is no space.
type ID uint32

// Seq numbers the changes of one partition, without gaps, from 1. The version
// of an entry is the Seq of the change that made it; 0 is "no version".
type Seq uint64

// Epoch counts the leaderships of a partition. It is part of the partition's
// state, is raised by the first command of a new leader and fences what an
// older leader may still have on its way to a store.
type Epoch uint64

// SessionID names a client's session, drawn at random by the client. 0 marks a
// command of the grid itself, which is never repeated and keeps no answer.
type SessionID uint64

// History names one sequence of changes. It is unguessable and new only when a
// partition is bootstrapped, started cold from a store, or declared to have
// lost changes; two histories are never comparable by Seq.
type History [16]byte

// IsZero reports whether h is unset.
func (h History) IsZero() bool { return h == History{} }

// String returns h in hexadecimal.
func (h History) String() string { return hex.EncodeToString(h[:]) }

// ParseHistory reads the form that String writes.
func ParseHistory(s string) (History, error) {
	var h History
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("space: %q is not a history: want %d hexadecimal digits", s, 2*len(h))
	}
	copy(h[:], b)
	return h, nil
}

// Time is a moment on a partition's clock, in nanoseconds since the partition
// began. The leader advances it and stamps it into commands; it never goes back
// and stands still while the partition has no leader.
type Time int64

// Never is the deadline of an entry whose lease does not end.
const Never Time = 0

// Add returns t moved by d, without overflow.
func (t Time) Add(d time.Duration) Time {
	if d > 0 && t > math.MaxInt64-Time(d) {
		return math.MaxInt64
	}
	return t + Time(d)
}

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Slots is the number of hash slots, the same as in Redis Cluster so that its
// clients compute the same slot.
const Slots = 16384

// MaxPartitions bounds the partition count of a grid: a partition is at least
// one slot wide.
const MaxPartitions = Slots

// Slot returns the hash slot of a key: CRC16 (XMODEM) of the key, or of the
// part between the first '{' and the next '}' when that part is not empty.
func Slot(key []byte) uint16 { return crc16(hashTag(key)) % Slots }

// PartitionOf returns the partition that holds a key in a grid of count
// partitions. A partition is a contiguous range of slots.
func PartitionOf(key []byte, count int) PartitionID {
	return PartitionOfSlot(Slot(key), count)
}

// PartitionOfSlot returns the partition that holds a slot in a grid of count
// partitions.
func PartitionOfSlot(slot uint16, count int) PartitionID {
	return PartitionID(int(slot) * count / Slots)
}

// SlotRange returns the first and last slot of a partition.
func SlotRange(p PartitionID, count int) (first, last uint16) {
	lo := (int(p)*Slots + count - 1) / count
	hi := ((int(p)+1)*Slots + count - 1) / count
	return uint16(lo), uint16(hi - 1)
}

func hashTag(key []byte) []byte {
	for i, c := range key {
		if c != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j == i+1 {
					return key
				}
				return key[i+1 : j]
			}
		}
		return key
	}
	return key
}

// crc16Table holds CRC16 with polynomial 0x1021, initial value 0, no reflection
// (the variant known as XMODEM).
var crc16Table = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc16(b []byte) uint16 {
	var c uint16
	for _, x := range b {
		c = c<<8 ^ crc16Table[byte(c>>8)^x]
	}
	return c
}
