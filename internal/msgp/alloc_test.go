package msgp

import (
	"math"
	"runtime"
	"testing"
)

// allocated returns the heap bytes that f allocates, freed ones included.
// Tests that call it do not run in parallel.
func allocated(f func()) uint64 {
	const cheap = 1 << 10 // not worth another look
	least := uint64(math.MaxUint64)
	// What the runtime allocates beside it at one time it does not at all times.
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= cheap {
			break
		}
	}
	return least
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
