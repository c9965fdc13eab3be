package replica

import "github.com/hashicorp/raft"

const (
	// entryOverheadBytes is counted for each entry in memory beside its data: the raft.Log itself and its slice headers.
	entryOverheadBytes = 112
	// ringSlotsMin is the smallest number of slots, so that a short log does not grow and shrink for ever.
	ringSlotsMin = 64
)

// entryRing holds consecutive log entries in memory, the newest at the back. Its zero value is empty. It shares the bytes of the
// entries with whoever stored them. Not safe for concurrent use.
type entryRing struct {
	slots []raft.Log // len is a power of two
	head  int        // slot of the oldest entry
	count int
	bytes int64
}

func entryBytes(log *raft.Log) int64 {
	return int64(len(log.Data)+len(log.Extensions)) + entryOverheadBytes
}

func (r *entryRing) at(i int) *raft.Log { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

// first returns the index of the oldest entry, 0 if there is none.
func (r *entryRing) first() uint64 {
	if r.count == 0 {
		return 0
	}
	return r.at(0).Index
}

// last returns the index of the newest entry, 0 if there is none.
func (r *entryRing) last() uint64 {
	if r.count == 0 {
		return 0
	}
	return r.at(r.count - 1).Index
}

// get fills log with the entry at index, if it is held.
func (r *entryRing) get(index uint64, log *raft.Log) bool {
	if r.count == 0 || index < r.first() || index > r.last() {
		return false
	}
	*log = *r.at(int(index - r.first()))
	return true
}

// push appends log, which must follow the newest entry.
func (r *entryRing) push(log *raft.Log) {
	if r.count > 0 && log.Index != r.last()+1 {
		panic("replica: entries in memory must be consecutive")
	}
	if r.count == len(r.slots) {
		r.resize(max(ringSlotsMin, 2*len(r.slots)))
	}
	r.count++
	*r.at(r.count - 1) = *log
	r.bytes += entryBytes(log)
}

// evict drops the oldest entries until at most entries and bytes are held, but keeps the newest one.
func (r *entryRing) evict(entries int, bytes int64) {
	for r.count > 1 && (r.count > entries || r.bytes > bytes) {
		r.dropOldest()
	}
}

// dropThrough drops the entries up to and including index.
func (r *entryRing) dropThrough(index uint64) {
	for r.count > 0 && r.first() <= index {
		r.dropOldest()
	}
	r.shrink()
}

// dropFrom drops the entries from index on.
func (r *entryRing) dropFrom(index uint64) {
	for r.count > 0 && r.last() >= index {
		newest := r.at(r.count - 1)
		r.bytes -= entryBytes(newest)
		*newest = raft.Log{} // Lets go of the data.
		r.count--
	}
	r.shrink()
}

func (r *entryRing) dropOldest() {
	oldest := r.at(0)
	r.bytes -= entryBytes(oldest)
	*oldest = raft.Log{} // Lets go of the data.
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.count--
}

// shrink gives memory back once three quarters of the slots are free.
func (r *entryRing) shrink() {
	slots := len(r.slots)
	for slots > ringSlotsMin && r.count <= slots/4 {
		slots /= 2
	}
	if slots < len(r.slots) {
		r.resize(slots)
	}
}

func (r *entryRing) resize(slots int) {
	grown := make([]raft.Log, slots)
	for i := range r.count {
		grown[i] = *r.at(i)
	}
	r.slots, r.head = grown, 0
}
