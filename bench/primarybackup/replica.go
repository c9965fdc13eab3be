package primarybackup

import (
	"bytes"
	"sync"
)

// replica is one copy of the data.
type replica struct {
	mu struct {
		sync.Mutex
		entries map[string][]byte
	}
}

func newReplica() *replica {
	r := &replica{}
	r.mu.entries = map[string][]byte{}
	return r
}

// putLocked copies a write into the data. mu must be held.
func (r *replica) putLocked(key, value []byte) {
	r.mu.entries[string(key)] = bytes.Clone(value)
}

// get returns a copy of a value, nil if there is none.
func (r *replica) get(key []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.mu.entries[string(key)])
}
