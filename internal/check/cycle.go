package check

import (
	"maps"
	"slices"
)

// Cycle returns a cycle of a graph, its first node again at the end, or nil. Where
// an edge leads from each transaction to those that must have come before it, a
// cycle says that there is no serial order.
func Cycle(edges map[int][]int) []int {
	const open, closed = 1, 2
	state := map[int]int{}
	var way []int
	var visit func(int) bool
	visit = func(n int) bool {
		way = append(way, n)
		state[n] = open
		for _, next := range edges[n] {
			if state[next] == open {
				way = append(way[slices.Index(way, next):], next)
				return true
			}
			if state[next] == 0 && visit(next) {
				return true
			}
		}
		state[n] = closed
		way = way[:len(way)-1]
		return false
	}
	for _, n := range slices.Sorted(maps.Keys(edges)) {
		if state[n] == 0 && visit(n) {
			return way
		}
	}
	return nil
}
