package arena_test

import (
	"fmt"
	"hash/maphash"

	"github.com/spacegrid/spacegrid/grid/space/internal/arena"
)

// An entry keeps its order through rewrites; an image keeps the content of its
// moment.
func Example() {
	seats := arena.New(maphash.MakeSeed())
	seats.Put([]byte("aisle-1"), arena.Meta{Version: 1, Order: 1}, []byte("free"))
	seats.Put([]byte("aisle-2"), arena.Meta{Version: 2, Order: 2}, []byte("free"))
	before := seats.Image()
	seats.Put([]byte("aisle-1"), arena.Meta{Version: 3}, []byte("sold"))

	for seat := range seats.Ascend(0) {
		fmt.Printf("%s %s, version %d\n", seat.Key(), seat.Value(), seat.Version())
	}
	for seat := range before.Ascend() {
		fmt.Printf("before: %s %s\n", seat.Key(), seat.Value())
	}
	// Output:
	// aisle-1 sold, version 3
	// aisle-2 free, version 2
	// before: aisle-1 free
	// before: aisle-2 free
}
