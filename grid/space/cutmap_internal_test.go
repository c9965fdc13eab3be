package space

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// A map that is cut goes on as if it had not been, and what was cut stays as it
// was, in small maps and large ones and on the way from one to the other.
func TestCutMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type cut struct {
			frozen frozenMap[Seq, int]
			want   map[Seq]int
		}
		m, model := newCutMap[Seq, int](spreadNumber), map[Seq]int{}
		var cuts []cut
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				from, n := rapid.IntRange(0, 3*cutWhole).Draw(t, "from"), rapid.IntRange(1, cutWhole).Draw(t, "n")
				value := rapid.Int().Draw(t, "value")
				for i := range n {
					m.set(Seq(from+i), value)
					model[Seq(from+i)] = value
				}
			case 2:
				from, n := rapid.IntRange(0, 3*cutWhole).Draw(t, "from"), rapid.IntRange(1, 3*cutWhole).Draw(t, "n")
				for i := range n {
					m.remove(Seq(from + i))
					delete(model, Seq(from+i))
				}
			case 3:
				cuts = append(cuts, cut{m.freeze(), maps.Clone(model)})
			}
			if m.len() != len(model) || !maps.Equal(maps.Collect(m.all()), model) {
				t.Fatal("the map is not what was put into it")
			}
			for k, v := range model {
				if got, ok := m.get(k); !ok || got != v {
					t.Fatalf("%d is %d, %v", k, got, ok)
				}
			}
		}
		for _, c := range cuts {
			got, last := map[Seq]int{}, -1
			for k, v := range c.frozen.sorted(compareNumbers) {
				if int(k) <= last {
					t.Fatalf("%d comes after %d", k, last)
				}
				got[k], last = v, int(k)
			}
			if c.frozen.length != len(c.want) || !maps.Equal(got, c.want) {
				t.Fatal("what was cut has changed")
			}
		}
	})
}

// An empty map costs next to nothing, also after it was large.
func TestAnEmptyCutMapIsSmall(t *testing.T) {
	m := newCutMap[Seq, int](spreadNumber)
	for i := range 2 * cutWhole {
		m.set(Seq(i), i)
	}
	if len(m.shards) != cutShards {
		t.Fatalf("%d parts", len(m.shards))
	}
	most := 0
	for i := range m.shards {
		most = max(most, len(m.shards[i].m))
	}
	if even := 2 * cutWhole / cutShards; most > 4*even {
		t.Errorf("%d of numbers in a row are in one part, %d would be even", most, even)
	}
	for i := range 2 * cutWhole {
		m.remove(Seq(i))
	}
	if len(m.shards) != 1 {
		t.Errorf("%d parts", len(m.shards))
	}
}
