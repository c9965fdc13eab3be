package pumpfaults

import (
	"sync"

	"github.com/spacegrid/spacegrid/grid"
)

// record is what was acknowledged to clients.
type record struct {
	mu    sync.Mutex
	keys  map[string]*keyRecord
	acked int
	// wrong counts answers that contradict earlier ones.
	wrong int
}

// keyRecord is what one client knows of a key that only it writes.
type keyRecord struct {
	versions []grid.Version // of the acknowledged writes, ascending
	gone     bool           // its removal was acknowledged
	// doubt: the last request was not answered. If it was a removal, the entry may be
	// gone, otherwise it may be newer. Nothing is asked of the key any more.
	doubt, doubtGone bool
}

func (k *keyRecord) last() grid.Version {
	if len(k.versions) == 0 {
		return 0
	}
	return k.versions[len(k.versions)-1]
}

func newRecord() *record { return &record{keys: map[string]*keyRecord{}} }

func (r *record) with(key string, do func(*keyRecord)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keys[key]
	if k == nil {
		k = &keyRecord{}
		r.keys[key] = k
	}
	do(k)
}

// wrote notes an acknowledged write.
func (r *record) wrote(key string, v grid.Version) {
	r.with(key, func(k *keyRecord) {
		r.acked++
		if v <= k.last() {
			r.wrong++
		}
		k.versions = append(k.versions, v)
	})
}

// removed notes an acknowledged removal, which was to find the entry.
func (r *record) removed(key string, found bool) {
	r.with(key, func(k *keyRecord) {
		r.acked++
		if !found {
			r.wrong++
		}
		k.gone = true
	})
}

func (r *record) doubted(key string, removal bool) {
	r.with(key, func(k *keyRecord) { k.doubt, k.doubtGone = true, removal })
}

func (r *record) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// faults are the ways in which a store is not what was acknowledged.
type faults struct{ lost, twice, disorder int }

func (f *faults) add(o faults) {
	f.lost, f.twice, f.disorder = f.lost+o.lost, f.twice+o.twice, f.disorder+o.disorder
}

// content is the version of every entry there is, by key.
type content map[string]grid.Version

// judge compares what a store has with the record, and where the record has doubts
// with what the grid has. Nobody may be writing.
func (r *record) judge(have, inGrid content) (f faults) {
	for key, k := range r.keys {
		v, there := have[key]
		switch {
		case k.doubt:
			f.add(k.judgeDoubt(v, there, inGrid[key]))
		case k.gone && there:
			f.twice++
		case k.gone:
		case !there:
			f.lost++
		case v < k.last():
			f.disorder++
		case v > k.last():
			f.twice++
		}
	}
	for key := range have {
		if r.keys[key] == nil {
			f.twice++
		}
	}
	return f
}

func (k *keyRecord) judgeDoubt(v grid.Version, there bool, inGrid grid.Version) (f faults) {
	switch {
	case there && v < k.last():
		f.disorder++
	case !there && k.last() != 0 && !k.doubtGone, !there && inGrid != 0:
		f.lost++
	case v != inGrid:
		f.disorder++
	}
	return f
}
