package space_test

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// BenchmarkApplyWrite is one replica's work for one write of 16 B + 100 B by a
// client with a session, over 100 thousand keys, trimmed now and then.
func BenchmarkApplyWrite(b *testing.B) {
	p := newPartition(b)
	value := make([]byte, 100)
	c := session(1, 1, 1<<40, space.Op{Code: space.OpWrite, Space: 1, Value: value})
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%012d", i*7919%len(keys))
	}
	var buf []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		c.Sequence, c.Acked = uint64(n), uint64(max(1, n-64))
		c.Ops[0].Key = keys[n%len(keys)]
		buf = c.Append(buf[:0])
		p.ApplyBytes(space.Time(n), buf)
		if n%10_000 == 0 {
			t := space.TrimCommand(space.Trim{Floor: space.Seq(n)})
			p.Apply(space.Time(n), &t)
		}
	}
}

// BenchmarkTakeByTemplate takes and writes back one entry of many by an indexed
// template: the cost must not grow with the number of entries.
func BenchmarkTakeByTemplate(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := newPartition(b)
			for i := range n {
				c := command(fieldsOp(i))
				p.Apply(0, &c)
			}
			take := command(space.Op{Code: space.OpTakeMatch, Space: 2})
			i := 0
			for b.Loop() {
				i++
				take.Ops[0].Template = encode(map[string]any{"a": int64(i % 500)})
				p.Apply(0, &take)
				c := command(fieldsOp(i))
				p.Apply(0, &c)
				if i%10_000 == 0 {
					t := space.TrimCommand(space.Trim{Floor: 1 << 60})
					p.Apply(0, &t)
				}
			}
		})
	}
}

func fieldsOp(i int) space.Op {
	return space.Op{
		Code: space.OpWrite, Space: 2, Key: fmt.Appendf(nil, "k%d", i), Kind: space.KindFields,
		Value: encode(map[string]any{"a": int64(i % 500), "b": int64(i), "c": "some text"}),
	}
}

// BenchmarkHandOut is one take that waits and the write that ends it, beside
// others who wait for other values: the cost must not grow with their number.
func BenchmarkHandOut(b *testing.B) {
	for _, n := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := newPartition(b)
			wait := func(id, sequence uint64, value int) {
				c := session(sequence, sequence, 1<<40, space.Op{
					Code: space.OpTakeMatch, Space: 2, Template: encode(map[string]any{"a": int64(value)}), Wait: 1 << 39,
				})
				c.Session = space.SessionID(id)
				if reply := p.Apply(1, &c); !space.Waits(reply) {
					b.Fatalf("%x", reply)
				}
			}
			for i := range n {
				wait(uint64(i+2), 1, i+1000)
			}
			i := 0
			for b.Loop() {
				i++
				wait(1, uint64(i), i%500)
				c := command(fieldsOp(i))
				p.Apply(1, &c)
				if len(p.Granted()) != 1 {
					b.Fatal("nothing was handed out")
				}
				if i%10_000 == 0 {
					t := space.TrimCommand(space.Trim{Floor: 1 << 60})
					p.Apply(1, &t)
				}
			}
		})
	}
}
