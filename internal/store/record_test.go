package store

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

var (
	goldenRow  = Row{Kind: space.KindFields, Version: 300, Order: 7, Deadline: 1 << 40, Attempts: 2, Value: []byte("value")}
	goldenMark = Mark{
		History: space.History{1, 2, 3}, Seq: 1000, Epoch: 5, Clock: 99, Generation: 4,
		Build: Build{History: space.History{9}, Epoch: 6, Generation: 5},
	}
	goldenSpace = Space{Entries: 300, Definition: space.Definition{
		ID: 17, Name: "seats", Shape: space.ShapeFields, Key: "id", Lease: 1000, ScanLimit: -1,
		Indexes: []space.Index{{Name: "row", Fields: []string{"hall", "row"}}},
	}}
)

// What a store of this format holds, byte for byte. A change here is a new format.
func TestGolden(t *testing.T) {
	markKey := appendMarkKey(nil, 258)
	spaceKey := appendSpaceKey(nil, kindSpace, 258, 4, 17)
	for _, x := range []struct {
		what, want string
		got        []byte
	}{
		{"row key", "640102040000001173656174", appendRowKey(nil, 258, 4, 17, []byte("seat"))},
		{"row", "0101ac02078080808080200276616c7565", goldenRow.append(nil)},
		{"mark key", "770102", markKey},
		{"mark", "0101020300000000000000000000000000e803000000000000050000000000000063000000000000000409000000000000000000000000000000060000000000000005" + "6ea70f55", seal(goldenMark.append(nil), markKey)},
		{"space key", "7301020400000011", spaceKey},
		{"space", "01ac02110573656174730102" + "6964d00f010103726f77020468616c6c03726f77" + "00000000000000" + "3e4b6aa0", seal(goldenSpace.append(nil), spaceKey)},
		{"record key", "6d73696e6b73", metaKey(MetaSinks)},
	} {
		if got := hex.EncodeToString(x.got); got != x.want {
			t.Errorf("%s is\n%s, want\n%s", x.what, got, x.want)
		}
	}
}

// Records read back as they were written, and with any bit changed a sealed one
// does not read back at all.
func TestRecords(t *testing.T) {
	if r, ok := decodeRow(goldenRow.append(nil)); !ok || !equalRows(&r, &goldenRow) {
		t.Errorf("a row reads back as %+v, %v", r, ok)
	}
	if m, ok := decodeMark(goldenMark.append(nil)); !ok || m != goldenMark {
		t.Errorf("a mark reads back as %+v, %v", m, ok)
	}
	if s, ok := decodeSpace(goldenSpace.append(nil)); !ok || !bytes.Equal(s.append(nil), goldenSpace.append(nil)) {
		t.Errorf("a space reads back as %+v, %v", s, ok)
	}
	key := appendMarkKey(nil, 3)
	sealed := seal(goldenMark.append(nil), key)
	for bit := range 8 * len(sealed) {
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, ok := unseal(sealed, key); ok {
			t.Fatalf("with bit %d changed the checksum still holds", bit)
		}
		sealed[bit/8] ^= 1 << (bit % 8)
	}
	if _, ok := unseal(sealed, appendMarkKey(nil, 4)); ok {
		t.Error("a record under another key is not noticed")
	}
	if p, g, id, k, ok := splitRowKey(appendRowKey(nil, 258, 4, 17, []byte("k"))); !ok || p != 258 || g != 4 || id != 17 || string(k) != "k" {
		t.Errorf("a row key reads back as %d %d %d %q %v", p, g, id, k, ok)
	}
	if got := after([]byte{kindData, 0xff, 0xff, 0xff}); !bytes.Equal(got, []byte{kindData + 1}) {
		t.Errorf("the end of the last generation is %x", got)
	}
}

func equalRows(a, b *Row) bool {
	return a.Kind == b.Kind && a.Version == b.Version && a.Order == b.Order && a.Deadline == b.Deadline &&
		a.Attempts == b.Attempts && bytes.Equal(a.Value, b.Value)
}

// Whatever bytes are found, decoding them ends, and what is accepted means the
// same when written again.
func FuzzRecords(f *testing.F) {
	f.Add(goldenRow.append(nil))
	f.Add(goldenMark.append(nil))
	f.Add(goldenSpace.append(nil))
	f.Add(appendRowKey(nil, 1, 2, 3, []byte("key")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := decodeRow(b); ok {
			if again, ok := decodeRow(r.append(nil)); !ok || !equalRows(&again, &r) {
				t.Errorf("row %+v is read again as %+v, %v", r, again, ok)
			}
		}
		if m, ok := decodeMark(b); ok && !bytes.Equal(m.append(nil), b) {
			t.Errorf("mark %+v is written again as other bytes", m)
		}
		if s, ok := decodeSpace(b); ok {
			if again, ok := decodeSpace(s.append(nil)); !ok || !bytes.Equal(again.append(nil), s.append(nil)) {
				t.Errorf("space %+v is read again as %+v, %v", s, again, ok)
			}
		}
		if p, g, id, key, ok := splitRowKey(b); ok && !bytes.Equal(appendRowKey(nil, p, g, id, key), b) {
			t.Errorf("key %x is written again as other bytes", b)
		}
		unseal(b, nil)
	})
}
