package space_test

import (
	"fmt"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// BenchmarkChange is one replica's work for one change, the command's decoding,
// the entry's storing and its change for the changelog included. A push onto an
// array is taken back by an unset, so that the array keeps its size.
func BenchmarkChange(b *testing.B) {
	fields := func(n int) map[string]any {
		m := map[string]any{}
		for i := range n {
			m[fmt.Sprintf("field-%02d", i)] = int64(i)
		}
		return m
	}
	nested := fields(4)
	nested["in"] = map[string]any{"side": fields(4)}
	list := make([]any, 1000)
	for i := range list {
		list[i] = int64(i)
	}
	long := fields(4)
	long["list"] = list
	var sets []space.Mutation
	for i := range 50 {
		sets = append(sets, at(space.MutSet, fmt.Sprintf("field-%02d", 49-i), int64(i)))
	}
	for _, bench := range []struct {
		name  string
		value map[string]any
		ms    []space.Mutation
	}{
		{"add/4 fields", fields(4), []space.Mutation{at(space.MutAdd, "field-02", int64(1))}},
		{"add/64 fields", fields(64), []space.Mutation{at(space.MutAdd, "field-32", int64(1))}},
		{"add/nested", nested, []space.Mutation{at(space.MutAdd, "in.side.field-02", int64(1))}},
		{"add/bounded", fields(4), []space.Mutation{bounded(at(space.MutAdd, "field-02", int64(1)), int64(0), nil)}},
		{"push/1000 elements", long, []space.Mutation{at(space.MutPush, "list", int64(7)), at(space.MutUnset, "list.1000", nil)}},
		{"insert/1000 elements", long, []space.Mutation{at(space.MutInsert, "list", int64(999))}},
		{"set/50 of 64 fields", fields(64), sets},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := newPartition(b)
			apply(b, p, 1, command(space.Op{Code: space.OpWrite, Space: 1, Key: []byte("k"), Kind: space.KindFields, Value: encode(bench.value)}))
			c := command(space.Op{Code: space.OpChange, Space: 1, Key: []byte("k"), Mutations: bench.ms})
			if r := apply(b, p, 1, c); r.Code != space.OK {
				b.Fatal(r.Results[0].Code)
			}
			buf := c.Append(nil)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				p.ApplyBytes(1, buf)
				if n++; n%1000 == 0 {
					t := space.TrimCommand(space.Trim{Floor: 1 << 60})
					p.Apply(1, &t)
				}
			}
		})
	}
}
