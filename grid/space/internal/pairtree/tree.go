package pairtree

// Tree is a [Set] of pairs whose methods take the two numbers one by one.
type Tree struct {
	Set[Pair]
}

// Has reports whether a pair is in the tree.
func (t *Tree) Has(hi, lo uint64) bool { return t.Set.Has(Pair{hi, lo}) }

// Min returns the lowest pair, and false if the tree is empty.
func (t *Tree) Min() (hi, lo uint64, ok bool) {
	p, ok := t.First(Pair{})
	return p[0], p[1], ok
}

// AscendFrom calls fn with the pairs at or above (hi, lo) in order, until fn
// returns false.
func (t *Tree) AscendFrom(hi, lo uint64, fn func(hi, lo uint64) bool) {
	t.Set.AscendFrom(Pair{hi, lo}, func(p Pair) bool { return fn(p[0], p[1]) })
}

// Insert adds a pair and reports whether it was not there yet.
func (t *Tree) Insert(hi, lo uint64) bool { return t.Set.Insert(Pair{hi, lo}) }

// Delete removes a pair and reports whether it was there.
func (t *Tree) Delete(hi, lo uint64) bool { return t.Set.Delete(Pair{hi, lo}) }
