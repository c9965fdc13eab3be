package grid

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// maxHinted bounds the filters that a handle remembers anything of. Any other
	// is forgotten for a new one.
	maxHinted = 1024
	// hintWidth is how many partitions are remembered of one filter: enough that
	// many consumers of one kind of entry do not all go to one place.
	hintWidth = 8
	// hintTries bounds the partitions that are asked on a hint before entries are
	// looked for: each that is asked in vain costs a log record.
	hintTries = 2
	// hintLook is how many hand-outs come from a remembered partition for each one
	// that looks for another, as long as there is room to remember it.
	hintLook = 8
)

// hints is where entries that pass a filter were found last. It makes taking the
// next one cheap, and never more than that: what it does not know, or knows
// wrongly, is looked for.
type hints struct {
	mu       sync.Mutex
	byFilter map[string][]space.PartitionID
}

// hintKey returns what entries are remembered by.
func hintKey(o *space.Op) string {
	b := make([]byte, 0, 8+len(o.Template)+len(o.Predicate))
	for _, n := range []int{int(o.Space), len(o.Template)} {
		b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return string(append(append(b, o.Template...), o.Predicate...))
}

// pick returns a partition to ask first; false if it is better to look.
func (h *hints) pick(key string) (space.PartitionID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.byFilter[key]
	if len(known) == 0 || len(known) < hintWidth && rand.IntN(hintLook) == 0 {
		return 0, false
	}
	return known[rand.IntN(len(known))], true
}

// hit remembers that a partition had an entry.
func (h *hints) hit(key string, p space.PartitionID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.byFilter[key]
	if slices.Contains(known, p) || len(known) >= hintWidth {
		return
	}
	if h.byFilter == nil {
		h.byFilter = map[string][]space.PartitionID{}
	}
	if !ok && len(h.byFilter) >= maxHinted {
		for old := range h.byFilter {
			delete(h.byFilter, old)
			break
		}
	}
	h.byFilter[key] = append(known, p)
}

// miss forgets a partition that had none.
func (h *hints) miss(key string, p space.PartitionID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.byFilter[key]
	if i := slices.Index(known, p); i >= 0 {
		known = slices.Delete(known, i, i+1)
	}
	if len(known) == 0 {
		delete(h.byFilter, key)
		return
	}
	h.byFilter[key] = known
}
