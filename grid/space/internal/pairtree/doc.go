// Package pairtree keeps ordered sets of pairs of numbers: the hash and order of
// an entry for a hash index, a field's place in its ordering and the order for an
// ordered one, deadline and order for the leases that end next.
//
// A reader meets one type, [Tree]: a B+tree whose nodes lie in large chunks and
// name each other by number, so that the garbage collector sees a few pointers
// however many pairs there are. A pair takes 17 bytes where pairs come in rising
// order, and 24 to 28 elsewhere.
//
// A Tree belongs to one goroutine. Its content, and the sequence in which it is
// walked, depend on the pairs alone and not on how they came and went.
package pairtree
