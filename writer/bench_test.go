package writer_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/store"
	"github.com/spacegrid/spacegrid/reader"
	"github.com/spacegrid/spacegrid/writer"
)

const (
	benchPartitions = 64
	benchKeys       = 5_000_000
	benchValue      = 100 // bytes
	benchShare      = datapump.DefaultBatchChanges / benchPartitions
)

// endless is a partition that always has more changes: overwrites of uniformly
// drawn keys, 16 bytes long.
type endless struct {
	id      space.PartitionID
	rng     *rand.Rand
	value   []byte
	changes []space.Change
}

func newEndless(id space.PartitionID) *endless {
	e := &endless{id: id, rng: newRand(uint64(id)), value: make([]byte, benchValue)}
	for i := range e.value {
		e.value[i] = byte(e.rng.Uint32()) & 15 // compresses to about half
	}
	def := space.Definition{ID: 1, Name: "default"}
	e.changes = []space.Change{{Seq: 1, Op: space.Defined, Space: 1, Value: space.AppendDefinition(nil, &def)}}
	return e
}

func (e *endless) key() []byte {
	k := make([]byte, 16)
	binary.BigEndian.PutUint64(k[8:], e.rng.Uint64N(benchKeys/benchPartitions))
	return k
}

func (e *endless) Describe() datapump.Description {
	return datapump.Description{History: space.History{1}, Epoch: 1, Last: 1 << 40}
}

func (e *endless) Read(dst []space.Change, after space.Seq, _ int) ([]space.Change, error) {
	if after == 0 {
		return append(dst, e.changes[0]), nil
	}
	for i := range space.Seq(benchShare) {
		dst = append(dst, space.Change{
			Seq: after + i + 1, Op: space.Updated, Space: 1, Order: 1, Previous: 1, Key: e.key(), Value: e.value,
		})
	}
	return dst, nil
}

func (e *endless) Cut(context.Context) (datapump.Cut, error) { panic("never trimmed") }

// The pump into a store on disk, and plain Pebble batches of the same changes
// and the same size, each synced, in the same run: changes per second over the
// benchmark's time (-benchtime 5s).
func BenchmarkPump(b *testing.B) {
	b.Run("pump", func(b *testing.B) {
		s, err := store.Open(store.Config{Dir: b.TempDir(), OnFatal: func(err error) { b.Error(err) }})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		var durable atomic.Int64
		target := make(chan struct{}, 1)
		p, err := datapump.Open(datapump.Config{Sink: writer.New(s, nil), BatchBytes: 1 << 20, OnDurable: func(datapump.Watermark) {
			if durable.Add(benchShare) >= int64(b.N) {
				select {
				case target <- struct{}{}:
				default:
				}
			}
		}})
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for id := range space.PartitionID(benchPartitions) {
			if err := p.Add(id, newEndless(id)); err != nil {
				b.Fatal(err)
			}
		}
		<-target
		b.StopTimer()
		st := p.Status().Stats
		p.Close()
		b.ReportMetric(float64(st.Read)/float64(st.Batches), "changes/batch")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	})
	b.Run("pebble", func(b *testing.B) {
		db, err := pebble.Open(b.TempDir(), rawOptions())
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		src := newEndless(0)
		var changes []space.Change
		var key []byte
		b.ResetTimer()
		for n := 0; n < b.N; {
			batch := db.NewBatch()
			for id := range uint16(benchPartitions) {
				changes, _ = src.Read(changes[:0], 1, 0)
				for i := range changes {
					key = append(binary.BigEndian.AppendUint16(append(key[:0], 'd'), id), changes[i].Key...)
					if err := batch.Set(key, changes[i].Value, nil); err != nil {
						b.Fatal(err)
					}
				}
				n += len(changes)
			}
			if err := batch.Commit(pebble.Sync); err != nil {
				b.Fatal(err)
			}
			batch.Close()
		}
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	})
}

func rawOptions() *pebble.Options {
	o := &pebble.Options{
		MemTableSize: store.DefaultMemTableBytes, MemTableStopWritesThreshold: 4, L0CompactionThreshold: 4,
		L0StopWritesThreshold: 24, CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		FormatMajorVersion: pebble.FormatNewest, WALBytesPerSync: 512 << 10, Logger: quiet{},
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(f) }

// Loading all partitions of a store on disk, against walking over its rows.
func BenchmarkLoad(b *testing.B) {
	const entries = 400_000
	dir := b.TempDir()
	s, err := store.Open(store.Config{Dir: dir, OnFatal: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	histories := map[space.PartitionID]space.History{}
	for id := range space.PartitionID(8) {
		fillPartition(b, s, id, entries/8)
		histories[id] = space.History{2}
	}
	s.Close() // flushes
	if s, err = store.Open(store.Config{Dir: dir, OnFatal: func(err error) { b.Error(err) }}); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := reader.New(s)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if err := r.LoadAll(b.Context(), histories, runtime.GOMAXPROCS(0), func(*space.Partition) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("iterate, one goroutine", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for id := range histories {
				if _, err := r.Scan(b.Context(), id, func(space.ID, space.Entry) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			if n != entries {
				b.Fatalf("%d rows", n)
			}
		}
		b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}

func fillPartition(b *testing.B, s *store.Store, id space.PartitionID, entries int) {
	def := space.Definition{ID: 1, Name: "default"}
	w := writer.New(s, nil)
	r, err := w.BeginResync(b.Context(), datapump.Target{
		Fence: datapump.Fence{Partition: id, History: space.History{1}, Epoch: 1}, Seq: space.Seq(entries), Clock: space.Time(time.Hour),
	})
	if err != nil {
		b.Fatal(err)
	}
	value := newEndless(id).value
	chunk := make([]space.Entry, 0, 4096)
	for i := range entries {
		key := binary.BigEndian.AppendUint64(make([]byte, 8, 16), uint64(i)*0x9e3779b97f4a7c15)
		chunk = append(chunk, space.Entry{Key: key, Value: value, Version: space.Seq(i + 1), Order: uint64(i + 1)})
		if len(chunk) == cap(chunk) || i+1 == entries {
			if err := r.Write(b.Context(), &def, chunk); err != nil {
				b.Fatal(err)
			}
			chunk = chunk[:0]
		}
	}
	if err := r.Finish(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
}
