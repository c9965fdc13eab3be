package msgp

import (
	"runtime"
	"testing"
)

// allocated returns the heap bytes that f allocates, freed ones included.
// Tests that call it do not run in parallel.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// ticket is a typical entry: 8 fields in 134 bytes.
func ticket(t testing.TB) []byte {
	t.Helper()
	b, err := AppendValue(nil, map[string]any{
		"id":      "0f8a7c11-5b0e-4f6e-9c57",
		"event":   "berlin-2026-07-04",
		"block":   "south-12",
		"row":     27,
		"seat":    1411,
		"price":   89.5,
		"holder":  "customer-00418277",
		"updated": uint64(1767322800123),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
