package datapump

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// model is what a sink holds: values by space and key. A space that is dropped
// takes its entries along.
type model map[space.ID]map[string]string

func (m model) apply(changes []space.Change, above space.Seq) {
	for _, c := range changes {
		if c.Seq <= above {
			continue
		}
		switch c.Op {
		case space.Defined:
			if m[c.Space] == nil {
				m[c.Space] = map[string]string{}
			}
		case space.Dropped:
			delete(m, c.Space)
		case space.Removed:
			delete(m[c.Space], string(c.Key))
		case space.Claimed:
		default:
			m[c.Space][string(c.Key)] = fmt.Sprint(c.Seq, c.Order, c.Deadline, c.Kind, c.Attempts, string(c.Value))
		}
	}
}

func (m model) clone() model {
	n := model{}
	for id, keys := range m {
		n[id] = maps.Clone(keys)
	}
	return n
}

// world tracks which entries exist, with version and order, so that generated
// changes are ones that a partition could have made.
type world struct {
	t     *rapid.T
	seq   space.Seq
	alive map[space.ID]map[string]space.Change
}

func (w *world) next() space.Change {
	w.seq++
	id := space.ID(rapid.IntRange(1, 2).Draw(w.t, "space"))
	if w.alive[id] == nil {
		w.alive[id] = map[string]space.Change{}
		return space.Change{Seq: w.seq, Op: space.Defined, Space: id}
	}
	if rapid.IntRange(0, 40).Draw(w.t, "drop") == 0 {
		delete(w.alive, id)
		return space.Change{Seq: w.seq, Op: space.Dropped, Space: id}
	}
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(w.t, "key")
	was, exists := w.alive[id][key]
	c := space.Change{Seq: w.seq, Op: space.Written, Space: id, Key: []byte(key), Order: uint64(w.seq), Value: []byte{byte(w.seq)}}
	if exists {
		c.Op, c.Previous, c.Order = space.Updated, was.Seq, was.Order
		switch rapid.IntRange(0, 4).Draw(w.t, "what") {
		case 0, 1:
			c.Op, c.Value, c.Cause = space.Removed, nil, space.Deleted
			delete(w.alive[id], key)
			return c
		case 2:
			c.Op, c.Value = space.Claimed, nil
			return c
		case 3:
			c.Op, c.Attempts = space.Released, was.Attempts+1
		}
	}
	w.alive[id][key] = c
	return c
}

// Folding a section changes nothing that a sink holds afterwards, whatever part
// of the section the sink has already, and counts entries right if it has none.
func TestFold(t *testing.T) {
	f := newFolder()
	rapid.Check(t, func(t *rapid.T) {
		w := world{t: t, alive: map[space.ID]map[string]space.Change{}}
		before := model{}
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			before.apply([]space.Change{w.next()}, 0)
		}
		after := w.seq
		var all []space.Change
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			all = append(all, w.next())
		}
		together := commands(t, all)
		kept, folded := f.fold(slices.Clone(all), nil)
		if folded != (len(kept) < len(all)) {
			t.Fatalf("folded is %v with %d of %d changes", folded, len(kept), len(all))
		}
		if !slices.IsSortedFunc(kept, func(a, b space.Change) int { return int(a.Seq) - int(b.Seq) }) {
			t.Fatalf("folding has reordered: %v", kept)
		}
		want := before.clone()
		want.apply(all, 0)
		has := after + space.Seq(rapid.IntRange(0, len(all)).Draw(t, "sink has"))
		got := before.clone()
		got.apply(all[:has-after], 0)
		got.apply(kept, has)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("a sink at %d after %d holds %v, want %v", has, after, got, want)
		}
		checkCounts(t, before, want, kept)
		checkLives(t, all, kept)
		for i, c := range kept {
			if together[c.Seq] && c.More > 0 && (i+1 == len(kept) || kept[i+1].Seq != c.Seq+1) {
				t.Fatalf("change %d has lost the rest of its command: %v", c.Seq, kept)
			}
			delete(together, c.Seq)
		}
		if len(together) > 0 {
			t.Fatalf("of commands of several changes, %v are gone", together)
		}
	})
}

// commands makes commands of several changes of some that follow each other, no
// two of the same entry, and returns the changes of those.
func commands(t *rapid.T, changes []space.Change) map[space.Seq]bool {
	together := map[space.Seq]bool{}
	for i := 0; i < len(changes); {
		n, keys := 0, map[string]bool{}
		for limit := rapid.IntRange(0, 3).Draw(t, "command"); n < limit && i+n < len(changes); n++ {
			k := fmt.Sprint(changes[i+n].Space, string(changes[i+n].Key))
			if keys[k] || len(changes[i+n].Key) == 0 {
				break
			}
			keys[k] = true
		}
		for j := range n {
			changes[i+j].More = n - 1 - j
			if n > 1 {
				together[changes[i+j].Seq] = true
			}
		}
		i += max(1, n)
	}
	return together
}

// checkCounts adds up what the kept changes say about the number of entries.
func checkCounts(t *rapid.T, before, want model, kept []space.Change) {
	counts := map[space.ID]int{}
	for id, keys := range before {
		counts[id] = len(keys)
	}
	for _, c := range kept {
		switch {
		case c.Op == space.Written:
			counts[c.Space]++
		case c.Op == space.Removed && c.Previous != 0:
			counts[c.Space]--
		case c.Op == space.Dropped:
			counts[c.Space] = 0
		}
	}
	for id, keys := range want {
		if counts[id] != len(keys) {
			t.Fatalf("space %d: the changes add up to %d entries, there are %d", id, counts[id], len(keys))
		}
	}
}

// checkLives checks that every removal stays, so that an entry and its successor
// under the same key are never taken for one, and that spaces' own changes stay.
func checkLives(t *rapid.T, all, kept []space.Change) {
	must := func(changes []space.Change) (seqs []space.Seq) {
		for _, c := range changes {
			if c.Op == space.Removed || c.Op == space.Defined || c.Op == space.Dropped {
				seqs = append(seqs, c.Seq)
			}
		}
		return seqs
	}
	if !slices.Equal(must(all), must(kept)) {
		t.Fatalf("of the changes %v that must stay, %v did", must(all), must(kept))
	}
}

// A cut never falls inside a command, and takes at least one command when the
// batch is empty.
func TestCutBetweenCommands(t *testing.T) {
	more := []int{0, 2, 1, 0, 0, 3, 2, 1, 0}
	changes := make([]space.Change, len(more))
	for i := range more {
		changes[i].More = more[i]
	}
	for _, x := range []struct {
		limit int
		first bool
		want  int
	}{{9, false, 9}, {20, true, 9}, {8, false, 5}, {5, false, 5}, {4, false, 4}, {3, true, 1}, {1, false, 1}, {0, false, 0}, {0, true, 1}} {
		if got := cutBetweenCommands(changes, x.limit, x.first); got != x.want {
			t.Errorf("limit %d, first %v: %d changes, want %d", x.limit, x.first, got, x.want)
		}
	}
	if got := cutBetweenCommands(changes[1:], 2, true); got != 3 {
		t.Errorf("a first command of 3 changes with a limit of 2: %d changes, want 3", got)
	}
	if got := cutBetweenCommands(changes[1:], 2, false); got != 0 {
		t.Errorf("a command of 3 changes with room for 2: %d changes, want 0", got)
	}
}

func BenchmarkFold(b *testing.B) {
	changes := make([]space.Change, DefaultBatchChanges)
	for i := range changes {
		changes[i] = space.Change{Seq: space.Seq(i + 1), Op: space.Updated, Space: 1, Key: fmt.Appendf(nil, "key-%012d", i)}
	}
	f := newFolder()
	for b.Loop() {
		f.fold(changes, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(changes)), "ns/change")
}
