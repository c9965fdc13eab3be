package space_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// FuzzRestoreTransactions: an export whose transactions are anything, under a right
// checksum, is refused or restored to a partition that works.
func FuzzRestoreTransactions(f *testing.F) {
	const sectionTxns, head = 8, 9
	p := newPartition(f)
	s := stage{f, p, 1}
	leased := put("a", "1")
	leased.Lease = 5
	s.must(command(leased))
	s.must(prepareOps(1, on(space.OpTake, "a"), put("b", "1"), fields("x", map[string]any{"a": int64(1)})))
	s.must(prepareOps(2, on(space.OpCheck, "c"), space.Op{Code: space.OpCheckMatch, Space: 2, Template: encode(map[string]any{"a": int64(2)})}))
	s.must(decideTxn(1, true, 90))
	var out bytes.Buffer
	if err := p.Image().Export(&out); err != nil {
		f.Fatal(err)
	}
	var before, txns, after []byte
	for b := out.Bytes(); len(b) > 0; {
		n := head + int(binary.LittleEndian.Uint32(b[1:]))
		switch {
		case b[0] == sectionTxns:
			txns = b[head:n]
		case txns == nil:
			before = append(before, b[:n]...)
		default:
			after = append(after, b[:n]...)
		}
		b = b[n:]
	}
	if len(txns) == 0 || len(after) == 0 {
		f.Fatal("the export has no transactions")
	}
	f.Add(txns)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		section := binary.LittleEndian.AppendUint32([]byte{sectionTxns}, uint32(len(b)))
		castagnoli := crc32.MakeTable(crc32.Castagnoli)
		sum := crc32.Update(crc32.Checksum(section, castagnoli), castagnoli, b)
		section = append(binary.LittleEndian.AppendUint32(section, sum), b...)
		q, err := space.Restore(bytes.NewReader(bytes.Join([][]byte{before, section, after}, nil)))
		if err != nil {
			return
		}
		if q.Image().Digest() != exported(t, q).Image().Digest() {
			t.Fatal("another digest after an export")
		}
		for _, x := range q.Lapsed(1<<62, 99) {
			if r := apply(t, q, 2, finishTxn(x.Txn, true)); r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
		if s := q.Status(); s.Prepared > 0 {
			t.Fatal("transactions that cannot be finished")
		}
	})
}

// BenchmarkCheckMatch is the longest check of a template that Apply makes.
func BenchmarkCheckMatch(b *testing.B) {
	s := stage{b, newPartition(b), 1}
	check := space.Op{Code: space.OpCheckMatch, Space: 2, Template: encode(map[string]any{"a": int64(7), "b": int64(7)}), Match: s.p.Changelog().Last()}
	for range 4 {
		var ops []space.Op
		for i := range space.MaxOps {
			ops = append(ops, fields(string(rune('a'+i)), map[string]any{"a": int64(1), "b": int64(2), "c": "some text"}))
		}
		s.must(command(ops...))
	}
	c := command(check)
	encoded := c.Append(nil)
	s.must(c)
	for b.Loop() {
		s.p.ApplyBytes(1, encoded)
	}
}

// BenchmarkTransaction is what a participant does for a transaction of two keys.
func BenchmarkTransaction(b *testing.B) {
	s := stage{b, newPartition(b), 1}
	n := uint64(0)
	for b.Loop() {
		n++
		c := prepareOps(n, put("a", "1"), on(space.OpCheck, "b"))
		c.Acked = n
		s.p.Apply(1, &c)
		finish := finishTxn(txn(n), true)
		s.p.Apply(1, &finish)
	}
	if st := s.p.Status(); st.Prepared > 0 || st.Seq < space.Seq(n) {
		b.Fatalf("%+v", st)
	}
}
