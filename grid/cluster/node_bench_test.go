package cluster

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/spacegrid/spacegrid/grid/space"
)

// Writes and reads through the router of a member alone, in memory.
func BenchmarkAlone(b *testing.B) {
	n, err := OpenNode(b.Context(), NodeConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	r := n.Router()
	if err := n.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	def, _ := r.State().Space(DefaultSpace)
	value := make([]byte, 100)
	keys := make([][]byte, 1<<14)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%d", i)
	}
	var next atomic.Uint64
	partition := func(k []byte) space.PartitionID { return space.PartitionOf(k, len(r.State().Table)) }
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				k := keys[next.Add(1)%uint64(len(keys))]
				c := &Call{Partition: partition(k), Ops: []space.Op{{Code: space.OpWrite, Space: def.ID, Key: k, Value: value}}}
				r.Do(b.Context(), []*Call{c})
				if c.Err != nil {
					b.Fatal(c.Err)
				}
			}
		})
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				k := keys[next.Add(1)%uint64(len(keys))]
				l := &Lookup{Get: Get{Partition: partition(k), Space: def.ID, Key: k}}
				r.Read(b.Context(), Linearizable, []*Lookup{l})
				if l.Err != nil || l.Found.Code != space.OK {
					b.Fatal(l.Err, l.Found.Code)
				}
			}
		})
	})
}
