// Package pairtree keeps ordered sets of pairs and triples of numbers: the hash
// and order of an entry for a hash index; hash, place in the ordering and order
// for an ordered one; deadline and order for the leases that end next.
//
// A reader meets two types. [Set] is a B+tree whose nodes lie in large chunks and
// name each other by number, so that the garbage collector sees a few pointers
// however many keys there are; it is generic over the width of its keys, and the
// compiler makes a tree of each. [Tree] is a Set of pairs. A pair takes 17 bytes
// where pairs come in rising order, and 24 to 28 elsewhere; a triple half as much
// again.
//
// A Set belongs to one goroutine. Its content, and the sequence in which it is
// walked, depend on the keys alone and not on how they came and went.
package pairtree
