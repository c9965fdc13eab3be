// Package pairtree is an ordered set of pairs.
package pairtree

import "slices"

type pair struct{ hi, lo uint64 }

// Tree is an ordered set of pairs.
type Tree struct{ s []pair }

func cmp(a, b pair) int {
	switch {
	case a.hi < b.hi || a.hi == b.hi && a.lo < b.lo:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// Insert adds.
func (t *Tree) Insert(hi, lo uint64) bool {
	i, ok := slices.BinarySearchFunc(t.s, pair{hi, lo}, cmp)
	if !ok {
		t.s = slices.Insert(t.s, i, pair{hi, lo})
	}
	return !ok
}

// Delete removes.
func (t *Tree) Delete(hi, lo uint64) bool {
	i, ok := slices.BinarySearchFunc(t.s, pair{hi, lo}, cmp)
	if ok {
		t.s = slices.Delete(t.s, i, i+1)
	}
	return ok
}

// Min returns the least.
func (t *Tree) Min() (hi, lo uint64, ok bool) {
	if len(t.s) == 0 {
		return 0, 0, false
	}
	return t.s[0].hi, t.s[0].lo, true
}

// AscendFrom yields.
func (t *Tree) AscendFrom(hi, lo uint64, fn func(hi, lo uint64) bool) {
	i, _ := slices.BinarySearchFunc(t.s, pair{hi, lo}, cmp)
	for ; i < len(t.s); i++ {
		if !fn(t.s[i].hi, t.s[i].lo) {
			return
		}
	}
}
