package cluster

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/spacegrid/spacegrid/grid/space"
)

// A short question makes no long answer: reads and matches stop at a bound, at
// every level, and the answer fits a frame.
func TestAnswersToQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t, NodeConfig{Partitions: 1})
		r := n.Router()
		id := defaultSpace(t, r)
		const each = 1 << 20
		const bound = maxFoundBytes + 2*each
		for i := range 12 {
			one(t, r, "k", space.Op{Code: space.OpWrite, Space: id, Key: fmt.Append(nil, "k", i), Value: make([]byte, each)})
		}
		gets := make([]Get, 256)
		for i := range gets {
			gets[i] = Get{Space: id, Key: []byte("k0")}
		}
		for _, level := range []Level{Linearizable, Local} {
			found, err := n.Read(t.Context(), 1, level, gets)
			if size := len(appendFound(nil, found)); err != nil || len(found) == 0 || size > bound {
				t.Errorf("read: %d found, %d bytes, %v", len(found), size, err)
			}
			q := Match{Space: id, Partitions: []space.PartitionID{0}, Limit: 1000, AllowScan: true}
			m, err := n.Match(t.Context(), 1, level, q)
			if size := len(appendMatched(nil, &m)); err != nil || len(m.Entries) == 0 || m.Done != 0 || size > bound {
				t.Errorf("match: %d found, %d partitions done, %d bytes, %v", len(m.Entries), m.Done, size, err)
			}
		}
	})
}

// Who asks through a router has all of it nevertheless, over connections too.
func TestLongAnswersToQuestionsComeInParts(t *testing.T) {
	r := afar(t, 4)
	id := defaultSpace(t, r)
	const entries = 1200 // 30 MB
	value := bytes.Repeat([]byte("x"), 25<<10)
	calls := make([]*Call, entries)
	for i := range calls {
		key := fmt.Append(nil, "k", i)
		calls[i] = &Call{Partition: at(r, string(key)), Ops: []space.Op{{Code: space.OpWrite, Space: id, Key: key, Value: value}}}
	}
	r.Do(t.Context(), calls)
	for i, c := range calls {
		if err := c.failure(); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	lookups := make([]*Lookup, maxSubmissions+entries)
	for i := range lookups {
		key := fmt.Append(nil, "k", i)
		lookups[i] = &Lookup{Get: Get{Partition: at(r, string(key)), Space: id, Key: key}}
	}
	r.Read(t.Context(), Linearizable, lookups)
	for i, l := range lookups {
		want := space.CodeNotFound
		if i < entries {
			want = space.OK
		}
		if l.Err != nil || l.Found.Code != want || want == space.OK && !bytes.Equal(l.Found.Entry.Key, l.Key) {
			t.Fatalf("lookup %d: %v, %v", i, l.Found.Code, l.Err)
		}
	}
	seen := map[string]bool{}
	for _, partitions := range r.Groups()[1:] {
		m, err := r.Match(t.Context(), Linearizable, Match{Space: id, Partitions: partitions, Limit: 2 * entries, AllowScan: true})
		if err != nil || m.Code != space.OK {
			t.Fatal(m.Code, err)
		}
		for _, e := range m.Entries {
			seen[string(e.Key)] = true
		}
	}
	if len(seen) != entries {
		t.Errorf("%d of %d entries match", len(seen), entries)
	}
}
