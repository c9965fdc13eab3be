package check_test

import (
	"slices"
	"testing"

	"github.com/spacegrid/spacegrid/internal/check"
)

// A cycle is found wherever the search begins, without the way that led to it, and
// none where there is none.
func TestCycle(t *testing.T) {
	for _, x := range []struct {
		edges map[int][]int
		want  []int
	}{
		{map[int][]int{1: {2}, 2: {3}, 3: {4, 1}}, []int{1, 2, 3, 1}},
		{map[int][]int{1: {2}, 2: {3}, 3: {2}}, []int{2, 3, 2}},
		{map[int][]int{1: {1}}, []int{1, 1}},
		{map[int][]int{1: {2, 3}, 2: {3}, 4: {1}}, nil},
		{nil, nil},
	} {
		if got := check.Cycle(x.edges); !slices.Equal(got, x.want) {
			t.Errorf("in %v found %v, want %v", x.edges, got, x.want)
		}
	}
}
