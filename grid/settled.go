package grid

import (
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
)

// settled is where a watch stands according to the loop over its events: behind
// every event that the loop has dealt with, and behind no other.
type settled struct {
	mu sync.Mutex
	at map[space.PartitionID]space.Position
}

// Settled returns the position after the last events that the loop over Events
// is done with. Unlike everything else of a Watcher it may be called by any
// goroutine, for example to note the position of a watch that rests. It may lag
// behind Cursor and never leads to a gap. Empty until every partition is past
// its snapshot.
func (w *Watcher) Settled() Cursor {
	w.settled.mu.Lock()
	defer w.settled.mu.Unlock()
	if len(w.settled.at) < len(w.req.From) {
		return ""
	}
	return encodeCursor(w.def.ID, w.settled.at, len(w.req.From))
}

// settle notes that the loop is done with all events of one item.
func (w *Watcher) settle(p space.PartitionID) {
	w.settled.mu.Lock()
	defer w.settled.mu.Unlock()
	if at, ok := w.at[p]; ok {
		w.settled.at[p] = at
	} else {
		delete(w.settled.at, p)
	}
}
