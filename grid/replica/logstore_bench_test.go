package replica

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// benchmarkGroup opens a group on a real disk, the one of the temporary folder.
func benchmarkGroup(b *testing.B) *GroupLog {
	s, err := OpenLogStorage(LogStorageConfig{Dir: b.TempDir() + "/log"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { mustClose(b, s) })
	return openTestGroup(b, s, 1)
}

func benchmarkEntries(count, size int) []*raft.Log {
	logs := make([]*raft.Log, count)
	for i := range logs {
		logs[i] = &raft.Log{Term: 1, Data: make([]byte, size)}
	}
	return logs
}

// BenchmarkStoreLogs appends and syncs, and truncates the front as raft does, keeping 1024 entries.
func BenchmarkStoreLogs(b *testing.B) {
	for _, c := range []struct{ count, size int }{{1, 100}, {1, 64 << 10}, {64, 100}} {
		b.Run(fmt.Sprintf("%dx%d", c.count, c.size), func(b *testing.B) {
			g := benchmarkGroup(b)
			next := uint64(1)
			b.SetBytes(int64(c.count * c.size))
			b.ReportAllocs()
			for b.Loop() {
				logs := benchmarkEntries(c.count, c.size)
				for _, log := range logs {
					log.Index = next
					next++
				}
				if err := g.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
				if first, _ := g.FirstIndex(); next-first > 2048 {
					if err := g.DeleteRange(first, next-1025); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkGetLog reads an entry from memory, and from Pebble when it is not there.
func BenchmarkGetLog(b *testing.B) {
	for _, recent := range []int{DefaultRecentEntries, 1} {
		b.Run(fmt.Sprintf("%d in memory", recent), func(b *testing.B) {
			s, err := OpenLogStorage(LogStorageConfig{Dir: b.TempDir() + "/log", RecentEntries: recent})
			if err != nil {
				b.Fatal(err)
			}
			defer mustClose(b, s)
			g := openTestGroup(b, s, 1)
			if err := g.StoreLogs(testEntries(1, 1000, 1)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			index := uint64(0)
			for b.Loop() {
				var log raft.Log
				index = index%999 + 1
				if err := g.GetLog(index, &log); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRing appends to the log in memory, truncating as raft does.
func BenchmarkRing(b *testing.B) {
	r := NewRing(0)
	next := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		logs := benchmarkEntries(64, 100)
		for _, log := range logs {
			log.Index = next
			next++
		}
		if err := r.StoreLogs(logs); err != nil {
			b.Fatal(err)
		}
		if first, _ := r.FirstIndex(); next-first > 2048 {
			if err := r.DeleteRange(first, next-1025); err != nil {
				b.Fatal(err)
			}
		}
	}
}
