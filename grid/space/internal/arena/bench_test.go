package arena

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// The benchmarks use keys of 16 bytes and values of 100, written and read at
// random after one untimed load.

func benchKey(buf []byte, i int) []byte {
	buf = binary.BigEndian.AppendUint64(buf[:0], uint64(i))
	return binary.BigEndian.AppendUint64(buf, uint64(i)*0x9e3779b97f4a7c15)
}

func loaded(n int) *Table {
	t := New(maphash.MakeSeed())
	var key, value [100]byte
	for i := range n {
		t.Put(benchKey(key[:], i), Meta{Version: uint64(i), Order: uint64(i)}, value[:])
	}
	return t
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := loaded(n)
			var key [16]byte
			for b.Loop() {
				if _, ok := t.Get(benchKey(key[:], rand.IntN(n))); !ok {
					b.Fatal("lost")
				}
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("rewrite/%d", n), func(b *testing.B) {
			t := loaded(n)
			var key [16]byte
			var value [100]byte
			for b.Loop() {
				t.Put(benchKey(key[:], rand.IntN(n)), Meta{}, value[:])
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		t := New(maphash.MakeSeed())
		var key [16]byte
		var value [100]byte
		for i := 0; b.Loop(); i++ {
			t.Put(benchKey(key[:], i), Meta{Order: uint64(i)}, value[:])
		}
	})
}

// BenchmarkLoadByKey loads entries in the order of their keys, as a store gives
// them, so that their order numbers come shuffled.
func BenchmarkLoadByKey(b *testing.B) {
	const n = 1_000_000
	orders := rand.Perm(n)
	for b.Loop() {
		t := New(maphash.MakeSeed())
		t.Reserve(n)
		var key [16]byte
		var value [100]byte
		for i, o := range orders {
			t.Put(benchKey(key[:], i), Meta{Order: uint64(o)}, value[:])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

func BenchmarkAscend(b *testing.B) {
	const n = 1_000_000
	t := loaded(n)
	for b.Loop() {
		for range t.Ascend(0) {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

func BenchmarkImage(b *testing.B) {
	t := loaded(1_000_000)
	for b.Loop() {
		t.Image()
	}
}

// BenchmarkFiveRewrites writes a million entries and rewrites as many at random
// five times. It reports the heap for each entry before and after, and the longest
// writes.
func BenchmarkFiveRewrites(b *testing.B) {
	const n = 1_000_000
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse)
	}
	for b.Loop() {
		took := make([]time.Duration, 5*n)
		base := heap()
		t := loaded(n)
		b.ReportMetric((heap()-base)/n, "B/entry-fresh")
		var key [16]byte
		var value [100]byte
		begin := time.Now()
		for i := range took {
			was := time.Now()
			t.Put(benchKey(key[:], rand.IntN(n)), Meta{}, value[:])
			took[i] = time.Since(was)
		}
		b.ReportMetric(float64(time.Since(begin).Nanoseconds())/(5*n), "ns/put")
		b.ReportMetric((heap()-base)/n, "B/entry-rewritten")
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)-1].Microseconds()), "µs-worst")
		b.ReportMetric(float64(took[len(took)-len(took)/10_000].Microseconds()), "µs-p99.99")
		runtime.KeepAlive(t)
	}
}
