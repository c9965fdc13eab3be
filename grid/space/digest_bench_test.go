package space_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

// filled returns a partition with entries of 16 B + 100 B.
func filled(b *testing.B, entries int) *space.Partition {
	p := newPartition(b)
	value := make([]byte, 100)
	for i := range entries {
		c := command(space.Op{Code: space.OpWrite, Space: 1, Key: fmt.Appendf(nil, "key-%012d", i), Value: value})
		p.Apply(0, &c)
		if i%10_000 == 0 {
			t := space.TrimCommand(space.Trim{Floor: 1 << 60})
			p.Apply(0, &t)
		}
	}
	return p
}

// crowded returns a partition whose tables are full: kept answers, claims, waiting
// commands and outcomes of transactions.
func crowded(b *testing.B) *space.Partition {
	const claims, waiters, sessions, window, outcomes = 1 << 18, 16384, 16384, 4, 65536
	p := filled(b, 0)
	fail := func(what string, reply []byte) {
		if r, err := space.DecodeReply(reply); err != nil || r.Code != space.OK && r.Code != space.CodeWaiting {
			b.Fatalf("%s: %v %v %v", what, r.Code, r.Results, err)
		}
	}
	for i := range claims {
		key := fmt.Appendf(nil, "k%d", i)
		c := command(space.Op{Code: space.OpWrite, Space: 1, Key: key, Value: key}, space.Op{Code: space.OpClaim, Space: 1, Key: key, Lease: time.Hour})
		fail("claim", p.Apply(0, &c))
	}
	for i := range outcomes {
		c := command(space.Op{Code: space.OpDecide, Flags: space.FlagCommit, Txn: space.TxnID{Session: 1, Number: uint64(i + 1)},
			Target: uint64(time.Hour), Value: space.AppendPartitions(nil, []space.PartitionID{1, 2})})
		fail("decide", p.Apply(0, &c))
	}
	big := command(space.Op{Code: space.OpWrite, Space: 1, Key: []byte("answer"), Value: bytes.Repeat([]byte("x"), 900)})
	fail("write", p.Apply(0, &big))
	for i := range sessions {
		for n := range uint64(window) {
			op := space.Op{Code: space.OpRead, Space: 1, Key: []byte("answer")}
			if n == 0 {
				op = space.Op{Code: space.OpTake, Space: 1, Key: fmt.Appendf(nil, "wanted%d", i), Wait: time.Hour}
			}
			c := session(n+1, 1, space.Time(time.Hour), op)
			c.Session = space.SessionID(i + 1)
			fail("ask", p.Apply(0, &c))
		}
	}
	t := space.TrimCommand(space.Trim{Floor: 1 << 60})
	p.Apply(0, &t)
	return p
}

// BenchmarkImage is how long the goroutine that applies stands still while an image
// is cut, and what the first writes after it cost.
func BenchmarkImage(b *testing.B) {
	for _, c := range []struct {
		name string
		p    func(*testing.B) *space.Partition
	}{
		{"100k", func(b *testing.B) *space.Partition { return filled(b, 100_000) }},
		{"1M", func(b *testing.B) *space.Partition { return filled(b, 1_000_000) }},
		{"full tables", crowded},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := c.p(b)
			var worst time.Duration
			b.ReportAllocs()
			for b.Loop() {
				begun := time.Now()
				p.Image()
				worst = max(worst, time.Since(begun))
			}
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}

// BenchmarkDigest is what the digest of an image costs beside Apply.
func BenchmarkDigest(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			img := filled(b, n).Image()
			b.SetBytes(int64(n) * 116)
			for b.Loop() {
				img.Digest()
			}
		})
	}
}

// BenchmarkFirstWrites is what a command costs while every one of them is the first
// to touch its part of full tables after a cut.
func BenchmarkFirstWrites(b *testing.B) {
	p := crowded(b)
	n := uint64(4)
	for b.Loop() {
		b.StopTimer()
		p.Image()
		n++
		b.StartTimer()
		c := session(n, 1, space.Time(time.Hour), space.Op{Code: space.OpRead, Space: 1, Key: []byte("answer")})
		c.Session = space.SessionID(n*7919%16384 + 1)
		c.Sequence = 5 + n/16384
		p.Apply(0, &c)
		d := command(space.Op{Code: space.OpDecide, Flags: space.FlagSettled, Txn: space.TxnID{Session: 1, Number: n%65536 + 1}, Lease: time.Minute})
		p.Apply(0, &d)
	}
}
