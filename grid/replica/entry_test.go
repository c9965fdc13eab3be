package replica

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func entryOf(commands ...[]byte) []byte {
	var w []waiting
	for _, c := range commands {
		w = append(w, waiting{command: c})
	}
	return encodeEntry(w)
}

// The encoding of an entry is what logs on disk hold: it does not change.
func TestEntryEncodingIsFixed(t *testing.T) {
	got := entryOf([]byte("a"), nil, []byte("bc"))
	want := []byte{1, 0x62, 0xc3, 0xe3, 0x0a, 3, 1, 'a', 0, 2, 'b', 'c'}
	if !bytes.Equal(got, want) {
		t.Errorf("entry is % x, want % x", got, want)
	}
}

// What goes into an entry comes out of it, and nothing but all of it does: an
// entry with one bit changed, or cut short, or with more behind it, does not
// verify.
func TestEntriesVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commands := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 20).Draw(t, "commands")
		entry := entryOf(commands...)
		before := [][]byte{[]byte("kept")}
		got, err := decodeEntry(before, entry)
		if err != nil || len(got) != len(commands)+1 {
			t.Fatalf("%d commands came out as %d, %v", len(commands), len(got)-1, err)
		}
		for i, c := range commands {
			if !bytes.Equal(got[i+1], c) {
				t.Fatalf("command %d: %x, want %x", i, got[i+1], c)
			}
		}
		bit := rapid.IntRange(0, 8*len(entry)-1).Draw(t, "bit")
		entry[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeEntry(nil, entry); !errors.Is(err, errEntry) {
			t.Fatalf("bit %d changed: %v", bit, err)
		}
		entry[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeEntry(nil, entry[:rapid.IntRange(0, len(entry)-1).Draw(t, "length")]); !errors.Is(err, errEntry) {
			t.Fatalf("cut short: %v", err)
		}
		if _, err := decodeEntry(nil, append(entry, 0)); !errors.Is(err, errEntry) {
			t.Fatalf("longer: %v", err)
		}
	})
}

// An entry that does not verify stops the member: the others have applied
// something else.
func TestDamagedEntriesStopTheMember(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a damaged entry was applied")
		}
	}()
	entry := entryOf([]byte("a"))
	entry[len(entry)-1]++
	m := newMachine(nil, 1<<20, nil)
	m.ApplyBatch([]*raft.Log{{Index: 1, Type: raft.LogCommand, Data: entry}})
}

// Decoding reads no further than the entry, allocates no more than it holds, and
// accepts only what encodes to as many commands.
func FuzzDecodeEntry(f *testing.F) {
	f.Add(entryOf([]byte("a"), []byte("bc")))
	f.Add(entryOf())
	f.Add([]byte{commandsFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		// Give the fuzzer a way past the checksum.
		if len(b) >= entryHeader {
			b = sealEntry(bytes.Clone(b))
		}
		commands, err := decodeEntry(nil, b)
		if err != nil {
			if commands != nil {
				t.Error("commands beside an error")
			}
			return
		}
		again, err := decodeEntry(nil, entryOf(commands...))
		if err != nil || len(again) != len(commands) {
			t.Errorf("%d commands came out as %d, %v", len(commands), len(again), err)
		}
	})
}
